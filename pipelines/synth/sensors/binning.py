"""Which primitives touch which cell of a grid."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def bin_rectangles(rectangles: NDArray, who: NDArray, columns: int, rows: int) -> tuple[NDArray, NDArray]:
    """Sort rectangles into the cells they cover, in the order given.

    Args:
        rectangles: [N, 4] int: first column, first row, last column, last row, all inside the grid.
        who: [N] what to store for each.
        columns: grid width.
        rows: grid height.

    Returns:
        offsets [rows * columns + 1] and items: cell c holds items[offsets[c]:offsets[c + 1]].
    """
    offsets = np.zeros(columns * rows + 1, dtype=np.int64)
    for n in range(rectangles.shape[0]):
        for row in range(rectangles[n, 1], rectangles[n, 3] + 1):
            for column in range(rectangles[n, 0], rectangles[n, 2] + 1):
                offsets[row * columns + column + 1] += 1
    for cell in range(columns * rows):
        offsets[cell + 1] += offsets[cell]
    filled = offsets[:-1].copy()
    items = np.empty(offsets[-1], dtype=np.int64)
    for n in range(rectangles.shape[0]):
        for row in range(rectangles[n, 1], rectangles[n, 3] + 1):
            for column in range(rectangles[n, 0], rectangles[n, 2] + 1):
                cell = row * columns + column
                items[filled[cell]] = who[n]
                filled[cell] += 1
    return offsets, items
