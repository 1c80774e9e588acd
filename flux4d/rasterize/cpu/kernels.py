"""Compiled blending of one tile after the other, forward and backward, for float32 and float64.

A tile is 16 x 16 pixels in 16 blocks of 4 x 4: a block is one `simd` value, and the blocks of a tile a splat reaches
are one integer, found for all 16 at once. Small splats then waste few lanes, finished blocks drop out of the integer,
and sums over pixels stay in registers until the splat leaves the tile.

numba's cache notices a change only in the file of the kernel itself, hence one file and `SIMD_SOURCE`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import njit

from flux4d.rasterize.constants import ALPHA_THRESHOLD, TRANSMITTANCE_STOP
from flux4d.rasterize.cpu.simd import (
    LANES,
    bits,
    fma,
    greatest,
    least,
    load,
    lowest_bit,
    minus_magnitude,
    prefetch,
    spread,
    store,
    where,
)
from flux4d.rasterize.cpu.simd_rows import add_product, dot, load_rows, scalars, store_rows, store_totals, zero_rows

Array: TypeAlias = np.ndarray[Any, Any]
Zeros: TypeAlias = tuple[Any, ...]

SIMD_SOURCE = "45889bd8ec4db613"
"""Start of the SHA-256 of simd.py and simd_rows.py: a change there must change this file, or numba runs old code."""
TILE = 16
BLOCK = 4
"""Pixels along the side of a block."""
GEOMETRY = 6
"""Columns of a splat before its features: x, y, conic xx, xy, yy, opacity."""
REACH = 3
"""Columns of a splat's reach: largest sigma / 8 at the alpha threshold, conic xy / yy, xy / xx."""
_LOOK = 16
"""Splats between two looks at which blocks are finished: a look after each would make the next splat wait for it."""
_AHEAD = 8
"""Splats that are asked for before they are needed."""
_KERNEL = {"nogil": True, "cache": True, "error_model": "numpy"}
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
    """Scalars of the data's own type: lanes take no other."""

    zero: Any
    one: Any
    half: Any
    eighth: Any
    farthest: Any
    rounding: Any
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
    rounding = 16.0 * float(np.finfo(dtype).eps)
    values = (0.0, 1.0, 0.5, 0.125, 0.7, rounding, ALPHA_THRESHOLD, TRANSMITTANCE_STOP, max_alpha, *_EXP)
    return Constants(*(dtype.type(value) for value in values))


@njit(**_PIECE)
def exp_minus_8(u: Any, k: Constants) -> Any:
    """exp(-8 u) for u in [0, 0.7]; above, the value at 0.7."""
    # Below the alpha threshold the exact value does not matter: hold the argument inside the fitted range.
    u = least(u, k.farthest)
    # In pairs and not one after the other: what follows waits half as long.
    square = u * u
    p = fma(fma(fma(u, k.e6, k.e5), square, fma(u, k.e4, k.e3)), square, fma(u, k.e2, k.e1))
    p = fma(p, u, k.one)
    # Three squarings: the polynomial gave exp(-u).
    p = p * p
    p = p * p
    return p * p


@njit(**_PIECE)
def _blocks_reached(
    frame: Array, mx: Any, my: Any, a: Any, b: Any, c: Any, farthest: Any, b_over_c: Any, b_over_a: Any, k: Constants
) -> int:
    """Bits of the blocks where the splat can reach the alpha threshold.

    The least sigma over a rectangle is at the mean if that is inside, else on the nearer vertical or horizontal edge.
    """
    # The rectangle of pixel centres of each of the 16 blocks, one block a lane.
    x0, x1 = load(frame, 0), load(frame, LANES)
    y0, y1 = load(frame, 2 * LANES), load(frame, 3 * LANES)
    # Nearest corner or edge of each rectangle to the mean; both are 0 where the mean is inside.
    dx = least(greatest(x0, mx), x1) - mx
    dy = least(greatest(y0, my), y1) - my
    # On the nearer vertical edge the conic is least at dy = -dx b / c, on the horizontal one at dx = -dy b / a,
    # held to the edge's ends.
    across_dy = least(greatest(y0 - my, k.zero - dx * b_over_c), y1 - my)
    down_dx = least(greatest(x0 - mx, k.zero - dy * b_over_a), x1 - mx)
    near = least(_clearance(dx, across_dy, a, b, c, k), _clearance(down_dx, dy, a, b, c, k))
    reached: int = bits(near <= farthest)
    return reached


