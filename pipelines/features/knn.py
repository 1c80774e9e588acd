"""Distance to the nearest neighbours of every point of a cloud at once, exactly.

A k-d tree is cut by rank until each leaf holds `LANES` points, so that the leaves are runs of the rows and every
aligned run of LANES leaves, of LANES**2 leaves and so on is a node: no pointers. A leaf asks as one: its points are
the lanes of a vector, its box meets LANES boxes at a time, and the neighbours kept are those of all of its points.
Boxes are compared with distances in the arithmetic of the distances themselves, and rounding is monotonic, so a leaf
that is passed over holds nothing nearer: the result is that of all pairs, to the last bit.

Only + - * and sqrt in a fixed order: the same bits on every CPU.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

LANES = 16
"""Points of a leaf and children of a node: a power of two, two AVX-512 registers."""

_SORTED = 32  # runs this short are sorted whole, which beats a search for the middle
_SAMPLE, _LONG, _LONG_SAMPLE = 5, 1000, 31  # values looked at to guess a middle, and those of a long run

# Rows of LANES values of the state of a leaf that asks: its points, four new distances, then the least ones so far,
# _CHUNK rows at a time. One flat array with known offsets, so that the compiler can see that the rows are apart.
_Y, _Z, _NEW, _BEST, _CHUNK = LANES, 2 * LANES, 3 * LANES, 7 * LANES, 3

_kernel = njit(cache=True, nogil=True)
_inlined = njit(cache=True, nogil=True, inline="always")  # a call that passes arrays costs as much as a node or a leaf


def knn_scale(points: NDArray[np.float64], k: int = 3) -> NDArray[np.float64]:
    """Mean distance of each point to its k nearest neighbours of the same sweep.

    Neighbours are other positions: returns that share a position to the last bit count as one, so that no scale
    is 0.

    Args:
        points: [P, 3] m.
        k: number of neighbours.

    Returns:
        [P] m.

    Raises:
        ValueError: a point is not finite, or there are fewer than k + 1 different positions.
    """
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError(f"points must be finite and of shape [P, 3], got shape {list(points.shape)}")
    if k < 1 or len(points) <= k:
        raise ValueError(f"the {k} nearest neighbours need at least {k + 1} points (k >= 1), got {len(points)}")
    points = np.ascontiguousarray(points, dtype=np.float64)
    first, inverse = _positions(points)
    if len(first) <= k:
        raise ValueError(f"the {k} nearest neighbours need {k + 1} different positions, got {len(first)}")
    if len(first) == len(points):
        return _mean_distances(points, k)
    mean: NDArray[np.float64] = _mean_distances(points[first], k)[inverse]
    return mean


def _mean_distances(
    points: NDArray[np.float64],  # [N, 3] all different
    k: int,
) -> NDArray[np.float64]:
    rows = _build(points)
    leaves = _leaves(rows)
    boxes, first_child, levels = _boxes(rows)
    mean: NDArray[np.float64] = _query(rows, leaves, boxes, first_child, levels, k)
    return mean


@_kernel
def _positions(
    points: NDArray[np.float64],  # [P, 3]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First point of each position [N], and the number of the position of each point [P]; by hashing."""
    count = len(points)
    bits = 4
    while 1 << bits < 2 * count:
        bits += 1
    table = np.full(1 << bits, -1, dtype=np.int32)  # half of it stays empty
    first, inverse, found = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64), 0
    xyz = np.empty(3)
    words = xyz.view(np.uint64)
    for i in range(count):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        xyz[0], xyz[1], xyz[2] = x + 0.0, y + 0.0, z + 0.0  # -0.0 and 0.0 are one position
        # Mix the bits of the three numbers to a place in the table, then look there and after.
        mixed = words[0] * np.uint64(0x9E3779B97F4A7C15) ^ words[0] >> np.uint64(32)
        mixed = (mixed + words[1]) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = ((mixed ^ mixed >> np.uint64(29)) + words[2]) * np.uint64(0x94D049BB133111EB)
        at = np.int64((mixed ^ mixed >> np.uint64(32)) & np.uint64((1 << bits) - 1))
        while True:
            if table[at] < 0:
                table[at], first[found], inverse[i] = found, i, found
                found += 1
                break
            other = first[table[at]]
            if points[other, 0] == x and points[other, 1] == y and points[other, 2] == z:
                inverse[i] = table[at]
                break
            at = (at + 1) & ((1 << bits) - 1)
    return first[:found], inverse


