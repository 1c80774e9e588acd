"""Every table of the store: one place that says each column, its type and its unit.

A column on a grid (`store_schema.units`) is an integer; its step is in the field's metadata.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from store_schema.units import DEPTH, FLOW, POSITION, QUATERNION, SCALE, TIME, Grid

SCHEMA_VERSION = 4
"""Raised when a reader of the previous version would misread what is written now (see `store_schema.migrations`)."""


def _on(name: str, grid: Grid) -> pa.Field:
    metadata = {"unit": grid.unit, "step": repr(grid.step), "grid": grid.name, "max_error": repr(grid.max_error)}
    return pa.field(name, pa.from_numpy_dtype(grid.dtype), nullable=False, metadata=metadata)


def _plain(name: str, kind: pa.DataType, note: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"note": note})


POINTS = pa.schema(
    [
        _on("x", POSITION),
        _on("y", POSITION),
        _on("z", POSITION),
        _on("scale", SCALE),
        _on("time", TIME),
        _plain("r", pa.uint8(), "0..255"),
        _plain("g", pa.uint8(), "0..255"),
        _plain("b", pa.uint8(), "0..255"),
        _plain("camera", pa.int8(), "index into rig_cameras, -1 no colour: no camera sees the point clearly"),
        _plain("frame", pa.int16(), "clip-relative input frame"),
        _plain("sensor", pa.uint8(), "LiDAR"),
        _plain("agent", pa.uint8(), "index into agents of clip.json: who measured the point"),
        _plain("intensity", pa.uint8(), "0..255"),
        _plain("in_view", pa.uint8(), "1: projects into a view camera of its own frame"),
        _on("flow_x", FLOW),
        _on("flow_y", FLOW),
        _on("flow_z", FLOW),
        _plain("flow_class", pa.uint8(), "store_schema.labels.FlowClass"),
        _plain("bucket", pa.uint8(), "store_schema.labels.Bucket"),
        _on("smooth_x", FLOW),
        _on("smooth_y", FLOW),
        _on("smooth_z", FLOW),
    ]
)
"""``points.arrow``: LiDAR points of the input frames in ego0, sorted by (frame, order in the sweep)."""

DEPTH_SAMPLES = pa.schema(
    [
        _plain("view", pa.int16(), "index into views of clip.json"),
        _plain("pixel", pa.int32(), "row * width + column"),
        _on("depth", DEPTH),
        _plain("visible", pa.uint8(), "1: the camera sees the return, 0: nearer surfaces hide it"),
    ]
)
"""``depth.arrow``: nearest LiDAR return a pixel, hidden ones marked, sorted by (view, pixel)."""

MASK_RUNS = pa.schema(
    [
        _plain("view", pa.int16(), "index into views of clip.json"),
        _plain("start", pa.int32(), "first pixel of a run of moving pixels, row * width + column"),
        _plain("length", pa.int32(), "pixels in the run"),
    ]
)
"""``moving.arrow``: moving-object masks as runs, sorted by (view, start). Absent without cuboids."""

BOXES = pa.schema(
    [
        _plain("frame", pa.int16(), "clip-relative"),
        _plain("track", pa.string(), "uuid"),
        _plain("label", pa.string(), "class name of the source"),
        *[_on(name, POSITION) for name in ("x", "y", "z")],
        *[_on(f"q{axis}", QUATERNION) for axis in "wxyz"],
        *[_on(name, POSITION) for name in ("width", "length", "height")],
        _plain("sensor", pa.int8(), "-1 both LiDARs, else the one"),
        _plain("moving", pa.uint8(), "1: moves >= 0.05 m to the next sweep"),
    ]
)
"""``boxes.arrow``: cuboids of every clip frame in ego0. Absent without cuboids."""

CLIPS = pa.schema(
    [
        _plain("clip_id", pa.string(), "unique key of the sample"),
        _plain("log_id", pa.string(), ""),
        _plain("split", pa.string(), "train or test"),
        _plain("setting", pa.string(), "train_interpolation, train_future or evaluation"),
        _plain("first_frame", pa.int32(), "frame of the log"),
        _plain("num_frames", pa.int32(), ""),
        _plain("input_frames", pa.list_(pa.int32()), "clip-relative"),
        _plain("interpolation_frames", pa.list_(pa.int32()), "clip-relative"),
        _plain("future_frames", pa.list_(pa.int32()), "clip-relative"),
        _plain("shard", pa.string(), "file name under shards/"),
        _plain("num_points", pa.int64(), ""),
        _plain("num_coloured", pa.int64(), "points that have a colour"),
        _plain("num_views", pa.int32(), ""),
        _plain("num_ignored", pa.int64(), "points of flow class 0"),
        _plain("num_background_static", pa.int64(), "points of flow class 1"),
        _plain("num_foreground_static", pa.int64(), "points of flow class 2"),
        _plain("num_foreground_dynamic", pa.int64(), "points of flow class 3"),
        _plain("num_bytes", pa.int64(), "content of all members"),
    ]
)
"""``clips.parquet``: the clip index, sorted by clip_id."""

LOGS = pa.schema(
    [
        _plain("log_id", pa.string(), ""),
        _plain("split", pa.string(), "train or test"),
        _plain("num_frames", pa.int32(), "frames the log declares"),
        _plain("missing_frames", pa.list_(pa.int32()), "frames that cannot be used"),
        _plain("cameras", pa.list_(pa.string()), "all cameras of the log, in the order of rig_cameras"),
        _plain("agents", pa.list_(pa.string()), "who drove, the ego first; one empty name in a log of one agent"),
        _plain("start", pa.float64(), "epoch seconds of the first frame's stamp, rounded to 1e-6"),
        _plain("latitude", pa.list_(pa.float64()), "degrees (WGS84) a frame, rounded to 1e-8; null without GPS", True),
        _plain("longitude", pa.list_(pa.float64()), "degrees (WGS84) a frame, rounded to 1e-8; null without GPS", True),
    ]
)
"""``logs.parquet``: one row per log that gave a clip, sorted by log_id."""

MEMBERS = pa.schema(
    [
        _plain("clip_id", pa.string(), ""),
        _plain("member", pa.string(), "name inside the sample, what follows the key's dot"),
        _plain("shard", pa.string(), ""),
        _plain("offset", pa.int64(), "byte in the tar where the content starts"),
        _plain("size", pa.int64(), "bytes"),
        _plain("blake3", pa.string(), "hash of the content"),
    ]
)
"""``members.parquet``: one row per tar member, for reads by offset that are checked."""


FILES = {
    "points.arrow": POINTS,
    "depth.arrow": DEPTH_SAMPLES,
    "moving.arrow": MASK_RUNS,
    "boxes.arrow": BOXES,
    "clips.parquet": CLIPS,
    "members.parquet": MEMBERS,
    "logs.parquet": LOGS,
}
"""Every table by the name of its file or tar member."""


def describe() -> dict[str, Any]:
    """Every table's columns as JSON: name, type and what the metadata says (unit, step, largest error, note)."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tables": {
            name: [
                {
                    "name": field.name,
                    "type": str(field.type),
                    "nullable": field.nullable,
                    **{key.decode(): value.decode() for key, value in (field.metadata or {}).items()},
                }
                for field in schema
            ]
            for name, schema in FILES.items()
        },
    }


