"""The clip: one training or evaluation sample in memory, as a reader hands it to a model.

Everything is in the clip's ego0 frame (the ego frame of the clip's first frame), in metres and in
seconds since the clip's first LiDAR sweep stamp. A view is (agent, camera); a clip has any number of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from store_schema.camera_model import PINHOLE, CameraModel

Split = Literal["train", "test"]
Setting = Literal["train_interpolation", "train_future", "evaluation"]
Role = Literal["input", "interpolation", "future"]
ImageFormat = Literal["jpeg", "png"]


def view_name(agent: str, camera: str) -> str:
    """What names an agent's camera wherever one text has to: ``camera@agent``, the camera alone in a log of one agent.

    For options, tables and file names. Made, never taken apart: views say agent and camera themselves.
    """
    return f"{camera}@{agent}" if agent else camera


class NotHeldError(KeyError):
    """A clip, member or frame that is asked for by name is not there; the message says what is."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError's own puts it in quotes


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """A row of the clip index: which frames of which log make this clip. Frame numbers are clip-relative."""

    clip_id: str
    """Unique, without dots: ``{log}-{setting}-s{first frame:03d}``."""
    log_id: str
    split: Split
    setting: Setting
    first_frame: int
    """Frame of the log that is frame 0 of the clip."""
    num_frames: int
    input_frames: tuple[int, ...]
    interpolation_frames: tuple[int, ...]
    future_frames: tuple[int, ...]

    @property
    def target_frames(self) -> tuple[int, ...]:
        """Frames to render: interpolation, then future."""
        return self.interpolation_frames + self.future_frames

    @property
    def log_frames(self) -> tuple[int, ...]:
        """Frames of the log that the clip spans, in order."""
        return tuple(range(self.first_frame, self.first_frame + self.num_frames))

    def role(self, frame: int) -> Role:
        """What a clip-relative frame is used for.

        Raises:
            NotHeldError: the clip does not use that frame.
        """
        if frame in self.input_frames:
            return "input"
        if frame in self.interpolation_frames:
            return "interpolation"
        if frame in self.future_frames:
            return "future"
        raise NotHeldError(f"clip {self.clip_id} does not use frame {frame}")


@dataclass(frozen=True, slots=True, eq=False)
class LiftedPoints:
    """The LiDAR points of the input frames, lifted; one row a point, N rows.

    Sorted by (frame, order in the sweep). `flow*`, `bucket` and `smooth_flow` are ground truth: never a model input.
    """

    means: NDArray[np.float32]  # [N, 3] m, ego0, at the point's own time
    scales: NDArray[np.float32]  # [N] m, mean distance to the 3 nearest neighbours of its sweep
    rgb: NDArray[np.uint8]  # [N, 3] colour of the pixel that sees it clearly; 127 where camera is -1
    camera: NDArray[np.int8]  # [N] index into Clip.rig_cameras of the camera that gave the colour, -1 none
    times: NDArray[np.float32]  # [N] s since the clip's first sweep stamp
    frame: NDArray[np.int16]  # [N] clip-relative input frame
    sensor: NDArray[np.uint8]  # [N] LiDAR that measured it (0 spinning, 1 forward)
    agent: NDArray[np.uint8]  # [N] index into Clip.agents of the agent that measured it
    intensity: NDArray[np.uint8]  # [N] 0..255
    in_view: NDArray[np.bool_]  # [N] projects into a clip camera's image of its own frame
    flow: NDArray[np.float32]  # [N, 3] m, ego0 axes, motion to the next sweep with ego motion removed
    flow_class: NDArray[np.uint8]  # [N] store_schema.labels.FlowClass
    bucket: NDArray[np.uint8]  # [N] store_schema.labels.Bucket
    smooth_flow: NDArray[np.float32] | None = None  # [N, 3] m, as `flow` along smoothed tracks; None in an old store

    def __post_init__(self) -> None:
        count = len(self.means)
        for field in fields(self):
            column = getattr(self, field.name)
            if column is not None and len(column) != count:
                raise ValueError(f"{field.name} has {len(column)} rows, means has {count}")

    def __len__(self) -> int:
        return len(self.means)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One image of the clip: an agent's camera at its own time."""

    frame: int  # clip-relative
    camera: str  # unique within the agent
    role: Role
    time: float  # s since the clip's first sweep stamp: the camera's own stamp plus the build's time shift
    cam2ego0: NDArray[np.float64]  # [4, 4] OpenCV camera axes to ego0
    K: NDArray[np.float64]  # [3, 3] pixels of the full-size image, pixel centres at +0.5
    width: int
    height: int
    image: bytes  # the log's own file, never re-encoded
    depth_pixel: NDArray[np.int32]  # [D] row * width + column, ascending
    depth: NDArray[np.float32]  # [D] m, z-depth of the nearest LiDAR return at that pixel
    depth_visible: NDArray[np.bool_]  # [D] False: the LiDAR saw it over something that hides it from the camera
    moving_mask: NDArray[np.bool_] | None  # [height, width] moving cuboids; None when the log has no cuboids
    image_format: ImageFormat = "jpeg"  # of `image`
    agent: str = ""  # who carries the camera; "" in a log of one agent
    model: CameraModel = PINHOLE  # what the lens does before K

    @property
    def name(self) -> str:
        """What names the camera in the clip: `view_name`."""
        return view_name(self.agent, self.camera)


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Cuboids of one clip frame in ego0; M rows. heading is +y of the box: x width, y length, z height."""

    frame: NDArray[np.int16]  # [M] clip-relative
    track: tuple[str, ...]  # [M] uuid
    label: tuple[str, ...]  # [M] class name of the source
    box2ego0: NDArray[np.float32]  # [M, 4, 4]
    size: NDArray[np.float32]  # [M, 3] m
    sensor: NDArray[np.int8]  # [M] -1 both LiDARs, 0 or 1 one of them
    moving: NDArray[np.bool_]  # [M] centre or corner moves >= 0.05 m to the next sweep


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One sample."""

    record: ClipRecord
    rig_cameras: tuple[str, ...]  # `view_name` of the cameras of the log that points may have been coloured from
    view_cameras: tuple[str, ...]  # `view_name` of the cameras whose images the clip holds
    sweep_times: NDArray[np.float64]  # [num_frames] s, frame stamps (the LiDAR's, if any) since the clip's first
    ego2ego0: NDArray[np.float64]  # [num_frames, 4, 4]
    points: LiftedPoints
    views: tuple[View, ...]  # sorted by (frame, agent, camera)
    boxes: Boxes | None  # None when the source has no cuboids
    agents: tuple[str, ...] = ("",)  # who drove; the first is the ego of ego0, "" where there is one alone

    def views_of(self, *roles: Role) -> tuple[View, ...]:
        """The views with one of the given roles, in order."""
        return tuple(view for view in self.views if view.role in roles)
