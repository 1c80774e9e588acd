"""Read data of old schema versions as today's.

The rule: a change that an old reader would misread raises `SCHEMA_VERSION`, and this file gains the step that brings
what the version before wrote to the new form **in memory**. Stores are never rewritten: their bytes are their version.

* 1 -> 2: columns on a grid state their largest error in the field metadata; ``clips.parquet`` has flow-class counts
  and byte counts (None in a migrated row); ``logs.parquet`` and ``schema.json`` exist (no logs are known of an old
  version); ``provenance.json`` carries its own hash and those of the index files (old files carry none).
* 2 -> 3: ``depth.arrow`` keeps hidden returns too and marks them (``visible``; what old ones hold is visible);
  ``points.arrow`` has the flow along smoothed tracks (``smooth_*``; not known of an old version).
* 3 -> 4: a view is (agent, camera) with a camera model and an image format, points and logs name their agents (old
  stores: one agent without a name, pinhole cameras, JPEG). Frames of version 3 are read too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store_schema.camera_model import PINHOLE, model_to_json
from store_schema.tables import CLIPS, FILES, LOGS, SCHEMA_VERSION

OLDEST_VERSION = 1
_CLIP_COLUMNS_OF_2 = (
    "num_ignored",
    "num_background_static",
    "num_foreground_static",
    "num_foreground_dynamic",
    "num_bytes",
)
_NEW_MEMBER_COLUMNS: dict[int, dict[str, tuple[str, ...]]] = {
    3: {"points.arrow": ("smooth_x", "smooth_y", "smooth_z"), "depth.arrow": ("visible",)},
    4: {"points.arrow": ("agent",)},
}
"""Columns of clip tables, by the version that brought them."""
_LOG_COLUMNS_OF_4 = ("agents",)
ONE_AGENT = ("",)
"""Agents of a log of before there were several: one without a name."""


def check_schema_version(found: int) -> None:
    """Refuse data of a schema this reader does not know.

    Raises:
        ValueError: with what to do.
    """
    if not OLDEST_VERSION <= found <= SCHEMA_VERSION:
        raise ValueError(
            f"the data has schema version {found}, this reader knows {OLDEST_VERSION} to {SCHEMA_VERSION}: "
            "install the release that wrote it or build the store again"
        )


def migrate_manifest(raw: dict[str, Any]) -> dict[str, Any]:
    """The content of a manifest of any known version in today's form."""
    return {"schema": "", **raw} if raw["schema_version"] < 2 else raw


def member_schema(name: str, version: int) -> pa.Schema:
    """Columns that a table of a clip of schema `version` has on disk."""
    absent = {column for since, new in _NEW_MEMBER_COLUMNS.items() if version < since for column in new.get(name, ())}
    return pa.schema([field for field in FILES[name] if field.name not in absent])


def migrate_columns(name: str, columns: dict[str, NDArray], version: int) -> dict[str, NDArray]:
    """A table of a clip of schema `version` as today's readers take it; columns that were not recorded stay absent."""
    if name == "depth.arrow" and version < 3:
        return {**columns, "visible": np.ones(len(columns["pixel"]), np.uint8)}
    if name == "points.arrow" and version < 4:
        return {**columns, "agent": np.zeros(len(columns["x"]), np.uint8)}
    return columns


def migrate_header(raw: dict[str, Any]) -> dict[str, Any]:
    """``clip.json`` of any known version in today's form."""
    if raw["schema_version"] >= 4:
        return raw
    return {**raw, "agents": list(ONE_AGENT), "views": [migrate_view(view) for view in raw["views"]]}


def migrate_view(raw: dict[str, Any]) -> dict[str, Any]:
    """What a clip or a frame of before version 4 says of a view, in today's form."""
    return {**raw, "agent": ONE_AGENT[0], "model": model_to_json(PINHOLE), "image_format": "jpeg"}


def index_schema(name: str, version: int) -> pa.Schema:
    """Columns that an index file of schema `version` has on disk."""
    if name == "clips.parquet" and version < 2:
        return pa.schema([field for field in CLIPS if field.name not in _CLIP_COLUMNS_OF_2])
    if name == "logs.parquet" and version < 4:
        return pa.schema([field for field in LOGS if field.name not in _LOG_COLUMNS_OF_4])
    return FILES[name]


def migrate_rows(name: str, rows: list[dict[str, Any]], version: int) -> list[dict[str, Any]]:
    """Rows of an index of schema `version` with today's columns; what was not recorded is None."""
    if name == "clips.parquet" and version < 2:
        return [{**row, **dict.fromkeys(_CLIP_COLUMNS_OF_2)} for row in rows]
    if name == "logs.parquet" and version < 4:
        return [{**row, "agents": list(ONE_AGENT)} for row in rows]
    return rows
