"""A set of grid cells with a few bits each, by open addressing: which sweeps have a return in a cell."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_kernel = njit(cache=True, nogil=True)

EMPTY = np.int64(-1)
AXIS_BITS = 20
"""Bits of a cell's number along one axis. Numbers wrap around: cells a million apart are one, which no sweep reaches."""


@_kernel
def cell_key(x: int, y: int, z: int, level: int) -> int:
    """One number for a cell of a level (0..3), never negative."""
    part = (1 << 20) - 1
    return ((level & 3) << 60) | ((x & part) << 40) | ((y & part) << 20) | (z & part)


@_kernel
def slot_of(key: int, size_mask: int) -> int:
    """Where a key is looked for first."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(size_mask))


@_kernel
def insert_all(keys: NDArray[np.int64], bits: int, table: NDArray[np.int64], masks: NDArray[np.uint32]) -> None:
    """Add cells; `bits` are set on each. The table's length is a power of two, more than the cells in it."""
    size_mask = len(table) - 1
    for i in range(len(keys)):
        at = slot_of(keys[i], size_mask)
        while table[at] != -1 and table[at] != keys[i]:
            at = (at + 1) & size_mask
        table[at] = keys[i]
        masks[at] |= np.uint32(bits)


@_kernel
def find(key: int, table: NDArray[np.int64]) -> int:
    """Slot of a key, -1 where it is not in the table."""
    size_mask = len(table) - 1
    at = slot_of(key, size_mask)
    while table[at] != -1:
        if table[at] == key:
            return at
        at = (at + 1) & size_mask
    return -1


def empty_table(cells: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Room for a number of cells, at most half full."""
    size = 1 << max(4, int(2 * cells).bit_length())
    return np.full(size, EMPTY, np.int64), np.zeros(size, np.uint32)
