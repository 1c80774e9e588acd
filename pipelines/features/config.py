"""Configuration that decides the features of a frame, beside its raw files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.features.camera_time import check_shift
from pipelines.sources.base import LogError, LogReader
from store_schema.protocol import FlowRules

FEATURES_VERSION = 3
"""Raised whenever this code would write other values for the same input, so that stored frames are made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """What determines a frame's features."""

    view_cameras: tuple[str, ...] = ("front_camera",)
    """Cameras whose images are trained on and scored, by `CameraFrame.name`; the paper uses the front camera."""
    neighbours: int = 3
    """Nearest neighbours whose mean distance is a point's scale (paper: 3)."""
    flow: FlowRules = field(default_factory=FlowRules)
    """Which box a point belongs to."""
    camera_time_shift: tuple[tuple[str, float], ...] = ()
    """(camera, s) of the cameras that expose later than their stamp says (negative: earlier), by name."""

    def __post_init__(self) -> None:
        if not self.view_cameras or len(set(self.view_cameras)) != len(self.view_cameras):
            raise ValueError(f"view_cameras must name at least one camera, each once, got {self.view_cameras}")
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {self.neighbours}; the paper uses 3")
        for name, shift in self.camera_time_shift:
            check_shift(name, shift)


def check_cameras(reader: LogReader, config: FeatureConfig) -> None:
    """Refuse a log that lacks a view camera or one whose time is to be shifted.

    Raises:
        LogError: names the cameras the log has.
    """
    _require(reader, "--camera", config.view_cameras)
    check_shifts(reader, dict(config.camera_time_shift))


def check_shifts(reader: LogReader, shifts: Mapping[str, float]) -> None:
    """Refuse time shifts (s, by camera) of cameras that a log lacks.

    Raises:
        LogError: names the cameras the log has.
    """
    _require(reader, "--camera-time-shift", tuple(shifts))


def _require(reader: LogReader, option: str, names: tuple[str, ...]) -> None:
    absent = [name for name in names if name not in reader.cameras]
    if absent:
        choice = f"choose {option} among {list(reader.cameras)}, or leave the log out"
        raise LogError(reader.log_id, f"has no camera {absent}: {choice}")
