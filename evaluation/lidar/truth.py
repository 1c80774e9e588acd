"""True range image of a spinning LiDAR: its measured returns as an image of beams and firings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flux4d.lidar import SpinningLidar

OWN_BODY = 2.0
"""m: what returns from nearer is the car that carries the sensor."""


@dataclass(frozen=True, slots=True, eq=False)
class RangeTruth:
    """One true turn: H beams by W firings."""

    range: NDArray[np.float32]  # [H, W] m, 0 where nothing came back
    returned: NDArray[np.bool_]  # [H, W]
    known: NDArray[np.bool_]  # [H, W] False where the sensor looks at its own car: not to be scored
    points: int
    """Points the image was made of."""
    off_beam: int
    """Points left out, as they lie farther from every beam than `range_truth` allows."""
    hidden: int
    """Points behind another one of the same beam and column."""


def range_truth(
    points: NDArray[np.float64],  # [P, 3]
    times: NDArray[np.float64],  # [P]
    lidar: SpinningLidar,
    max_off: float = np.radians(0.25),
) -> RangeTruth:
    """Sort a sweep's points, each seen from where the sensor was at its time, into the nearest beam and its column.

    Args:
        points: Places at their own times, m, in the turn's world axes.
        times: s.
        lidar: The turn.
        max_off: Points farther than this from every beam are left out and counted, rad; not so those of the own car.

    Raises:
        ValueError: shapes differ, or points from a time that is not this turn's.
    """
    if points.shape != (len(times), 3):
        raise ValueError(f"points must be [P, 3] with a time each, got {points.shape} and {times.shape}")
    begin, end = lidar.times
    share = (times - begin) / (end - begin)
    if len(share) and not (share.min() > -0.25 and share.max() < 1.25):
        raise ValueError(
            f"points are of {times.min():.3f} to {times.max():.3f} s, the turn of {begin:.3f} to {end:.3f} s"
        )
    local = in_sensor_axes(points, times, lidar)
    distance = np.linalg.norm(local, axis=1)
    elevation = np.arctan2(local[:, 2], np.hypot(local[:, 0], local[:, 1]))
    beams = lidar.elevations
    row = nearest_beam(beams, elevation)
    azimuth = np.arctan2(local[:, 1], local[:, 0]) - lidar.start_azimuth
    turned = (-azimuth if lidar.clockwise else azimuth) % (2 * np.pi)
    column = np.minimum((turned / lidar.column_width).astype(np.int64), lidar.columns - 1)
    # The head's own size bends what is as near as the own car: that is only to be known for what it is.
    on_beam = (np.abs(beams[row] - elevation) <= max_off) | (distance < OWN_BODY)
    kept = np.flatnonzero(on_beam)
    image = np.full((len(beams), lidar.columns), np.inf)
    np.minimum.at(image, (row[kept], column[kept]), distance[kept])
    returned = np.isfinite(image)
    own = returned & (image < OWN_BODY)
    return RangeTruth(
        range=np.where(returned, image, 0.0).astype(np.float32),
        returned=returned,
        known=~own,
        points=len(points),
        off_beam=int((~on_beam).sum()),
        hidden=len(kept) - int(returned.sum()),
    )


def in_sensor_axes(
    points: NDArray[np.float64],  # [P, 3]
    times: NDArray[np.float64],  # [P]
    lidar: SpinningLidar,
) -> NDArray[np.float64]:
    """[P, 3] m: points as the sensor sees them at their own times."""
    begin, end = lidar.times
    poses = lidar.poses((times - begin) / (end - begin))
    return np.asarray(np.einsum("pji,pj->pi", poses[:, :3, :3], points - poses[:, :3, 3]))


def nearest_beam(beams: NDArray[np.float64], elevation: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index of the beam (elevations [H], descending, rad) nearest to each elevation."""
    return np.searchsorted(-(beams[1:] + beams[:-1]) / 2, -elevation)
