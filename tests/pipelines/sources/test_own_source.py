"""A source that the library does not know is built, trained on and scored: two agents, PNG, LiDAR on one alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image
from rich.console import Console

from evaluation.__main__ import main as evaluate
from flux4d.cameras.cameras import Cameras
from flux4d.lift.scene import SceneConfig, lift_clip
from pipelines.build.plan import BuildConfig
from pipelines.build.run import BuildResult, build
from pipelines.sources.registry import register, unregister
from store_schema.camera_model import OpenCVFisheye
from store_schema.protocol import ClipProtocol
from store_schema.version.dataset import Dataset, open_dataset
from store_schema.version.verify import verify_frames, verify_version
from tests.support.logs.own_source import SOURCE, K, OwnLog, write_own_log
from tests.support.processes.training_runs import small
from training.loop import Trainer

CAMERAS = ("front@car", "front@lorry")
FISHEYE = OpenCVFisheye(0.1, 0.01, 0.0, 0.0)
CLIP = "b-evaluation-s000"


class FisheyeLog(OwnLog):
    """The lorry's lens is a fisheye."""

    def camera(self, camera: str, frame: int):
        seen = super().camera(camera, frame)
        return replace(seen, model=FISHEYE) if seen.agent == "lorry" else seen


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    fisheye = replace(SOURCE, name="own_fisheye", open=FisheyeLog, is_log=lambda path: False, find_logs=SOURCE.logs)
    for source in (SOURCE, fisheye):
        register(source)
    yield
    for name in ("own", "own_fisheye"):
        unregister(name)


def run(root: Path, out: Path, **changes: object) -> BuildResult:
    config = BuildConfig(root=root, out=out, workers=0, camera=CAMERAS, protocol=ClipProtocol(test_logs=("b",)))
    return build(replace(config, **changes), Console(quiet=True))


def logs(folder: Path, lidar: bool = True, names: str = "ab") -> Path:
    for name in names:
        write_own_log(folder / name, lidar=lidar)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("own")
    result = run(logs(place / "logs"), place / "store")
    assert (result.errors, result.frames_made) == ((), 32)
    return place


@pytest.fixture(scope="module")
def dataset(place: Path) -> Dataset:
    return open_dataset(place / "store")


def test_the_version_names_the_source_and_every_byte_is_in_order(place: Path, dataset: Dataset) -> None:
    assert (dataset.manifest.config["source"], dataset.manifest.config["source_version"]) == ("own", 1)
    assert [*verify_version(dataset.folder), *verify_frames(place / "store")] == []
    assert run(place / "logs", place / "store").was_finished


def test_views_are_of_agents_and_images_are_the_log_s_own_bytes(place: Path, dataset: Dataset) -> None:
    clip = dataset.read(CLIP)
    assert (clip.agents, clip.rig_cameras, clip.view_cameras) == (("car", "lorry"), CAMERAS, CAMERAS)
    assert [(view.frame, view.agent, view.camera) for view in clip.views[:3]] == [
        (0, "car", "front"),
        (0, "lorry", "front"),
        (1, "car", "front"),
    ]
    for view in clip.views:
        assert view.image_format == "png"
        assert view.image == (place / "logs/b" / f"{view.agent}-{view.frame:02d}.png").read_bytes()
        assert view.moving_mask is None
        assert len(view.depth) > 100
        assert view.cam2ego0[1, 3] == pytest.approx(0.5 * view.frame + (4.0 if view.agent == "lorry" else 0.0))
    assert clip.boxes is None
    assert set(clip.points.agent.tolist()) == {0}
    assert set(clip.points.flow_class.tolist()) == {0}
    assert {-1, 0, 1} >= set(clip.points.camera.tolist()) > {-1}


def test_images_of_chosen_cameras_alone_are_read(dataset: Dataset) -> None:
    whole, some = dataset.read(CLIP), dataset.read(CLIP, cameras=["front@lorry"])
    assert {view.name for view in some.views} == {"front@lorry"}
    own = [view for view in whole.views if view.name == "front@lorry"]
    for view, same in zip(some.views, own, strict=True):
        assert (view.frame, view.image) == (same.frame, same.image)
        np.testing.assert_array_equal(view.depth, same.depth)


