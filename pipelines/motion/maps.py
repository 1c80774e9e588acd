"""Maps seen from above: distance to the nearest free return, in whole bytes, and the cluster that is there."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_kernel = njit(cache=True, nogil=True)

FULL = 250
"""Byte of the cap. Sums of bytes are exact, whatever their order."""


def distance_stencil(cell: float, cap: float) -> NDArray[np.uint8]:
    """Bytes of the distances around a cell, FULL from the cap on; [2 R + 1, 2 R + 1]."""
    reach = int(np.ceil(cap / cell))
    axis = np.arange(-reach, reach + 1) * cell
    away = np.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2)
    return np.minimum(np.rint(away / cap * FULL), FULL).astype(np.uint8)


@_kernel
def distance_map(
    points: NDArray[np.float64],  # [Q, >= 2] m
    corner: NDArray[np.float64],  # [2] m, of the map
    cell: float,
    stencil: NDArray[np.uint8],  # of `distance_stencil`
    side: int,
) -> NDArray[np.uint8]:
    """Distance of each cell to the nearest occupied one [side, side], cut at the cap."""
    grid = np.full((side, side), np.uint8(250))
    r = stencil.shape[0] // 2
    for i in range(len(points)):
        a = np.int64(np.floor((points[i, 0] - corner[0]) / cell))
        b = np.int64(np.floor((points[i, 1] - corner[1]) / cell))
        if a < r or b < r or a >= side - r or b >= side - r or grid[a, b] == 0:
            continue
        for u in range(-r, r + 1):
            for v in range(-r, r + 1):
                d = stencil[u + r, v + r]
                if d < grid[a + u, b + v]:
                    grid[a + u, b + v] = d
    return grid


@_kernel
def label_map(
    points: NDArray[np.float64],  # [Q, >= 2] m
    label: NDArray[np.int32],  # [Q] at least 0
    corner: NDArray[np.float64],
    cell: float,
    side: int,
) -> NDArray[np.int32]:
    """Label of each cell: the least one in it, else the least one in the 8 around, else -1; [side, side]."""
    grid = np.full((side, side), np.int32(-1))
    inside = np.zeros((side, side), np.bool_)
    for i in range(len(points)):
        a = np.int64(np.floor((points[i, 0] - corner[0]) / cell))
        b = np.int64(np.floor((points[i, 1] - corner[1]) / cell))
        if a < 1 or b < 1 or a >= side - 1 or b >= side - 1:
            continue
        if not inside[a, b] or label[i] < grid[a, b]:
            grid[a, b] = label[i]
            inside[a, b] = True
        for u in range(a - 1, a + 2):
            for v in range(b - 1, b + 2):
                if not inside[u, v] and (grid[u, v] < 0 or label[i] < grid[u, v]):
                    grid[u, v] = label[i]
    return grid


@_kernel
def look_up(
    points: NDArray[np.float64],  # [Q, >= 2] m
    corner: NDArray[np.float64],
    cell: float,
    grid: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Label of the cell of each point [Q], -1 off the map."""
    out = np.full(len(points), np.int32(-1))
    for i in range(len(points)):
        a = np.int64(np.floor((points[i, 0] - corner[0]) / cell))
        b = np.int64(np.floor((points[i, 1] - corner[1]) / cell))
        if 0 <= a < grid.shape[0] and 0 <= b < grid.shape[1]:
            out[i] = grid[a, b]
    return out
