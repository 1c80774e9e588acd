"""View frustum: where points fall in a view's image, and whether any view of a clip contains them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from flux4d.cameras.posed import Posed, pinhole

Array = NDArray[np.float32]
AnyArray: TypeAlias = np.ndarray[Any, Any]

_NEAREST = np.float32(0.1)
"""Points nearer than this before a camera, m, are in no image."""
_SAFE = np.float32(1e-3)


def project(
    points: Array,  # [N, 3]
    view: Posed,
) -> tuple[Array, Array]:
    """Pixels of ego0 points in a view's full-size image.

    Args:
        points: Positions in ego0, m. [N, 3]
        view: The camera.

    Returns:
        Pixel positions (column, row), centres at +0.5, only meaningful where depth > 0 [N, 2]; z-depth in m [N].
    """
    # Column by column: a [N, 3] @ [3, 3] product spends its time starting threads.
    x, y, z = np.ascontiguousarray(points.T)
    column, row, depth = (a * x + b * y + c * z + d for a, b, c, d in _ego02image(view))
    safe = np.maximum(depth, _SAFE)
    return np.stack([column / safe, row / safe], axis=1), depth


def inside(pixels: Array, depth: Array, view: Posed, margin: float) -> NDArray[np.bool_]:
    """Whether projected points lie before the camera and in its image, widened by `margin` image sides. [N]"""
    column, row = pixels.T
    left, right, top, bottom = _bounds(view, margin)
    within = (column >= left) & (column <= right) & (row >= top) & (row <= bottom)
    before: NDArray[np.bool_] = within & (depth > _NEAREST)
    return before


def mark_seen(
    points: Array,  # [N, 3]
    views: Sequence[Posed],
    margin: float,
    seen: NDArray[np.bool_],  # [N]
) -> None:
    """Set `seen` where `inside(*project(points, view), view, margin)` of any view; others stay. The same bits."""
    if views:
        matrices = np.stack([_ego02image(view) for view in views])
        bounds = np.stack([_bounds(view, margin) for view in views])
        _mark_seen(np.ascontiguousarray(points), matrices, bounds, seen)


def _ego02image(view: Posed) -> Array:
    """[3, 4] ego0 to pixels times depth."""
    matrix: Array = (pinhole(view) @ np.linalg.inv(view.cam2ego0)[:3]).astype(np.float32)
    return matrix


def _bounds(view: Posed, margin: float) -> Array:
    """Least and greatest column, then row, of the widened image. [4]"""
    edges = (-margin, 1.0 + margin)
    return np.array([edge * size for size in (view.width, view.height) for edge in edges], np.float32)


@njit(nogil=True, cache=True)
def _mark_seen(points: AnyArray, matrices: AnyArray, bounds: AnyArray, seen: AnyArray) -> None:
    """One pass over the points; each is done with at the first view that has it."""
    for i in range(len(points)):
        if seen[i]:
            continue
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for view in range(len(matrices)):
            m, bound = matrices[view], bounds[view]
            depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
            if not depth > _NEAREST:
                continue
            column = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) / depth
            if not (bound[0] <= column <= bound[1]):
                continue
            row = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) / depth
            if bound[2] <= row <= bound[3]:
                seen[i] = True
                break
