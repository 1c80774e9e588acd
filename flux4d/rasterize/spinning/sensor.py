"""A spinning LiDAR over one turn: where its beams point, and where it is when they do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flux4d.rasterize.spinning.poses import poses_between, twist_between

MAX_ELEVATION = math.radians(80.0)
"""Beams steeper than this are refused: near the poles azimuth, and with it the image, has no meaning."""


@dataclass(frozen=True, slots=True, eq=False)
class SpinningLidar:
    """One turn: H beams in W columns. Sensor axes are z up; azimuth is measured about z from x.

    The image has a row for each beam, top beam first, and a column for each firing, first in time first. Its unit
    both ways is the column's width, so that a pixel is the same angle across and along. The sensor moves with a
    constant twist from `lidar2world[0]` at `times[0]` (left edge of column 0) to `lidar2world[1]` at `times[1]`
    (right edge of the last column).
    """

    elevations: NDArray[np.float64]  # [H] rad, descending
    columns: int  # W
    lidar2world: NDArray[np.float64]  # [2, 4, 4] rigid, at the turn's begin and end; world is the Gaussians' frame
    times: tuple[float, float]  # s, of begin and end, in the Gaussians' time
    start_azimuth: float  # rad, left edge of column 0
    clockwise: bool = True  # seen from above: azimuth falls with time

    def __post_init__(self) -> None:
        """Refuse what is no turn of a LiDAR."""
        beams = np.asarray(self.elevations)
        if beams.ndim != 1 or not len(beams) or not (np.abs(beams) <= MAX_ELEVATION).all():
            raise ValueError(f"elevations must be [H] radians within 80 degrees of the horizon, got {beams}")
        if (np.diff(beams) >= 0).any():
            raise ValueError("elevations must descend, top beam first; sort them, and leave doubled beams out")
        if not 4 <= self.columns <= 32768:
            raise ValueError(f"columns={self.columns}: a turn has 4 to 32768 of them, a Pandar64 at 10 Hz 1800")
        if self.lidar2world.shape != (2, 4, 4) or not np.isfinite(self.lidar2world).all():
            raise ValueError(f"lidar2world must be two finite poses [2, 4, 4], got shape {self.lidar2world.shape}")
        for pose in self.lidar2world:
            if np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)).max() > 1e-4 or np.linalg.det(pose[:3, :3]) < 0:
                raise ValueError("lidar2world must hold rotations; scaled or mirrored axes are no pose of a sensor")
        if not self.times[1] > self.times[0]:
            raise ValueError(f"times {self.times}: the turn must end after it begins")

    @property
    def column_width(self) -> float:
        """Angle of a pixel, rad."""
        return 2 * math.pi / self.columns

    @property
    def row_centers(self) -> NDArray[np.float64]:
        """[H] y of each beam, ascending, in column widths below the horizon."""
        return -np.asarray(self.elevations, np.float64) / self.column_width

    @property
    def twist(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Turn [3] in rad and shift [3] in m of the whole sweep, in sensor axes: log of ``pose0^-1 pose1``.

        Raises:
            ValueError: more than a quarter turn lies between the poses.
        """
        return twist_between(self.lidar2world[0], self.lidar2world[1])

    def poses(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 4, 4] lidar2world after a share [...] of the turn: 0 its begin, 1 its end."""
        return poses_between(self.lidar2world[0], self.lidar2world[1], share)

    def column_times(self) -> NDArray[np.float64]:
        """[W] s, when the middle of each column is measured."""
        share = (np.arange(self.columns) + 0.5) / self.columns
        return self.times[0] + share * (self.times[1] - self.times[0])

    def directions(self) -> NDArray[np.float64]:
        """[H, W, 3] unit vectors of the rays through the pixel centres, in sensor axes."""
        turned = (np.arange(self.columns) + 0.5) * self.column_width
        azimuth = self.start_azimuth + (-turned if self.clockwise else turned)
        up, flat = np.sin(self.elevations)[:, None], np.cos(self.elevations)[:, None]
        x, y = flat * np.cos(azimuth), flat * np.sin(azimuth)
        return np.stack([x, y, np.broadcast_to(up, x.shape)], axis=-1)

    def points(self, ranges: NDArray[np.floating]) -> NDArray[np.float64]:
        """World points [H, W, 3] at `ranges` [H, W] m along the rays, each from where the sensor then was.

        Raises:
            ValueError: the image has another size.
        """
        shape = (len(self.elevations), self.columns)
        if ranges.shape != shape:
            raise ValueError(f"ranges must have shape {shape}, one a ray, got {ranges.shape}")
        poses = self.poses((np.arange(self.columns) + 0.5) / self.columns)
        local = self.directions() * np.asarray(ranges, np.float64)[..., None]
        return np.asarray(np.einsum("cij,hcj->hci", poses[:, :3, :3], local) + poses[:, :3, 3])
