"""Sixteen numbers as one value in compiled kernels: arithmetic on `Lanes` is one vector instruction.

numba leaves it to LLVM to find vectors in loops, and a small change of a loop makes it give up silently, ten times
slower. Here a kernel says what it means: ``load`` takes 16 neighbours of an array, ``+ - * <`` work lane by lane
(a scalar of the same type counts for every lane), ``where`` selects. LLVM cuts the 16 lanes into whatever the
processor has: one register with AVX-512, two with AVX2, four with NEON.

Nothing is contracted behind the reader's back: a product and a sum are fused where it says ``fma``, and nowhere else,
so one source gives the same bits wherever it is inlined.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,arg-type,union-attr"
# Signatures here are numba's protocol: types in, LLVM values out.

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16
"""Numbers in one value."""


class LanesType(types.Type):
    """16 floats."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


class MaskType(types.Type):
    """16 truth values."""

    def __init__(self) -> None:
        super().__init__(name="Mask")


MASK = MaskType()
FLOAT = {32: ir.FloatType(), 64: ir.DoubleType()}
_BITS = ir.VectorType(ir.IntType(1), LANES)


def vector_of(dtype: types.Float) -> ir.VectorType:
    """The LLVM type of lanes."""
    return ir.VectorType(FLOAT[dtype.bitwidth], LANES)


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, vector_of(kind.dtype))


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _BITS)


def _lanes_of(*args: types.Type) -> LanesType | None:
    """The common type of lanes and scalars of one float type, None if there is none."""
    kinds = {arg.dtype for arg in args if isinstance(arg, LanesType)}
    kinds |= {arg for arg in args if not isinstance(arg, LanesType)}
    if len(kinds) == 1 and isinstance(kind := kinds.pop(), types.Float):
        return LanesType(kind)
    return None


def spread_of(builder, value, kind: types.Type):
    """A scalar in every lane; lanes as they are."""
    if isinstance(kind, LanesType):
        return value
    vector = vector_of(kind)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), order)


def _register(operation: Callable[..., Any], result: Callable[[LanesType], types.Type], emit: Any) -> None:
    """Give `operation` a meaning for two operands of which at least one is `Lanes`."""

    @infer_global(operation)
    class _Template(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == 2 and any(isinstance(arg, LanesType) for arg in args) and (kind := _lanes_of(*args)):
                return signature(result(kind), *args)
            return None

    def lower(context, builder, sig, args):
        left, right = (spread_of(builder, value, kind) for value, kind in zip(args, sig.args, strict=True))
        return emit(builder, left, right)

    for left, right in ((LanesType, LanesType), (LanesType, types.Float), (types.Float, LanesType)):
        lower_builtin(operation, left, right)(lower)


_register(operator.add, lambda kind: kind, lambda builder, a, b: builder.fadd(a, b))
_register(operator.sub, lambda kind: kind, lambda builder, a, b: builder.fsub(a, b))
_register(operator.mul, lambda kind: kind, lambda builder, a, b: builder.fmul(a, b))
_register(operator.truediv, lambda kind: kind, lambda builder, a, b: builder.fdiv(a, b))
for _operation, _word in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">=")):
    _register(_operation, lambda _: MASK, lambda builder, a, b, word=_word: builder.fcmp_ordered(word, a, b))


@infer_global(operator.and_)
class _And(AbstractTemplate):
    def generic(self, args, kws):
        return signature(MASK, MASK, MASK) if args == (MASK, MASK) else None


@lower_builtin(operator.and_, MaskType, MaskType)
def _and(context, builder, sig, args):
    return builder.and_(*args)


@intrinsic
def load(typing_context, array, index):
    """16 neighbours of a contiguous 1-D array, from `index` on."""
    kind = LanesType(array.dtype)

    def emit(context, builder, sig, args):
        place = place_of(context, builder, sig.args[0], args[0], args[1])
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return kind(array, types.intp), emit


@intrinsic
def store(typing_context, array, index, value):
    """Write 16 neighbours of a contiguous 1-D array, from `index` on."""

    def emit(context, builder, sig, args):
        place = place_of(context, builder, sig.args[0], args[0], args[1])
        builder.store(args[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, LanesType(array.dtype)), emit


def place_of(context, builder, kind, array, index):
    """Pointer to 16 neighbours of an array, from `index` on."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector_of(kind.dtype).as_pointer())


@intrinsic
def spread(typing_context, scalar):
    """A scalar in every lane."""

    def emit(context, builder, sig, args):
        return spread_of(builder, args[0], sig.args[0])

    return LanesType(scalar)(scalar), emit


@intrinsic
def fma(typing_context, a, b, c):
    """``a b + c``, fused where the processor can."""
    kind = _lanes_of(a, b, c)

    def emit(context, builder, sig, args):
        return fused(builder, kind, *(spread_of(builder, *pair) for pair in zip(args, sig.args, strict=True)))

    return kind(a, b, c), emit


@intrinsic
def where(typing_context, mask, a, b):
    """`a` where the mask holds, `b` elsewhere."""
    kind = _lanes_of(a, b)

    def emit(context, builder, sig, args):
        return builder.select(args[0], *(spread_of(builder, args[i], sig.args[i]) for i in (1, 2)))

    return kind(MASK, a, b), emit


@intrinsic
def least(typing_context, a, b):
    """The smaller of two, lane by lane; `b` where one is NaN."""
    return _choice("<", a, b)


@intrinsic
def greatest(typing_context, a, b):
    """The larger of two, lane by lane; `b` where one is NaN."""
    return _choice(">", a, b)


def _choice(word: str, a, b):
    kind = _lanes_of(a, b)

    def emit(context, builder, sig, args):
        left, right = (spread_of(builder, *pair) for pair in zip(args, sig.args, strict=True))
        return builder.select(builder.fcmp_ordered(word, left, right), left, right)

    return kind(a, b), emit


@intrinsic
def minus_magnitude(typing_context, a):
    """Absolute values, negated."""

    def emit(context, builder, sig, args):
        vector = vector_of(a.dtype)
        function = declare(builder, f"llvm.fabs.v{LANES}f{a.dtype.bitwidth}", vector, [vector])
        return builder.fneg(builder.call(function, args))

    return a(a), emit


@intrinsic
def bits(typing_context, mask):
    """The mask as an integer, bit i for lane i."""

    def emit(context, builder, sig, args):
        return builder.zext(builder.bitcast(args[0], ir.IntType(LANES)), ir.IntType(64))

    return types.int64(MASK), emit


@intrinsic
def lowest_bit(typing_context, value):
    """Number of the lowest bit that is set; 64 if none is."""

    def emit(context, builder, sig, args):
        word = ir.IntType(64)
        function = declare(builder, "llvm.cttz.i64", word, [word, ir.IntType(1)])
        return builder.call(function, [args[0], cgutils.false_bit])

    return types.int64(types.int64), emit


@intrinsic
def prefetch(typing_context, array, index):
    """Ask for a number of a contiguous array, counted flat, to be brought near; any index is safe."""

    def emit(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = declare(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, word, word, word])
        place = builder.bitcast(builder.gep(data, [args[1]]), byte)
        builder.call(function, [place, *(ir.Constant(word, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), emit


def fused(builder, kind: LanesType, a, b, c):
    """``a b + c`` of three values of lanes."""
    vector = vector_of(kind.dtype)
    function = declare(builder, f"llvm.fmuladd.v{LANES}f{kind.dtype.bitwidth}", vector, [vector] * 3)
    return builder.call(function, [a, b, c])


def declare(builder, name: str, result, arguments):
    """An LLVM intrinsic."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)
