"""A camera's time shift: against the matrix logarithm and Slerp, as geometry, at the ends of logs, on a real log."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm, logm
from scipy.spatial.transform import Rotation, Slerp

from benchmarks.invariance.cpu_switches import plain_environment, switches
from benchmarks.logs import REPOSITORY
from pipelines.features.camera_time import MAX_SHIFT_S, shifted_camera
from pipelines.geometry.rigid import interpolate_pose
from pipelines.sources.base import CameraFrame, LogError
from pipelines.sources.pandaset.reader import PandaSetLog
from tests.support.logs.real_slice import real_log

SEEDS = st.integers(0, 2**31)
SHARES = st.floats(-1.0, 2.0)
TURNS = st.sampled_from([0.0, 1e-13, 1e-9, 1e-6, 0.99e-4, 1.01e-4, 1e-3, 0.05, 0.5, 2.0, 3.1])


def rigid(rng: np.random.Generator, turn: float | None = None, metres: float = 300.0) -> np.ndarray:
    pose = np.eye(4)
    axis = rng.normal(size=3)
    angle = rng.uniform(0, 3) if turn is None else turn
    pose[:3, :3] = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    pose[:3, 3] = rng.uniform(-metres, metres, 3)
    return pose


def interpolate_plain(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    """The definition, by the matrix logarithm and exponential."""
    return start @ np.real(expm(share * logm(np.linalg.inv(start) @ end)))


@dataclass
class FakeLog:
    """A log of one camera's poses."""

    poses: list[np.ndarray]
    times: list[float]
    missing: dict[int, str] = field(default_factory=dict)
    log_id: str = "fake"
    agents: tuple[str, ...] = ("",)

    @property
    def num_frames(self) -> int:
        return len(self.poses)

    def missing_frames(self) -> dict[int, str]:
        return self.missing

    def camera(self, camera: str, frame: int) -> CameraFrame:
        assert frame not in self.missing
        return CameraFrame(frame, camera, self.times[frame], self.poses[frame], np.eye(3), Path("none"))


def drive(seed: int, frames: int = 4) -> FakeLog:
    """A car's motion: 10 Hz, metres and hundredths of a radian between the frames."""
    rng = np.random.default_rng(seed)
    poses = [rigid(rng)]
    for _ in range(frames - 1):
        poses.append(poses[-1] @ rigid(rng, rng.uniform(0, 0.1), 2.0))
    return FakeLog(poses, (rng.uniform(-1, 100) + 0.1 * np.arange(frames)).tolist())


@settings(max_examples=60, deadline=None)
@given(SEEDS, TURNS, SHARES)
def test_poses_are_those_of_the_matrix_logarithm_and_of_slerp(seed: int, turn: float, share: float) -> None:
    rng = np.random.default_rng(seed)
    start = rigid(rng, metres=30.0)
    end = start @ rigid(rng, turn, 2.0)
    pose = interpolate_pose(start, end, share)
    # Near half a turn the logarithm itself loses digits.
    np.testing.assert_allclose(pose, interpolate_plain(start, end, share), atol=3e-8)
    if 0 <= share <= 1:
        slerp = Slerp([0, 1], Rotation.from_matrix(np.stack([start, end])[:, :3, :3]))
        np.testing.assert_allclose(pose[:3, :3], slerp(share).as_matrix(), atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(SEEDS, TURNS, SHARES)
def test_a_pose_is_rigid_and_the_ends_are_the_given_ones(seed: int, turn: float, share: float) -> None:
    rng = np.random.default_rng(seed)
    start = rigid(rng)
    end = start @ rigid(rng, turn, 2.0)
    pose = interpolate_pose(start, end, share)
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-10)
    assert np.linalg.det(pose[:3, :3]) > 0
    np.testing.assert_array_equal(pose[3], [0, 0, 0, 1])
    np.testing.assert_array_equal(interpolate_pose(start, end, 0.0), start)
    np.testing.assert_allclose(interpolate_pose(start, end, 1.0), end, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(SEEDS, SHARES)
def test_cameras_bolted_to_one_body_stay_as_they_are_to_each_other(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    start, mount, world = rigid(rng, metres=30.0), rigid(rng, metres=2.0), rigid(rng, metres=30.0)
    end = start @ rigid(rng, rng.uniform(0, 0.3), 2.0)
    moved = world @ interpolate_pose(start, end, share) @ mount
    np.testing.assert_allclose(interpolate_pose(world @ start @ mount, world @ end @ mount, share), moved, atol=1e-7)


def test_a_quarter_circle_by_hand() -> None:
    """Half of a quarter circle of radius 1 m about the origin."""
    end = np.eye(4)
    start = np.eye(4)
    start[:3, 3] = [1, 0, 0]
    end[:3, :3], end[:3, 3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]], [0, 1, 0]
    half = np.sqrt(0.5)
    np.testing.assert_allclose(interpolate_pose(start, end, 0.5)[:3, 3], [half, half, 0], atol=1e-11)


def test_half_a_turn_is_refused() -> None:
    with pytest.raises(ValueError, match="either way"):
        interpolate_pose(np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0]), 0.5)
    log = FakeLog([np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0])], [0.0, 0.1])
    with pytest.raises(LogError, match=r"log fake, frame 0: cam to frame 1: .* correct its poses"):
        shifted_camera(log, "cam", 0, 0.01)


