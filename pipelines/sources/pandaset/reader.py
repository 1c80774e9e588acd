"""PandaSet: one folder per log, LiDAR and annotations as gzip pickles, six cameras.

Traps this reader avoids (measured, see docs/pandaset.md): points are already in the world frame;
``lidar/poses.json`` is an ego pose at the END of the sweep; every camera has its own stamp; files are
matched by the frame number in their name, because a log can lack sweeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pipelines.sources.base import CameraFrame, Cuboids, LogError, Sweep
from pipelines.sources.files import list_folder, subfolder, unreadable
from pipelines.sources.pandaset.image import PandaSetImage
from pipelines.sources.pandaset.json_files import MAX_POSITION_M, read_gps, read_intrinsics, read_poses, read_stamps
from pipelines.sources.pandaset.layout import (
    CAMERA,
    CUBOIDS,
    GPS,
    IMAGE_NAME,
    LIDAR,
    META,
    SEMSEG,
    TABLE_NAME,
    camera_names,
    frame_files,
)
from pipelines.sources.pandaset.table import FrameTable
from store_schema.protocol import LOG_ID

_MAX_SIZE_M = 1000.0
"""Bound of a cuboid's side."""
_MAX_YAW = 4 * np.pi
"""Bound of a cuboid's yaw, rad; what is beyond is in degrees."""
_MAX_LAG_S = 10.0
"""A time further than this from its sweep's stamp is in another unit or of another log."""


@dataclass(frozen=True, slots=True, eq=False)
class _Camera:
    """One camera folder, read at opening: F frames."""

    K: NDArray[np.float64]  # [3, 3] pixels
    times: NDArray[np.float64]  # [F] s
    cam2world: NDArray[np.float64]  # [F, 4, 4]
    images: dict[int, Path]


