"""Presets of the generated log: image size, camera rig, beam patterns.

Positions, angles and stamp offsets are those measured on a real PandaSet log, rounded; beam elevations
are the Pandar64 data sheet's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Preset = Literal["small", "large"]
FRAME_PERIOD = 0.1
"""Seconds between sweep stamps."""
EGO_HEIGHT = 0.32
"""Height of the ego frame's origin above the road, m."""


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """One camera of the rig; intrinsics are in pixels of a 1920x1080 image."""

    name: str
    position: tuple[float, float, float]  # m, ego frame (x right, y forward, z up)
    azimuth: float  # rad, clockwise from the ego's heading
    pitch: float  # rad, positive looks up
    K: tuple[float, float, float, float]  # fx, fy, cx, cy
    offset: float  # s, stamp minus sweep stamp

    def cam2ego(self) -> NDArray[np.float64]:
        """[4, 4] rigid transform, OpenCV camera axes."""
        sin, cos = np.sin(self.azimuth), np.cos(self.azimuth)
        right = np.array([cos, -sin, 0.0])
        forward = np.array([sin * np.cos(self.pitch), cos * np.cos(self.pitch), np.sin(self.pitch)])
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
        matrix[:3, 3] = self.position
        return matrix


RIG: tuple[CameraSpec, ...] = (
    CameraSpec("front_camera", (0.00, 0.73, 1.81), 0.0, 0.003, (1970.0131, 1970.0091, 970.0002, 483.2988), -0.0498),
    CameraSpec("front_left_camera", (-0.64, 1.40, 1.53), -1.008, 0.004, (929.84, 930.06, 972.18, 508.01), -0.0606),
    CameraSpec("front_right_camera", (0.60, 1.40, 1.60), 1.008, 0.006, (930.04, 930.03, 965.05, 463.42), -0.0391),
    CameraSpec("left_camera", (-0.53, 0.40, 1.58), -1.598, 0.006, (930.45, 930.09, 991.69, 541.61), -0.0812),
    CameraSpec("right_camera", (0.69, 0.52, 1.55), 1.546, 0.006, (922.55, 922.42, 945.06, 517.58), -0.0186),
    CameraSpec("back_camera", (0.03, -0.45, 1.65), 3.112, 0.003, (933.47, 934.68, 896.47, 507.36), -0.0999),
)


@dataclass(frozen=True, slots=True)
class SpinningSpec:
    """Pandar64: 360 degrees in one period, clockwise from above, seam at the rear."""

    elevations: tuple[float, ...]  # rad, top to bottom
    columns: int
    position: tuple[float, float, float] = (0.0, 0.15, 2.00)  # m, ego
    max_range: float = 180.0  # m


@dataclass(frozen=True, slots=True)
class ForwardSpec:
    """PandarGT: a grid of 60 x 20 degrees ahead, one column after the other, left to right."""

    columns: int
    rows: int
    position: tuple[float, float, float] = (0.0, 0.75, 1.66)  # m, ego
    azimuth: float = 0.5236  # rad, half of the field
    elevation: tuple[float, float] = (-0.235, 0.114)  # rad
    first: float = -0.0985  # s, first column relative to the stamp
    last: float = -0.0045  # s
    max_range: float = 200.0  # m


@dataclass(frozen=True, slots=True)
class SynthConfig:
    """What a preset stands for. Width and height must have the 16:9 shape of the intrinsics."""

    width: int
    height: int
    spinning: SpinningSpec
    forward: ForwardSpec
    jpeg_quality: int = 93
    range_noise: float = 0.01  # m, standard deviation; clipped at three

    def __post_init__(self) -> None:
        if self.width * 9 != self.height * 16:
            raise ValueError(f"image size {self.width}x{self.height} is not 16:9; use e.g. 480x270")

    def intrinsics(self, camera: CameraSpec) -> tuple[float, float, float, float]:
        """(fx, fy, cx, cy) in pixels of this preset's images."""
        fx, fy, cx, cy = (round(value * self.width / 1920.0, 4) for value in camera.K)
        return fx, fy, cx, cy


def pandar64_elevations() -> NDArray[np.float64]:
    """[64] beam elevations in radians, top to bottom (not uniform: dense about the horizon)."""
    dense = np.linspace(2.0, -6.0, 49)
    return np.radians(
        np.concatenate([[15.0, 11.0, 8.0, 5.0, 3.0], dense, np.arange(-7.0, -15.0, -1.0), [-19.0, -25.0]])
    )


def preset(name: Preset) -> SynthConfig:
    """The configuration of a preset.

    Raises:
        ValueError: the name is not a preset.
    """
    beams = tuple(float(e) for e in pandar64_elevations())
    if name == "small":
        return SynthConfig(480, 270, SpinningSpec(beams[::2], 720), ForwardSpec(100, 60))
    if name == "large":
        return SynthConfig(1920, 1080, SpinningSpec(beams, 1800), ForwardSpec(430, 150))
    raise ValueError(f"preset {name!r} does not exist; use 'small' or 'large'")
