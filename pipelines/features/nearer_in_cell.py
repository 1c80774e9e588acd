"""A cheap proxy for wrong colours: is there something much nearer in the same 8x8 pixels of the image?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.features.visibility_kernels import NEARER_FRACTION, NEARER_M
from pipelines.geometry.projection import Projection

CELL_PX = 8


def behind_in_cell(seen: Projection, width: int) -> NDArray[np.bool_]:
    """Which returns in an image [Q] have one more than 5 % + 0.5 m nearer in their cell of 8x8 pixels.

    Judged without `features.visibility`. It also hits far road and outlines in plain view, so that its share does not
    go to 0, and misses what no return gives away.

    Args:
        seen: all returns of a sweep in the image, Q of them.
        width: image width in pixels.
    """
    column, row = (seen.uv // CELL_PX).astype(np.int64).T
    cell = row * -(-width // CELL_PX) + column
    nearest = np.full(int(cell.max(initial=0)) + 1, np.inf)
    np.minimum.at(nearest, cell, seen.depth)
    behind: NDArray[np.bool_] = nearest[cell] < seen.depth * (1 - NEARER_FRACTION) - NEARER_M
    return behind
