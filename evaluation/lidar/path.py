"""The spinning LiDAR of a clip: where it is and what it measured in each frame, from the version's frame store.

A clip holds the sweeps of its input frames only. What the held-out sweeps measured is in the frame store the version
was built from, beside the poses of the front camera that the sensor rides with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.lidar.rig import RIGS, LidarRig, is_of, off_beam
from evaluation.lidar.truth import RangeTruth, range_truth
from flux4d.lidar import SpinningLidar
from flux4d.rasterize.spinning.poses import poses_between
from store_schema.clip import Clip
from store_schema.frame_attributes import ViewAttributes
from store_schema.frame_store import StoredFrame, frames_key, read_frame
from store_schema.version.dataset import Dataset

SPINNING = 0
"""Id of the spinning LiDAR among a sweep's points."""
EGO = 0
"""Index of the agent whose LiDAR this is, among a log's agents."""
_CLOCK = 1e-3
"""s that stamps of clip and frame store may differ by; frames are 0.1 s apart."""


class NoLidarTruthError(ValueError):
    """What a clip's held-out sweeps measured cannot be told; the text says why."""


def frames_folder(dataset: Dataset) -> Path:
    """Folder of the frames that a version was assembled from.

    Raises:
        NoLidarTruthError: the store has no such folder, as one that was published without its frames.
    """
    config = dataset.manifest.config
    store = dataset.folder.parent.parent
    try:
        key = frames_key(config, dataset.manifest.schema_version)
    except KeyError as error:
        raise NoLidarTruthError(
            f"the config of version {dataset.version[:12]} has no {error}, so its frames cannot be found"
        ) from error
    folder = store / "frames" / key
    if not folder.is_dir():
        raise NoLidarTruthError(
            f"{folder} is missing: held-out LiDAR sweeps are only in the frame store, which this store was published "
            "without, or which another schema wrote; build the version from the logs again"
        )
    return folder