def test_plain_webdataset_decodes_the_images(dataset: Dataset) -> None:
    shards = [str(dataset.folder / "shards" / name) for name in sorted(dataset.manifest.shards)]
    samples = {s["__key__"]: s for s in webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8")}
    assert set(samples) == {record.clip_id for record in dataset.records}
    assert samples[CLIP]["f03_front@lorry.png"].shape == (36, 64, 3)


def test_it_is_trained_on_and_scored_and_what_is_absent_is_not_a_number(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small(place / "store", tmp_path / "run", steps=3)
    Trainer(replace(config, stream=replace(config.stream, width=None))).run()
    folder = tmp_path / "report"
    evaluate(
        [
            "run",
            "--store",
            str(place / "store"),
            "--run",
            str(tmp_path / "run"),
            "--out",
            str(folder),
            "--device",
            "cpu",
        ]
    )
    assert "n/a" in capsys.readouterr().out
    scored = json.loads((folder / "evaluation.json").read_text())
    assert {row["camera"] for row in scored["frames"]} == set(CAMERAS)
    table = (folder / "table.md").read_text()
    flow = next(line for line in table.splitlines() if line.startswith("| flux4d") and line.count("n/a") > 10)
    assert flow.split("|")[3:16] == [" n/a "] * 13


def test_a_log_without_lidar_builds_reads_back_and_is_scored_without_depth(tmp_path: Path) -> None:
    run(logs(tmp_path / "logs", lidar=False, names="b"), tmp_path / "store", clips_per_shard=1)
    clip = open_dataset(tmp_path / "store").read(CLIP)
    assert (len(clip.points), len(clip.views)) == (0, 32)
    assert all(len(view.depth) == 0 and view.image for view in clip.views)
    np.testing.assert_allclose(clip.ego2ego0[:, 1, 3], 0.5 * np.arange(16))
    np.testing.assert_allclose(clip.sweep_times, 0.1 * np.arange(16))
    # Nothing to lift but the sky, and without it that is said.
    assert len(lift_clip(clip, SceneConfig())) > 0
    no_sky = replace(SceneConfig(), sky=replace(SceneConfig().sky, enabled=False))
    with pytest.raises(ValueError, match="none of 0 LiDAR points is left"):
        lift_clip(clip, no_sky)


def test_a_fisheye_is_stored_where_nothing_is_projected_and_refused_where_it_would_be(tmp_path: Path) -> None:
    lit, dark = logs(tmp_path / "lit", names="b"), logs(tmp_path / "dark", lidar=False, names="b")
    message = r"frame \d+, .*: camera front@lorry has a lens of model opencv_fisheye, and only pinhole is projected"
    with pytest.raises(ValueError, match=message):
        run(lit, tmp_path / "none", source="own_fisheye")
    run(dark, tmp_path / "store", source="own_fisheye")
    clip = open_dataset(tmp_path / "store").read(CLIP)
    assert {view.name: view.model.kind for view in clip.views} == {
        "front@car": "pinhole",
        "front@lorry": "opencv_fisheye",
    }
    fisheye = next(view for view in clip.views if view.agent == "lorry")
    assert fisheye.model == FISHEYE
    np.testing.assert_array_equal(fisheye.K, K)
    for project in (lambda: Cameras.from_views([fisheye]), lambda: lift_clip(clip, SceneConfig())):
        with pytest.raises(
            ValueError, match=r"frame 0, front@lorry: its lens is of model opencv_fisheye, and only pinhole"
        ):
            project()


@pytest.mark.parametrize("lidar", [True, False])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-20], "the PNG is truncated"),
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "checksum of its chunk b'IDAT' differs"),
        (lambda data: b"", "not a PNG"),
        (lambda data: b"\xff\xd8\xff" + data, "not a PNG"),
    ],
)
def test_a_damaged_png_stops_its_log_and_is_named(lidar: bool, damage, reason: str, tmp_path: Path) -> None:
    log = write_own_log(tmp_path / "logs" / "b", lidar=lidar)
    file = log / "lorry-03.png"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(
        ValueError, match=rf"log b, frame 3, .*lorry-03\.png: not a readable PNG: .*{reason}.*; fetch the"
    ):
        run(tmp_path / "logs", tmp_path / "store")


def test_a_png_of_16_bits_is_refused_not_cut(tmp_path: Path) -> None:
    log = write_own_log(tmp_path / "logs" / "b", lidar=False)
    Image.fromarray(np.full((36, 64), 40_000, np.uint16)).save(log / "car-05.png")
    with pytest.raises(ValueError, match=r"frame 5, .*16-bit grey; taken are 8-bit grey and RGB.*: convert it"):
        run(tmp_path / "logs", tmp_path / "store")
