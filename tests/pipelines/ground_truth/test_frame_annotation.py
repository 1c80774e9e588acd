"""What a stored frame takes from the cuboids of the frames around it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.features.config import FeatureConfig
from pipelines.features.frame_features import FrameComputer, compute_frame
from pipelines.ground_truth.scene_flow import flow_ground_truth
from pipelines.ground_truth.track_smoothing import HALF_WINDOW, smoothed_flow, smoothed_motion
from pipelines.sources.base import LogError
from pipelines.sources.pandaset.reader import PandaSetLog
from store_schema.codec import mask_from_runs
from store_schema.protocol import AV2_RULES
from tests.conftest import TINY_FRAMES
from tests.support.logs.plain_ground_truth import plain_box_times, plain_moving_mask

FRAME = 8
VIEWS = FeatureConfig(view_cameras=("front_camera", "left_camera", "back_camera"))


@pytest.fixture(scope="module")
def log(tiny_logs: Path) -> PandaSetLog:
    return PandaSetLog(tiny_logs / "tiny0")


@pytest.fixture
def copied(tiny_logs: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_logs / "tiny0", tmp_path / "tiny0")
    return tmp_path / "tiny0"


def masks(log: PandaSetLog, frame: int, config: FeatureConfig) -> dict[str, np.ndarray]:
    stored = compute_frame(log, frame, config)
    found = {}
    for number, view in enumerate(stored.attributes.views):
        rows = stored.arrays.moving_view == number
        runs = stored.arrays.moving_start[rows], stored.arrays.moving_length[rows]
        found[view.name] = mask_from_runs(*runs, view.height, view.width)
    return found


@pytest.mark.parametrize("frame", [FRAME, TINY_FRAMES - 1])
def test_stored_masks_are_of_boxes_at_the_times_of_their_returns(log: PandaSetLog, frame: int) -> None:
    sweep, cuboids = log.sweep(frame), log.cuboids(frame)
    other = frame + 1 if frame + 1 < TINY_FRAMES else frame - 1
    times = plain_box_times(sweep, cuboids)
    assert np.abs(times - sweep.time).max() > 0.05
    total = 0
    for name, mask in masks(log, frame, VIEWS).items():
        camera, height, width = log.camera(name, frame), *mask.shape
        pair = (cuboids, log.cuboids(other), sweep.time, log.frame_time(other))
        plain, doubtful = plain_moving_mask(camera, width, height, *pair, times)
        assert not ((mask != plain) & ~doubtful).any()
        total += int(mask.sum())
    assert total > 0


def test_masks_do_not_depend_on_the_rules_of_the_flow(log: PandaSetLog) -> None:
    one = masks(log, FRAME, VIEWS)
    two = masks(log, FRAME, FeatureConfig(view_cameras=VIEWS.view_cameras, flow=AV2_RULES))
    for name, mask in one.items():
        np.testing.assert_array_equal(mask, two[name])


def test_a_missing_frame_is_left_out_of_the_smoothing_around_it(copied: Path) -> None:
    (copied / "annotations/cuboids/12.pkl.gz").unlink()
    log = PandaSetLog(copied)
    computer = FrameComputer(log, FeatureConfig())
    for frame in (FRAME, 11, 13):
        stored = computer.compute(frame)
        window = [
            (log.frame_time(other), log.cuboids(other))
            for other in range(max(frame - HALF_WINDOW, 0), min(frame + HALF_WINDOW + 1, TINY_FRAMES))
            if other != 12
        ]
        cuboids = log.cuboids(frame)
        rows = flow_ground_truth(log.sweep(frame), cuboids, None).cuboid
        expected = smoothed_flow(log.sweep(frame), cuboids, rows, smoothed_motion(window, frame))
        np.testing.assert_array_equal(stored.arrays.smooth_flow, expected)
        assert stored.arrays.smooth_flow.any() == stored.arrays.flow.any() == (frame != 11)


def test_a_damaged_frame_near_by_is_named(copied: Path) -> None:
    (copied / f"annotations/cuboids/{FRAME + HALF_WINDOW}.pkl.gz").write_bytes(b"no pickle")
    log = PandaSetLog(copied)
    with pytest.raises(LogError, match=rf"log tiny0, frame {FRAME + HALF_WINDOW}, .*cuboids"):
        compute_frame(log, FRAME, FeatureConfig())
    compute_frame(log, FRAME - 1, FeatureConfig())
