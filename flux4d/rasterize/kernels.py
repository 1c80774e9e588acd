"""Compiled blending of one tile after the other, forward and backward, for float32 and float64.

What keeps the pixel loops in SIMD (an order of magnitude): one flat buffer a tile with one row of 16 pixels
after the other, features as a tuple, no `continue`, selections instead of branches, constants of the data's
own type, and a polynomial for exp. `tests/test_rasterize.py` checks that the compiled code has vectors.

All in one file: numba's cache notices a change only in the file of the kernel itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numba.cpython.unsafe.tuple import tuple_setitem

from flux4d.rasterize.constants import ALPHA_THRESHOLD, TRANSMITTANCE_STOP

Array: TypeAlias = np.ndarray[Any, Any]
Features: TypeAlias = tuple[Any, ...]

TILE = 16
GEOMETRY = 6
"""Columns of a splat before its features: x, y, conic xx, xy, yy, opacity."""
_LOOK = 16
"""Splats between two looks at which pixel rows still let light through."""
_KERNEL = {"nogil": True, "cache": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}
# Inlined always: a call that is left would bind to whichever compiled copy was loaded first, freshly compiled or
# cached, and these may round differently.
_PIECE = {**_KERNEL, "forceinline": True}

# exp(-u) on [0, 0.7] fitted for the smallest largest relative error: 2.2e-9, and 1.8e-8 after three squarings.
# (Taylor coefficients are off by 1e-4 where alpha is cut.) The constant term is 1.
_EXP = (
    -0.9999998222707607,
    0.4999953297635744,
    -0.16662503891912728,
    0.04149321696229538,
    -0.007960481228876909,
    0.0009796421622918008,
)


class Constants(NamedTuple):
    """Scalars of the data's own type: a mixed expression would be float64 and scalar code."""

    zero: Any
    one: Any
    half: Any
    eighth: Any
    farthest: Any
    threshold: Any
    stop: Any
    max_alpha: Any
    e1: Any
    e2: Any
    e3: Any
    e4: Any
    e5: Any
    e6: Any


def constants(dtype: np.dtype[Any], max_alpha: float) -> Constants:
    """The kernels' constants as scalars of `dtype`."""
    values = (0.0, 1.0, 0.5, 0.125, 5.6, ALPHA_THRESHOLD, TRANSMITTANCE_STOP, max_alpha, *_EXP)
    return Constants(*(dtype.type(value) for value in values))


@njit(**_PIECE)
def exp_minus(sigma: Any, k: Constants) -> Any:
    """exp(-sigma) for sigma in [0, 5.6]; outside, the value at the nearer end."""
    s = sigma if sigma > k.zero else k.zero
    s = s if s < k.farthest else k.farthest
    u = s * k.eighth
    p = k.one + u * (k.e1 + u * (k.e2 + u * (k.e3 + u * (k.e4 + u * (k.e5 + u * k.e6)))))
    p = p * p
    p = p * p
    return p * p


@njit(**_PIECE)
def _take(row: Array, zeros: Features) -> Features:
    """The features of a splat as a tuple: the compiler then knows that no store changes them."""
    out = zeros
    for channel in range(len(zeros)):
        out = tuple_setitem(out, channel, row[GEOMETRY + channel])
    return out


@njit(**{**_PIECE, "fastmath": True})
def _light(row: Array) -> Any:
    """Sum of the light that still passes a row of pixels: zero if all are finished."""
    total = row[TILE]
    for lane in range(1, TILE):
        total += row[TILE + lane]
    return total


@njit(**_PIECE)
def _look(rows: Array, alive: Array, count: int) -> bool:
    """Update which of the first `count` pixel rows still let light through; whether any does."""
    any_alive = False
    for r in range(count):
        if alive[r]:
            alive[r] = _light(rows[r]) > 0
            any_alive |= alive[r]
    return any_alive


@njit(**_PIECE)
def _blend_row(
    row: Array, mx: Any, half_a: Any, slope: Any, offset: Any, opacity: Any, colour: Features, k: Constants
) -> None:
    """Add one splat to 16 pixels; `row` is x | light | light left at the end | features."""
    for lane in range(TILE):
        dx = row[lane] - mx
        sigma = (half_a * dx + slope) * dx + offset
        alpha = opacity * exp_minus(sigma, k)
        alpha = alpha if alpha < k.max_alpha else k.max_alpha
        alpha = alpha if alpha >= k.threshold else k.zero
        alpha = alpha if sigma >= k.zero else k.zero
        light = row[TILE + lane]
        behind = light * (k.one - alpha)
        weight = alpha * light if behind > k.stop else k.zero
        row[2 * TILE + lane] = behind if behind > k.stop else row[2 * TILE + lane]
        row[TILE + lane] = behind if behind > k.stop else k.zero
        for channel in range(len(colour)):
            row[(3 + channel) * TILE + lane] += weight * colour[channel]