def test_no_shift_is_the_readers_own_frame() -> None:
    log = drive(0)
    for frame in range(log.num_frames):
        camera = shifted_camera(log, "cam", frame, 0.0)
        assert camera.time == log.times[frame]
        assert camera.cam2world is log.poses[frame]
    # A single frame is enough for that.
    assert shifted_camera(drive(0, 1), "cam", 0, -0.0).frame == 0


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(0, 3), st.floats(-MAX_SHIFT_S, MAX_SHIFT_S))
def test_the_twist_is_that_of_the_side_the_shift_goes_to(seed: int, frame: int, shift: float) -> None:
    log = drive(seed)
    other = frame + (1 if shift > 0 else -1)
    if not 0 <= other < 4:
        other = 2 * frame - other  # at the ends of a log the nearest pair goes on
    camera = shifted_camera(log, "cam", frame, shift)
    share = shift / (log.times[other] - log.times[frame])
    assert camera.time == log.times[frame] + shift
    np.testing.assert_allclose(
        camera.cam2world, interpolate_plain(log.poses[frame], log.poses[other], share), atol=1e-8
    )


def test_a_missing_neighbour_is_replaced_by_the_other_one() -> None:
    log = drive(3)
    for missing, shift in ((2, 0.02), (0, -0.02)):
        damaged = replace(log, missing={missing: "not there"})
        other = 2 - missing
        camera = shifted_camera(damaged, "cam", 1, shift)
        expected = interpolate_plain(log.poses[1], log.poses[other], shift / (log.times[other] - log.times[1]))
        np.testing.assert_allclose(camera.cam2world, expected, atol=1e-9)
        assert np.abs(camera.cam2world - shifted_camera(log, "cam", 1, shift).cam2world).max() > 1e-4


def test_what_cannot_be_shifted_is_named() -> None:
    with pytest.raises(LogError, match=r"log fake, frame 0: cam cannot be shifted.* leave the time shift out"):
        shifted_camera(drive(0, 1), "cam", 0, 0.01)
    with pytest.raises(LogError, match=r"no frame beside this one is there .* fetch one of its neighbours, or leave"):
        shifted_camera(replace(drive(0), missing={0: "gone", 2: "gone"}), "cam", 1, 0.01)
    with pytest.raises(LogError, match="stamps must increase"):
        shifted_camera(replace(drive(0), times=[0.0, 0.1, 0.1, 0.3]), "cam", 1, 0.01)


@pytest.mark.parametrize("shift", [0.0501, -12.0, float("nan"), float("inf")])
def test_a_shift_out_of_bounds_is_refused(shift: float) -> None:
    with pytest.raises(ValueError, match=r"time shift of cam is .* seconds, not milliseconds"):
        shifted_camera(drive(0), "cam", 1, shift)


def test_the_poses_between_a_real_logs_frames_lie_on_its_path() -> None:
    log = PandaSetLog(real_log())
    apart, turned = [], []
    for name in log.cameras:
        cameras = [log.camera(name, frame) for frame in range(log.num_frames)]
        for before, camera, after in zip(cameras, cameras[1:], cameras[2:], strict=False):
            share = (camera.time - before.time) / (after.time - before.time)
            pose = interpolate_pose(before.cam2world, after.cam2world, share)
            apart.append(np.linalg.norm(pose[:3, 3] - camera.cam2world[:3, 3]))
            turned.append(Rotation.from_matrix(pose[:3, :3].T @ camera.cam2world[:3, :3]).magnitude())
    # Over 0.2 s a straight line misses an acceleration of 2 m/s2 by 10 mm; a shift bridges half of 0.1 s: 2.5 mm.
    assert len(apart) == 6 * 34
    assert 1e-4 < np.median(apart) < 0.012
    assert max(apart) < 0.03
    assert np.median(turned) < 1e-3
    assert max(turned) < 4e-3


def test_a_real_camera_moves_at_the_egos_speed_and_keeps_its_file() -> None:
    log = PandaSetLog(real_log())
    camera = log.camera("left_camera", 30)
    earlier = shifted_camera(log, "left_camera", 30, -0.012)
    assert type(earlier) is type(camera)
    assert earlier.path == camera.path
    assert earlier.time == camera.time - 0.012
    np.testing.assert_array_equal(earlier.K, camera.K)
    assert np.linalg.norm(earlier.cam2world[:3, 3] - camera.cam2world[:3, 3]) == pytest.approx(0.012 * 4.5, rel=0.1)


PRINT_HASH = """
import hashlib, sys
import numpy as np
from tests.pipelines.features.test_camera_time import FakeLog
from pipelines.features.camera_time import shifted_camera
digest = hashlib.sha256()
for number, poses in enumerate(np.load(sys.argv[1])):
    log = FakeLog(list(poses), [0.0, 0.1, 0.2, 0.3])
    for frame in range(4):
        digest.update(shifted_camera(log, "cam", frame, 0.0001 * (number - 30.5)).cam2world.tobytes())
print(digest.hexdigest())
"""


def test_the_bits_are_the_same_on_another_cpu(tmp_path: Path) -> None:
    np.save(tmp_path / "poses.npy", [drive(seed).poses for seed in range(60)])
    restricted = {name: value for name, value in switches()["all of these"].items() if name != "NUMBA_CPU_NAME"}
    command = [sys.executable, "-c", PRINT_HASH, str(tmp_path / "poses.npy")]
    hashes = [
        subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
        for environment in (plain_environment(), plain_environment() | restricted)
    ]
    assert len(hashes[0]) == 65
    assert hashes[0] == hashes[1]