@njit(**_PIECE)
def _clearance(dx: Any, dy: Any, a: Any, b: Any, c: Any, k: Constants) -> Any:
    """Sigma / 8, less what rounding may have added to it."""
    square = fma(dx * dx, a, dy * dy * c)
    return fma(dx * dy, b, square) - square * k.rounding


@njit(**_PIECE)
def _alpha(x: Any, y: Any, mx: Any, my: Any, a: Any, b: Any, c: Any, opacity: Any, k: Constants) -> Any:
    """Offsets dx, dy of the mean from the pixels, opacity times falloff, and alpha: clamped, 0 below the threshold."""
    # sigma / 8 of the conic form; the factors were put into a, b, c.
    dx, dy = mx - x, my - y
    u = fma(fma(a, dx, b * dy), dx, dy * dy * c)
    raw = exp_minus_8(u, k) * opacity
    alpha = least(raw, k.max_alpha)
    alpha = where((alpha >= k.threshold) & (u >= k.zero), alpha, k.zero)
    return dx, dy, raw, alpha


@njit(**_PIECE)
def _aligned(size: int, zeros: Zeros) -> Array:
    """Room for `size` numbers that starts on a cache line: lanes across two lines cost twice."""
    room = np.empty(size + LANES, np.array(zeros).dtype)
    start = -(room.ctypes.data // room.itemsize) % LANES
    return room[start : start + size]


@njit(**_PIECE)
def _lay_out(
    frame: Array, state: Array, stride: int, xs: Array, ys: Array, side: int, top: int, columns: int, rows: int
) -> int:
    """Pixel centres of a tile's blocks and the rectangles of these; bits of the blocks that hold a pixel."""
    alive = 0
    for block in range(TILE):
        first_row, first_column = block // BLOCK * BLOCK, block % BLOCK * BLOCK
        for lane in range(LANES):
            r, column = first_row + lane // BLOCK, first_column + lane % BLOCK
            # Pixels past the image's border stand on the border; they have no light.
            state[block * stride + lane] = xs[side + min(column, columns - 1)]
            state[block * stride + LANES + lane] = ys[top + min(r, rows - 1)]
        if first_row < rows and first_column < columns:
            alive |= 1 << block
        frame[block] = state[block * stride]
        frame[LANES + block] = state[block * stride + LANES - 1]
        frame[2 * LANES + block] = state[block * stride + LANES]
        frame[3 * LANES + block] = state[block * stride + 2 * LANES - 1]
    return alive


@njit(**_KERNEL)
def forward(
    part: int,
    parts: int,
    splats: Array,  # [M (6 + D)]
    reach: Array,  # [M 3]
    starts: Array,  # [tiles + 1] int64
    members: Array,  # [intersections] int32
    slots: Array,  # [intersections] int64
    xs: Array,  # [W] pixel centres, ascending
    ys: Array,  # [H]
    zeros: Zeros,  # D zeros
    k: Constants,
    image: Array,  # out [H, W, D]
    left: Array,  # out [H, W] light left
    last: Array,  # out [H, W] place in the tile's list of the last splat blended, -1 without one
    touched: Array,  # out [intersections] uint16 by slot, bits of the blocks a splat was blended in; zero on entry
) -> None:
    """Blend every `parts`-th tile, starting with `part`."""
    height, width = left.shape
    channels = len(zeros)
    columns_of_splat = GEOMETRY + channels
    across = (width + TILE - 1) // TILE
    stride = (4 + channels) * LANES  # a block: x | y | light, negative once finished | last splat | features
    state, frame = _aligned(TILE * stride, zeros), _aligned(4 * LANES, zeros)
    for tile in range(part, len(starts) - 1, parts):
        # Set up the tile: pixel centres, full light, nothing blended yet.
        top, side = tile // across * TILE, tile % across * TILE
        rows, columns = min(TILE, height - top), min(TILE, width - side)
        state[:] = k.zero
        alive = _lay_out(frame, state, stride, xs, ys, side, top, columns, rows)
        for r in range(rows):
            for column in range(columns):
                state[_at(r, column, stride) + 2 * LANES] = k.one
        for block in range(TILE):
            store(state, block * stride + 3 * LANES, spread(-k.one))
        place = -k.one
        for i in range(starts[tile], starts[tile + 1]):
            # Every now and then: drop blocks in which no pixel takes light any more; end with the last of them.
            place += k.one
            if (i - starts[tile]) % _LOOK == _LOOK - 1:
                alive = _still_lit(state, stride, alive, k)
                if alive == 0:
                    break
            # Members jump about in memory: ask for a later splat's rows while this one is blended.
            if i + _AHEAD < starts[tile + 1]:
                ahead = members[i + _AHEAD]
                prefetch(splats, ahead * columns_of_splat)
                prefetch(splats, ahead * columns_of_splat + columns_of_splat - 1)
                prefetch(reach, ahead * REACH)
            # This splat's numbers, the same for all pixels; and the blocks it reaches.
            g = members[i]
            at = g * columns_of_splat
            mx, my, opacity = splats[at], splats[at + 1], splats[at + 5]
            a, b, c = splats[at + 2] * k.half * k.eighth, splats[at + 3] * k.eighth, splats[at + 4] * k.half * k.eighth
            colour = scalars(splats, at + GEOMETRY, zeros)
            hits = alive & _blocks_reached(
                frame, mx, my, a, b, c, reach[g * REACH], reach[g * REACH + 1], reach[g * REACH + 2], k
            )
            touched[slots[i]] = hits
            while hits != 0:
                block = lowest_bit(hits)
                hits &= hits - 1
                at = block * stride
                # Blend the splat into the 16 pixels of a block, front to back: weight = light alpha.
                alpha = _alpha(load(state, at), load(state, at + LANES), mx, my, a, b, c, opacity, k)[3]
                light = load(state, at + 2 * LANES)
                taken = light * alpha
                behind = light - taken
                # A pixel that would fall to the stop takes no more: its light stays, with a minus sign as a mark.
                open_ = behind > k.stop
                light = where(open_, behind, minus_magnitude(light))
                weight = where(open_, taken, k.zero)
                store(state, at + 2 * LANES, light)
                # Remember the last splat that counted: the backward pass begins there.
                store(state, at + 3 * LANES, where(weight > k.zero, place, load(state, at + 3 * LANES)))
                features = load_rows(state, at + 4 * LANES, zeros)
                store_rows(state, at + 4 * LANES, add_product(features, weight, colour))
        _write_out(state, stride, top, side, rows, columns, zeros, image, left, last)


@njit(**_PIECE)
def _write_out(
    state: Array,
    stride: int,
    top: int,
    side: int,
    rows: int,
    columns: int,
    zeros: Zeros,
    image: Array,
    left: Array,
    last: Array,
) -> None:
    for r in range(rows):
        for column in range(columns):
            at = _at(r, column, stride) + 2 * LANES
            left[top + r, side + column] = abs(state[at])
            last[top + r, side + column] = state[at + LANES]
            for channel in range(len(zeros)):
                image[top + r, side + column, channel] = state[at + (2 + channel) * LANES]


@njit(**_PIECE)
def _still_lit(state: Array, stride: int, alive: int, k: Constants) -> int:
    """Bits of the `alive` blocks where light still passes."""
    for block in range(TILE):
        if bits(load(state, block * stride + 2 * LANES) > k.zero) == 0:
            alive &= ~(1 << block)
    return alive


@njit(**_PIECE)
def _at(r: int, column: int, stride: int) -> int:
    """Where a tile's pixel lies in the rows of its block."""
    block = r // BLOCK * BLOCK + column // BLOCK
    return block * stride + r % BLOCK * BLOCK + column % BLOCK


@njit(**_PIECE)
def slot_width(columns: int) -> int:
    """Numbers in a row of the buffer that holds the gradient of one splat in one tile."""
    return (columns + LANES - 1) // LANES * LANES


@njit(**_KERNEL)
def backward(
    part: int,
    parts: int,
    splats: Array,  # [M (6 + D)]
    starts: Array,  # [tiles + 1] int64
    members: Array,  # [intersections] int32
    slots: Array,  # [intersections] int64
    touched: Array,  # [intersections] uint16 by slot
    xs: Array,  # [W]
    ys: Array,  # [H]
    zeros: Zeros,  # D zeros
    k: Constants,
    left: Array,  # [H, W]
    last: Array,  # [H, W]
    v_image: Array,  # [H, W, D]
    v_left: Array,  # [H, W]
    v_slots: Array,  # out [intersections * slot width], written where `touched`
) -> None:
    """Gradient of every `parts`-th tile, one row of `v_slots` for each splat in each tile.

    Back to front: the light before splat i is that behind it over ``1 - alpha_i``, and with v the pixel's gradient
    and S the sum of ``w_j c_j.v`` behind, at first ``v_T T``: ``dL/dalpha_i = T_i c_i.v - S / (1 - alpha_i)``. (Front
    to back S would be a difference of large numbers, and lose what lies behind nearly opaque splats.)

    A row holds D feature gradients, then the sums over pixels of ``dL/dalpha alpha`` times 1, dx, dy, dx^2, dx dy,
    dy^2.
    """
    height, width = left.shape
    channels = len(zeros)
    columns_of_splat = GEOMETRY + channels
    row_width = slot_width(columns_of_splat)
    across = (width + TILE - 1) // TILE
    stride = (5 + channels) * LANES  # a block: x | y | light behind | S behind | last splat | v
    state, frame = _aligned(TILE * stride, zeros), _aligned(4 * LANES, zeros)
    for tile in range(part, len(starts) - 1, parts):
        # Set up the tile as the forward pass left it: light behind the last splat, and the gradients that come in.
        top, side = tile // across * TILE, tile % across * TILE
        rows, columns = min(TILE, height - top), min(TILE, width - side)
        state[:] = k.zero
        _lay_out(frame, state, stride, xs, ys, side, top, columns, rows)
        for r in range(rows):
            for column in range(columns):
                at = _at(r, column, stride) + 2 * LANES
                state[at] = left[top + r, side + column]
                state[at + LANES] = v_left[top + r, side + column] * left[top + r, side + column]
                state[at + 2 * LANES] = last[top + r, side + column]
                for channel in range(channels):
                    state[at + (3 + channel) * LANES] = v_image[top + r, side + column, channel]
        # Places run down, from the tile's last splat to its first.
        frame[0] = starts[tile + 1] - starts[tile]  # an integer becomes a float of the right type
        place = frame[0]
        for i in range(starts[tile + 1] - 1, starts[tile] - 1, -1):
            place -= k.one
            # Ask for what comes later, as in the forward pass.
            if i - _AHEAD >= starts[tile]:
                ahead = members[i - _AHEAD]
                prefetch(splats, ahead * columns_of_splat)
                prefetch(splats, ahead * columns_of_splat + columns_of_splat - 1)
                prefetch(v_slots, slots[i - _AHEAD] * row_width)
            hits = np.int64(touched[slots[i]])
            if hits == 0:
                continue
            # This splat's numbers, and sums over all of its pixels in the tile, a lane for each pixel of a block.
            at = members[i] * columns_of_splat
            mx, my, opacity = splats[at], splats[at + 1], splats[at + 5]
            a, b, c = splats[at + 2] * k.half * k.eighth, splats[at + 3] * k.eighth, splats[at + 4] * k.half * k.eighth
            colour = scalars(splats, at + GEOMETRY, zeros)
            v_colour = zero_rows(zeros)
            none = spread(k.zero)
            s, sx, sy, sxx, sxy, syy = none, none, none, none, none, none
            while hits != 0:
                block = lowest_bit(hits)
                hits &= hits - 1
                at = block * stride
                # The same alpha as in the forward pass; splats behind the pixel's last one took no part.
                dx, dy, raw, alpha = _alpha(load(state, at), load(state, at + LANES), mx, my, a, b, c, opacity, k)
                alpha = where(load(state, at + 4 * LANES) >= place, alpha, k.zero)
                # Undo the blending: light before this splat from the light behind it.
                over_passed = k.one / (k.one - alpha)
                light = load(state, at + 2 * LANES) * over_passed
                store(state, at + 2 * LANES, light)
                weight = light * alpha
                # Gradient of the features: the pixel's gradient times the weight.
                v = load_rows(state, at + 5 * LANES, zeros)
                v_colour = add_product(v_colour, weight, v)
                # dL/dalpha alpha: what this splat adds, less what it hides of those behind (S).
                own = weight * dot(v, colour)
                behind = load(state, at + 3 * LANES)
                store(state, at + 3 * LANES, behind + own)
                grad = own - behind * (alpha * over_passed)
                # Where alpha was clamped, neither opacity nor shape changes it.
                grad = where(raw <= k.max_alpha, grad, k.zero)
                # Moments of the gradient: `add_up` makes position and conic gradients of them.
                grad_x, grad_y = grad * dx, grad * dy
                s, sx, sy = s + grad, sx + grad_x, sy + grad_y
                sxx, sxy, syy = fma(grad_x, dx, sxx), fma(grad_x, dy, sxy), fma(grad_y, dy, syy)
            store_totals(v_slots, slots[i] * row_width, (*v_colour, s, sx, sy, sxx, sxy, syy))


@njit(**_KERNEL)
def add_up(
    part: int,
    parts: int,
    splats: Array,  # [M (6 + D)]
    first_slots: Array,  # [M + 1] int64, range of each splat in `v_slots`
    touched: Array,  # [intersections] uint16 by slot
    v_slots: Array,  # [intersections * slot width]
    v_splats: Array,  # out [M, 6 + D]
    k: Constants,
) -> None:
    """Sum each splat's rows of `v_slots` in their order, and turn the sums into the gradient of its parameters."""
    many, columns = v_splats.shape
    channels = columns - GEOMETRY
    row_width = slot_width(columns)
    sums = np.empty(row_width, v_slots.dtype)
    for g in range(many * part // parts, many * (part + 1) // parts):
        # A splat that no tile blended has no gradient, and rows that were never written.
        seen = False
        for slot in range(first_slots[g], first_slots[g + 1]):
            seen |= touched[slot] != 0
        if not seen:  # its opacity may be zero, its conic infinite
            v_splats[g] = k.zero
            continue
        # Sum the splat's rows over its tiles, always in the order of the tiles.
        for chunk in range(0, row_width, LANES):
            value = spread(k.zero)
            for slot in range(first_slots[g], first_slots[g + 1]):
                if touched[slot] != 0:
                    value = value + load(v_slots, slot * row_width + chunk)
            store(sums, chunk, value)
        # sigma = (a dx^2 + 2 b dx dy + c dy^2) / 2 and alpha = opacity exp(-sigma): the chain rule from the moments
        # to mean, conic and opacity.
        s, sx, sy = sums[channels], sums[channels + 1], sums[channels + 2]
        a, b, c = splats[g * columns + 2], splats[g * columns + 3], splats[g * columns + 4]
        v_splats[g, 0] = -(a * sx + b * sy)
        v_splats[g, 1] = -(b * sx + c * sy)
        v_splats[g, 2] = -k.half * sums[channels + 3]
        v_splats[g, 3] = -sums[channels + 4]
        v_splats[g, 4] = -k.half * sums[channels + 5]
        v_splats[g, 5] = s / splats[g * columns + 5]
        for channel in range(channels):
            v_splats[g, GEOMETRY + channel] = sums[channel]