@_kernel
def _build(
    points: NDArray[np.float64],  # [N, 3]
) -> NDArray[np.float64]:
    """Points in the order of the leaves [N, 4]: x, y, z and their row in `points` (exact to 2**53)."""
    rows = np.empty((len(points), 4))
    for i in range(len(points)):
        rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3] = points[i, 0], points[i, 1], points[i, 2], i
    stack = np.empty((64, 2), dtype=np.int64)
    values, ranks, copy = (
        np.empty(max(_SORTED, _LONG_SAMPLE)),
        np.empty(_SORTED, dtype=np.int64),
        np.empty((_SORTED, 4)),
    )
    # Halve runs of rows by rank, without recursion: the right part waits on the stack.
    stack[0, 0], stack[0, 1], top = 0, len(rows), 1
    while top > 0:
        top -= 1
        start, stop = stack[top, 0], stack[top, 1]
        while stop - start > LANES:
            # The left part has the greatest power of two of leaves, so that aligned runs of leaves are nodes.
            half = LANES
            while 2 * half < stop - start:
                half *= 2
            _select(rows, start, stop, start + half, _widest_axis(rows, start, stop), values, ranks, copy)
            stack[top, 0], stack[top, 1] = start + half, stop
            top += 1
            stop = start + half
    return rows


