"""The clip index for other tools: a row per clip as Parquet, CSV or JSON lines, or WebDataset's shard index."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from store_schema import tables
from store_schema.files.atomic import write_atomic
from store_schema.files.paths import filesystem
from store_schema.version.dataset import CLIPS_INDEX, SHARDS, Dataset, read_index

Format = Literal["parquet", "csv", "jsonl", "wids"]

_MEMBER = pa.struct(
    [
        pa.field("member", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("blake3", pa.string(), nullable=False),
    ]
)
_OWN = [
    ("version", pa.string(), "dataset version"),
    ("url", pa.string(), "the clip's shard: path relative to this file, or URL"),
    ("shard_size", pa.int64(), "bytes of the shard"),
    ("members", pa.list_(_MEMBER), "where each member's content lies in the shard"),
]
_RECORDED_LATER = [pa.field(field.name, field.type, True, field.metadata) for field in tables.CLIPS]
EXPORT = pa.schema([*_RECORDED_LATER, *(pa.field(name, kind, False, {"note": note}) for name, kind, note in _OWN)])
"""Columns of an export: the clip index, with what an old version did not record as null, and where the clip lies."""


def export_index(
    dataset: Dataset,
    out: Path,
    form: Format,
    *,
    split: str | None = None,
    setting: str | None = None,
    url_prefix: str | None = None,
) -> tuple[Path, ...]:
    """Write the index of the chosen clips.

    Args:
        dataset: an opened version.
        out: file to write; for ``wids`` each split's name is put before the suffix.
        form: parquet, csv (lists as JSON in a cell), jsonl or wids.
        split: only these clips; None is all.
        setting: only these clips; None is all.
        url_prefix: the store's address for the readers of the export; None gives paths relative to `out`.

    Returns:
        The files written.

    Raises:
        ValueError: no clip is chosen, or for wids a shard holds clips that are not.
        CorruptManifestError: the index is not what was written.
    """
    chosen = {record.clip_id for record in dataset.select(split, setting)}
    if not chosen:
        raise ValueError(
            f"no clip of split {split or 'any'} and setting {setting or 'any'} in version {dataset.version[:12]}: "
            f"it holds {dict(dataset.manifest.counts)}"
        )
    every = read_index(dataset.folder, CLIPS_INDEX, dataset.manifest)
    rows: list[dict[str, Any]] = [row for row in every if row["clip_id"] in chosen]
    base = _shards_address(dataset, out, url_prefix)
    if form == "wids":
        return _write_wids(dataset, out, rows, every, base)
    full = [_row(dataset, row, base) for row in rows]
    write_atomic(out, _ENCODERS[form](full))
    return (out,)


def wids_index(name: str, rows: Sequence[Mapping[str, Any]], dataset: Dataset, base: str) -> dict[str, Any]:
    """WebDataset's shard index (``wids-shard-index-v1``) of the shards of `rows`.

    Args:
        name: of the dataset, as ``wids`` names its cache.
        rows: of the clip index; all clips of their shards.
        dataset: the version.
        base: address of its shards.
    """
    shards = sorted({str(row["shard"]) for row in rows})
    entries = [(shard, dataset.manifest.shards[shard]) for shard in shards]
    return {
        "__kind__": "wids-shard-index-v1",
        "wids_version": 1,
        "name": name,
        "shardlist": [
            {"url": f"{base}/{shard}", "nsamples": int(entry["clips"]), "filesize": int(entry["size"])}
            for shard, entry in entries
        ],
    }


def _shards_address(dataset: Dataset, out: Path, url_prefix: str | None) -> str:
    if url_prefix is not None:
        return f"{url_prefix.rstrip('/')}/versions/{dataset.version}/{SHARDS}"
    folder = dataset.folder / SHARDS
    if filesystem(folder) is not None:
        return str(folder)
    return Path(os.path.relpath(folder.resolve(), out.resolve().parent)).as_posix()


def _row(dataset: Dataset, row: Mapping[str, Any], base: str) -> dict[str, Any]:
    members = dataset.members[row["clip_id"]]
    return {
        **row,
        "version": dataset.version,
        "url": f"{base}/{row['shard']}",
        "shard_size": int(dataset.manifest.shards[row["shard"]]["size"]),
        "members": [
            {"member": name, "offset": member.offset, "size": member.size, "blake3": member.blake3}
            for name, member in sorted(members.items())
        ],
    }


def _write_wids(
    dataset: Dataset, out: Path, rows: Sequence[Mapping[str, Any]], every: Sequence[Mapping[str, Any]], base: str
) -> tuple[Path, ...]:
    files = []
    for split in sorted({str(row["split"]) for row in rows}):
        held = [row for row in rows if row["split"] == split]
        shards, ids = {row["shard"] for row in held}, {row["clip_id"] for row in held}
        others = [row for row in every if row["shard"] in shards and row["clip_id"] not in ids]
        if others:
            raise ValueError(
                f"shard {others[0]['shard']} also holds clip {others[0]['clip_id']} ({others[0]['split']}, "
                f"{others[0]['setting']}), and wids addresses whole shards: choose another format"
            )
        path = out.with_name(f"{out.stem}-{split}{out.suffix}")
        index = wids_index(f"{dataset.version[:12]}-{split}", held, dataset, base)
        write_atomic(path, (json.dumps(index, indent=2) + "\n").encode())
        files.append(path)
    return tuple(files)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    return tables.to_parquet(EXPORT, rows)


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps({name: row[name] for name in EXPORT.names}) + "\n" for row in rows).encode()


def _csv(rows: list[dict[str, Any]]) -> bytes:
    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, EXPORT.names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {name: json.dumps(row[name]) if isinstance(row[name], list) else row[name] for name in EXPORT.names}
        writer.writerow(cells)
    return sink.getvalue().encode()


_ENCODERS = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}
