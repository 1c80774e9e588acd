"""Tuples of lanes in compiled kernels: the channels of a block of pixels, in as many registers.

An operation on a tuple is written out for each of its members when it is compiled; a tuple's length is that of the
tuple `like`, which the caller passes for nothing else.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,attr-defined"
# Signatures here are numba's protocol: types in, LLVM values out.

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from flux4d.rasterize.cpu.simd import FLOAT, LANES, LanesType, fused, place_of, spread_of, vector_of


@intrinsic
def scalars(typing_context, array, index, like):
    """As many neighbours of a contiguous 1-D array as the tuple `like` is long, as a tuple of scalars."""
    count = len(like)

    def emit(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        places = [builder.gep(data, [builder.add(args[1], ir.Constant(args[1].type, i))]) for i in range(count)]
        return cgutils.pack_array(builder, [builder.load(place) for place in places], FLOAT[array.dtype.bitwidth])

    return types.UniTuple(array.dtype, count)(array, types.intp, like), emit


@intrinsic
def load_rows(typing_context, array, index, like):
    """As many rows of 16 neighbours, one after the other, as the tuple `like` is long, as a tuple."""
    count = len(like)
    kind = LanesType(array.dtype)

    def emit(context, builder, sig, args):
        rows = []
        for i in range(count):
            at = builder.add(args[1], ir.Constant(args[1].type, i * LANES))
            place = place_of(context, builder, sig.args[0], args[0], at)
            rows.append(builder.load(place, align=array.dtype.bitwidth // 8))
        return cgutils.pack_array(builder, rows, vector_of(array.dtype))

    return types.UniTuple(kind, count)(array, types.intp, like), emit


@intrinsic
def store_rows(typing_context, array, index, rows):
    """Write rows of 16 neighbours, one after the other."""

    def emit(context, builder, sig, args):
        for i in range(len(rows)):
            at = builder.add(args[1], ir.Constant(args[1].type, i * LANES))
            place = place_of(context, builder, sig.args[0], args[0], at)
            builder.store(builder.extract_value(args[2], i), place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, rows), emit


@intrinsic
def zero_rows(typing_context, like):
    """As many lanes of zeros as the tuple `like` is long."""
    kind = LanesType(like.dtype)

    def emit(context, builder, sig, args):
        vector = vector_of(like.dtype)
        return cgutils.pack_array(builder, [ir.Constant(vector, [0.0] * LANES)] * len(like), vector)

    return types.UniTuple(kind, len(like))(like), emit


@intrinsic
def add_product(typing_context, rows, weight, factors):
    """``rows[i] + weight factors[i]`` for each i, as a tuple; factors are lanes or scalars."""
    kind = rows.dtype

    def emit(context, builder, sig, args):
        out = []
        for i in range(len(rows)):
            factor = spread_of(builder, builder.extract_value(args[2], i), factors.dtype)
            out.append(fused(builder, kind, args[1], factor, builder.extract_value(args[0], i)))
        return cgutils.pack_array(builder, out, vector_of(kind.dtype))

    return types.UniTuple(kind, len(rows))(rows, weight, factors), emit


@intrinsic
def dot(typing_context, rows, factors):
    """Sum over i of ``rows[i] factors[i]``: even and odd i apart, then together."""
    kind = rows.dtype

    def emit(context, builder, sig, args):
        sums = [ir.Constant(vector_of(kind.dtype), [0.0] * LANES)] * 2
        for i in range(len(rows)):
            factor = spread_of(builder, builder.extract_value(args[1], i), factors.dtype)
            sums[i % 2] = fused(builder, kind, builder.extract_value(args[0], i), factor, sums[i % 2])
        return builder.fadd(*sums)

    return kind(rows, factors), emit


@intrinsic
def store_totals(typing_context, array, index, rows):
    """Write the sum over the lanes of each value, one after the other, and zeros up to a multiple of 16.

    A tree over pairs of values: a quarter of the instructions of as many sums one by one.
    """

    def emit(context, builder, sig, args):
        zero = ir.Constant(vector_of(array.dtype), [0.0] * LANES)
        values = [builder.extract_value(args[2], i) for i in range(len(rows))]
        for start in range(0, len(values), LANES):
            group = values[start : start + LANES]
            at = builder.add(args[1], ir.Constant(args[1].type, start))
            sums = _totals(builder, group + [zero] * (LANES - len(group)))
            builder.store(sums, place_of(context, builder, sig.args[0], args[0], at), align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, rows), emit


def _totals(builder, values):
    """The sums over the lanes of 16 values, the i-th in lane i."""
    width = LANES
    while len(values) > 1:
        # Each value holds LANES / width sums of `width` lanes each; halve the width, twice the sums.
        width //= 2
        half = len(values) // 2
        values = [_fold(builder, values[i], values[i + half], width) for i in range(half)]
    return builder.shuffle_vector(values[0], ir.Constant(values[0].type, ir.Undefined), _indices(_order_of_totals()))


def _fold(builder, a, b, width: int):
    """Add the upper half of every group of ``2 width`` lanes to its lower half: groups of a, then of b."""
    groups = [source + start for start in range(0, LANES, 2 * width) for source in (0, LANES)]
    low = [start + i for start in groups for i in range(width)]
    high = [index + width for index in low]
    return builder.fadd(builder.shuffle_vector(a, b, _indices(low)), builder.shuffle_vector(a, b, _indices(high)))


def _order_of_totals() -> list[int]:
    """Which lane `totals` leaves the i-th sum in."""
    held: list[list[int]] = [[i] for i in range(LANES)]
    while len(held) > 1:
        half = len(held) // 2
        held = [[x for pair in zip(held[i], held[i + half], strict=True) for x in pair] for i in range(half)]
    return [held[0].index(i) for i in range(LANES)]


def _indices(order: list[int]):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
