"""Inert stand-ins for pandas' side of a pickled data frame, and the table of names a pickle may use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipelines.sources.pandaset import pickle_parts as parts
from pipelines.sources.pandaset.pickle_parts import Array, Call, Part, Slice, Strings, expect


def _dtype(values: Array | Strings) -> Any:
    """The dtype pandas gives these values; without it, bare objects would be taken for strings."""
    return pd.StringDtype(values.storage, na_value=np.nan) if isinstance(values, Strings) else values.value.dtype


class Index(Part):
    """``pandas.Index``; also the class that ``_new_Index`` is asked to make one of."""

    __slots__ = ("labels", "name")

    def __init__(self, labels: Array | Strings | range, name: str | None) -> None:
        self.labels, self.name = labels, name

    def build(self) -> pd.Index:
        """The real index."""
        if isinstance(self.labels, range):
            return pd.RangeIndex(self.labels, name=self.name)
        index: pd.Index = pd.Index(self.labels.value, dtype=_dtype(self.labels), name=self.name)
        return index


class RangeIndex(Part):
    """``pandas.RangeIndex``, as the class that ``_new_Index`` is asked to make one of."""


def new_index(kind: Any, fields: Any) -> Index:
    """``pandas.core.indexes.base._new_Index``."""
    expect(isinstance(fields, dict), "an index of an unknown form")
    name = fields.get("name")
    expect(name is None or isinstance(name, str), "an index whose name is not text")
    if kind is RangeIndex:
        steps = [fields.get("start"), fields.get("stop"), fields.get("step")]
        expect(all(type(step) is int for step in steps) and steps[2] != 0, "a RangeIndex without start, stop and step")
        return Index(range(*steps), name)
    expect(kind is Index, "an index of an unknown kind; save the frame after reset_index(drop=True)")
    labels: Any = fields.get("data")
    expect(isinstance(labels, (Array, Strings)) and labels.value.ndim == 1, "an index without labels")
    return Index(labels, name)


class Block(Part):
    """Columns of one dtype: values [columns, rows] and their positions in the frame."""

    __slots__ = ("positions", "values")

    def __init__(self, values: Any, positions: Any, ndim: Any = 2) -> None:
        expect(isinstance(values, (Array, Strings)), "a block without values")
        expect(isinstance(positions, (Array, Slice)), "a block without positions")
        self.values, self.positions = values, positions

    def columns(self, count: int, rows: int) -> dict[int, pd.Series]:
        """The columns by position, for a frame of `count` columns and `rows` rows."""
        if isinstance(self.positions, Slice):
            places = list(range(*self.positions.value.indices(count)))
        else:
            wanted = self.positions.value
            expect(wanted.dtype.kind in "iu" and wanted.ndim == 1, "a block whose positions are not integers")
            places = wanted.tolist()
        values = self.values.value[None] if isinstance(self.values, Strings) else self.values.value
        expect(values.shape == (len(places), rows), "a block of another size than the frame")
        dtype = _dtype(self.values)
        return {place: pd.Series(row, dtype=dtype, copy=False) for place, row in zip(places, values, strict=True)}


class Manager(Part):
    """``BlockManager``: blocks and the two axes, as arguments (pandas 1.3 on) or as a state (before)."""

    __slots__ = ("axes", "blocks")

    def __init__(self, blocks: Any = (), axes: Any = ()) -> None:
        self._fill(blocks, axes)

    def __setstate__(self, state: Any) -> None:
        versions = state[3] if isinstance(state, tuple) and len(state) >= 4 else None
        held: Any = versions.get("0.14.1") if isinstance(versions, dict) else None
        expect(isinstance(held, dict) and isinstance(held.get("blocks"), list), "a BlockManager of an unknown form")
        expect(all(isinstance(block, dict) for block in held["blocks"]), "a BlockManager without blocks")
        self._fill([Block(block.get("values"), block.get("mgr_locs")) for block in held["blocks"]], held.get("axes"))

    def _fill(self, blocks: Any, axes: Any) -> None:
        for name, values, kind in (("blocks", blocks, Block), ("axes", axes, Index)):
            known = isinstance(values, (tuple, list)) and all(isinstance(value, kind) for value in values)
            expect(known, f"{name} of an unknown form")
        self.blocks, self.axes = tuple(blocks), tuple(axes)


class Frame(Part):
    """``pandas.DataFrame``."""

    __slots__ = ("manager",)
    manager: Manager

    def __setstate__(self, state: Any) -> None:
        held: Any = state.get("_mgr", state.get("_data")) if isinstance(state, dict) else None
        expect(isinstance(held, Manager) and len(held.axes) == 2, "a DataFrame without its blocks and two axes")
        self.manager = held

    def build(self) -> pd.DataFrame:
        """The real frame; every column must come from exactly one block."""
        names, index = (axis.build() for axis in self.manager.axes)
        columns: dict[int, pd.Series] = {}
        for block in self.manager.blocks:
            part = block.columns(len(names), len(index))
            expect(not columns.keys() & part.keys(), "two blocks hold the same column")
            columns |= part
        expect(sorted(columns) == list(range(len(names))), "columns without values")
        frame = pd.DataFrame({place: columns[place] for place in range(len(names))}, copy=False)
        frame.columns, frame.index = names, index
        return frame


def _names() -> dict[tuple[str, str], Any]:
    """Each name at every address numpy 1 and 2 and pandas 0.24 to 3 give it."""
    call_bytes = Call(parts.as_bytes)
    homes: list[tuple[str, Any, tuple[str, ...]]] = [
        ("DataFrame", Frame, ("pandas", "pandas.core.frame")),
        ("BlockManager", Manager, ("pandas.core.internals", "pandas.core.internals.managers")),
        ("_unpickle_block", Block, ("pandas._libs.internals",)),
        ("new_block", Block, ("pandas.core.internals.blocks",)),
        ("_new_Index", Call(new_index), ("pandas.core.indexes.base",)),
        ("Index", Index, ("pandas", "pandas.core.indexes.base")),
        ("Int64Index", Index, ("pandas.core.indexes.numeric",)),
        ("RangeIndex", RangeIndex, ("pandas", "pandas.core.indexes.range")),
        ("StringDtype", parts.StringDType, ("pandas", "pandas.core.arrays.string_")),
        ("StringArray", Strings, ("pandas.arrays", "pandas.core.arrays.string_")),
        ("ArrowStringArray", Strings, ("pandas.arrays", "pandas.core.arrays.string_arrow")),
        ("__pyx_unpickle_NDArrayBacked", Call(parts.unpickle_strings), ("pandas._libs.arrays",)),
        ("_restore_array", parts.ArrowStrings, ("pyarrow.lib",)),
        ("type_for_alias", parts.ArrowType, ("pyarrow.lib",)),
        ("py_buffer", call_bytes, ("pyarrow.lib",)),
        ("ndarray", Array, ("numpy",)),
        ("dtype", parts.DType, ("numpy",)),
        ("_reconstruct", Call(parts.reconstruct), ("numpy.core.multiarray", "numpy._core.multiarray")),
        ("_frombuffer", Call(parts.frombuffer), ("numpy.core.numeric", "numpy._core.numeric")),
        ("encode", Call(parts.latin1), ("_codecs",)),
        ("slice", Slice, ("builtins", "__builtin__")),
        ("bytes", call_bytes, ("builtins", "__builtin__")),
        ("bytearray", call_bytes, ("builtins", "__builtin__")),
    ]
    return {(home, name): part for name, part, places in homes for home in places}


NAMES = _names()
"""(module, name) in a pickle to its stand-in; what is not here is refused."""
