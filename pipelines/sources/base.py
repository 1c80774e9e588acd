"""The log-reader protocol: what a source of driving data must hand over.

World frame, metres, float64; seconds since the log's first LiDAR sweep stamp, float64 (epoch seconds
do not fit float32). Transforms are named ``a2b`` and map a-coordinates to b. LiDAR, cuboids and labels
are optional: a source without them returns None, and what follows from them is n/a, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from store_schema.files.location import read_bytes


class LogError(Exception):
    """Bad input in a log: names the log, the frame, the file and the reason, and gives the next step."""

    def __init__(self, log_id: str, reason: str, *, frame: int | None = None, file: Path | str | None = None) -> None:
        self.log_id, self.reason, self.frame, self.file = _printable(log_id), _printable(reason), frame, file
        where = f"log {self.log_id}"
        if frame is not None:
            where += f", frame {frame}"
        if file is not None:
            where += f", {_printable(str(file))}"
        super().__init__(f"{where}: {self.reason}")

    def __reduce__(self) -> tuple[object, ...]:
        # Default pickling would lose the keywords; Dask sends errors between processes.
        return _rebuild_log_error, (self.log_id, self.reason, self.frame, self.file)


def _printable(text: str) -> str:
    """Text that every terminal and every JSON file takes: names and columns of a damaged log can hold anything."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _rebuild_log_error(log_id: str, reason: str, frame: int | None, file: Path | str | None) -> LogError:
    return LogError(log_id, reason, frame=frame, file=file)


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """One LiDAR frame; P points of all LiDARs, in file order."""

    frame: int
    time: float  # s, the sweep's stamp (PandaSet: its end)
    ego2world: NDArray[np.float64]  # [4, 4] at `time`
    points: NDArray[np.float64]  # [P, 3] m, world, ego motion already compensated
    intensity: NDArray[np.float64]  # [P] 0..255
    times: NDArray[np.float64]  # [P] s, each point's own time
    sensor: NDArray[np.uint8]  # [P] 0 spinning, 1 forward


@dataclass(frozen=True, slots=True, eq=False)
class Cuboids:
    """Annotated boxes of one frame; M rows. x is width, y length (heading), z height."""

    frame: int
    track: tuple[str, ...]  # [M] uuid
    label: tuple[str, ...]  # [M]
    position: NDArray[np.float64]  # [M, 3] m, world, centre
    size: NDArray[np.float64]  # [M, 3] m
    yaw: NDArray[np.float64]  # [M] rad, counter-clockwise about world z; heading = R(yaw) (0, 1, 0)
    stationary: NDArray[np.bool_]  # [M] annotator's flag, a constant of the track
    sensor: NDArray[np.int8]  # [M] -1 both LiDARs, 0 or 1 only that one (sibling boxes)


@dataclass(frozen=True, slots=True, eq=False)
class CameraFrame:
    """One image with its own stamp and pose."""

    frame: int
    camera: str
    time: float  # s, the camera's own stamp
    cam2world: NDArray[np.float64]  # [4, 4] OpenCV axes
    K: NDArray[np.float64]  # [3, 3] pixels
    path: Path

    def jpeg(self) -> bytes:
        """The file's bytes, unchanged."""
        return read_bytes(self.path)


class LogReader(Protocol):
    """One driving log. Methods raise `LogError` on bad input."""

    @property
    def log_id(self) -> str:
        """Name of the log, unique in its data set."""
        ...

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in a fixed order."""
        ...

    @property
    def num_frames(self) -> int:
        """Frames the log declares, present or not; frame numbers are 0..num_frames-1."""
        ...

    @property
    def epoch(self) -> float:
        """Epoch seconds of the first sweep stamp: what 0 s of this log is."""
        ...

    def missing_frames(self) -> dict[int, str]:
        """Frames that cannot be used because a file is not there, with the reason."""
        ...

    def sweep_time(self, frame: int) -> float:
        """s, the stamp of a sweep, without reading it."""
        ...

    def sweep(self, frame: int) -> Sweep:
        """The LiDAR points of a frame."""
        ...

    def cuboids(self, frame: int) -> Cuboids | None:
        """The boxes of a frame; None when the log has none."""
        ...

    def semantics(self, frame: int) -> NDArray[np.uint8] | None:
        """[P] class id a point, in the order of `sweep(frame).points`; None when the log has no labels."""
        ...

    def camera(self, camera: str, frame: int) -> CameraFrame:
        """One camera's image, pose and stamp."""
        ...

    def gps(self) -> NDArray[np.float64] | None:
        """[F, 2] latitude and longitude of the ego in degrees (WGS84), one row a frame; None when the log has none."""
        ...

    def input_files(self) -> tuple[Path, ...]:
        """Every file the reader may open, sorted, for provenance."""
        ...
