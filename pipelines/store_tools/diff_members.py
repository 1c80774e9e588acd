"""What differs inside one clip of two versions: columns in physical units, header entries, image bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.store_tools.flatten import flatten
from store_schema.version.dataset import Dataset
from store_schema.version.shards import CorruptShardError, Member


@dataclass(frozen=True, slots=True)
class ColumnDiff:
    """One column of an Arrow member, or one entry of a JSON member."""

    name: str
    rows: int | None = None
    """Rows that differ; None for what has no rows to compare."""
    largest: float | None = None
    """Largest absolute difference, in `unit`; None for what has no size."""
    unit: str = ""
    """Physical unit, empty for plain numbers."""
    note: str = ""
    """What differs beside values: type, presence, both values of a JSON entry."""


@dataclass(frozen=True, slots=True)
class MemberDiff:
    """One member that is not the same in both versions."""

    name: str
    kind: str
    """``added``, ``removed`` or ``changed``."""
    size_a: int | None
    """Bytes in A."""
    size_b: int | None
    """Bytes in B."""
    opened: bool = False
    """The content was compared; else only hashes are known to differ."""
    rows_a: int | None = None
    """Rows of an Arrow member in A."""
    rows_b: int | None = None
    """Rows of an Arrow member in B; other than in A, columns are not compared."""
    columns: tuple[ColumnDiff, ...] = ()
    """What differs; none with `opened` means other bytes of the same values."""
    damage: str | None = None
    """Why the content cannot be compared."""


@dataclass(frozen=True, slots=True)
class ClipDiff:
    """One clip that has other content."""

    clip_id: str
    members: tuple[MemberDiff, ...]


def differs(a: Dataset, b: Dataset, clip_id: str) -> bool:
    """Whether a clip of both versions has other members or other bytes in them."""
    return _hashes(a, clip_id) != _hashes(b, clip_id)


def diff_clip(a: Dataset, b: Dataset, clip_id: str, opened: bool) -> ClipDiff:
    """What differs in a clip.

    Args:
        a: the one version.
        b: the other.
        clip_id: of a clip in both.
        opened: read and compare the members that differ; else only name them.
    """
    in_a, in_b = a.members.get(clip_id, {}), b.members.get(clip_id, {})
    found = []
    for name in sorted({*in_a, *in_b}):
        one, other = in_a.get(name), in_b.get(name)
        if one is None or other is None or one.blake3 != other.blake3:
            found.append(_diff_member(a, b, name, one, other, opened))
    return ClipDiff(clip_id, tuple(found))


def diff_arrow(data_a: bytes, data_b: bytes) -> tuple[int, int, tuple[ColumnDiff, ...]]:
    """Rows of two Arrow streams, and the columns that differ; with other row counts only added or removed columns.

    Raises:
        ValueError: no Arrow stream.
    """
    table_a, table_b = (pa.ipc.open_stream(data).read_all() for data in (data_a, data_b))
    columns = []
    for name in dict.fromkeys([*table_a.schema.names, *table_b.schema.names]):
        if name not in table_b.schema.names:
            columns.append(ColumnDiff(name, note="removed"))
        elif name not in table_a.schema.names:
            columns.append(ColumnDiff(name, note="added"))
        elif table_a.num_rows == table_b.num_rows:
            found = _diff_column(table_a.schema.field(name), table_b.schema.field(name), table_a[name], table_b[name])
            columns += [] if found is None else [found]
    return table_a.num_rows, table_b.num_rows, tuple(columns)


def diff_json(a: Any, b: Any) -> tuple[tuple[str, Any, Any], ...]:
    """(dotted path, value in A, value in B) of every leaf that differs; None stands for a leaf that is not there."""
    one, other = flatten(a), flatten(b)
    paths = sorted({*one, *other})
    # A leaf that is null on one side only is told from one that is not there by its presence.
    changed = [path for path in paths if (path in one, one.get(path)) != (path in other, other.get(path))]
    return tuple((path, one.get(path), other.get(path)) for path in changed)


def _hashes(dataset: Dataset, clip_id: str) -> dict[str, str]:
    return {name: member.blake3 for name, member in dataset.members.get(clip_id, {}).items()}


def _diff_member(
    a: Dataset, b: Dataset, name: str, one: Member | None, other: Member | None, opened: bool
) -> MemberDiff:
    if one is None:
        return MemberDiff(name, "added", None, other.size if other else None)
    if other is None:
        return MemberDiff(name, "removed", one.size, None)
    if not opened or not name.endswith((".arrow", ".json")):
        return MemberDiff(name, "changed", one.size, other.size)
    try:
        data_a, data_b = a.read_member(one.clip_id, name), b.read_member(one.clip_id, name)
        if name.endswith(".json"):
            found = diff_json(json.loads(data_a), json.loads(data_b))
            entries = tuple(_json_entry(*entry) for entry in found)
            return MemberDiff(name, "changed", one.size, other.size, opened=True, columns=entries)
        rows_a, rows_b, columns = diff_arrow(data_a, data_b)
    except (CorruptShardError, ValueError, OSError) as error:
        return MemberDiff(name, "changed", one.size, other.size, damage=str(error))
    return MemberDiff(name, "changed", one.size, other.size, True, rows_a, rows_b, columns)


def _json_entry(path: str, a: Any, b: Any) -> ColumnDiff:
    if not isinstance(a, list) or not isinstance(b, list):
        return ColumnDiff(path, note=f"{_json_text(a)} -> {_json_text(b)}")
    try:
        one, other = np.array(a, np.float64), np.array(b, np.float64)
    except (TypeError, ValueError):
        one = other = np.zeros(0)
    if one.shape != other.shape or not one.size:
        return ColumnDiff(path, note=f"{_json_text(a)} -> {_json_text(b)}")
    return ColumnDiff(path, largest=float(np.abs(one - other).max()))


def _json_text(value: Any) -> str:
    return "none" if value is None else json.dumps(value)


def _diff_column(field_a: pa.Field, field_b: pa.Field, a: pa.ChunkedArray, b: pa.ChunkedArray) -> ColumnDiff | None:
    (step_a, unit_a), (step_b, unit_b) = _grid(field_a), _grid(field_b)
    note = ""
    if field_a.type != field_b.type or (step_a, unit_a) != (step_b, unit_b):
        note = f"stored as {_stored(field_a)} -> {_stored(field_b)}"
    # A side that names no grid (schema 1 names none for rotations) is read on the other's.
    step_a, unit_a = (step_a or step_b or 1.0), (unit_a or unit_b)
    step_b, unit_b = (step_b or step_a), (unit_b or unit_a)
    if not (pa.types.is_integer(a.type) or pa.types.is_floating(a.type)) or a.null_count or b.null_count:
        rows = sum(one != other for one, other in zip(a.to_pylist(), b.to_pylist(), strict=True))
        return ColumnDiff(field_a.name, rows, note=note) if rows or note else None
    one, other = a.to_numpy(), b.to_numpy()
    if step_a == step_b and pa.types.is_integer(a.type) and pa.types.is_integer(b.type):
        # Differences of integers are exact: 64 bits hold those of any column of 32.
        apart = np.abs(one.astype(np.int64) - other.astype(np.int64))
        largest = float(apart.max(initial=0)) * step_a
    else:
        apart = np.abs(one.astype(np.float64) * step_a - other.astype(np.float64) * step_b)
        largest = float(apart.max(initial=0.0))
    rows = int(np.count_nonzero(apart))
    if not rows and not note:
        return None
    return ColumnDiff(field_a.name, rows, largest, unit_b if unit_a == unit_b else f"{unit_a}/{unit_b}", note)


def _grid(field: pa.Field) -> tuple[float | None, str]:
    """Step and unit of a column on a grid; a plain column has none."""
    metadata = field.metadata or {}
    step = metadata.get(b"step")
    return None if step is None else float(step.decode()), metadata.get(b"unit", b"").decode()


def _stored(field: pa.Field) -> str:
    step, unit = _grid(field)
    return str(field.type) if step is None else f"{field.type} of {step:g} {unit}"
