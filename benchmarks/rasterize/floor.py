"""What blending cannot do without: contributing pairs, vector lanes, floating-point operations.

The floor of a blend is its operations at the rate of a float32 matrix product on one core, where every lane does
useful work, divided by the share of lanes that can do so. It is a lower bound: a product fuses every multiplication
with an addition, blending cannot, and nothing is counted for lists, sorting, memory or loops.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from flux4d.rasterize.constants import ALPHA_THRESHOLD, TRANSMITTANCE_STOP, RasterSettings

ROW, BLOCK = 16, 4
LANES = 16

# Operations of one Gaussian at one pixel as gsplat defines them. A fused multiply-add counts two; a compare, a
# selection, a division one; what is the same for a row of pixels (dy and what is made of it) none.
ALPHA_FLOPS = {
    "dx": 1,
    "sigma = (a/2 dx + b dy) dx + c/2 dy^2": 4,
    "exp: one scaling, a polynomial of degree six, three squarings": 16,
    "alpha = min(o exp, max_alpha)": 2,
    "alpha is 0 if sigma < 0 or alpha < 1/255": 3,
    "light behind = light (1 - alpha)": 2,
    "stop if the light behind is 1e-4 or less: weight, light": 4,
}
FORWARD_FLOPS_PER_CHANNEL = {"out += weight c": 2}
BACKWARD_FLOPS = {
    "behind += weight (c.v)": 2,
    "weight (c.v) - behind alpha / (1 - alpha)": 4,
    "no gradient where nothing was added or alpha was clamped": 2,
    "sums of g, g dy, g dy^2": 5,
}
BACKWARD_FLOPS_PER_CHANNEL = {"c.v": 2, "sum of weight v": 2}


def forward_flops(channels: int) -> int:
    """Operations of one contributing pair, forward: 46 with seven channels."""
    return sum(ALPHA_FLOPS.values()) + channels * sum(FORWARD_FLOPS_PER_CHANNEL.values())


def backward_flops(channels: int) -> int:
    """Operations of one contributing pair, backward, its alpha made once more: 73 with seven channels."""
    again = sum(ALPHA_FLOPS.values()) + sum(BACKWARD_FLOPS.values())
    return again + channels * sum(BACKWARD_FLOPS_PER_CHANNEL.values())


class Pairs(NamedTuple):
    """Gaussian-pixel pairs of one image, and 16-lane steps that they take in two ways of walking through it."""

    blends: int  # pairs that contribute: alpha of 1/255 or more, and the pixel not yet finished
    ellipse_pixels: int  # pairs with alpha of 1/255 or more, finished or not
    row_steps: int  # rows of 16 px of 16x16 tiles: every row of the box in every tile it touches that is still open
    block_steps: int  # blocks of 4x4 px: those with an ellipse pixel that are still open

    @property
    def row_lane_share(self) -> float:
        """Lanes of `row_steps` that contribute."""
        return self.blends / max(1, LANES * self.row_steps)

    @property
    def block_lane_share(self) -> float:
        """Lanes of `block_steps` that contribute: what exact culling of 4x4 blocks can reach at most."""
        return self.blends / max(1, LANES * self.block_steps)


def count_pairs(splats: NDArray[Any], boxes: NDArray[np.int32], settings: RasterSettings) -> Pairs:
    """Count the pairs of an image by blending it plainly.

    Args:
        splats: [M, 6 + D] front to back: x, y, conic xx, xy, yy, opacity, features.
        boxes: [M, 4] pixels x0, x1, y0, y1 (half open) that hold every pixel with an alpha of 1/255 or more.
        settings: image size and largest alpha.
    """
    geometry = splats[:, :6].astype(np.float64)
    return Pairs(*_count(geometry, boxes, settings.width, settings.height, settings.max_alpha))


@njit(cache=True)
def _open_cells(width: int, height: int, across: int, down: int) -> NDArray[np.int64]:
    """Pixels of each cell of `across` x `down` pixels that are inside the image."""
    cells = np.zeros(((height + down - 1) // down, (width + across - 1) // across), np.int64)
    for y in range(height):
        for x in range(width):
            cells[y // down, x // across] += 1
    return cells


@njit(cache=True)
def _alpha(splat: NDArray[np.float64], x: int, y: int, max_alpha: float) -> float:
    dx, dy = x + 0.5 - splat[0], y + 0.5 - splat[1]
    sigma = 0.5 * (splat[2] * dx * dx + splat[4] * dy * dy) + splat[3] * dx * dy
    alpha: float = min(splat[5] * np.exp(-sigma), max_alpha)
    return alpha if sigma >= 0 and alpha >= ALPHA_THRESHOLD else 0.0


@njit(cache=True)
def _count(
    splats: NDArray[np.float64], boxes: NDArray[np.int32], width: int, height: int, max_alpha: float
) -> tuple[int, int, int, int]:
    light = np.ones((height, width))  # 0 once the pixel is finished
    open_rows, open_blocks = _open_cells(width, height, ROW, 1), _open_cells(width, height, BLOCK, BLOCK)
    blends = ellipse = row_steps = block_steps = 0
    for g in range(len(splats)):
        x0, x1, y0, y1 = boxes[g, 0], boxes[g, 1], boxes[g, 2], boxes[g, 3]
        if x1 <= x0 or y1 <= y0:
            continue
        for y in range(y0, y1):
            for cell in range(x0 // ROW, (x1 - 1) // ROW + 1):
                row_steps += open_rows[y, cell] > 0
        for down in range(y0 // BLOCK, (y1 - 1) // BLOCK + 1):
            for across in range(x0 // BLOCK, (x1 - 1) // BLOCK + 1):
                was_open, hits = open_blocks[down, across] > 0, 0
                for y in range(max(y0, down * BLOCK), min(y1, (down + 1) * BLOCK)):
                    for x in range(max(x0, across * BLOCK), min(x1, (across + 1) * BLOCK)):
                        alpha = _alpha(splats[g], x, y, max_alpha)
                        if alpha == 0:
                            continue
                        hits += 1
                        if light[y, x] == 0:
                            continue
                        behind = light[y, x] * (1 - alpha)
                        if behind > TRANSMITTANCE_STOP:
                            light[y, x] = behind
                            blends += 1
                        else:
                            light[y, x] = 0
                            open_rows[y, x // ROW] -= 1
                            open_blocks[down, across] -= 1
                ellipse += hits
                block_steps += was_open and hits > 0
    return blends, ellipse, row_steps, block_steps
