"""Sparse depth of a camera image from the LiDAR returns of its frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.projection import project
from pipelines.sources.base import CameraFrame, Sweep
from pipelines.visibility import visible_points


@dataclass(frozen=True, slots=True, eq=False)
class SparseDepth:
    """Depth where a LiDAR return projects; D pixels."""

    pixel: NDArray[np.int32]  # [D] row * width + column, ascending, unique
    depth: NDArray[np.float64]  # [D] m, z-depth of the nearest return in the pixel
    point: NDArray[np.int64]  # [D] row of that return in the sweep
    visible: NDArray[np.bool_]  # [D] the camera sees that return (see pipelines.visibility)


def sparse_depth(sweep: Sweep, camera_frame: CameraFrame, width: int, height: int) -> SparseDepth:
    """Z-buffered LiDAR depth at a camera's pixels.

    Each pixel keeps its nearest return, of equally near ones the first in the sweep. Returns that the LiDAR saw
    over something which hides them from the camera are kept and marked not visible.

    Args:
        sweep: points of all LiDARs, world.
        camera_frame: the camera and its pose at its own time.
        width: image width in pixels.
        height: image height in pixels.
    """
    projection = project(sweep.points, camera_frame.cam2world, camera_frame.K, width, height)
    visible = visible_points(projection, camera_frame.K, width, height)
    rows = np.flatnonzero(projection.inside)
    column, row = np.floor(projection.uv[rows]).astype(np.int64).T
    pixel, depth = row * width + column, projection.depth[rows]
    order = np.lexsort((depth, pixel))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = np.diff(pixel[order]) > 0
    keep = order[first]
    return SparseDepth(pixel[keep].astype(np.int32), depth[keep], rows[keep], visible[rows[keep]])
