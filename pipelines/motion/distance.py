"""Distance to the nearest free return seen from above, cut at a cap, in whole steps of a byte: sums are exact."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_kernel = njit(cache=True, nogil=True)

FULL = 250
"""Byte of the cap."""


@_kernel
def splat_distance(
    points: NDArray[np.float64],  # [Q, >=2] m
    corner: NDArray[np.float64],  # [2] m
    cell: float,
    stencil: NDArray[np.uint8],  # [2 R + 1, 2 R + 1]
    grid: NDArray[np.uint8],  # [N, N]; written
) -> None:
    """Each occupied cell lowers the cells around it to their distance from it."""
    grid[:] = 250
    n, m, r = grid.shape[0], grid.shape[1], stencil.shape[0] // 2
    for i in range(len(points)):
        a = np.int64(np.floor((points[i, 0] - corner[0]) / cell))
        b = np.int64(np.floor((points[i, 1] - corner[1]) / cell))
        if a < r or b < r or a >= n - r or b >= m - r or grid[a, b] == 0:
            continue
        for u in range(-r, r + 1):
            for v in range(-r, r + 1):
                d = stencil[u + r, v + r]
                if d < grid[a + u, b + v]:
                    grid[a + u, b + v] = d


def distance_stencil(cell: float, cap: float) -> NDArray[np.uint8]:
    """Bytes of the distances around a cell, FULL beyond the cap."""
    reach = int(np.ceil(cap / cell))
    axis = np.arange(-reach, reach + 1) * cell
    away = np.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2)
    return np.minimum(np.rint(away / cap * FULL), FULL).astype(np.uint8)
