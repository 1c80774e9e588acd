"""What an image metric may look at: a rendering and its truth inside one region of one view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.truth import Truth


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A rendering beside its truth; only pixels inside the mask count."""

    rgb: NDArray[np.float64]  # [H, W, 3] rendered colours, sRGB-coded, clipped to [0, 1]
    depth: NDArray[np.float64] | None  # [H, W] rendered z-depth, m; None: the method gives none
    truth: Truth
    mask: NDArray[np.bool_]  # [H, W]