@_inlined
def _widest_axis(rows: NDArray[np.float64], start: int, stop: int) -> int:
    """Axis of greatest extent, of all rows of a short run, of some of a long one: any axis gives a valid tree."""
    step = max(1, (stop - start) // _SORTED)
    x0, y0, z0 = rows[start, 0], rows[start, 1], rows[start, 2]
    x1, y1, z1 = x0, y0, z0
    for i in range(start, stop, step):
        x0, x1 = min(x0, rows[i, 0]), max(x1, rows[i, 0])
        y0, y1 = min(y0, rows[i, 1]), max(y1, rows[i, 1])
        z0, z1 = min(z0, rows[i, 2]), max(z1, rows[i, 2])
    if x1 - x0 >= y1 - y0:
        return 0 if x1 - x0 >= z1 - z0 else 2
    return 1 if y1 - y0 >= z1 - z0 else 2


@_inlined
def _select(
    rows: NDArray[np.float64],  # [N, 4]
    start: int,
    stop: int,
    middle: int,
    axis: int,
    values: NDArray[np.float64],  # scratch, as the next two
    ranks: NDArray[np.int64],
    copy: NDArray[np.float64],
) -> None:
    """Order rows start..stop so that none before `middle` is greater on the axis than one from it on."""
    while stop - start > _SORTED:
        # Quickselect: keep the side in which the middle lies.
        pivot = _pivot(rows, start, stop, middle, axis, values)
        split = _partition(rows, start, stop, axis, pivot)
        if middle < split:
            stop = split
        else:  # rows equal to the pivot go to neither side: many equal values cost one more pass, not one each
            start = _partition(rows, split, stop, axis, np.nextafter(pivot, np.inf))
            if middle <= start:
                return
    _sort(rows, start, stop, axis, values, ranks, copy)


@_inlined
def _pivot(
    rows: NDArray[np.float64],
    start: int,
    stop: int,
    middle: int,
    axis: int,
    values: NDArray[np.float64],
) -> float:
    """Value likely to have the rank `middle`, from an even sample."""
    count = stop - start
    sample = _SAMPLE if count < _LONG else _LONG_SAMPLE
    for j in range(sample):
        value, at = rows[start + count * (2 * j + 1) // (2 * sample), axis], j
        while at > 0 and values[at - 1] > value:
            values[at] = values[at - 1]
            at -= 1
        values[at] = value
    chosen: float = values[(middle - start) * sample // count]
    return chosen


@_inlined
def _partition(rows: NDArray[np.float64], start: int, stop: int, axis: int, pivot: float) -> int:
    """Bring rows below the pivot to the front; no branch depends on a value. Returns where the others start."""
    split = start
    for i in range(start, stop):
        below = 1 if rows[i, axis] < pivot else 0
        x, y, z, index = rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3]
        a, b, c, d = rows[split, 0], rows[split, 1], rows[split, 2], rows[split, 3]
        rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3] = a, b, c, d
        rows[split, 0], rows[split, 1], rows[split, 2], rows[split, 3] = x, y, z, index
        split += below
    return split


@_inlined
def _sort(
    rows: NDArray[np.float64],
    start: int,
    stop: int,
    axis: int,
    values: NDArray[np.float64],
    ranks: NDArray[np.int64],
    copy: NDArray[np.float64],
) -> None:
    """Sort a short run by counting for each row those before it: all pairs, but in vectors and without a branch."""
    count = stop - start
    for i in range(count):
        values[i], ranks[i] = rows[start + i, axis], 0
        for j in range(4):
            copy[i, j] = rows[start + i, j]
    for j in range(count):
        value = values[j]
        for i in range(count):
            ranks[i] += (value < values[i]) | ((value == values[i]) & (j < i))
    for i in range(count):
        for j in range(4):
            rows[start + ranks[i], j] = copy[i, j]


@_kernel
def _leaves(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leaves [L, 3, LANES]; what the last one lacks is infinitely far."""
    leaves = np.full(((len(rows) + LANES - 1) // LANES, 3, LANES), np.inf)
    for i in range(len(rows)):
        for axis in range(3):
            leaves[i // LANES, axis, i % LANES] = rows[i, axis]
    return leaves


@_kernel
def _boxes(
    rows: NDArray[np.float64],  # [N, 4]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Nodes from the leaves up, the root last.

    Returns:
        Boxes of the children of each node [M, 6, LANES]: least x y z, greatest x y z; an absent child is empty.
        First child of each node [M]: a leaf is its number, a node its row + the number of leaves.
        First node of each level [height], from the leaves' parents up.
    """
    num_leaves = (len(rows) + LANES - 1) // LANES
    # How many nodes each level has, and where it begins.
    levels, height, total, count = np.zeros(32, dtype=np.int64), 0, 0, num_leaves
    while height == 0 or count > 1:
        levels[height] = total
        count = (count + LANES - 1) // LANES
        total += count
        height += 1
    boxes, first_child = np.empty((total, 6, LANES)), np.empty(total, dtype=np.int64)
    boxes[:, :3], boxes[:, 3:] = np.inf, -np.inf
    # Boxes of the leaves from their points, then of each level from the one below.
    for i in range(len(rows)):
        leaf = i // LANES
        for axis in range(3):
            _grow(boxes, leaf // LANES, axis, leaf % LANES, rows[i, axis], rows[i, axis])
    for node in range(levels[1] if height > 1 else total):
        first_child[node] = node * LANES
    for level in range(1, height):
        for child in range(levels[level] - levels[level - 1]):
            node, row = levels[level] + child // LANES, levels[level - 1] + child
            if child % LANES == 0:
                first_child[node] = num_leaves + row
            for axis in range(3):
                for lane in range(LANES):
                    _grow(boxes, node, axis, child % LANES, boxes[row, axis, lane], boxes[row, 3 + axis, lane])
    return boxes, first_child, levels[:height]


@_kernel
def _grow(boxes: NDArray[np.float64], node: int, axis: int, lane: int, least: float, greatest: float) -> None:
    boxes[node, axis, lane] = min(boxes[node, axis, lane], least)
    boxes[node, 3 + axis, lane] = max(boxes[node, 3 + axis, lane], greatest)


@_kernel
def _query(
    rows: NDArray[np.float64],  # [N, 4]
    leaves: NDArray[np.float64],  # [L, 3, LANES]
    boxes: NDArray[np.float64],  # [M, 6, LANES]
    first_child: NDArray[np.int64],  # [M]
    levels: NDArray[np.int64],  # [height]
    k: int,
) -> NDArray[np.float64]:
    """Mean distance to the k nearest of each point [N], in the order the points had before the build."""
    mean, box, gaps = np.empty(len(rows)), np.empty(6), np.empty(LANES)
    state = np.empty(_BEST + (k + _CHUNK - 1) // _CHUNK * _CHUNK * LANES)
    stack, stack_gaps = np.empty(LANES * (len(levels) + 1), dtype=np.int64), np.empty(LANES * (len(levels) + 1))
    for leaf in range(len(leaves)):
        # All points of a leaf ask together: own points first, they are near and give a small `worst`.
        size = min(LANES, len(rows) - leaf * LANES)
        for i in range(6):
            box[i] = boxes[leaf // LANES, i, leaf % LANES]
        _start(leaves, leaf, size, state)
        worst = _scan(leaves, leaf, k, 0, state)
        at = leaf
        for level in range(len(levels)):  # from the leaf up: its siblings, the siblings of its parent, ...
            lane, at = at % LANES, at // LANES
            top = _push(boxes, first_child, levels[level] + at, lane, box, worst, gaps, stack, stack_gaps, 0)
            # Depth first through what may still hold something nearer than the worst neighbour so far.
            while top > 0:
                top -= 1
                if stack_gaps[top] < worst:
                    node = stack[top] - len(leaves)
                    if node < 0:
                        worst = _scan(leaves, stack[top], k, -LANES, state)
                    else:
                        top = _push(boxes, first_child, node, -1, box, worst, gaps, stack, stack_gaps, top)
        _write_means(rows, leaf * LANES, size, k, state, mean)
    return mean


@_inlined
def _push(
    boxes: NDArray[np.float64],
    first_child: NDArray[np.int64],
    node: int,
    skip: int,  # lane not to push
    box: NDArray[np.float64],  # [6] of the leaf that asks
    worst: float,
    gaps: NDArray[np.float64],  # [LANES] scratch
    stack: NDArray[np.int64],
    stack_gaps: NDArray[np.float64],
    top: int,
) -> int:
    """Push the children of a node whose squared distance from the box is below `worst`; returns the new top."""
    for lane in range(boxes.shape[2]):  # a length read from the array is not unrolled, and so becomes vectors
        dx = max(max(boxes[node, 0, lane] - box[3], box[0] - boxes[node, 3, lane]), 0.0)
        dy = max(max(boxes[node, 1, lane] - box[4], box[1] - boxes[node, 4, lane]), 0.0)
        dz = max(max(boxes[node, 2, lane] - box[5], box[2] - boxes[node, 5, lane]), 0.0)
        gaps[lane] = dx * dx + dy * dy + dz * dz
    for lane in range(LANES):
        if gaps[lane] < worst and lane != skip:
            stack[top], stack_gaps[top] = first_child[node] + lane, gaps[lane]
            top += 1
    return top


@_inlined
def _start(leaves: NDArray[np.float64], leaf: int, size: int, state: NDArray[np.float64]) -> None:
    """State of a leaf that has met no other point; lanes without a point want none."""
    for lane in range(LANES):
        for axis in range(3):
            state[axis * LANES + lane] = leaves[leaf, axis, lane]
    state[_BEST:] = np.inf
    for lane in range(size, LANES):
        state[_BEST + lane :: LANES] = 0.0


@_kernel
def _insert_chunk(
    new: NDArray[np.float64],  # [4 * LANES] from _NEW on; takes the distances pushed out
    best: NDArray[np.float64],  # [_CHUNK * LANES] from the chunk on
    lanes: int,
) -> None:
    """Sort four new distances into a further chunk of neighbours, for more of them than _CHUNK."""
    for lane in range(lanes):
        first, second, third = best[lane], best[LANES + lane], best[2 * LANES + lane]
        d0, d1 = new[lane], new[LANES + lane]
        d2, d3 = new[2 * LANES + lane], new[3 * LANES + lane]
        first, second, third, d0 = _insert(first, second, third, d0)
        first, second, third, d1 = _insert(first, second, third, d1)
        first, second, third, d2 = _insert(first, second, third, d2)
        first, second, third, d3 = _insert(first, second, third, d3)
        best[lane], best[LANES + lane], best[2 * LANES + lane] = first, second, third
        new[lane], new[LANES + lane] = d0, d1
        new[2 * LANES + lane], new[3 * LANES + lane] = d2, d3


@_inlined
def _scan(
    leaves: NDArray[np.float64],
    leaf: int,
    k: int,
    own: int,  # 0 if the leaf is the one that asks, -LANES if not
    state: NDArray[np.float64],
) -> float:
    """Put the points of a leaf, four at a time, into the neighbours of those that ask; returns the greatest k-th."""
    for i in range(0, LANES, 4):
        x0, y0, z0 = leaves[leaf, 0, i], leaves[leaf, 1, i], leaves[leaf, 2, i]
        x1, y1, z1 = leaves[leaf, 0, i + 1], leaves[leaf, 1, i + 1], leaves[leaf, 2, i + 1]
        x2, y2, z2 = leaves[leaf, 0, i + 2], leaves[leaf, 1, i + 2], leaves[leaf, 2, i + 2]
        x3, y3, z3 = leaves[leaf, 0, i + 3], leaves[leaf, 1, i + 3], leaves[leaf, 2, i + 3]
        # Distances of four points to all that ask (a lane each), sorted into their three best so far.
        me = own + i  # the lane that is the first of the four itself
        for lane in range(leaves.shape[2]):
            x, y, z = state[lane], state[_Y + lane], state[_Z + lane]
            d0, d1 = _squared(x - x0, y - y0, z - z0), _squared(x - x1, y - y1, z - z1)
            d2, d3 = _squared(x - x2, y - y2, z - z2), _squared(x - x3, y - y3, z - z3)
            first, second, third = state[_BEST + lane], state[_BEST + LANES + lane], state[_BEST + 2 * LANES + lane]
            first, second, third, d0 = _insert(first, second, third, np.inf if lane == me else d0)
            first, second, third, d1 = _insert(first, second, third, np.inf if lane == me + 1 else d1)
            first, second, third, d2 = _insert(first, second, third, np.inf if lane == me + 2 else d2)
            first, second, third, d3 = _insert(first, second, third, np.inf if lane == me + 3 else d3)
            state[_BEST + lane], state[_BEST + LANES + lane], state[_BEST + 2 * LANES + lane] = first, second, third
            state[_NEW + lane], state[_NEW + LANES + lane] = d0, d1
            state[_NEW + 2 * LANES + lane], state[_NEW + 3 * LANES + lane] = d2, d3
        # What fell out of the first three goes on to the next three, where k is larger.
        for row in range(_BEST + _CHUNK * LANES, len(state), _CHUNK * LANES):
            _insert_chunk(state[_NEW:], state[row:], leaves.shape[2])
    worst = 0.0
    for lane in range(LANES):
        worst = max(worst, state[_BEST + (k - 1) * LANES + lane])
    return worst


@_kernel
def _squared(dx: float, dy: float, dz: float) -> float:
    return dx * dx + dy * dy + dz * dz


@_kernel
def _insert(first: float, second: float, third: float, new: float) -> tuple[float, float, float, float]:
    """The four in order, where the first three are."""
    a = new if new < first else first
    new = first if new < first else new
    b = new if new < second else second
    new = second if new < second else new
    c = new if new < third else third
    new = third if new < third else new
    return a, b, c, new


@_inlined
def _write_means(
    rows: NDArray[np.float64],
    start: int,
    size: int,
    k: int,
    state: NDArray[np.float64],
    mean: NDArray[np.float64],  # [N] written to
) -> None:
    for lane in range(size):
        total = np.sqrt(state[_BEST + lane])
        for i in range(1, k):
            total += np.sqrt(state[_BEST + i * LANES + lane])
        mean[np.int64(rows[start + lane, 3])] = total / k
