"""How well a rendered LiDAR sweep agrees with the one that was measured.

Range errors are taken on the rays that come back both in truth and in the rendering; how many those are, and how many
are missed, is told by the ray-drop figures. NeuRAD and SplatAD take them on all rays that truly come back, whatever
their model says of the drop; their `depth_median_l2` is the median SQUARED error here, in m^2. An empty set gives None,
never 0 or NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from evaluation.lidar.truth import RangeTruth

CHAMFER_RANGE = 80.0
"""m from the sensor: the points of both clouds that the Chamfer distance is of."""


@dataclass(frozen=True, slots=True)
class LidarScores:
    """Metrics of one sweep, with the counts they rest on."""

    median_error: float | None
    """Median of the absolute range error [m]."""
    median_squared_error: float | None
    """Median of the squared range error [m^2]; NeuRAD's and SplatAD's depth_median_l2."""
    mean_error: float | None
    """Mean of the absolute range error [m]."""
    rmse: float | None
    """Root mean square range error [m]."""
    rays: int
    """Rays of those errors: they come back in truth and in the rendering."""
    drop_accuracy: float | None
    """Share of the known rays whose return or drop is told right."""
    drop_precision: float | None
    """Share of the rays said to be dropped that are."""
    drop_recall: float | None
    """Share of the dropped rays that are said to be."""
    drop_recall_hard: float | None
    """The same share of the dropped rays that came back in some input sweep. The others came back in none, as those to
    the sky: that they drop is known beforehand."""
    known_rays: int
    dropped_rays: int
    """Known rays that truly do not come back."""
    dropped_rays_hard: int
    """Those of them that came back in some input sweep."""
    chamfer: float | None
    """Mean distance of a rendered point to its nearest true point, plus the other way round [m] (NeuRAD's)."""
    chamfer_points: tuple[int, int]
    """Rendered and true points of that."""


def score_sweep(
    ranges: NDArray[np.floating],  # [H, W]
    returned: NDArray[np.bool_],  # [H, W]
    truth: RangeTruth,
    directions: NDArray[np.float64],  # [H, W, 3]
    in_inputs: NDArray[np.bool_],  # [H, W]
    chamfer_range: float = CHAMFER_RANGE,
) -> LidarScores:
    """Compare a rendered sweep with the truth.

    Args:
        ranges: Rendered ranges, m; read where `returned`.
        returned: Rays that come back in the rendering, for instance where the drop is less likely than not.
        truth: The measured sweep.
        directions: Unit vectors of the rays; points of both clouds are taken on them, so that how finely the grid
            cuts azimuths does not count.
        in_inputs: Rays that came back in some input sweep (`SensorPath.returned_in_inputs`).
        chamfer_range: m, points up to here are compared.

    Raises:
        ValueError: sizes differ, or a ray comes back from a range that is not finite and positive.
    """
    shape = truth.range.shape
    if {ranges.shape, returned.shape, in_inputs.shape} != {shape} or directions.shape != (*shape, 3):
        raise ValueError(
            f"ranges {ranges.shape}, returned {returned.shape}, in_inputs {in_inputs.shape} and directions "
            f"{directions.shape} must be those of the truth's {shape} rays: render its turn"
        )
    back = returned & truth.known
    if not (np.isfinite(ranges[back]) & (ranges[back] > 0)).all():
        raise ValueError("rays come back from ranges that are not finite and positive: say that they do not return")
    both = back & truth.returned
    error = np.abs(ranges[both].astype(np.float64) - truth.range[both])
    here, there = (
        (directions[kept] * image[kept][:, None])[image[kept] <= chamfer_range]
        for kept, image in ((back, ranges), (truth.known & truth.returned, truth.range))
    )
    known, said = truth.known, ~returned & truth.known
    dropped = known & ~truth.returned
    hard = dropped & in_inputs
    right = int((said & dropped).sum())
    return LidarScores(
        median_error=float(np.median(error)) if len(error) else None,
        median_squared_error=float(np.median(error**2)) if len(error) else None,
        mean_error=float(error.mean()) if len(error) else None,
        rmse=float(np.sqrt(np.mean(error**2))) if len(error) else None,
        rays=len(error),
        drop_accuracy=_share(int((said == dropped)[known].sum()), int(known.sum())),
        drop_precision=_share(right, int(said.sum())),
        drop_recall=_share(right, int(dropped.sum())),
        drop_recall_hard=_share(int((said & hard).sum()), int(hard.sum())),
        known_rays=int(known.sum()),
        dropped_rays=int(dropped.sum()),
        dropped_rays_hard=int(hard.sum()),
        chamfer=chamfer_distance(here, there),
        chamfer_points=(len(here), len(there)),
    )


def chamfer_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    """Mean distance from a point of `a` [N, 3] to the nearest of `b` [M, 3], plus the other way round, m.

    None when either is empty.
    """
    if not len(a) or not len(b):
        return None
    return float(np.mean(cKDTree(b).query(a)[0]) + np.mean(cKDTree(a).query(b)[0]))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
