"""Inert stand-ins for arrays and strings of a pickled data frame (nothing in the pickle is executed).

An allow-list of the real classes is not enough. With nothing but ``numpy.dtype``, ``numpy.ndarray`` and
``_reconstruct`` a pickle can clear the flags of an object dtype and have its own bytes read as pointers,
and BUILD can overwrite attributes of any Python class or function it was handed. So a pickle never gets
the real ones: it fills in these records, which check what they are given and hold plain numpy arrays.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

_NUMBER = re.compile(r"[|<>=]?(b1|i[1248]|u[1248]|f[248])|\?")
_OBJECT = re.compile(r"[|]?O[48]?")
_SCALARS = (str, int, float, bool, type(None))


class PickleRefusedError(ValueError):
    """A pickle that is not an intact, harmless data frame: the reason, and the file where it is known."""

    def __init__(self, reason: str, path: Path | None = None) -> None:
        self.reason, self.path = reason, path
        super().__init__(reason if path is None else f"{path}: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.path)


def expect(condition: object, otherwise: str) -> None:
    """Refuse the pickle unless the condition holds."""
    if not condition:
        raise PickleRefusedError(otherwise)


class _Sealed(type):
    """Metaclass of the stand-ins: BUILD finds nothing in the class that it could overwrite."""

    def __setattr__(cls, name: str, value: object) -> NoReturn:
        raise PickleRefusedError(f"it tries to overwrite an attribute of {cls.__name__}")


class Part(metaclass=_Sealed):
    """Base of the stand-ins: takes no state unless a subclass does."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise PickleRefusedError(f"it sets a state on a {type(self).__name__}")


class Call(Part):
    """A function the pickle may call."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> object:
        """Call it."""
        return self.function(*args)


class DType(Part):
    """``numpy.dtype`` of plain numbers, booleans and object."""

    __slots__ = ("value",)

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        expect(isinstance(code, str), "a dtype is not given by its code")
        if _OBJECT.fullmatch(code):
            self.value = np.dtype(object)
        else:
            expect(_NUMBER.fullmatch(code), f"dtype {code[:20]!r} is neither a number, a boolean nor object")
            self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, subarray, names, fields, item size, alignment, flags): only the order is taken.
        expect(
            isinstance(state, tuple) and len(state) >= 8 and state[0] in (3, 4), "a dtype's state has an unknown form"
        )
        expect(isinstance(state[1], str) and state[1] in "<>=|", "a dtype's byte order is unknown")
        expect(all(part is None for part in state[2:5]), "a structured dtype")
        if state[1] in "<>":
            self.value = self.value.newbyteorder(state[1])


class Array(Part):
    """``numpy.ndarray``; `value` is there once the state has been read."""

    __slots__ = ("value",)
    value: NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        expect(isinstance(state, tuple) and len(state) == 5, "an array's state has an unknown form")
        _, shape, dtype, fortran, data = state
        value = _array(data, dtype, shape, "F" if fortran else "C")
        # numpy gives the machine's byte order here, though not in `frombuffer`.
        self.value = value.astype(value.dtype.newbyteorder("="), copy=False)


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    """An array over `data`: bytes for numbers, a list of plain scalars for object."""
    expect(isinstance(dtype, DType), "an array without a dtype")
    expect(isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape), "an array without a shape")
    expect(len(shape) in (1, 2) and order in ("C", "F"), "an array that is not one- or two-dimensional")
    flat: NDArray[Any]
    if dtype.value.kind == "O":
        expect(isinstance(data, list), "an object array without a list of values")
        for value in data:
            expect(type(value) in _SCALARS, f"an object array holds a {type(value).__name__}")
        flat = np.empty(len(data), dtype=object)
        flat[:] = data
    else:
        expect(isinstance(data, (bytes, bytearray)), "a number array without bytes")
        expect(len(data) % dtype.value.itemsize == 0, "a number array that ends inside a value")
        flat = np.frombuffer(data, dtype=dtype.value)
    count = int(np.prod(shape, dtype=object))
    expect(flat.size == count, f"an array of {flat.size} values is declared to hold {str(count)[:20]}")
    return flat.reshape(shape, order=order)


def reconstruct(base: Any, shape: Any, code: Any) -> Array:
    """``numpy.core.multiarray._reconstruct``: an empty array whose state follows."""
    expect(base is Array, "an array of another class than numpy.ndarray")
    return Array()


def frombuffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Array:
    """``numpy.core.numeric._frombuffer``: an array of protocol 5."""
    expect(axes is None, "an array in an unknown memory order")
    array = Array()
    array.value = _array(data, dtype, shape, order)
    return array


def latin1(text: Any, encoding: Any) -> bytes:
    """``_codecs.encode``: how protocol 2 spells bytes."""
    expect(isinstance(text, str) and encoding == "latin1", "encoded text that is not latin1 bytes")
    return str.encode(text, "latin1")


def as_bytes(data: Any = b"") -> bytes:
    """``bytes``, ``bytearray`` and ``pyarrow.lib.py_buffer`` of bytes; of a number they would allocate that many."""
    expect(isinstance(data, (bytes, bytearray)), "a buffer that is not made of bytes")
    return bytes(data)


class Slice(Part):
    """``slice`` of integers."""

    __slots__ = ("value",)

    def __init__(self, start: Any, stop: Any, step: Any = None) -> None:
        integers = type(start) is int and type(stop) is int and (step is None or type(step) is int)
        expect(integers, "a slice of non-integers")
        self.value = slice(start, stop, step)


class StringDType(Part):
    """``pandas.StringDtype`` with NaN for missing values: pandas 3's ``str``."""

    __slots__ = ("storage",)

    def __init__(self, storage: Any = None, na_value: Any = None) -> None:
        expect(isinstance(storage, str) and storage in ("python", "pyarrow"), "a string column of an unknown storage")
        expect(type(na_value) is float and np.isnan(na_value), "a nullable string column; save it as str or object")
        self.storage: str = storage


