"""The difference of two versions for people, and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pipelines.store_tools.diff import Change, SetDiff, VersionDiff
from pipelines.store_tools.diff_members import ClipDiff, ColumnDiff, MemberDiff
from store_schema.codec import TABLE_MEMBERS
from store_schema.pages.values import ABSENT, plural, size_text

_FEW = 10
"""Names or changes of one kind that are listed."""


def diff_lines(diff: VersionDiff) -> Iterator[str]:
    """Lines of text; the first says whether anything differs."""
    names = f"A {diff.version_a[:12]}, B {diff.version_b[:12]}"
    if diff.identical:
        yield f"identical: {names}"
    else:
        yield f"different: {names}"
        yield from _changes("schema", diff.schema)
        yield from _changes("config", diff.config)
        yield from _set("log", diff.logs)
        if diff.logs.changed is None:
            yield f"logs that changed: {ABSENT}, a version of schema 1 has no log index"
        yield from _set("shard", diff.shards)
        yield from _set("clip", diff.clips, "moved to another shard")
        yield from _changes("clips left out", diff.left_out)
        yield from _content(diff)
    if diff.hints:
        yield from _changes("provenance (a hint, not part of the version)", diff.hints)


def diff_json_object(diff: VersionDiff) -> dict[str, Any]:
    """Everything that was found, as JSON values."""
    return {"identical": diff.identical, **asdict(diff)}


def _changes(title: str, changes: tuple[Change, ...]) -> Iterator[str]:
    if changes:
        yield f"{title}:"
        for path, a, b in changes[:_FEW]:
            yield f"  {path}: {_value(a)} -> {_value(b)}"
        yield from _rest(len(changes), "  ")


def _set(thing: str, found: SetDiff, how: str = "changed") -> Iterator[str]:
    if found.added:
        yield f"{plural(len(found.added), thing)} only in B: {_names(found.added)}"
    if found.removed:
        yield f"{plural(len(found.removed), thing)} only in A: {_names(found.removed)}"
    if found.changed:
        yield f"{plural(len(found.changed), thing)} {how}:"
        for name, what in list(found.changed.items())[:_FEW]:
            yield f"  {name}: {what}"
        yield from _rest(len(found.changed), "  ")


def _content(diff: VersionDiff) -> Iterator[str]:
    if not diff.content:
        return
    yield f"{plural(len(diff.content), 'clip')} with other content:"
    for clip in diff.content[: diff.opened]:
        yield from _clip(clip)
    if closed := diff.content[diff.opened :]:
        kinds = Counter(_kind(member) for clip in closed for member in clip.members)
        members = ", ".join(f"{name} in {count}" for name, count in sorted(kinds.items()))
        yield f"  stopped opening after {diff.opened} clips (--limit); of the {len(closed)} others differ: {members}"


def _clip(clip: ClipDiff) -> Iterator[str]:
    yield f"  {clip.clip_id}"
    images = [member for member in clip.members if _kind(member) == "images" and member.kind == "changed"]
    for member in clip.members:
        if member not in images:
            yield from _member(member)
    if images:
        yield f"    {plural(len(images), 'image')} changed: {_names(tuple(member.name for member in images))}"


def _member(member: MemberDiff) -> Iterator[str]:
    if member.kind != "changed":
        size = member.size_b if member.size_a is None else member.size_a
        yield f"    {member.name} {member.kind} ({size_text(size)})"
        return
    if member.damage is not None:
        yield f"    {member.name} cannot be compared: {member.damage}"
        return
    rows = ""
    if member.rows_a is not None and member.rows_b is not None:
        rows = f", {member.rows_a:,} rows"
        if member.rows_a != member.rows_b:
            rows += f" -> {member.rows_b:,}, so columns are not compared"
    same = "" if member.columns or not member.opened or member.rows_a != member.rows_b else ", other bytes, same values"
    yield f"    {member.name}{rows}{same}"
    for column in member.columns[:_FEW] if member.rows_a is None else member.columns:
        yield f"      {_column(column)}"
    if member.rows_a is None:
        yield from _rest(len(member.columns), "      ")


def _column(column: ColumnDiff) -> str:
    if column.rows == 0:
        return f"{column.name}: same values, {column.note}"
    parts = [] if column.rows is None else [f"{column.rows:,} rows differ"]
    if column.largest is not None:
        unit = "" if column.unit == "1" else column.unit
        parts.append(f"by at most {column.largest:.6g} {unit}".rstrip())
    return f"{column.name}: {', '.join([*parts, *([column.note] if column.note else [])])}"


def _kind(member: MemberDiff) -> str:
    return member.name if member.name in TABLE_MEMBERS else "images"


def _value(value: Any) -> str:
    return "none" if value is None else str(value)


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _FEW:,} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def _rest(count: int, indent: str) -> Iterator[str]:
    if count > _FEW:
        yield f"{indent}and {count - _FEW:,} more"