class PandaSetLog:
    """One log in PandaSet layout; implements `pipelines.sources.base.LogReader`.

    Opening reads the JSON files and lists the folders; sweeps, cuboids and labels are read when asked
    for and not kept. A log can be pickled and read by several processes.
    """

    def __init__(self, root: Path) -> None:
        """Open a log.

        Args:
            root: the log's folder; its name is the log id. A path or, for a log behind a URL, a
                `universal_pathlib.UPath`.

        Raises:
            LogError: the folder is no log, or a JSON file is missing, damaged or of another length.
        """
        self._root = root
        self._id = root.absolute().name
        try:
            self._open()
        except OSError as error:
            raise unreadable(self._id, error, root) from error

    def _open(self) -> None:
        if not self._root.is_dir():
            raise LogError(self._id, "there is no such folder; check the name, or where a link leads", file=self._root)
        if not LOG_ID.fullmatch(self._id):
            reason = "the folder's name becomes part of clip ids: rename it to letters, digits, - and _"
            raise LogError(self._id, reason, file=self._root)
        stamps = read_stamps(self._id, self._root / LIDAR / "timestamps.json")
        self._epoch = float(stamps[0])
        self._times = stamps - self._epoch
        self._ego2world = read_poses(self._id, self._root / LIDAR / "poses.json", len(stamps))
        self._sweeps = frame_files(self._id, self._root / LIDAR, TABLE_NAME, self.num_frames)
        self._cuboids, self._semseg = self._annotations(CUBOIDS), self._annotations(SEMSEG)
        names = camera_names(self._id, subfolder(self._id, self._root, CAMERA))
        self._cameras = {name: self._open_camera(name) for name in names}
        self._gps_file = self._find_gps()
        self._gps = None if self._gps_file is None else read_gps(self._id, self._gps_file, self.num_frames)

    @property
    def log_id(self) -> str:
        """The folder's name."""
        return self._id

    @property
    def agents(self) -> tuple[str, ...]:
        """One car, without a name."""
        return ("",)

    @property
    def cameras(self) -> tuple[str, ...]:
        """The camera folders' names, in the order of `pandaset_layout.CAMERAS`, then sorted."""
        return tuple(self._cameras)

    @property
    def num_frames(self) -> int:
        """Frames that ``lidar/timestamps.json`` lists."""
        return len(self._times)

    @property
    def epoch(self) -> float:
        """Epoch seconds of the first sweep stamp."""
        return self._epoch

    def missing_frames(self) -> dict[int, str]:
        """Frames without their sweep, an image or, where the log has them, cuboids or labels; with the reason."""
        tables = {LIDAR: self._sweeps, CUBOIDS: self._cuboids, SEMSEG: self._semseg}
        needed = {f"{name}/{{:02d}}.pkl.gz": files for name, files in tables.items() if files is not None}
        needed |= {f"{CAMERA}/{name}/{{:02d}}.jpg": camera.images for name, camera in self._cameras.items()}
        missing = {}
        for frame in range(self.num_frames):
            if absent := [name.format(frame) for name, files in needed.items() if frame not in files]:
                missing[frame] = f"{', '.join(absent)} not there"
        return missing

    def frame_time(self, frame: int) -> float:
        """s, the stamp of a sweep (its end), without reading it.

        Raises:
            LogError: the log does not have that frame.
        """
        self._check(frame)
        return float(self._times[frame])

    def ego2world(self, frame: int) -> NDArray[np.float64]:
        """[4, 4] at the sweep's stamp; x right, y forward, z up.

        Raises:
            LogError: the log does not have that frame.
        """
        self._check(frame)
        pose: NDArray[np.float64] = self._ego2world[frame].copy()
        return pose

    def sweep(self, frame: int) -> Sweep:
        """Read one sweep.

        Raises:
            LogError: the sweep is missing, damaged, empty, or a value is not what it should be.
        """
        table = self._read(LIDAR, self._sweeps, frame)
        if not len(table):
            raise table.error("the sweep holds no points")
        # The epoch goes first: what is left is small, and exact.
        times = table.floats("t") - self._epoch
        if (dtype := table.data["t"].dtype) != np.float64:
            raise table.error(f"column 't' has dtype {dtype}, epoch seconds only fit float64")
        self._check_lag(times, frame, table.path)
        return Sweep(
            frame=frame,
            time=float(self._times[frame]),
            points=table.floats("x", "y", "z", low=-MAX_POSITION_M, high=MAX_POSITION_M, kinds="f"),
            intensity=table.floats("i", low=0, high=255),
            times=times,
            sensor=table.integers("d", 0, 1).astype(np.uint8),
            agent=np.zeros(len(times), np.uint8),
        )

    def cuboids(self, frame: int) -> Cuboids | None:
        """Read the boxes of one frame; None when the log has none at all.

        Raises:
            LogError: the file is missing or damaged, a value is not what it should be, or a track stands twice.
        """
        if self._cuboids is None:
            self._check(frame)
            return None
        table = self._read(CUBOIDS, self._cuboids, frame)
        track = table.texts("uuid")
        if len(set(track)) < len(track):
            twice = sorted({uuid for uuid in track if track.count(uuid) > 1})
            raise table.error(f"track {twice[0]} stands more than once")
        size = table.floats("dimensions.x", "dimensions.y", "dimensions.z", high=_MAX_SIZE_M)
        if len(flat := np.flatnonzero((size <= 0).any(axis=1))):
            raise table.error(f"cuboid {track[flat[0]]} has size {size[flat[0]].tolist()}, expected more than 0 m")
        return Cuboids(
            frame=frame,
            track=track,
            label=table.texts("label"),
            position=table.floats("position.x", "position.y", "position.z", low=-MAX_POSITION_M, high=MAX_POSITION_M),
            size=size,
            yaw=table.floats("yaw", low=-_MAX_YAW, high=_MAX_YAW),
            stationary=table.flags("stationary"),
            sensor=table.integers("cuboids.sensor_id", -1, 1).astype(np.int8),
        )

    def semantics(self, frame: int) -> NDArray[np.uint8] | None:
        """Read the class id of every point [P], in the order of the sweep; None when the log has no labels.

        Reads the sweep too, to check that there is one label a point.

        Raises:
            LogError: the file is missing or damaged, or its length is not that of the sweep.
        """
        if self._semseg is None:
            self._check(frame)
            return None
        table = self._read(SEMSEG, self._semseg, frame)
        points = len(self._read(LIDAR, self._sweeps, frame))
        if len(table) != points:
            raise table.error(f"labels {len(table)} points, the sweep has {points}")
        return table.integers("class", 0, 255).astype(np.uint8)

    def camera(self, camera: str, frame: int) -> PandaSetImage:
        """One image's path, stamp, pose and intrinsics; the image is read, and checked, by its method ``image``.

        Raises:
            LogError: the log does not have that camera or frame, or the image is missing.
        """
        self._check(frame)
        if camera not in self._cameras:
            reason = (
                f"there is no camera {camera!r}, the log has {', '.join(self.cameras) or 'none'}; take one of these"
            )
            raise LogError(self._id, reason, file=self._root / CAMERA)
        held = self._cameras[camera]
        return PandaSetImage(
            log_id=self._id,
            frame=frame,
            camera=camera,
            time=float(held.times[frame]),
            cam2world=held.cam2world[frame].copy(),
            K=held.K.copy(),
            path=self._path(f"{CAMERA}/{camera}", held.images, frame, "jpg"),
        )

    def image_size(self, image: CameraFrame) -> tuple[int, int]:
        """(width, height) in pixels, from the JPEG's header.

        Raises:
            LogError: as `PandaSetImage.image`.
        """
        height, width = simplejpeg.decode_jpeg_header(image.image())[:2]
        return int(width), int(height)

    def gps(self) -> NDArray[np.float64] | None:
        """[F, 2] latitude and longitude in degrees (WGS84), one row a frame; None without ``meta/gps.json``."""
        return None if self._gps is None else self._gps.copy()

    def input_files(self) -> tuple[Path, ...]:
        """Every file this reader may open, sorted."""
        return tuple(sorted(self._input_files()))

    def _input_files(self) -> Iterator[Path]:
        yield self._root / LIDAR / "timestamps.json"
        yield self._root / LIDAR / "poses.json"
        for files in (self._sweeps, self._cuboids, self._semseg):
            yield from (files or {}).values()
        if self._gps_file is not None:
            yield self._gps_file
        for name, camera in self._cameras.items():
            for file in ("intrinsics.json", "poses.json", "timestamps.json"):
                yield self._root / CAMERA / name / file
            yield from camera.images.values()

    def _open_camera(self, name: str) -> _Camera:
        folder = self._root / CAMERA / name
        # Listed first: a remote file system then knows the folder's files.
        images = frame_files(self._id, folder, IMAGE_NAME, self.num_frames)
        stamps = read_stamps(self._id, folder / "timestamps.json", self.num_frames)
        times = stamps - self._epoch
        for frame in range(self.num_frames):
            self._check_lag(times[frame : frame + 1], frame, folder / "timestamps.json")
        return _Camera(
            K=read_intrinsics(self._id, folder / "intrinsics.json"),
            times=times,
            cam2world=read_poses(self._id, folder / "poses.json", self.num_frames),
            images=images,
        )

    def _find_gps(self) -> Path | None:
        meta = subfolder(self._id, self._root, META)
        entries = list_folder(self._id, meta) if meta is not None else []
        return next((path for path in entries if path.name == GPS), None)

    def _annotations(self, name: str) -> dict[int, Path] | None:
        folder = subfolder(self._id, self._root, name)
        return None if folder is None else frame_files(self._id, folder, TABLE_NAME, self.num_frames)

    def _read(self, folder: str, files: dict[int, Path], frame: int) -> FrameTable:
        self._check(frame)
        return FrameTable.read(self._id, frame, self._path(folder, files, frame, "pkl.gz"))

    def _path(self, folder: str, files: dict[int, Path], frame: int, suffix: str) -> Path:
        if frame not in files:
            path = self._root / folder / f"{frame:02d}.{suffix}"
            raise LogError(self._id, "the file is missing; fetch it, or leave the frame out", frame=frame, file=path)
        return files[frame]

    def _check(self, frame: int) -> None:
        if not 0 <= frame < self.num_frames:
            raise LogError(self._id, f"the log has frames 0 to {self.num_frames - 1}", frame=frame, file=self._root)

    def _check_lag(self, times: NDArray[np.float64], frame: int, path: Path) -> None:
        """Refuse times that cannot belong to the frame."""
        lag = float(np.abs(times - self._times[frame]).max())
        if lag > _MAX_LAG_S:
            reason = f"times are up to {lag:.4g} s from the sweep's stamp, expected at most {_MAX_LAG_S:g} s"
            reason += "; fetch the file again"
            raise LogError(self._id, reason, frame=frame, file=path)
