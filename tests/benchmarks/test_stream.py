"""The streaming benchmark compares like with like: its copies, its floor, its figures. No peers, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch

from benchmarks.stream.memory import memory_result
from benchmarks.stream.rounds import Timed, ratios
from benchmarks.stream.sample import Ready, Task, arrays, delivered, depth_columns, fingerprint, read_ready, touch
from benchmarks.stream.sides.floor import FloorSamples
from benchmarks.stream.subject import Copy, commented, copies_of, write_copies, write_ready_samples
from benchmarks.stream.verify import check_sides
from flux4d.lift.packed import PackedScene
from flux4d.lift.scene import SceneConfig, pack_clip
from store_schema.units import POSITION
from store_schema.version.dataset import Dataset, open_dataset
from tests.support.scenes.toy import make_clip
from tests.support.stores.toy_store import write_store

WIDTH = 48


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    store = tmp_path_factory.mktemp("source") / "store"
    write_store(store, [make_clip(), make_clip(setting="train_interpolation", seed=1)])
    return open_dataset(store)


@pytest.fixture(scope="module")
def copied(source: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, list[Copy]]:
    copies = copies_of(source, 5)
    return write_copies(source, tmp_path_factory.mktemp("copies") / "store", copies), copies


@pytest.fixture(scope="module")
def ready(copied: tuple[Dataset, list[Copy]], tmp_path_factory: pytest.TempPathFactory) -> Ready:
    return write_ready_samples(*copied, tmp_path_factory.mktemp("samples") / "ready", WIDTH)


def test_copies_are_of_the_clips_with_the_most_targets_and_for_training(
    source: Dataset, copied: tuple[Dataset, list[Copy]]
) -> None:
    dataset, copies = copied
    assert {copy.source for copy in copies} == {"toy-evaluation-s000"}
    assert [record.clip_id for record in dataset.select("train", "train_future")] == [c.clip_id for c in copies]
    assert len(dataset.manifest.shards) == 2
    stored = [dataset.read(copy.clip_id) for copy in copies]
    original = source.read("toy-evaluation-s000")
    for copy, clip in zip(copies, stored, strict=True):
        moved = clip.points.means - original.points.means
        np.testing.assert_allclose(moved, [[copy.number * 1e-3, 0, 0]] * len(moved), atol=1e-5)


def test_no_two_copies_share_what_a_cache_could_share(copied: tuple[Dataset, list[Copy]]) -> None:
    dataset, _ = copied
    seen: set[str] = set()
    for members in dataset.members.values():
        # What is small and the same for good reason, boxes and masks, is not part of a sample.
        hashes = {m.blake3 for name, m in members.items() if name.split(".")[0] not in ("boxes", "moving")}
        assert len(hashes) >= 4
        assert not seen & hashes
        seen |= hashes


def test_comment_changes_bytes_and_not_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    jpeg = simplejpeg.encode_jpeg(image, quality=90)
    assert commented(jpeg, 7) != commented(jpeg, 8)
    np.testing.assert_array_equal(simplejpeg.decode_jpeg(commented(jpeg, 7)), simplejpeg.decode_jpeg(jpeg))


def test_ready_samples_hold_the_clips_scene_images_and_depth(copied: tuple[Dataset, list[Copy]], ready: Ready) -> None:
    dataset, copies = copied
    assert (ready.width, ready.height, ready.views, len(ready.samples)) == (WIDTH, 27, 10, 5)
    for copy, sample in zip(copies, read_ready(ready.path.parent).samples, strict=True):
        columns = ready.columns(sample)
        assert sample.span[1] == sum(map(len, columns.values()))
        clip = dataset.read(copy.clip_id)
        scene = PackedScene.from_bytes(columns["scene"])
        positions = POSITION.decode(scene.positions)
        rows = pack_clip(clip, SceneConfig()).source
        np.testing.assert_allclose(positions, clip.points.means[rows], atol=2e-3)
        for number, view in enumerate(clip.views_of("interpolation", "future")):
            assert columns[f"jpeg{number:02d}"] == view.image
            pixel, metres = depth_columns(columns[f"depth{number:02d}"])
            assert pixel.max() < WIDTH * 27
            assert set(metres) <= set(view.depth)


@pytest.mark.parametrize("workers", [0, 2])
def test_floor_delivers_what_was_written(ready: Ready, workers: int) -> None:
    floor = FloorSamples(ready, 2, workers)
    try:
        for number, sample in enumerate(islice(floor, 7)):
            assert sample["clip"] == ready.samples[number % 5].clip
            assert len(set(sample["views"])) == 2
            columns = ready.columns(ready.samples[number % 5])
            task = Task(ready.width, ready.height, 2, ready.views)
            expected = delivered(task, sample["clip"], sample["views"], columns.__getitem__)
            assert fingerprint(sample) == fingerprint(expected)
            assert all(image.shape[0] >= 27 and image.shape[1] >= WIDTH for image in sample["images"])
    finally:
        floor.close()


def test_touch_counts_arrays_and_tensors_wherever_they_are() -> None:
    @dataclass
    class Held:
        inner: Any
        name: str = "x"

    sample = {"a": np.zeros((2, 3), np.float32), "b": [torch.zeros(5), (Held(np.zeros(7, np.uint8)), 3)], "c": "text"}
    assert len(list(arrays(sample))) == 3
    assert touch(sample) == 24 + 20 + 7


class FakeSide:
    """Answers ``check`` with what it was given."""

    def __init__(self, samples: list[dict[str, Any]]) -> None:
        self._samples = samples

    def ask(self, **command: Any) -> dict[str, Any]:
        assert command["do"] == "check"
        return {"samples": self._samples}


def test_a_side_that_delivers_something_else_is_found(copied: tuple[Dataset, list[Copy]], ready: Ready) -> None:
    floor = FloorSamples(ready, 2, 0)
    good = [fingerprint(sample) for sample in islice(floor, 2)]
    floor.close()
    assert check_sides({"floor": Timed(FakeSide(good), (0,), {})}, ready, copied[0]) == 2  # type: ignore[arg-type]
    bad = [good[0], {**good[1], "images": good[0]["images"]}]
    with pytest.raises(SystemExit, match=rf"floor, {good[1]['clip']}.*images"):
        check_sides({"floor": Timed(FakeSide(bad), (0,), {})}, ready, copied[0])  # type: ignore[arg-type]


def timed(walls: list[float], cpu: float) -> Timed:
    rows = [{"count": 10, "wall_s": wall, "cpu_s": cpu, "mb_per_sample": 1.0} for wall in walls]
    return Timed(None, (1, 2), {}, {1: 5.0, 2: 7.0}, rows)  # type: ignore[arg-type]


def test_ratios_are_of_the_same_round_and_of_the_fastest_peer() -> None:
    sides = {
        "ours": timed([1.0, 2.0, 4.0], 0.3),
        "floor": timed([0.5, 1.0, 2.0], 0.2),
        "slow": timed([3.0, 6.0, 12.0], 0.1),
        "fast": timed([2.0, 4.0, 8.0], 0.6),
    }
    found = ratios(sides, ["slow", "fast"])
    assert found["fastest_peer"] == "fast"
    assert found["ours_to_fastest_peer"] == pytest.approx({"median": 2.0, "p10": 2.0, "p90": 2.0})
    assert found["ours_to_floor"]["median"] == pytest.approx(0.5)
    assert found["cheapest_peer"] == "slow"
    assert found["cpu_ours_to_cheapest_peer"]["median"] == pytest.approx(3.0)
    assert ratios(sides, [])["ours_to_fastest_peer"] is None


def test_result_names_the_fastest_setting() -> None:
    result = timed([1.0, 2.0, 4.0], 0.3).result()
    assert result["workers"] == 2
    assert result["samples_per_s"] == pytest.approx(5.0)
    assert result["cpu_ms_per_sample"] == pytest.approx(30.0)


def test_memory_slope_leaves_out_what_comes_before_it_settles() -> None:
    rows = [(number, 500.0 + (number if number < 200 else 200 + 0.02 * number)) for number in range(0, 1001, 50)]
    result = memory_result(rows)
    assert result["slope_kb_per_sample"] == pytest.approx(20.0)
    assert (result["start_mb"], result["after_100_mb"], result["end_mb"]) == (500.0, 600.0, 720.0)
    with pytest.raises(ValueError, match="needs two"):
        memory_result([(0, 1.0), (50, 1.0)])