@dataclass(frozen=True, slots=True, eq=False)
class SensorPath:
    """Where the LiDAR of a clip is and what it measured, in the clip's frame and time."""

    rig: LidarRig
    log: Path  # folder of the log in the frame store
    clip: Clip
    zero: float  # s, stamp of the clip's first frame in the log's time
    world2ego0: NDArray[np.float64]
    camera_times: NDArray[np.float64]  # [F] s, clip time
    poses: NDArray[np.float64]  # [F, 4, 4] lidar2ego0 at the camera's times

    @classmethod
    def of(cls, frames: Path, clip: Clip, rigs: Sequence[LidarRig] = RIGS) -> SensorPath:
        """The path of a clip's LiDAR; of `rigs`, the one on whose beams the clip's points lie.

        Args:
            frames: The version's frame store (`frames_folder`).
            clip: The clip.
            rigs: Sensors that may have measured it.

        Raises:
            NoLidarTruthError: frames of the clip are not in the store or are not the clip's, the store lacks the
                front camera, or no rig fits.
        """
        log = frames / clip.record.log_id
        # The sensor's pose at a stamp lies between two images: one frame more on either side helps at the ends.
        first, count = clip.record.first_frame, clip.record.num_frames
        stored = [frame for f in range(first - 1, first + count + 1) if (frame := _attributes(log, f)) is not None]
        if missing := sorted(set(clip.record.log_frames) - {frame.frame for frame in stored}):
            raise NoLidarTruthError(f"{log} lacks frames {missing} of clip {clip.record.clip_id}: run the build again")
        begin = next(frame.attributes for frame in stored if frame.frame == first)
        zero = begin.time
        world2ego0 = np.linalg.inv(begin.ego2world).astype(np.float64, copy=False)
        for frame in stored:
            number = frame.frame - first
            if 0 <= number < count and abs(frame.attributes.time - zero - clip.sweep_times[number]) > _CLOCK:
                raise NoLidarTruthError(_stale(log, frame.frame, clip, "stamp"))
        tried = []
        for rig in sorted(rigs, key=lambda rig: rig.rays):  # all beams of a sparse rig may be some of a dense one's
            views = [_view(frame, rig.camera, log) for frame in stored]
            times = np.array([view.time - zero for view in views])
            poses = np.stack([world2ego0 @ view.cam2world @ rig.lidar2camera for view in views])
            path = cls(rig, log, clip, zero, world2ego0, times, poses)
            frame_number = clip.record.input_frames[0]
            off = off_beam(*path.sweep(frame_number), path.turn(frame_number))
            if is_of(off):
                return path
            tried.append(f"{np.degrees(np.median(off)) if len(off) else np.nan:.3f} ({rig.name})")
        raise NoLidarTruthError(
            f"log {clip.record.log_id}: its spinning LiDAR is none whose beams are known; median degrees of its points "
            f"to the nearest beam: {', '.join(tried)}. Add its beams to evaluation/lidar/rig.py"
        )

    def at(self, time: float) -> NDArray[np.float64]:
        """lidar2ego0 at a time of the clip; constant twists between images, the outermost go on at the ends."""
        after = int(np.clip(np.searchsorted(self.camera_times, time), 1, len(self.camera_times) - 1))
        begin, end = self.camera_times[after - 1], self.camera_times[after]
        share = np.array((time - begin) / (end - begin))
        return poses_between(self.poses[after - 1], self.poses[after], share)

    def turn(self, frame: int, columns: int | None = None) -> SpinningLidar:
        """The sweep of a clip frame; `columns` of the rig unless another grid is wanted."""
        stamp = float(self.clip.sweep_times[frame])
        begin, middle, end = (self.at(stamp - part * self.rig.period) for part in (1.0, 0.5, 0.0))
        return self.rig.turn(begin, middle, end, stamp, columns)

    def sweep(self, frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points [P, 3] m and times [P] s of the spinning LiDAR, in the clip's frame and time.

        Raises:
            NoLidarTruthError: the stored sweep is not the one the clip was made from.
        """
        number = self.clip.record.first_frame + frame
        arrays = read_frame(self.log, number, ("points", "times", "sensor", "agent")).arrays
        if frame in self.clip.record.input_frames and len(arrays.points) != (self.clip.points.frame == frame).sum():
            raise NoLidarTruthError(_stale(self.log, number, self.clip, "number of points"))
        mine = (arrays.sensor == SPINNING) & (arrays.agent == EGO)
        points = arrays.points[mine] @ self.world2ego0[:3, :3].T + self.world2ego0[:3, 3]
        return points, arrays.times[mine] - self.zero

    def truth(self, frame: int, lidar: SpinningLidar) -> RangeTruth:
        """The measured range image of a clip frame."""
        return range_truth(*self.sweep(frame), lidar)

    def returned_in_inputs(self) -> NDArray[np.bool_]:
        """Rays (beam and firing, counted from the turn's begin) that came back in some input sweep of the clip. [H, W]

        Returns of the own car do not count.
        """
        truths = (self.truth(frame, self.turn(frame)) for frame in self.clip.record.input_frames)
        return np.asarray(np.any([truth.returned & truth.known for truth in truths], axis=0))

    def origins(self, times: NDArray[np.floating]) -> NDArray[np.float64]:
        """[N, 3] place of the sensor at `times` [N] of the clip."""
        if not len(times):
            return np.zeros((0, 3))
        knots = np.arange(times.min() - 0.02, times.max() + 0.04, 0.01)
        places = np.stack([self.at(float(time))[:3, 3] for time in knots])
        return np.stack([np.interp(times, knots, axis) for axis in places.T], axis=1)


def _attributes(log: Path, frame: int) -> StoredFrame | None:
    """A frame without its arrays; None when it is not stored."""
    try:
        return read_frame(log, frame, ())
    except FileNotFoundError:
        return None


def _view(frame: StoredFrame, camera: str, log: Path) -> ViewAttributes:
    found = next((view for view in frame.attributes.views if view.name == camera), None)
    if found is None:
        raise NoLidarTruthError(
            f"{log}: the version was built without {camera}, whose poses say where the LiDAR is; "
            f"build it with --camera {camera} among its cameras"
        )
    return found


def _stale(log: Path, frame: int, clip: Clip, what: str) -> str:
    return (
        f"frame {frame} in {log} has another {what} than clip {clip.record.clip_id}: the frame store was filled from "
        "other raw files since; run the build again and score its version"
    )
