"""The log-reader protocol: what a source of driving data must hand over, and what it may leave out.

World frame, metres, float64; seconds since the log's first frame stamp, float64 (epoch seconds do not fit float32).
Transforms are named ``a2b`` and map a-coordinates to b. A log must have cameras, and frames with a stamp and an ego
pose. LiDAR, cuboids, labels and GPS are optional, and so are agents beside the ego: a source without them returns None,
and what follows from them is n/a, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from store_schema.camera_model import PINHOLE, CameraModel
from store_schema.clip import ImageFormat, view_name
from store_schema.files.paths import read_bytes


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


class CameraModelError(ValueError):
    """A camera whose lens cannot be projected yet: names the camera and its model, and gives the next step."""


def _printable(text: str) -> str:
    """Text that every terminal and every JSON file takes: names and columns of a damaged log can hold anything."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _rebuild_log_error(log_id: str, reason: str, frame: int | None, file: Path | str | None) -> LogError:
    return LogError(log_id, reason, frame=frame, file=file)


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """One LiDAR frame; P points of all LiDARs of all agents, in file order."""

    frame: int
    time: float  # s, the frame's stamp, `LogReader.frame_time` (PandaSet: the sweep's end)
    points: NDArray[np.float64]  # [P, 3] m, world, ego motion already compensated
    intensity: NDArray[np.float64]  # [P] 0..255
    times: NDArray[np.float64]  # [P] s, each point's own time
    sensor: NDArray[np.uint8]  # [P] 0 spinning, 1 forward
    agent: NDArray[np.uint8]  # [P] index into the log's agents: who measured it

    @classmethod
    def empty(cls, frame: int, time: float) -> Sweep:
        """A sweep without points: what a frame without LiDAR is to code that takes points as they come."""
        nothing, bytes_ = np.zeros(0), np.zeros(0, np.uint8)
        return cls(frame, time, np.zeros((0, 3)), nothing, nothing, bytes_, bytes_)


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
    """One image with its own stamp and pose. A source whose images are no files of their own overrides `image`."""

    frame: int
    camera: str
    time: float  # s, the camera's own stamp
    cam2world: NDArray[np.float64]  # [4, 4] OpenCV axes
    K: NDArray[np.float64]  # [3, 3] pixels
    path: Path  # the file it is from: the image's own, or a video
    agent: str = ""  # who carries the camera, one of the log's agents
    model: CameraModel = PINHOLE  # what the lens does before K
    image_format: ImageFormat = "jpeg"  # of what `image` returns; frames of a video come as PNG, which loses nothing

    @property
    def name(self) -> str:
        """What names the camera in the log: `store_schema.clip.view_name` of agent and camera."""
        return view_name(self.agent, self.camera)

    def image(self) -> bytes:
        """The image as `image_format`: a file's bytes, unchanged."""
        return read_bytes(self.path)

    def pinhole(self) -> NDArray[np.float64]:
        """K [3, 3], for code that projects with K alone; every projection of this package asks here.

        Raises:
            CameraModelError: the lens does more than a pinhole.
        """
        if self.model != PINHOLE:
            raise CameraModelError(
                f"camera {self.name} has a lens of model {self.model.kind}, and only {PINHOLE.kind} is projected so "
                "far: undistort its images and give their K, or leave the log out"
            )
        return self.K


class LogReader(Protocol):
    """One driving log. Methods raise `LogError` on bad input."""

    @property
    def log_id(self) -> str:
        """Name of the log, unique in its data set."""
        ...

    @property
    def agents(self) -> tuple[str, ...]:
        """Who drove. The first is the ego, whose pose is `ego2world`; a log of one agent has one, named ""."""
        ...

    @property
    def cameras(self) -> tuple[str, ...]:
        """`CameraFrame.name` of every agent's cameras, in a fixed order."""
        ...

    @property
    def num_frames(self) -> int:
        """Frames the log declares, present or not; frame numbers are 0..num_frames-1."""
        ...

    @property
    def epoch(self) -> float:
        """Epoch seconds of the first frame's stamp: what 0 s of this log is."""
        ...

    def missing_frames(self) -> dict[int, str]:
        """Frames that cannot be used because a file is not there, with the reason."""
        ...

    def frame_time(self, frame: int) -> float:
        """s, the stamp of a frame: its sweep's where there is LiDAR; ascending."""
        ...

    def ego2world(self, frame: int) -> NDArray[np.float64]:
        """[4, 4] of the first agent at the frame's stamp; x right, y forward, z up (PandaSet)."""
        ...

    def sweep(self, frame: int) -> Sweep | None:
        """The LiDAR points of a frame; None when the log has no LiDAR."""
        ...

    def cuboids(self, frame: int) -> Cuboids | None:
        """The boxes of a frame; None when the log has none."""
        ...

    def semantics(self, frame: int) -> NDArray[np.uint8] | None:
        """[P] class id a point, in the order of `sweep(frame).points`; None when the log has no labels."""
        ...

    def camera(self, camera: str, frame: int) -> CameraFrame:
        """The image, pose and stamp of one of `cameras`."""
        ...

    def gps(self) -> NDArray[np.float64] | None:
        """[F, 2] latitude and longitude of the ego in degrees (WGS84), one row a frame; None when the log has none."""
        ...

    def input_files(self) -> tuple[Path, ...]:
        """Every file the reader may open, sorted, for provenance."""
        ...


def camera_of(reader: LogReader, name: str, frame: int) -> CameraFrame:
    """One camera's frame, which must be of the camera that was asked for and of an agent of the log.

    Raises:
        LogError: as `LogReader.camera`, or the reader hands over something else.
    """
    camera = reader.camera(name, frame)
    if camera.name != name or camera.agent not in reader.agents:
        reason = f"the reader hands over {camera.name!r} for camera {name!r} of agents {list(reader.agents)}"
        raise LogError(reader.log_id, f"{reason}: correct the names of its camera frames", frame=frame)
    return camera


def sweep_of(reader: LogReader, frame: int) -> Sweep:
    """The sweep of a frame, without points where the log has no LiDAR."""
    sweep = reader.sweep(frame)
    return Sweep.empty(frame, reader.frame_time(frame)) if sweep is None else sweep
