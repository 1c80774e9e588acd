"""The benchmarks measure what they say: the reproduction's algorithms do the same job, and the figures are there."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from benchmarks import colour, ground_truth, preprocess, scale
from benchmarks import preprocess_peer as peer
from benchmarks.invariance import Built, Variant, report
from benchmarks.stages import StageClock, stages_timed
from benchmarks.store_differences import differences
from pipelines.build import build
from pipelines.depth_map import sparse_depth
from pipelines.plan import BuildConfig
from pipelines.scene_flow import flow_ground_truth
from pipelines.sources.base import CameraFrame, Cuboids, Sweep
from pipelines.sources.pandaset import PandaSetLog
from pipelines.visibility import see
from store_schema.frame_store import read_frame, write_frame

QUIET = Console(quiet=True)


def cloud(count: int = 4000) -> Sweep:
    points = np.random.default_rng(0).uniform([-20, -20, -1], [20, 20, 3], (count, 3))
    return Sweep(
        frame=0,
        time=0.0,
        ego2world=np.eye(4),
        points=points,
        intensity=np.zeros(count),
        times=np.zeros(count),
        sensor=np.zeros(count, np.uint8),
    )


def cuboids(frame: int, position: NDArray[np.float64], yaw: NDArray[np.float64]) -> Cuboids:
    count = len(position)
    return Cuboids(
        frame=frame,
        track=tuple(f"t{row}" for row in range(count)),
        label=("Car",) * count,
        position=position,
        size=np.tile([2.0, 4.5, 1.6], (count, 1)),
        yaw=yaw,
        stationary=np.zeros(count, bool),
        sensor=np.full(count, -1, np.int8),
    )


def boxes(rows: Cuboids) -> list[peer.Box]:
    table = zip(rows.track, rows.position, rows.size, rows.yaw, strict=True)
    return [peer.Box(track, centre, size, float(yaw)) for track, centre, size, yaw in table]


def test_flow_is_the_reproductions_where_boxes_are_apart_and_of_both_lidars() -> None:
    rng = np.random.default_rng(1)
    place = np.array([[x, y, 0.5] for x in (-12.0, 0.0, 12.0) for y in (-12.0, 0.0, 12.0)])
    now = cuboids(0, place, rng.uniform(-3, 3, 9))
    later = cuboids(1, place + rng.normal(0, 0.5, (9, 3)), now.yaw + rng.normal(0, 0.1, 9))
    sweep = cloud()
    ours = flow_ground_truth(sweep, now, later)
    flow, owner = peer.flow_to_next(sweep.points, boxes(now), boxes(later))
    assert len(set(owner)) == 10
    np.testing.assert_array_equal(ours.cuboid, owner)
    np.testing.assert_allclose(ours.flow, flow, atol=1e-9)


def test_depth_is_the_reproductions_for_the_same_pixels() -> None:
    sweep = cloud()
    camera = CameraFrame(
        frame=0,
        camera="front_camera",
        time=0.0,
        cam2world=np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]),
        K=np.array([[40.0, 0, 48], [0, 40, 27], [0, 0, 1]]),
        path=Path("none"),
    )
    sighting = see(sweep, camera, 96, 54)
    column, row = np.floor(sighting.projection.uv).astype(np.int64).T
    image = peer.raster_depth(column, row, sighting.projection.depth, 96, 54)
    ours = sparse_depth(sighting)
    assert len(column) > len(ours.pixel) > 500  # several returns in one pixel
    np.testing.assert_array_equal(np.flatnonzero(image), ours.pixel)
    np.testing.assert_array_equal(image.ravel()[ours.pixel], ours.depth.astype(np.float32))


def test_voxels_are_those_of_a_vectorised_mean() -> None:
    points = cloud(2000).points * 0.05
    cell, inverse, count = np.unique(np.floor(points / 0.2), axis=0, return_inverse=True, return_counts=True)
    total = np.stack([np.bincount(inverse.ravel(), column) for column in points.T], axis=1)
    ours = peer.voxel_downsample(points)
    assert len(ours) == len(cell) < 2000
    order = np.lexsort(np.floor(ours.astype(np.float64) / 0.2).T[::-1])
    np.testing.assert_allclose(ours[order], total / count[:, None], atol=1e-5)


def test_a_stage_within_a_stage_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 1.0, 5.0, 7.0, 10.0, 12.0])
    monkeypatch.setattr("benchmarks.stages.time.process_time", lambda: next(ticks))
    clock = StageClock()
    inner = clock.timed("inner", lambda: None)
    clock.timed("outer", inner)()  # 0 to 7, the inner one 1 to 5
    inner()  # 10 to 12
    assert clock.seconds == {"outer": 3.0, "inner": 6.0}


def test_a_stage_that_was_renamed_is_not_passed_over() -> None:
    with pytest.raises(AttributeError, match="no_such_function"), stages_timed({"x": ["json:no_such_function"]}):
        pass
    before = json.dumps
    with stages_timed({"x": ["json:dumps"]}):
        assert json.dumps is not before
    assert json.dumps is before


def test_the_figures_are_there(tiny_logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preprocess.main(["--root", str(tiny_logs), "--log", "tiny0", "--quick", "--frames", "3", "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["frames"] == 3
    assert result["build_frames"] == 17
    assert result["build_clips"] == 3
    assert result["scaling"] is None
    assert set(result["stages"]) == set(preprocess.STAGES)
    assert all(seconds > 0 for seconds in result["stages"].values())
    assert set(result["peer"]["stages"]) == set(preprocess.PEER_OWN_CODE_S)
    assert 0 < sum(result["floor_stages"].values()) <= result["floor_cpu_s_per_frame"] * 1.5
    assert result["ratio_spread"]["p10"] <= result["ratio_to_floor"] <= result["ratio_spread"]["p90"]
    assert 0 < result["shard_cpu_s_per_frame"] < result["build_cpu_s_per_frame"]


def test_ground_truth_is_timed_against_the_reproductions(tiny_logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ground_truth.main(["--root", str(tiny_logs), "--log", "tiny0", "--frame", "3", "--quick", "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    log = PandaSetLog(tiny_logs / "tiny0")
    assert (result["points"], result["boxes"]) == (len(log.sweep(3).points), len(log.cuboids(3).track))
    assert 0 < result["ours_cpu_s"]
    assert 0 < result["peer_cpu_s"]
    assert result["speedup"] > 0


def test_doubtful_colours_are_counted(tiny_logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    colour.main(["--root", str(tiny_logs), "--log", "tiny0", "--every", "4", "--quick", "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    log = PandaSetLog(tiny_logs / "tiny0")
    assert result["frames"] == [0, 8, 16]
    per_frame = []
    for frame in result["frames"]:
        sweep = log.sweep(frame)
        cameras = [log.camera(name, frame) for name in log.cameras]
        sightings = [see(sweep, camera, 160, 90) for camera in cameras]
        clear = np.zeros(len(sweep.points), bool)
        for seen in sightings:
            clear[seen.projection.rows[seen.clear]] = True
        per_frame.append(1 - clear.mean())
    assert result["ours"]["uncoloured"] == pytest.approx(np.mean(per_frame))
    # Eight pixels of a small image hold many things, so that the shares themselves say little here.
    assert 0 < result["ours"]["doubtful"] < 1
    front, everywhere = result["reproduction_front"], result["reproduction_all"]
    assert front["uncoloured"] > result["ours"]["uncoloured"] > everywhere["uncoloured"]


def test_a_difference_between_two_stores_is_found_and_named(tiny_logs: Path, tmp_path: Path) -> None:
    config = BuildConfig(root=tiny_logs, out=tmp_path / "one", workers=0, logs=("tiny1",), test_logs=("tiny1",))
    one = build(config, QUIET)
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    assert list(differences(tmp_path / "one", tmp_path / "other")) == []
    folder = next((tmp_path / "other").glob("frames/*/tiny1"))
    frame = read_frame(folder, 4)
    moved = frame.arrays.points.copy()
    moved[7, 1] = np.nextafter(moved[7, 1], np.inf)
    write_frame(folder, replace(frame, arrays=replace(frame.arrays, points=moved)), "other")
    (line,) = differences(tmp_path / "one", tmp_path / "other")
    assert line.startswith("frame store: points differs in 1 frames")

    built = [Built(Variant(name), tmp_path / name, one.version, 1.0, 0, None) for name in ("one", "other")]
    rows = report(built, QUIET)
    assert [(row["same"], row["same_frames"]) for row in rows] == [(True, True), (True, False)]
    assert not report([built[0], replace(built[1], version="0" * 64)], QUIET)[1]["same"]


def test_peak_memory_is_that_of_the_process() -> None:
    before = scale.peak_rss_mb()
    held = np.ones(50_000_000, np.uint8)
    assert scale.peak_rss_mb() > before or before > 300
    assert held.sum() == 50_000_000


@pytest.mark.slow
def test_memory_of_one_and_of_three_logs(capsys: pytest.CaptureFixture[str]) -> None:
    scale.main(["--quick", "--logs", "3", "--workers", "1", "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [case["frames"] for case in result["cases"]] == [scale.QUICK_FRAMES, 3 * scale.QUICK_FRAMES]
    assert 50 < result["rss_worker_mb_1"] < 3000
    assert result["ratio"] == result["rss_worker_mb_3"] / result["rss_worker_mb_1"]
    assert result["rss_scheduler_mb_3"] > 50