def to_ipc(schema: pa.Schema, columns: Mapping[str, NDArray | list]) -> bytes:
    """Arrow IPC stream of one record batch, zstd-compressed (level 1).

    Raises:
        ValueError: the columns are not those of `schema`.
    """
    if set(columns) != set(schema.names):
        raise ValueError(f"columns {sorted(columns)} are not those of the schema {sorted(schema.names)}")
    arrays = [pa.array(columns[field.name], type=field.type) for field in schema]
    batch = pa.record_batch(arrays, schema=schema)
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1), use_threads=False)
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def from_ipc(schema: pa.Schema, data: bytes) -> dict[str, NDArray]:
    """Columns of an Arrow IPC stream as numpy arrays.

    Raises:
        ValueError: the stream's columns or types are not those of `schema`.
    """
    table = pa.ipc.open_stream(io.BytesIO(data)).read_all()
    if not table.schema.equals(schema, check_metadata=False):
        raise ValueError(f"table has columns {table.schema.names}, expected {schema.names}")
    return {
        name: np.asarray(table.column(name).to_pylist(), dtype=object)
        if pa.types.is_string(table.schema.field(name).type)
        else table.column(name).to_numpy()
        for name in schema.names
    }


def to_parquet(schema: pa.Schema, rows: list[dict[str, object]]) -> bytes:
    """Parquet with page checksums (without them a flipped bit is read back silently)."""
    sink = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd", write_page_checksum=True, version="2.6"
    )
    return sink.getvalue()


def from_parquet(schema: pa.Schema, data: bytes) -> list[dict[str, object]]:
    """Rows of a Parquet file, its page checksums verified.

    Raises:
        ValueError: columns differ from `schema`.
        OSError: a page checksum does not match.
    """
    table = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    if not table.schema.equals(schema, check_metadata=False):
        raise ValueError(f"table has columns {table.schema.names}, expected {schema.names}")
    return list(table.to_pylist())