class Strings(Part):
    """A string column of pandas 3, over numpy objects or over one Arrow array."""

    __slots__ = ("storage", "value")
    storage: str
    value: NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            state = (state.get("_dtype"), state.get("_pa_array"))
        expect(isinstance(state, tuple) and len(state) >= 2, "a string column of an unknown form")
        dtype, held = state[:2]
        expect(isinstance(dtype, StringDType), "a string column without its dtype")
        expect(isinstance(held, (Array, ArrowStrings)) and held.value.ndim == 1, "a string column without its values")
        expect(held.value.dtype.kind == "O", "a string column of another dtype")
        self.storage, self.value = dtype.storage, held.value


def unpickle_strings(base: Any, checksum: Any, state: Any) -> Strings:
    """``pandas._libs.arrays.__pyx_unpickle_NDArrayBacked``: an empty string column whose state follows."""
    expect(base is Strings and state is None, "an extension array that is not of strings")
    return Strings()


class ArrowType(Part):
    """``pyarrow.lib.type_for_alias`` of a string type; `offset` is the dtype of its offsets."""

    __slots__ = ("offset",)

    def __init__(self, alias: Any) -> None:
        expect(isinstance(alias, str) and alias in ("string", "large_string"), "an Arrow column that is not of strings")
        self.offset = np.dtype("<i4" if alias == "string" else "<i8")


class ArrowStrings(Part):
    """``pyarrow.lib._restore_array`` of strings; missing values become NaN, as in pandas."""

    __slots__ = ("value",)

    def __init__(self, data: Any) -> None:
        expect(isinstance(data, tuple) and len(data) == 7, "an Arrow array of an unknown form")
        kind, length, _, first, buffers, children, dictionary = data
        expect(isinstance(kind, ArrowType) and not children and dictionary is None, "an Arrow array with children")
        expect(type(length) is int and type(first) is int and min(length, first) >= 0, "an Arrow array without length")
        expect(isinstance(buffers, list) and len(buffers) == 3, "an Arrow string array without its three buffers")
        valid, offsets, text = (as_bytes(b"" if buffer is None else buffer) for buffer in buffers)
        whole = offsets[: len(offsets) // kind.offset.itemsize * kind.offset.itemsize]
        ends = np.frombuffer(whole, dtype=kind.offset)[first : first + length + 1]
        there = np.unpackbits(np.frombuffer(valid, dtype=np.uint8), bitorder="little")[first : first + length]
        expect(length == 0 or len(ends) == length + 1, "an Arrow string array with too few offsets")
        expect(not valid or len(there) == length, "an Arrow string array with too few validity bits")
        expect((np.diff(ends) >= 0).all(), "an Arrow string array with falling offsets")
        expect(length == 0 or (ends[0] >= 0 and ends[-1] <= len(text)), "an Arrow string array beyond its text")
        self.value = np.empty(length, dtype=object)
        for row in range(length):
            known = not valid or there[row]
            self.value[row] = text[ends[row] : ends[row + 1]].decode() if known else float("nan")
