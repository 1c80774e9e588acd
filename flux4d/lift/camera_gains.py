"""Relative brightness of a rig's cameras, from the LiDAR points that two of them coloured.

Each camera sets its own exposure and white balance, and neighbouring cameras colour the same surface in turn. Points
of two cameras that lie within a few centimetres of each other show one surface twice: the median ratio of their colours
is the ratio of the two cameras' gains. It needs no image and no label; what moves is outvoted.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from store_schema.clip import LiftedPoints

MAX_GAIN = 2.0
"""No camera is taken to be more than this brighter or darker than the rig's mean."""


@dataclass(kw_only=True, slots=True, frozen=True)
class GainConfig:
    """What counts as one surface seen by two cameras."""

    radius: float = 0.1
    """Largest distance of two points of one surface, m."""
    min_pairs: int = 300
    """Two cameras with fewer common points are not compared."""
    ridge: float = 30.0
    """Evidence for equal gains, in pairs."""
    queries: int = 50_000
    """At most this many points of a camera look for a partner (every n-th), and no more pairs count."""
    darkest: float = 0.06
    brightest: float = 0.94
    """Colours with a channel outside are left out: too dark for a ratio, or cut off by the sensor."""

    def __post_init__(self) -> None:
        if not (self.radius > 0.0 and self.ridge > 0.0 and self.min_pairs >= 1 and self.queries >= self.min_pairs):
            raise ValueError(
                f"gain radius={self.radius}, ridge={self.ridge}, min_pairs={self.min_pairs}, queries={self.queries}: "
                "use positive values and at least min_pairs queries, for instance 0.1, 30, 300 and 50000"
            )
        if not 0.0 < self.darkest < self.brightest <= 1.0:
            raise ValueError(
                f"gain darkest={self.darkest}, brightest={self.brightest}: use 0 < darkest < brightest <= 1, for "
                "instance 0.06 and 0.94"
            )


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two cameras on the surfaces that both coloured."""

    first: int
    second: int
    pairs: int
    log_ratio: NDArray[np.float64]  # [3] median of log(second / first)
    spread: float  # interquartile range of the channels' mean log ratio


def overlaps(points: LiftedPoints, cameras: int, config: GainConfig) -> tuple[Overlap, ...]:
    """All pairs of cameras with enough common surface.

    Args:
        points: N points.
        cameras: Number of cameras of the rig, what `points.camera` counts.
        config: What counts as common.

    Raises:
        ValueError: a point is coloured by a camera that the rig does not have.
    """
    if len(points) and int(points.camera.max()) >= cameras:
        raise ValueError(f"a point has its colour from camera {points.camera.max()} of {cameras}: pass the whole rig")
    colours = points.rgb.astype(np.float64) / 255.0
    usable = (colours.min(axis=1) >= config.darkest) & (colours.max(axis=1) <= config.brightest)
    rows = [np.flatnonzero(usable & (points.camera == camera)) for camera in range(cameras)]
    trees = [cKDTree(points.means[own], balanced_tree=False, compact_nodes=False) for own in rows]
    found = []
    for first, second in combinations(range(cameras), 2):
        if min(len(rows[first]), len(rows[second])) < config.min_pairs:
            continue
        asked = rows[first][:: -(-len(rows[first]) // config.queries)]
        distance, nearest = trees[second].query(points.means[asked], distance_upper_bound=config.radius)
        near = np.isfinite(distance)
        if (pairs := int(near.sum())) < config.min_pairs:
            continue
        ratios = np.log(colours[rows[second][np.asarray(nearest)[near]]] / colours[asked[near]])
        low, high = np.percentile(ratios.mean(axis=1), (25.0, 75.0))
        found.append(Overlap(first, second, pairs, np.median(ratios, axis=0), float(high - low)))
    return tuple(found)


def gains_of(found: tuple[Overlap, ...], cameras: int, ridge: float) -> NDArray[np.float64]:
    """Gains that explain the overlaps best: least squares of the log ratios, weighted by pairs, ridge towards 1.

    Returns:
        Factor by camera and channel. Cameras linked by overlaps have a geometric mean of 1; a camera linked to none
        has 1. [cameras, 3]
    """
    system, right = np.eye(cameras) * ridge, np.zeros((cameras, 3))
    for overlap in found:
        a, b, weight = overlap.first, overlap.second, float(overlap.pairs)
        system[[a, b], [a, b]] += weight
        system[[a, b], [b, a]] -= weight
        right[a] -= weight * overlap.log_ratio
        right[b] += weight * overlap.log_ratio
    limit = np.log(MAX_GAIN)
    gains: NDArray[np.float64] = np.exp(np.clip(np.linalg.solve(system, right), -limit, limit))
    return gains


def relative_gains(
    points: LiftedPoints, cameras: int, reference: int, config: GainConfig | None = None
) -> NDArray[np.float64]:
    """Factors that bring each camera's colours, as images code them (sRGB), to those of one of them.

    Args:
        points: N points.
        cameras: Number of cameras of the rig.
        reference: The camera whose colours stay.
        config: What counts as one surface.

    Returns:
        Factor by camera and channel, 1 for cameras that no chain of overlaps links to the reference. [cameras, 3]

    Raises:
        ValueError: a point is coloured by a camera that the rig does not have.
    """
    config = config or GainConfig()
    found = overlaps(points, cameras, config)
    gains = gains_of(found, cameras, config.ridge)
    linked = {reference}
    while more := {c for one in found for c in (one.first, one.second) if {one.first, one.second} & linked} - linked:
        linked |= more
    factors = np.ones((cameras, 3))
    rows = sorted(linked)
    factors[rows] = gains[reference] / gains[rows]
    return factors
