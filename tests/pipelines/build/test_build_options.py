"""What the options of a build change in the store, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.__main__ import main
from pipelines.build.plan import BuildConfig
from pipelines.build.run import PENDING, BuildResult, _remember, build, pending_build
from pipelines.features.config import FeatureConfig
from pipelines.features.frame_features import compute_frame
from pipelines.ground_truth.point_boxes import FlowRules
from pipelines.ground_truth.scene_flow import flow_ground_truth
from pipelines.ground_truth.track_smoothing import smoothed_flow, smoothed_motion
from pipelines.sources.pandaset.reader import PandaSetLog
from store_schema.frame_store import frames_key
from store_schema.labels import FlowClass
from store_schema.version.dataset import open_dataset
from tests.pipelines.build.test_build import QUIET

SHIFT_S = -0.0125


def options(root: Path, out: Path, **changes: object) -> BuildConfig:
    return BuildConfig(root=root, out=out, workers=0, logs=("tiny1",), test_logs=("tiny1",), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain(tiny_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildResult]:
    out = tmp_path_factory.mktemp("plain")
    return out, build(options(tiny_logs, out), QUIET)


@pytest.fixture(scope="module")
def other(tiny_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildResult]:
    out = tmp_path_factory.mktemp("other")
    shift = {"front_camera": SHIFT_S, "left_camera": 0.0}
    return out, build(options(tiny_logs, out, flow=FlowRules(expand_m=0.4), camera_time_shift=shift), QUIET)


def test_the_smoothed_flow_of_a_clip(plain: tuple[Path, BuildResult], tiny_logs: Path) -> None:
    clip = open_dataset(plain[0]).read("tiny1-evaluation-s000")
    log, points = PandaSetLog(tiny_logs / "tiny1"), clip.points
    assert points.smooth_flow is not None
    world2ego0 = np.linalg.inv(log.ego2world(0))[:3, :3]
    everything = [(log.frame_time(frame), log.cuboids(frame)) for frame in range(log.num_frames)]
    for number in clip.record.input_frames:
        frame = compute_frame(log, number, FeatureConfig())
        cuboid = flow_ground_truth(log.sweep(number), log.cuboids(number), log.cuboids(number + 1)).cuboid
        expected = smoothed_flow(log.sweep(number), everything[number][1], cuboid, smoothed_motion(everything, number))
        np.testing.assert_array_equal(frame.arrays.smooth_flow, expected)
        rows = points.frame == number
        np.testing.assert_allclose(points.smooth_flow[rows], expected @ world2ego0.T, atol=5.1e-4)
    moving = points.flow_class == FlowClass.FOREGROUND_DYNAMIC
    # Generated tracks are true in every frame, so that smoothing has little to change.
    apart = np.linalg.norm(points.smooth_flow - points.flow, axis=1)
    assert 0 < apart[moving].mean() < 0.05
    assert not points.smooth_flow[points.flow_class == FlowClass.BACKGROUND_STATIC].any()


def test_hidden_returns_are_kept_and_marked(plain: tuple[Path, BuildResult]) -> None:
    clip = open_dataset(plain[0]).read("tiny1-evaluation-s000")
    hidden = [int((~view.depth_visible).sum()) for view in clip.views]
    assert sum(hidden) > 0
    assert sum(hidden) < 0.2 * sum(len(view.depth) for view in clip.views)
    for view in clip.views:
        assert (np.diff(view.depth_pixel) > 0).all()
        assert len(view.depth) == len(view.depth_visible) == len(view.depth_pixel)


def test_other_ground_truth_is_another_version(
    plain: tuple[Path, BuildResult], other: tuple[Path, BuildResult]
) -> None:
    assert plain[1].version != other[1].version
    config = open_dataset(other[0]).manifest.config["features"]
    assert config["flow"] == {"expand_m": 0.4, "overlap": "smallest", "lidars": "own"}
    assert config["camera_time_shift"] == [["front_camera", SHIFT_S]]
    one, two = (open_dataset(out).read("tiny1-evaluation-s000") for out, _ in (plain, other))
    in_boxes = [(clip.points.flow_class > FlowClass.BACKGROUND_STATIC).sum() for clip in (one, two)]
    assert in_boxes[1] > in_boxes[0] > 0
    np.testing.assert_array_equal(one.points.means, two.points.means)


def test_a_shifted_camera_has_another_time_pose_and_depth(
    plain: tuple[Path, BuildResult], other: tuple[Path, BuildResult]
) -> None:
    one, two = (open_dataset(out).read("tiny1-evaluation-s000") for out, _ in (plain, other))
    for a, b in zip(one.views, two.views, strict=True):
        assert b.time == pytest.approx(a.time + SHIFT_S, abs=2e-9)
        assert a.image == b.image
    moved = [np.linalg.norm(a.cam2ego0[:3, 3] - b.cam2ego0[:3, 3]) for a, b in zip(one.views, two.views, strict=True)]
    assert 0.01 < np.median(moved) < 0.5
    assert any(not np.array_equal(a.depth, b.depth) for a, b in zip(one.views, two.views, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera_time_shift": {"front_camera": 12.0}}, "time shift of front_camera is .* at most 0.05 s"),
        ({"camera_time_shift": {"front_camera": float("nan")}}, "time shift of front_camera is .* at most 0.05 s"),
        (
            {"camera_time_shift": {"roof_camera": 0.01}},
            r"no camera \['roof_camera'\]: choose --camera-time-shift among",
        ),
    ],
)
def test_a_shift_that_cannot_be_is_refused(tiny_logs: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(options(tiny_logs, tmp_path, **changes), QUIET)


def test_a_stopped_build_remembers_every_option(tiny_logs: Path, tmp_path: Path) -> None:
    rules = FlowRules(expand_m=0.2, overlap="last", lidars="any")
    config = options(tiny_logs, tmp_path, flow=rules, camera_time_shift={"left_camera": 0.004})
    _remember(config)
    assert json.loads((tmp_path / PENDING).read_bytes())["flow"]["overlap"] == "last"
    found = pending_build(tmp_path)
    assert (found.flow, found.camera_time_shift, found.features) == (rules, {"left_camera": 0.004}, config.features)


def test_options_of_the_command_line(tiny_logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["build", "--root", str(tiny_logs), "--out", str(tmp_path), "--flow.expand-m", "-1"]
    with pytest.raises((SystemExit, ValueError)):
        main(arguments)
    assert "expand_m" in capsys.readouterr().err


def test_a_request_of_the_release_before_is_resumed_with_the_defaults(tiny_logs: Path, tmp_path: Path) -> None:
    config = options(tiny_logs, tmp_path)
    _remember(config)
    raw = json.loads((tmp_path / PENDING).read_bytes())
    del raw["flow"], raw["camera_time_shift"]
    (tmp_path / PENDING).write_text(json.dumps(raw))
    assert pending_build(tmp_path).features == config.features
    (tmp_path / PENDING).write_text(json.dumps({**raw, "flow": {"grow": 1}}))
    with pytest.raises(ValueError, match=r"request of another release .* start the build again"):
        pending_build(tmp_path)


def test_equal_options_have_one_hash(tiny_logs: Path, tmp_path: Path) -> None:
    one = options(tiny_logs, tmp_path)
    two = options(tiny_logs, tmp_path, flow=FlowRules(expand_m=0), camera_time_shift={"front_camera": 0})
    assert frames_key(one.resolved().content()) == frames_key(two.resolved().content())
