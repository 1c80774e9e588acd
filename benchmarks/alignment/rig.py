"""Where the ego and its cameras are at any time, for `benchmarks.alignment`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.geometry.rigid import interpolate_pose
from pipelines.sources.base import LogReader


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Where something is, at any time: its poses with constant twists between; at the ends the nearest pair goes on."""

    times: NDArray[np.float64]  # [F] s
    poses: NDArray[np.float64]  # [F, 4, 4]

    def at(self, time: float) -> NDArray[np.float64]:
        after = int(np.clip(np.searchsorted(self.times, time), 1, len(self.times) - 1))
        start, end = self.times[after - 1], self.times[after]
        return interpolate_pose(self.poses[after - 1], self.poses[after], (time - start) / (end - start))


@dataclass(frozen=True, slots=True, eq=False)
class Rig:
    """A log's paths: of the ego and of each camera."""

    reader: LogReader
    ego: Track
    cameras: dict[str, Track]
    mounts: dict[str, NDArray[np.float64]]  # cam2ego, median over the frames

    @classmethod
    def of(cls, reader: LogReader) -> Rig:
        missing = reader.missing_frames()
        frames = [frame for frame in range(reader.num_frames) if frame not in missing]
        ego = Track(np.array([reader.frame_time(f) for f in frames]), np.stack([reader.ego2world(f) for f in frames]))
        cameras, mounts = {}, {}
        for name in reader.cameras:
            images = [reader.camera(name, frame) for frame in frames]
            cameras[name] = Track(np.array([c.time for c in images]), np.stack([c.cam2world for c in images]))
            mounts[name] = _median_pose([np.linalg.inv(ego.at(c.time)) @ c.cam2world for c in images])
        return cls(reader, ego, cameras, mounts)

    def mount_errors(self) -> dict[str, float]:
        """Largest distance of each camera from where its mount puts it on the ego, m."""
        errors = {}
        for name, track in self.cameras.items():
            there = [(self.ego.at(time) @ self.mounts[name])[:3, 3] for time in track.times]
            errors[name] = float(np.linalg.norm(there - track.poses[:, :3, 3], axis=1).max())
        return errors

    def speed(self, frame: int) -> float:
        """Of the ego over the sweep, m/s."""
        end = self.reader.frame_time(frame)
        return float(np.linalg.norm((self.ego.at(end) - self.ego.at(end - 0.1))[:3, 3]) / 0.1)


def _median_pose(poses: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    pose = np.median(poses, axis=0)
    left, _, right = np.linalg.svd(pose[:3, :3])
    pose[:3, :3] = left @ right
    return pose
