"""What the options of a build change in the store, and what they refuse."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.__main__ import main
from pipelines.build.plan import BuildConfig
from pipelines.build.run import PENDING, BuildResult, _remember, build, pending_build
from pipelines.build.tasks import FrameSource
from pipelines.features.config import FeatureConfig
from pipelines.features.frame_features import compute_frame
from pipelines.ground_truth.scene_flow import flow_ground_truth
from pipelines.ground_truth.track_smoothing import smoothed_flow, smoothed_motion
from pipelines.sources.pandaset.reader import PandaSetLog
from store_schema.files.patient_path import patience
from store_schema.files.retry import RetryPolicy
from store_schema.frame_store import frames_key
from store_schema.json_dataclass import from_json
from store_schema.labels import FlowClass
from store_schema.protocol import ClipProtocol, FlowRules
from store_schema.version.dataset import open_dataset
from tests.pipelines.build.test_build import QUIET

SHIFT_S = -0.0125


def options(root: Path, out: Path, **changes: object) -> BuildConfig:
    return BuildConfig(
        root=root, out=out, workers=0, logs=("tiny1",), protocol=ClipProtocol(test_logs=("tiny1",)), **changes
    )  # type: ignore[arg-type]


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


SEVEN = ClipProtocol(
    inputs=(0, 3, 6),
    interpolation=(1, 2, 4, 5),
    future=(7, 8),
    train_interpolation_stride=4,
    evaluation_stride=5,
    test_logs=("tiny1",),
)
"""Clips of 7 and 9 frames."""


def test_a_stopped_build_remembers_every_option(tiny_logs: Path, tmp_path: Path) -> None:
    rules = FlowRules(expand_m=0.2, overlap="last", lidars="any")
    config = options(tiny_logs, tmp_path, flow=rules, camera_time_shift={"left_camera": 0.004})
    config = replace(config, protocol=SEVEN, camera=("front_camera", "left_camera"), scheduler="tcp://host:1")
    _remember(config)
    assert json.loads((tmp_path / PENDING).read_bytes())["flow"]["overlap"] == "last"
    assert pending_build(tmp_path) == replace(config, root=str(tiny_logs.resolve()), out=str(tmp_path))


def test_another_protocol_is_another_version_of_the_same_frames(
    plain: tuple[Path, BuildResult], tiny_logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "store"
    shutil.copytree(plain[0], out)
    arguments = ["build", "--root", str(tiny_logs), "--out", str(out), "--workers", "0", "--logs", "tiny1"]
    arguments += ["--protocol.inputs", "0", "3", "6", "--protocol.interpolation", "1", "2", "4", "5"]
    arguments += ["--protocol.future", "7", "8", "--protocol.train-interpolation-stride", "4"]
    arguments += ["--protocol.evaluation-stride", "5", "--protocol.test-logs", "tiny1"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    seven = open_dataset(out)
    assert seven.version == printed.out.splitlines()[-1] != plain[1].version
    # The clips of the paper's protocol span frames 0 to 15 of the log, these 0 to 13: not one frame is made again.
    assert len(list((out / "frames").glob("*/tiny1/*.zip"))) == 16
    assert len(list((out / "frames").iterdir())) == 1
    spans = [(r.first_frame, r.num_frames, r.input_frames, r.target_frames) for r in seven.records]
    assert spans == [(first, 9, (0, 3, 6), (1, 2, 4, 5, 7, 8)) for first in (0, 5)]
    assert from_json(ClipProtocol, seven.manifest.config["protocol"]) == SEVEN
    assert main(["show", str(out)]) == 0
    assert "protocol.inputs" in (text := capsys.readouterr().out)
    assert "[0, 3, 6]" in text
    main(["diff", str(out), plain[1].version[:12], seven.version[:12], "--limit", "0"])
    assert "protocol.evaluation_stride: 20 -> 5" in capsys.readouterr().out


def test_options_of_the_command_line(tiny_logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["build", "--root", str(tiny_logs), "--out", str(tmp_path), "--flow.expand-m", "-1"]
    with pytest.raises((SystemExit, ValueError)):
        main(arguments)
    assert "expand_m" in capsys.readouterr().err


def test_a_request_of_the_release_before_is_resumed_with_its_test_logs(tiny_logs: Path, tmp_path: Path) -> None:
    config = options(tiny_logs, tmp_path)
    _remember(config)
    raw = json.loads((tmp_path / PENDING).read_bytes())
    # As it was written before the protocol was an option, and before flow and camera times were.
    old = {name: value for name, value in raw.items() if name not in ("flow", "camera_time_shift", "protocol")}
    (tmp_path / PENDING).write_text(json.dumps({**old, "test_logs": ["tiny1"]}))
    found = pending_build(tmp_path)
    assert (found.features, found.protocol) == (config.features, ClipProtocol(test_logs=("tiny1",)))
    assert found.content() == config.content()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda raw: {**raw, "flow": {"grow": 1}}, r"request of another release .*flow\.grow.* start the build again"),
        (lambda raw: {**raw, "workers": "two"}, "workers must be an integer, got 'two'"),
        (lambda raw: {**raw, "test_logs": []}, "request of another release .*BuildConfig has no field test_logs"),
        (lambda raw: [raw], "must be an object, a BuildConfig"),
    ],
)
def test_a_request_that_cannot_be_read_says_what_to_do(
    tiny_logs: Path, tmp_path: Path, content: Callable[[dict], object], message: str
) -> None:
    _remember(options(tiny_logs, tmp_path))
    raw = json.loads((tmp_path / PENDING).read_bytes())
    (tmp_path / PENDING).write_text(json.dumps(content(raw)))
    with pytest.raises(ValueError, match=message):
        pending_build(tmp_path)
    (tmp_path / PENDING).write_text("{")
    with pytest.raises(ValueError, match=r"build\.json is torn .* start the build again"):
        pending_build(tmp_path)


def test_equal_options_have_one_hash(tiny_logs: Path, tmp_path: Path) -> None:
    one = options(tiny_logs, tmp_path)
    two = options(tiny_logs, tmp_path, flow=FlowRules(expand_m=0), camera_time_shift={"front_camera": 0})
    assert frames_key(one.resolved().content()) == frames_key(two.resolved().content())


def test_patience_reaches_every_path_of_a_worker_task_and_is_no_part_of_the_version() -> None:
    config = BuildConfig(root="memory://logs", out="memory://store", source="pandaset", retry_minutes=3.0)
    patient = RetryPolicy.lasting(180.0)
    task = FrameSource(config.logs_root / "001", config.frames_folder / "001", "hash", config.features, "pandaset")
    sent = pickle.loads(pickle.dumps((task, config.store / "staging")))
    assert [patience(path) for path in (sent[0].path, sent[0].folder, sent[1])] == [patient] * 3
    assert config.content() == BuildConfig(root="memory://logs", out="memory://store", source="pandaset").content()
    with pytest.raises(ValueError, match="--retry-minutes must be 0 or more, got -1"):
        BuildConfig(root="r", out="o", retry_minutes=-1.0)


def test_a_resumed_build_waits_as_it_did_unless_told_otherwise(tmp_path: Path) -> None:
    _remember(BuildConfig(root=tmp_path, out=tmp_path, retry_minutes=2.0))
    assert pending_build(tmp_path).retry_minutes == 2.0
    request = json.loads((tmp_path / PENDING).read_text())
    del request["retry_minutes"]  # of a release before this one
    (tmp_path / PENDING).write_text(json.dumps(request))
    assert pending_build(tmp_path).retry_minutes == 0.25


def test_frames_do_not_depend_on_the_clip_protocol(tiny_logs: Path, tmp_path: Path) -> None:
    one = options(tiny_logs, tmp_path).resolved()
    two = replace(one, protocol=SEVEN)
    assert one.content() != two.content()
    assert frames_key(one.content()) == frames_key(two.content())
    assert one.frames_folder == two.frames_folder
