"""Known spinning LiDARs: their beam angles, how they turn, and how they sit beside the front camera.

PandaSet's Pandar64 fires its 64 beams every 0.2 degrees of its own turn: on log 002 each beam has one firing in each of
1800 columns, and the published elevations, with the sensor posed as here, are met to 0.01 degrees (median).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evaluation.lidar.truth import in_sensor_axes, nearest_beam
from flux4d.lidar import SpinningLidar

MAX_OFF_BEAM = np.radians(0.035)
"""Median distance of a sweep's points to their beams up to which a rig is taken to be theirs, rad. On log 002 it is
0.005 to 0.02 degrees, with the beams of a generated log 0.06; points that have nothing to do with beams 0.167 degrees
apart are 0.042 off."""
MAX_STRAY = 0.05
"""Share of points farther than `FAR_OFF` from every beam up to which a rig is taken to be theirs: on log 002 it is
below 0.004, with the beams of a generated log 0.18."""
FAR_OFF = np.radians(0.25)


@dataclass(frozen=True, slots=True, eq=False)
class LidarRig:
    """A spinning LiDAR and its place beside a camera. Sensor axes as PandaSet's: x left, y back, z up."""

    name: str
    elevations: NDArray[np.float64]  # [H] rad, descending
    columns: int  # firings a turn
    lidar2camera: NDArray[np.float64]  # [4, 4] rigid, to the camera's OpenCV axes
    camera: str = "front_camera"
    period: float = 0.1
    """s, of one turn; it ends at the sweep's stamp."""

    @property
    def rays(self) -> int:
        """Of one turn."""
        return len(self.elevations) * self.columns

    def turn(
        self,
        begin: NDArray[np.float64],  # [4, 4]
        middle: NDArray[np.float64],  # [4, 4]
        end: NDArray[np.float64],  # [4, 4]
        stamp: float,
        columns: int | None = None,
    ) -> SpinningLidar:
        """The turn that ends at a sweep's stamp, from the rear clockwise over the left.

        The sensor moves with the twist from `begin` to `end`, and through `middle`: that pose is the front camera's
        own, the others lie between two images. Of four ways to pose the sweeps of log 002 this one has the sharpest
        beams (median 0.008 degrees off; 0.013 through begin and end, 0.009 with a twist for each half).

        Args:
            begin: Pose of the sensor (lidar2world), a period before the stamp.
            middle: Pose half a period before the stamp.
            end: Pose at the stamp.
            stamp: s, in the time of the Gaussians to render.
            columns: Of the image; the rig's own unless another grid is wanted.
        """
        lidar = SpinningLidar(
            elevations=self.elevations,
            columns=columns or self.columns,
            lidar2world=np.stack([np.eye(4), np.linalg.inv(begin) @ end]),
            times=(stamp - self.period, stamp),
            start_azimuth=np.pi / 2,
            clockwise=True,
        )
        half = lidar.poses(np.array(0.5))
        return replace(lidar, lidar2world=np.stack([middle @ np.linalg.inv(half), middle @ half]))


def off_beam(
    points: NDArray[np.float64],  # [P, 3]
    times: NDArray[np.float64],  # [P]
    lidar: SpinningLidar,
) -> NDArray[np.float64]:
    """Angle of each point from the nearest beam, rad. [P]"""
    local = in_sensor_axes(points, times, lidar)
    elevation = np.arctan2(local[:, 2], np.hypot(local[:, 0], local[:, 1]))
    return np.asarray(np.abs(lidar.elevations[nearest_beam(lidar.elevations, elevation)] - elevation))


def is_of(off: NDArray[np.float64]) -> bool:
    """Whether points that are `off` [P] rad from a rig's beams were measured by it."""
    return bool(len(off)) and bool(np.median(off) <= MAX_OFF_BEAM) and bool(np.mean(off > FAR_OFF) <= MAX_STRAY)


def _degrees(text: str) -> NDArray[np.float64]:
    return np.radians(np.array(text.split(), np.float64))


def _generated(name: str, step: int, columns: int) -> LidarRig:
    """Rig of the generated logs (`flux4d-build synth`), each `step`-th of its beams."""
    dense = np.linspace(2.0, -6.0, 49)
    beams = np.concatenate([[15.0, 11.0, 8.0, 5.0, 3.0], dense, np.arange(-7.0, -15.0, -1.0), [-19.0, -25.0]])
    pitch, place = 0.003, np.array([0.0, 0.73, 1.81])  # of the front camera, rad and m, ego axes (x right, y forward)
    forward = np.array([0.0, np.cos(pitch), np.sin(pitch)])
    right = np.array([1.0, 0.0, 0.0])
    camera2ego = np.stack([right, np.cross(forward, right), forward], axis=1)
    lidar2camera = np.eye(4)
    lidar2camera[:3, :3] = camera2ego.T @ np.diag([-1.0, -1.0, 1.0])
    lidar2camera[:3, 3] = camera2ego.T @ (np.array([0.0, 0.15, 2.0]) - place)
    return LidarRig(name, np.radians(beams)[::step], columns, lidar2camera)


PANDAR64 = LidarRig(
    name="Pandar64 of PandaSet",
    # Hesai's angle correction table, as neurad-studio has it, top to bottom.
    elevations=_degrees(
        "14.882 11.032 8.059 5.057 3.04 2.028 1.86 1.688 1.522 1.351 1.184 1.013 0.846 0.675 0.508 0.337 "
        "0.169 0 -0.169 -0.337 -0.508 -0.675 -0.846 -1.013 -1.184 -1.351 -1.522 -1.688 -1.86 -2.028 -2.198 "
        "-2.365 -2.536 -2.7 -2.873 -3.04 -3.21 -3.375 -3.548 -3.712 -3.884 -4.05 -4.221 -4.385 -4.558 -4.72 "
        "-4.892 -5.057 -5.229 -5.391 -5.565 -5.726 -5.898 -6.061 -7.063 -8.059 -9.06 -9.885 -11.032 -12.006 "
        "-12.974 -13.93 -18.889 -24.897"
    ),
    columns=1800,
    # The devkit's `static_extrinsic_calibration.yaml` (its rotation and translation as they stand, not inverted), then
    # pitched by 0.036 degrees and moved by 2.7 cm to the rear and 0.8 cm down, so that the points of log 002 lie on
    # their beams: median distance 0.008 degrees, 0.027 with the published numbers alone.
    lidar2camera=np.array(
        [
            [-0.999467, 0.027134, 0.018147, 0.001743],
            [-0.017809, 0.012923, -0.999758, -0.047150],
            [-0.027362, -0.999548, -0.012433, -0.071426],
            [0.0, 0.0, 0.0, 1.0],
        ]
    ),
)
GENERATED = (_generated("generated log, large", 1, 1800), _generated("generated log, small", 2, 720))
RIGS: Sequence[LidarRig] = (PANDAR64, *GENERATED)
"""The rigs a log's sweeps are tried on."""
