"""The stream of samples: complete, continued to the very next one, the same with any number of threads and ranks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flux4d.lift.scene import SceneConfig
from flux4d.lift.sky import SkyConfig
from store_schema.version.dataset import Dataset, open_dataset
from store_schema.version.shards import CorruptShardError
from tests.support.processes.training_runs import write_clips
from training.config import LoaderConfig, StreamConfig
from training.data.clip_stream import ClipStream
from training.data.sample import Damaged, PackedSample

CLIPS = 5
SCENE = SceneConfig(sky=SkyConfig(spacing=0.05))
STREAM = StreamConfig(width=48)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(write_clips(tmp_path_factory.mktemp("store"), CLIPS))


def make(
    dataset: Dataset, rank: int = 0, world_size: int = 1, stream: StreamConfig = STREAM, **loader: object
) -> ClipStream:
    return ClipStream(
        dataset,
        stream,
        LoaderConfig(**{"workers": 2, "prefetch": 2, "memory_clips": 8, **loader}),  # type: ignore[arg-type]
        SCENE,
        seed=3,
        device=torch.device("cpu"),
        rank=rank,
        world_size=world_size,
    )


def take(stream: ClipStream, count: int) -> list[PackedSample | Damaged]:
    return [stream.next_packed() for _ in range(count)]


def name(sample: PackedSample | Damaged) -> tuple[object, ...]:
    views = () if isinstance(sample, Damaged) else tuple(target.view.frame for target in sample.targets)
    return sample.number, sample.epoch, sample.clip_id, views


def test_every_clip_comes_once_per_epoch_with_its_targets(dataset: Dataset) -> None:
    stream = make(dataset)
    for epoch in range(3):
        samples = [next(stream) for _ in range(CLIPS)]
        assert sorted(sample.clip_id for sample in samples) == sorted(r.clip_id for r in stream.records)
        assert {sample.epoch for sample in samples} == {epoch}
        for sample in samples:
            assert not isinstance(sample, Damaged)
            assert 1 <= len(sample.targets) <= STREAM.views_per_step
            for target in sample.targets:
                assert target.rgb.shape == (27, 48, 3)
                assert target.depth_pixel.max() < 27 * 48
    stream.close()


def test_targets_are_never_inputs(dataset: Dataset) -> None:
    stream = make(dataset)
    records = {record.clip_id: record for record in stream.records}
    for sample in take(stream, 2 * CLIPS):
        assert isinstance(sample, PackedSample)
        frames = {target.view.frame for target in sample.targets}
        assert frames <= set(records[sample.clip_id].target_frames)
    stream.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    after=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    steps=st.integers(0, 6),
)
def test_a_stream_goes_on_with_any_number_of_ranks_and_threads(
    dataset: Dataset, before: tuple[int, int], after: tuple[int, int], steps: int
) -> None:
    """More ranks than clips, one shard for all of them; what all ranks saw is the global order without a gap."""
    (ranks, threads), (other_ranks, other_threads) = before, after
    reference = make(dataset)
    expected = [name(sample) for sample in take(reference, ranks * steps + 3 * other_ranks)]
    reference.close()
    streams = [make(dataset, rank, ranks, workers=threads, prefetch=threads) for rank in range(ranks)]
    seen = [name(sample) for stream in streams for sample in take(stream, steps)]
    states = [stream.state_dict() for stream in streams]
    assert all(state == states[0] for state in states)
    assert states[0]["position"] == ranks * steps
    for stream in streams:
        stream.close()
    for rank in range(other_ranks):
        stream = make(dataset, rank, other_ranks, workers=other_threads, prefetch=other_threads + rank)
        stream.load_state_dict(states[0])
        seen += [name(sample) for sample in take(stream, 3)]
        stream.close()
    assert sorted(seen) == expected


def test_samples_are_equal_to_the_bit_with_and_without_a_cache(dataset: Dataset, tmp_path: Path) -> None:
    plain, cold, warm = (make(dataset, cache=cache) for cache in (None, tmp_path / "cache", tmp_path / "cache"))
    for stream in (plain, cold):
        stream_samples = [next(stream) for _ in range(CLIPS)]
        if stream is plain:
            expected = stream_samples
    for one, other, third in zip(expected, stream_samples, [next(warm) for _ in range(CLIPS)], strict=True):
        for sample in (other, third):
            assert sample.clip_id == one.clip_id
            assert torch.equal(sample.gaussians.means, one.gaussians.means)
            assert torch.equal(sample.gaussians.rgb, one.gaussians.rgb)
            for a, b in zip(sample.targets, one.targets, strict=True):
                assert torch.equal(a.rgb, b.rgb)
                assert torch.equal(a.depth, b.depth)
                assert torch.equal(a.depth_pixel, b.depth_pixel)
    for stream in (plain, cold, warm):
        stream.close()


def test_a_cached_scene_is_that_of_its_settings_and_its_bytes(dataset: Dataset, tmp_path: Path) -> None:
    """Another scale factor, another width, another clip of the same name: nothing of it comes from the cache."""
    first = make(dataset, cache=tmp_path / "cache")
    sample = next(first)
    first.close()
    changed = ClipStream(
        dataset,
        replace(STREAM, width=32),
        LoaderConfig(workers=1, prefetch=1, memory_clips=1, cache=tmp_path / "cache"),
        replace(SCENE, scale_factor=0.5),
        seed=3,
        device=torch.device("cpu"),
    )
    other = next(changed)
    changed.close()
    assert other.clip_id == sample.clip_id
    lidar = ~sample.gaussians.is_sky
    torch.testing.assert_close(other.gaussians.scales[lidar], sample.gaussians.scales[lidar] * (0.5 / 0.35))
    assert other.targets[0].rgb.shape[1] == 32
    assert other.targets[0].depth_pixel.max() < 32 * 18


def test_a_damaged_cache_is_made_anew(dataset: Dataset, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    stream = make(dataset, cache=cache, memory_clips=1)
    expected = next(stream)
    stream.close()
    entries = [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 100]
    assert entries
    for path in entries:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 8
        path.write_bytes(bytes(data))
    again = make(dataset, cache=cache, memory_clips=1)
    sample = next(again)
    again.close()
    assert torch.equal(sample.gaussians.means, expected.gaussians.means)
    assert torch.equal(sample.targets[0].depth, expected.targets[0].depth)


def test_a_stream_of_other_data_is_refused(dataset: Dataset) -> None:
    stream = make(dataset)
    state = stream.state_dict()
    with pytest.raises(ValueError, match=r"version was 'other', is '[0-9a-f]+'"):
        stream.load_state_dict({**state, "order": {**state["order"], "version": "other"}})
    with pytest.raises(ValueError, match="seed was 4, is 3"):
        stream.load_state_dict({**state, "order": {**state["order"], "seed": 4}})
    stream.close()


def test_a_fixed_frame_is_the_only_target(dataset: Dataset) -> None:
    stream = ClipStream(
        dataset, STREAM, LoaderConfig(), SCENE, seed=0, device=torch.device("cpu"), fixed_target_frame=7
    )
    assert {target.view.frame for sample in take(stream, CLIPS) for target in sample.targets} == {7}
    stream.close()
    with pytest.raises(ValueError, match=r"no target frame 2, but \[1, 3"):
        ClipStream(dataset, STREAM, LoaderConfig(), SCENE, seed=0, device=torch.device("cpu"), fixed_target_frame=2)


def test_shard_damage_stops_or_is_left_out(tmp_path: Path) -> None:
    dataset = open_dataset(write_clips(tmp_path, CLIPS))
    victim = dataset.select("train")[0].clip_id
    member = dataset.members[victim]["points.arrow"]
    path = dataset.folder / "shards" / member.shard
    data = bytearray(path.read_bytes())
    data[member.offset + member.size // 2] ^= 1
    path.write_bytes(bytes(data))
    strict = make(dataset)
    with pytest.raises(CorruptShardError, match=f"shard all.tar, clip {victim}, member points.arrow"):
        take(strict, CLIPS)
    strict.close()
    lenient = make(dataset, stream=replace(STREAM, on_corrupt="skip"))
    samples = [next(lenient) for _ in range(2 * CLIPS)]
    lenient.close()
    assert Counter(sample.clip_id for sample in samples if isinstance(sample, Damaged)) == {victim: 2}
    path.unlink()
    missing = make(dataset)
    with pytest.raises(CorruptShardError, match=r"all.tar is missing: clip .*, member"):
        take(missing, CLIPS)
    missing.close()


def test_what_is_asked_for_must_be_there(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="not in dataset version"):
        make(dataset, stream=replace(STREAM, clips=("nowhere",)))


def test_the_two_ways_of_reading_do_not_mix(dataset: Dataset) -> None:
    stream = make(dataset, prefetch=4)
    next(stream)
    stream._ahead[0].result()
    stream._ahead[1].result()  # ready, so the next call begins to upload it
    next(stream)
    with pytest.raises(RuntimeError, match=r"use next_packed\(\) alone"):
        stream.next_packed()
    stream.close()


def test_after_one_epoch_no_clip_is_read_whole_again(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenes, and the depth of all views of a clip, also of those not asked for yet."""
    first = make(dataset, cache=tmp_path / "cache", memory_clips=1)
    take(first, CLIPS)
    first.close()

    def refuse(*arguments: object) -> None:
        raise AssertionError("a clip was read whole")

    monkeypatch.setattr(Dataset, "read", refuse)
    second = make(dataset, cache=tmp_path / "cache", memory_clips=1)
    assert len(take(second, 6 * CLIPS)) == 6 * CLIPS
    second.close()
