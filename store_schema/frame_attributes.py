"""What a stored frame says beside its arrays: its time, the ego, its views and the names of its boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from store_schema.camera_model import PINHOLE, CameraModel, model_from_json, model_to_json
from store_schema.clip import ImageFormat, view_name
from store_schema.migrations import migrate_view

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class ViewAttributes:
    """One view of the frame: a camera at its own time, in the world frame."""

    camera: str
    time: float  # s since the log's first frame stamp
    cam2world: NDArray[np.float64]  # [4, 4] OpenCV axes
    K: NDArray[np.float64]  # [3, 3] pixels
    width: int
    height: int
    agent: str = ""
    model: CameraModel = PINHOLE
    image_format: ImageFormat = "jpeg"

    @property
    def name(self) -> str:
        """What names the camera in the log: `store_schema.clip.view_name`."""
        return view_name(self.agent, self.camera)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "agent": self.agent,
            "camera": self.camera,
            "time": self.time,
            "cam2world": self.cam2world.tolist(),
            "K": self.K.tolist(),
            "width": self.width,
            "height": self.height,
            "model": model_to_json(self.model),
            "image_format": self.image_format,
        }

    @classmethod
    def from_json(cls, raw: Any) -> ViewAttributes:
        """The view that `to_json` wrote.

        Raises:
            ValueError: a value is missing or of another type.
        """
        image_format = _get(raw, "image_format", str)
        if image_format not in ("jpeg", "png"):
            raise ValueError(f"image_format is {image_format!r}, not jpeg or png")
        return cls(
            camera=_get(raw, "camera", str),
            time=_number(raw, "time"),
            cam2world=_matrix(raw, "cam2world", 4),
            K=_matrix(raw, "K", 3),
            width=_get(raw, "width", int),
            height=_get(raw, "height", int),
            agent=_get(raw, "agent", str),
            model=model_from_json(_get(raw, "model", dict)),
            image_format="png" if image_format == "png" else "jpeg",
        )


@dataclass(frozen=True, slots=True, eq=False)
class FrameAttributes:
    """A frame without its arrays. World frame, metres, seconds since the log's first frame stamp."""

    time: float  # s, the frame's stamp: the sweep's, where there is LiDAR
    ego2world: NDArray[np.float64]  # [4, 4] of the first agent at `time`
    views: tuple[ViewAttributes, ...]  # of the view cameras, in the order of the build's
    has_cuboids: bool  # the log is annotated, whatever this frame holds
    track: tuple[str, ...]  # [M] of the boxes
    label: tuple[str, ...]  # [M] class names of the source

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "time": self.time,
            "ego2world": self.ego2world.tolist(),
            "views": [view.to_json() for view in self.views],
            "has_cuboids": self.has_cuboids,
            "track": list(self.track),
            "label": list(self.label),
        }

    @classmethod
    def from_json(cls, raw: Any, schema_version: int) -> FrameAttributes:
        """The attributes that `to_json` of a schema version wrote.

        Raises:
            ValueError: a value is missing or of another type.
        """
        views = [migrate_view(view) if schema_version < 4 else view for view in _get(raw, "views", list)]
        return cls(
            time=_number(raw, "time"),
            ego2world=_matrix(raw, "ego2world", 4),
            views=tuple(ViewAttributes.from_json(view) for view in views),
            has_cuboids=_get(raw, "has_cuboids", bool),
            track=_texts(raw, "track"),
            label=_texts(raw, "label"),
        )


def _get(raw: Any, name: str, kind: type[T]) -> T:
    if not isinstance(raw, Mapping) or name not in raw:
        raise ValueError(f"the attributes have no {name}")
    value = raw[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name} is {value!r:.80}, not a {kind.__name__}")
    return value


def _number(raw: Any, name: str) -> float:
    value = raw.get(name) if isinstance(raw, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r:.80}, not a number")
    return float(value)


def _matrix(raw: Any, name: str, size: int) -> NDArray[np.float64]:
    try:
        matrix = np.array(_get(raw, name, list), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is no matrix of numbers: {error}") from error
    if matrix.shape != (size, size):
        raise ValueError(f"{name} has shape {list(matrix.shape)}, not {[size, size]}")
    return matrix


def _texts(raw: Any, name: str) -> tuple[str, ...]:
    values = _get(raw, name, list)
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} holds more than texts")
    return tuple(values)