@njit(**_KERNEL)
def forward(
    part: int,
    parts: int,
    splats: Array,  # [M, 6 + D]
    boxes: Array,  # [M, 4] int32
    starts: Array,  # [tiles + 1] int64
    members: Array,  # [intersections] int32
    centers: Array,  # [16] 0.5, 1.5, ...
    corners: Array,  # [>= tiles a side] 0, 16, ...
    zeros: Features,  # D zeros
    k: Constants,
    image: Array,  # out [H, W, D]
    left: Array,  # out [H, W] light left
) -> None:
    """Blend every `parts`-th tile, starting with `part`."""
    height, width = left.shape
    channels = len(zeros)
    across = (width + TILE - 1) // TILE
    buffer = np.empty((TILE, (3 + channels) * TILE), splats.dtype)
    alive = np.empty(TILE, np.bool_)
    for tile in range(part, len(starts) - 1, parts):
        top, side = tile // across * TILE, tile % across * TILE
        rows, columns = min(TILE, height - top), min(TILE, width - side)
        buffer[:] = k.zero
        for r in range(rows):
            alive[r] = True
            buffer[r, :TILE] = centers
            buffer[r, TILE : TILE + columns] = k.one
            buffer[r, 2 * TILE : 2 * TILE + columns] = k.one
        for i in range(starts[tile], starts[tile + 1]):
            if (i - starts[tile]) % _LOOK == _LOOK - 1 and not _look(buffer, alive, rows):
                break
            g = members[i]
            splat = splats[g]
            mx, my = splat[0] - corners[side // TILE], splat[1] - corners[top // TILE]
            half_a, b, half_c, opacity = k.half * splat[2], splat[3], k.half * splat[4], splat[5]
            colour = _take(splat, zeros)
            for r in range(max(boxes[g, 2] - top, 0), min(boxes[g, 3] - top, rows)):
                if alive[r]:
                    dy = centers[r] - my
                    _blend_row(buffer[r], mx, half_a, b * dy, half_c * dy * dy, opacity, colour, k)
        for r in range(rows):
            for lane in range(columns):
                left[top + r, side + lane] = buffer[r, 2 * TILE + lane]
                for channel in range(channels):
                    image[top + r, side + lane, channel] = buffer[r, (3 + channel) * TILE + lane]


@njit(**_PIECE)
def _blend_row_back(
    row: Array,
    acc: Array,
    mx: Any,
    dy: Any,
    half_a: Any,
    slope: Any,
    offset: Any,
    opacity: Any,
    colour: Features,
    k: Constants,
) -> None:
    """Gradient of one splat at 16 pixels; `row` is x | light | S behind | v, `acc` is sums by column."""
    for lane in range(TILE):
        dx = row[lane] - mx
        sigma = (half_a * dx + slope) * dx + offset
        raw = opacity * exp_minus(sigma, k)
        alpha = raw if raw < k.max_alpha else k.max_alpha
        alpha = alpha if alpha >= k.threshold else k.zero
        alpha = alpha if sigma >= k.zero else k.zero
        light = row[TILE + lane]
        behind = light * (k.one - alpha)
        weight = alpha * light if behind > k.stop else k.zero
        row[TILE + lane] = behind if behind > k.stop else k.zero
        dot = k.zero
        for channel in range(len(colour)):
            v = row[(3 + channel) * TILE + lane]
            dot += colour[channel] * v
            acc[(3 + channel) * TILE + lane] += weight * v
        rest = row[2 * TILE + lane] - weight * dot
        row[2 * TILE + lane] = rest
        grad = weight * dot - rest * (alpha / (k.one - alpha))  # dL/dalpha times alpha
        grad = grad if weight > k.zero else k.zero
        grad = grad if raw <= k.max_alpha else k.zero
        acc[lane] += grad
        acc[TILE + lane] += grad * dy
        acc[2 * TILE + lane] += grad * dy * dy


@njit(**_KERNEL)
def backward(
    part: int,
    parts: int,
    splats: Array,  # [M, 6 + D]
    boxes: Array,  # [M, 4] int32
    starts: Array,  # [tiles + 1] int64
    members: Array,  # [intersections] int32
    slots: Array,  # [intersections] int64
    centers: Array,  # [16]
    corners: Array,  # [>= tiles a side]
    zeros: Features,  # D zeros
    k: Constants,
    image: Array,  # [H, W, D]
    left: Array,  # [H, W]
    v_image: Array,  # [H, W, D]
    v_left: Array,  # [H, W]
    v_slots: Array,  # out [intersections, 6 + D], zero on entry
) -> None:
    """Gradient of every `parts`-th tile, one row of `v_slots` for each splat in each tile.

    Front to back once more. With v the pixel's gradient and w_j the weights, ``S = sum_j w_j c_j.v + v_T T`` is known
    from the image, so what lies behind splat i is S minus a running sum:
    ``dL/dalpha_i = T_i c_i.v - S_behind / (1 - alpha_i)``.
    """
    height, width = left.shape
    channels = len(zeros)
    across = (width + TILE - 1) // TILE
    buffer = np.empty((TILE, (3 + channels) * TILE), splats.dtype)
    acc = np.empty((3 + channels) * TILE, splats.dtype)
    alive = np.empty(TILE, np.bool_)
    for tile in range(part, len(starts) - 1, parts):
        top, side = tile // across * TILE, tile % across * TILE
        rows, columns = min(TILE, height - top), min(TILE, width - side)
        buffer[:] = k.zero
        for r in range(rows):
            alive[r] = True
            buffer[r, :TILE] = centers
            buffer[r, TILE : TILE + columns] = k.one
            for lane in range(columns):
                total = v_left[top + r, side + lane] * left[top + r, side + lane]
                for channel in range(channels):
                    v = v_image[top + r, side + lane, channel]
                    total += image[top + r, side + lane, channel] * v
                    buffer[r, (3 + channel) * TILE + lane] = v
                buffer[r, 2 * TILE + lane] = total
        for i in range(starts[tile], starts[tile + 1]):
            if (i - starts[tile]) % _LOOK == _LOOK - 1 and not _look(buffer, alive, rows):
                break
            g = members[i]
            splat = splats[g]
            mx, my = splat[0] - corners[side // TILE], splat[1] - corners[top // TILE]
            half_a, b, half_c, opacity = k.half * splat[2], splat[3], k.half * splat[4], splat[5]
            colour = _take(splat, zeros)
            acc[:] = k.zero
            for r in range(max(boxes[g, 2] - top, 0), min(boxes[g, 3] - top, rows)):
                if alive[r]:
                    dy = centers[r] - my
                    _blend_row_back(buffer[r], acc, mx, dy, half_a, b * dy, half_c * dy * dy, opacity, colour, k)
            _collect(acc, centers, mx, splat, v_slots[slots[i]], k)


@njit(**{**_PIECE, "fastmath": True})
def _collect(acc: Array, centers: Array, mx: Any, splat: Array, out: Array, k: Constants) -> None:
    """Column sums of one splat in one tile to the gradient of its parameters."""
    s = sx = sxx = sy = sxy = syy = k.zero
    for lane in range(TILE):
        dx = centers[lane] - mx
        grad, grad_y = acc[lane], acc[TILE + lane]
        s += grad
        sx += grad * dx
        sxx += grad * dx * dx
        sy += grad_y
        sxy += grad_y * dx
        syy += acc[2 * TILE + lane]
    out[0] = splat[2] * sx + splat[3] * sy
    out[1] = splat[3] * sx + splat[4] * sy
    out[2] = -k.half * sxx
    out[3] = -sxy
    out[4] = -k.half * syy
    out[5] = s / splat[5]
    for channel in range(len(out) - GEOMETRY):
        total = k.zero
        for lane in range(TILE):
            total += acc[(3 + channel) * TILE + lane]
        out[GEOMETRY + channel] = total


@njit(nogil=True, cache=True)
def add_up(part: int, parts: int, first_slots: Array, v_slots: Array, v_splats: Array) -> None:
    """Sum each splat's rows of `v_slots` in their order; `first_slots` [M + 1] says which rows are whose."""
    many = len(v_splats)
    for g in range(many * part // parts, many * (part + 1) // parts):
        for column in range(v_splats.shape[1]):
            v_splats[g, column] = 0
        for slot in range(first_slots[g], first_slots[g + 1]):
            for column in range(v_splats.shape[1]):
                v_splats[g, column] += v_slots[slot, column]
