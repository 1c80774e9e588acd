"""Ground truth against its plain twins on every frame of the real slice, and the benchmark's figures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ground_truth
from pipelines.ground_truth.annotation_times import annotation_times, box_of_points
from pipelines.ground_truth.masks import moving_mask
from pipelines.ground_truth.scene_flow import SceneFlow, moving_boxes
from pipelines.sources.base import Cuboids
from store_schema.labels import FlowClass
from store_schema.protocol import AV2_RULES, P0_RULES, FlowRules
from tests.support.logs import real_slice
from tests.support.logs.pandaset_flow import pandaset_flow
from tests.support.logs.plain_ground_truth import plain_box_times, plain_flow, plain_moving_mask

FRAMES = 36
ALL_CAMERAS_AT = (0, 17, 35)


def same_flow(fast: SceneFlow, slow: SceneFlow) -> None:
    np.testing.assert_array_equal(fast.cuboid, slow.cuboid)
    np.testing.assert_array_equal(fast.flow_class, slow.flow_class)
    np.testing.assert_array_equal(fast.bucket, slow.bucket)
    np.testing.assert_allclose(fast.flow, slow.flow, rtol=0, atol=1e-9)


def neighbour(frame: int) -> Cuboids:
    """The frame that says what moves: the next one, the previous one at the end."""
    return real_slice.cuboids(frame + 1 if frame + 1 < FRAMES else frame - 1)


@pytest.mark.parametrize("frame", range(FRAMES))
def test_every_frame_against_the_plain_twins(frame: int) -> None:
    sweep = real_slice.sweep.__wrapped__(frame)  # not kept: 36 of them are 250 MB
    now, other = real_slice.cuboids(frame), neighbour(frame)
    later = other if other.frame > frame else None
    result = pandaset_flow(sweep, now, later)
    same_flow(result, plain_flow(sweep, now, later))
    counts = np.bincount(result.flow_class, minlength=4)
    if later is None:
        assert counts[FlowClass.IGNORED] == len(sweep.points)
    else:
        assert counts[FlowClass.FOREGROUND_DYNAMIC] > 5_000
        assert 0 < counts[FlowClass.IGNORED] < 1_000

    box_times = annotation_times(sweep, now, result.cuboid)
    other_time = sweep.time + 0.1 * (other.frame - frame)
    for name in real_slice.CAMERAS if frame in ALL_CAMERAS_AT else ("front",):
        camera = real_slice.camera(name, frame)
        arguments = camera, real_slice.WIDTH, real_slice.HEIGHT, now, other, sweep.time, other_time
        mask = moving_mask(*arguments, box_times=box_times)
        plain, doubtful = plain_moving_mask(*arguments, box_times)
        np.testing.assert_array_equal(mask[~doubtful], plain[~doubtful])
        assert doubtful.sum() < 10
        assert name != "front" or mask.sum() > 10_000


def test_masks_of_boxes_that_reach_behind_the_camera() -> None:
    """Cameras put beside moving boxes: the near plane cuts the boxes."""
    now, later = real_slice.cuboids(20), real_slice.cuboids(21)
    camera, times = real_slice.camera("front", 20), np.full(len(now.track), 2.0)
    rng = np.random.default_rng(0)
    crossed = 0
    for row in np.flatnonzero(moving_boxes(now, later) & (now.sensor < 1)):
        place = camera.cam2world.copy()
        place[:3, 3] = now.position[row] + rng.uniform(-0.6, 0.6, 3) * now.size[row]
        beside = dataclasses.replace(camera, cam2world=place)
        arguments = beside, real_slice.WIDTH, real_slice.HEIGHT, now, later, 2.0, 2.1
        mask, (plain, doubtful) = moving_mask(*arguments), plain_moving_mask(*arguments, times)
        np.testing.assert_array_equal(mask[~doubtful], plain[~doubtful])
        crossed += 0.05 < mask.mean() < 0.95
    assert crossed > 5


@pytest.mark.parametrize("rules", [AV2_RULES, FlowRules(expand_m=0.2), FlowRules(overlap="last")], ids=str)
def test_other_rules_against_the_plain_twin(rules: FlowRules) -> None:
    sweep, now, later = real_slice.sweep(20), real_slice.cuboids(20), real_slice.cuboids(21)
    result = pandaset_flow(sweep, now, later, rules)
    same_flow(result, plain_flow(sweep, now, later, rules))
    assert (result.cuboid != pandaset_flow(sweep, now, later, P0_RULES).cuboid).any()


def test_boxes_flagged_stationary_do_not_move() -> None:
    for frame in range(FRAMES - 1):
        now, later = real_slice.cuboids(frame), real_slice.cuboids(frame + 1)
        at_rest = now.stationary & np.isin(now.track, later.track)
        assert at_rest.sum() > 20
        assert not moving_boxes(now, later)[at_rest].any()


def test_the_benchmark_gives_its_figures(tiny_logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ground_truth.main(["--root", str(tiny_logs), "--log", "tiny0", "--frame", "3", "--quick", "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["points"] > 1000
    assert result["boxes"] > 5
    assert result["ours_cpu_s"] > 0
    assert result["speedup"] == result["speedup_spread"]["median"]
    assert set(result["parts"]) == set(result["peer_parts"]) | {"smoothed flow"}


@pytest.mark.parametrize("frame", [0, 17, 35])
def test_box_times_against_the_plain_twin(frame: int) -> None:
    sweep, boxes = real_slice.sweep(frame), real_slice.cuboids(frame)
    times = annotation_times(sweep, boxes, box_of_points(sweep, boxes))
    np.testing.assert_array_equal(times, plain_box_times(sweep, boxes))
