"""Connected groups of returns: cells that touch, joined by union-find."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.motion.voxels import cell_key, find, slot_of

_kernel = njit(cache=True, nogil=True)


@_kernel
def _root(parent: NDArray[np.int32], a: int) -> int:
    while parent[a] != a:
        parent[a] = parent[parent[a]]
        a = parent[a]
    return a


@_kernel
def connected(
    points: NDArray[np.float64],  # [Q, 3]
    level: NDArray[np.int64],  # [Q] row of `sizes`; groups do not reach from one level to another
    sizes: NDArray[np.float64],  # [L, 2] m, width and height of a cell
    table: NDArray[np.int64],  # empty, at least 2 Q
) -> tuple[NDArray[np.int32], int]:
    """Number of the group of each point [Q], and the count. Groups are numbered by their least cell key."""
    n = len(points)
    size_mask = len(table) - 1
    owner = np.empty(len(table), np.int32)
    cells = np.empty((n, 4), np.int64)
    of_point = np.empty(n, np.int32)
    count = 0
    for i in range(n):
        cell, height = sizes[level[i], 0], sizes[level[i], 1]
        x = np.int64(np.floor(points[i, 0] / cell))
        y = np.int64(np.floor(points[i, 1] / cell))
        z = np.int64(np.floor(points[i, 2] / height))
        key = cell_key(x, y, z, level[i])
        at = slot_of(key, size_mask)
        while table[at] != -1 and table[at] != key:
            at = (at + 1) & size_mask
        if table[at] == -1:
            table[at], owner[at] = key, count
            cells[count, 0], cells[count, 1], cells[count, 2], cells[count, 3] = x, y, z, level[i]
            count += 1
        of_point[i] = owner[at]
    parent = np.arange(count).astype(np.int32)
    for c in range(count):
        # Half of the 26 neighbours: the other half finds this cell.
        for k in range(14, 27):
            dx, dy, dz = k % 3 - 1, (k // 3) % 3 - 1, k // 9 - 1
            at = find(cell_key(cells[c, 0] + dx, cells[c, 1] + dy, cells[c, 2] + dz, cells[c, 3]), table)
            if at >= 0:
                a, b = _root(parent, c), _root(parent, owner[at])
                if a != b:
                    parent[max(a, b)] = min(a, b)
    number = np.full(count, -1, np.int32)
    groups = 0
    out = np.empty(n, np.int32)
    for i in range(n):
        r = _root(parent, of_point[i])
        if number[r] < 0:
            number[r] = groups
            groups += 1
        out[i] = number[r]
    return out, groups
