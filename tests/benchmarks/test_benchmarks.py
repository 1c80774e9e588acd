"""The benchmarks measure what they say: the reproduction's algorithms do the same job, and the figures are there."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks import colour, ground_truth, scale
from benchmarks.invariance.__main__ import Built, Variant, report
from benchmarks.invariance.store_differences import differences
from benchmarks.preprocess import __main__ as preprocess
from benchmarks.preprocess import peer
from benchmarks.rasterize import __main__ as rasterize
from benchmarks.rasterize import timing as rasterize_timing
from benchmarks.rasterize.floor import BLOCK, ROW, count_pairs
from benchmarks.rasterize.scene import Scene, real_scene, splats_of, street
from benchmarks.stages import StageClock, stages_timed
from pipelines.build.plan import BuildConfig
from pipelines.build.run import build
from pipelines.features.depth_map import sparse_depth
from pipelines.features.knn import knn_scale
from pipelines.features.visibility import see
from pipelines.ground_truth.scene_flow import flow_ground_truth
from pipelines.sources.base import CameraFrame, Cuboids, Sweep
from pipelines.sources.pandaset.reader import PandaSetLog
from store_schema.frame_store import read_frame, write_frame
from store_schema.protocol import ClipProtocol

QUIET = Console(quiet=True)


def cloud(count: int = 4000) -> Sweep:
    points = np.random.default_rng(0).uniform([-20, -20, -1], [20, 20, 3], (count, 3))
    return Sweep(
        frame=0,
        time=0.0,
        points=points,
        intensity=np.zeros(count),
        times=np.zeros(count),
        sensor=np.zeros(count, np.uint8),
        agent=np.zeros(count, np.uint8),
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


def dense_street(count: int) -> Scene:
    """So large Gaussians that pixels are finished early in small images."""
    scene = street(count)
    return replace(scene, scales=5 * scene.scales)


def plain_pairs(splats: NDArray[np.float64], boxes: NDArray[np.int32], width: int, height: int) -> tuple[int, ...]:
    """What `count_pairs` counts, with every Gaussian at every pixel and masks of whole images."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    left, finished = np.ones((height, width)), np.zeros((height, width), bool)
    blends = ellipse = rows = blocks = 0
    for (u, v, a, b, c, opacity), (x0, x1, y0, y1) in zip(splats[:, :6], boxes, strict=True):
        dx, dy = x + 0.5 - u, y + 0.5 - v
        sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
        alpha = np.minimum(opacity * np.exp(-sigma), 0.999)
        hit = (sigma >= 0) & (alpha >= 1 / 255)
        box = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        segments = {(i, j // ROW) for i, j in np.argwhere(~finished)} & {(i, j // ROW) for i, j in np.argwhere(box)}
        open_blocks = {(i // BLOCK, j // BLOCK) for i, j in np.argwhere(~finished)}
        rows += len(segments)
        blocks += len(open_blocks & {(i // BLOCK, j // BLOCK) for i, j in np.argwhere(hit)})
        ellipse += int(hit.sum())
        behind = left * (1 - alpha)
        finished |= hit & (behind <= 1e-4)
        added = hit & ~finished
        blends += int(added.sum())
        left = np.where(added, behind, left)
    return blends, ellipse, rows, blocks


def test_blends_and_lanes_are_those_of_brute_force() -> None:
    splats, boxes, settings = splats_of(dense_street(1500), 46)
    ours = count_pairs(splats.numpy(), boxes.numpy(), settings)
    assert settings.height % BLOCK
    assert settings.width % ROW
    assert ours == plain_pairs(splats.double().numpy(), boxes.numpy(), settings.width, settings.height)
    assert 1000 < ours.blends < ours.ellipse_pixels  # some pixels were finished early
    assert 0 < ours.row_lane_share < ours.block_lane_share < 1


def test_the_twin_in_strips_does_the_job_of_the_rasteriser(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = dense_street(1500)
    stage = splats_of(scene, 64)
    monkeypatch.setattr(rasterize_timing, "STRIP_PAIRS", 3000)
    assert len(rasterize_timing._strips(stage[1], stage[2].height)) > 3
    ours, plain = rasterize_timing.raster_stage(*stage)[1], rasterize_timing.plain_raster_stage(*stage)[1]
    assert plain.abs().max() > 1
    torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))
    whole = zip(rasterize_timing.end_to_end(scene, 64)[1], rasterize_timing.plain_end_to_end(scene, 64)[1], strict=True)
    for of_ours, of_plain in whole:
        assert of_plain.abs().max() > 0
        torch.testing.assert_close(of_ours, of_plain, rtol=1e-3, atol=1e-4 * float(of_plain.abs().max()))


def test_turns_are_ours_theirs_ours() -> None:
    seen: list[str] = []

    def side(name: str, *seconds: float) -> Callable[[], rasterize_timing.Pass]:
        left = iter(seconds)

        def call() -> rasterize_timing.Pass:
            seen.append(name)
            return rasterize_timing.Pass(0.0, next(left), 0.0, 2.0)

        return call

    result = rasterize_timing.compare(side("ours", 1, 3, 5), side("peer", 8, 40), 2)
    assert seen == ["ours", "peer", "ours", "peer", "ours"]
    assert result["ratio"] == {"median": 7.0, "min": 4.0, "max": 10.0}
    assert result["ours_s"] == {"median": 3, "min": 1, "max": 5}
    assert rasterize_timing.compare(side("ours", 1, 3), None, 1)["ratio"] is None


def test_a_scene_stands_on_the_points_of_its_log(tiny_logs: Path) -> None:
    log = PandaSetLog(tiny_logs / "tiny0")
    count = sum(len(log.sweep(frame).points) for frame in (5, 6))
    scene = real_scene(tiny_logs / "tiny0", "A", 6, 10**6)
    assert len(scene.means) == count
    spacing = knn_scale(scene.means.double().numpy())
    ratio = np.log(scene.scales.numpy() / spacing[:, None])
    assert ratio.mean() == pytest.approx(0, abs=0.01)
    assert ratio.std() == pytest.approx(0.3, abs=0.01)
    view = real_scene(tiny_logs / "tiny0", "B", 6, 500)
    splats, boxes, settings = splats_of(view, 160)
    assert (len(view.means), settings.width, settings.height) == (500, 160, 90)
    assert len(splats) == 500
    assert bool((boxes[:, 1] > boxes[:, 0]).all())
    with pytest.raises(SystemExit, match="pass another --frame"):
        real_scene(tiny_logs / "tiny0", "B", 2, 500)


def test_the_rasteriser_is_timed_against_twin_and_floor() -> None:
    threads = torch.get_num_threads()
    rows = [rasterize.measure_row(dense_street(1000), 64, repeats) for repeats in ((1, 2), (0, 0))]
    assert torch.get_num_threads() == threads
    result = rasterize.summary(rows, {"numpy": 50.0, "torch": 40.0, "lanes": 45.0, "peak": 50.0})
    first, alone = result["rows"]
    assert result["of"] == {"load": "street", "width": 64, "height": 36, "gaussians": 1000, "in_view": first["in_view"]}
    assert first["pairs"]["ellipse_pixels"] >= first["pairs"]["blends"] > 1000
    assert result["speedup_vs_torch"] == first["raster"]["ratio"]["median"] > 0
    assert result["speedup_vs_torch_end_to_end"] == first["end_to_end"]["ratio"]["median"] > 0
    assert result["end_to_end_s"] == first["end_to_end"]["ours_s"]["median"] > 0
    assert alone["raster"]["ratio"] is alone["end_to_end"]["peer_s"] is None
    for short, name in (("fwd", "forward"), ("bwd", "backward")):
        seconds = first["one_core"][f"{name}_cpu_s"]["median"]
        assert result[f"{short}_mblend_per_core"] == pytest.approx(first["pairs"]["blends"] / seconds / 1e6)
        flops = first["pairs"]["blends"] * result["flops_per_blend"][name] / first["pairs"]["block_lane_share"]
        assert result[f"{short}_ratio_to_floor"] == pytest.approx(seconds / (flops / 50e9))


@pytest.mark.slow
def test_all_figures_of_the_rasteriser_are_there(tiny_logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rasterize.main(["--root", str(tiny_logs), "--log", "tiny0", "--frame", "6", "--quick", "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    points = sum(len(PandaSetLog(tiny_logs / "tiny0").sweep(frame).points) for frame in (5, 6))
    assert result["of"]["gaussians"] == points
    assert (result["of"]["width"], result["log"], result["quick"]) == (480, "tiny0", True)
    assert result["memory"]["images_mb"] < result["memory"]["extra_mb"] < 3000
    assert result["compile"]["cold_cpu_s"] > 2 * result["compile"]["warm_cpu_s"]
    assert 1 < result["peak_gflops_per_core"]["peak"] < 1000


def test_without_a_log_the_scene_is_a_street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDASET_ROOT", str(tmp_path))
    said = Console(record=True, quiet=False, width=200)
    args = argparse.Namespace(root=None, log="002", quick=True, count=300, frame=20)
    name, scenes = rasterize.scenes(args, said)
    assert name == "made street"
    assert scenes["A"].load == "street"
    assert "a made street instead" in said.export_text()
    with pytest.raises(SystemExit, match="no PandaSet log 002"):
        rasterize.scenes(argparse.Namespace(**{**vars(args), "root": tmp_path}), said)


def test_a_difference_between_two_stores_is_found_and_named(tiny_logs: Path, tmp_path: Path) -> None:
    config = BuildConfig(
        root=tiny_logs, out=tmp_path / "one", workers=0, logs=("tiny1",), protocol=ClipProtocol(test_logs=("tiny1",))
    )
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
