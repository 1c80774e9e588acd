"""The frame store: features of each frame of a log, computed and kept once (Zarr v3).

Clips overlap (stride 6 of 11 frames), so per-frame work is done per frame and clips are assembled from here. A
frame is one Zarr group in one uncompressed zip, ``{log}/f0000.zarr.zip``: one object to write atomically, on a disk
or in an object store, that ``zarr.open_group(zarr.storage.ZipStore(path))`` opens. Chunks carry checksums, and since
Zarr reads a lost chunk as zeros, the group's attributes hold a hash of every array and of what is not an array,
checked on read.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from blake3 import blake3
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.core.buffer import cpu
from zarr.storage import MemoryStore

from store_schema.files.atomic import write_atomic
from store_schema.files.paths import read_bytes
from store_schema.frame_attributes import FrameAttributes
from store_schema.hashing import hash_json

FRAME_SCHEMA_VERSION = 4
OLDEST_READ = 3
"""Frames of this schema version and later are read; a build makes older ones than today's again."""
_SUFFIX = ".zarr.zip"
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


class CorruptFrameError(RuntimeError):
    """A stored frame is not what was written."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameArrays:
    """The arrays of one frame. World frame, metres, seconds since the log's first sweep stamp."""

    points: NDArray[np.float64]  # [P, 3] m, world
    times: NDArray[np.float64]  # [P] s
    intensity: NDArray[np.uint8]  # [P]
    sensor: NDArray[np.uint8]  # [P]
    agent: NDArray[np.uint8]  # [P] index into the log's agents
    scale: NDArray[np.uint16]  # [P] on the SCALE grid, mean distance to 3 neighbours
    rgb: NDArray[np.uint8]  # [P, 3]
    camera: NDArray[np.int8]  # [P] index into the log's cameras, -1 none
    in_view: NDArray[np.bool_]  # [P] seen by a view camera of this frame
    flow: NDArray[np.float64]  # [P, 3] m, world axes
    flow_class: NDArray[np.uint8]  # [P]
    bucket: NDArray[np.uint8]  # [P]
    smooth_flow: NDArray[np.float64]  # [P, 3] m, world axes, along smoothed tracks
    depth_view: NDArray[np.int16]  # [D] index into the view cameras
    depth_pixel: NDArray[np.int32]  # [D] row * width + column
    depth: NDArray[np.uint32]  # [D] on the DEPTH grid
    depth_visible: NDArray[np.bool_]  # [D] the camera sees it
    moving_view: NDArray[np.int16]  # [R]
    moving_start: NDArray[np.int32]  # [R]
    moving_length: NDArray[np.int32]  # [R]
    box_pose: NDArray[np.float64]  # [M, 4] m and rad: centre x y z, yaw
    box_size: NDArray[np.float64]  # [M, 3] m
    box_sensor: NDArray[np.int8]  # [M]
    box_moving: NDArray[np.bool_]  # [M]


ARRAYS = tuple(field.name for field in fields(FrameArrays))
POINT_ARRAYS = ARRAYS[: ARRAYS.index("depth_view")]
"""Arrays with a row per point: the bulk, needed of input frames only."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredFrame:
    """One frame: its arrays and what is not an array."""

    frame: int
    arrays: FrameArrays
    attributes: FrameAttributes


def frames_key(content: Mapping[str, Any], schema_version: int = FRAME_SCHEMA_VERSION) -> str:
    """Name of the frame-store folder that belongs to the content config of a build or of a version.

    Args:
        content: the config. A build's names the source and its version; what has another source or another reader has
            other frames.
        schema_version: of the version; frames and versions have had the same number since 2.

    Raises:
        KeyError: the config does not say what frames are made by.
    """
    made_by = [content["features"], content["features_version"], schema_version]
    # Before 4 there was one source.
    if schema_version >= 4:
        made_by += [content["source"], content["source_version"]]
    return hash_json(made_by)[:16]


def frame_path(log_folder: Path, frame: int) -> Path:
    """File of a frame."""
    return log_folder / f"f{frame:04d}{_SUFFIX}"


def array_hash(array: NDArray) -> str:
    """blake3 over an array's dtype, shape and bytes."""
    plain = np.ascontiguousarray(array)
    hasher = blake3(f"{plain.dtype.str}|{plain.shape}|".encode())
    hasher.update(plain.reshape(-1).view(np.uint8).data if plain.size else b"")
    return str(hasher.hexdigest())


def write_frame(log_folder: Path, frame: StoredFrame, input_hash: str) -> None:
    """Write one frame atomically; `input_hash` says which raw bytes and config it came from.

    Raises:
        TypeError: an array is of another type than `FrameArrays` says.
    """
    entries: dict[str, Any] = {}
    group = zarr.open_group(MemoryStore(entries), mode="w", zarr_format=3)
    hashes = {}
    for name in ARRAYS:
        array = np.ascontiguousarray(getattr(frame.arrays, name))
        if array.dtype != _EMPTY[name].dtype or array.shape[1:] != _EMPTY[name].shape[1:]:
            raise TypeError(f"{name} is {array.dtype} {array.shape}, a frame holds {_EMPTY[name].dtype}")
        hashes[name] = array_hash(array)
        stored = group.create_array(
            name,
            shape=array.shape,
            dtype=array.dtype,
            chunks=tuple(max(1, size) for size in array.shape),
            compressors=ZstdCodec(level=1, checksum=True),
            config={"write_empty_chunks": True},
        )
        if array.size:
            stored[...] = array
    record: dict[str, Any] = {
        "frame_schema_version": FRAME_SCHEMA_VERSION,
        "frame": frame.frame,
        "input_hash": input_hash,
        "hashes": hashes,
        "attributes": frame.attributes.to_json(),
    }
    group.attrs.update({**record, "blake3": hash_json(record)})
    write_atomic(frame_path(log_folder, frame.frame), _pack(entries))


def stored_input_hash(log_folder: Path, frame: int) -> str | None:
    """What a stored frame was made from; None when it is not there or cannot be read."""
    try:
        with frame_path(log_folder, frame).open("rb") as file, zipfile.ZipFile(file) as archive:
            record = _record(json.loads(archive.read("zarr.json"))["attributes"], frame)
            return str(record["input_hash"]) if record["frame_schema_version"] == FRAME_SCHEMA_VERSION else None
    # A flipped bit may surface anywhere between zip and JSON; whatever it is, the frame is made again.
    except Exception:
        return None


def _record(stored: Mapping[str, Any], frame: int) -> dict[str, Any]:
    """The group's attributes, if they are what was written for this frame.

    Raises:
        ValueError: they are not.
    """
    record = {name: value for name, value in stored.items() if name != "blake3"}
    found = record.get("frame_schema_version")
    if not isinstance(found, int) or not OLDEST_READ <= found <= FRAME_SCHEMA_VERSION:
        raise ValueError(f"has frame schema version {found}, not {OLDEST_READ} to {FRAME_SCHEMA_VERSION}")
    if hash_json(record) != stored.get("blake3"):
        raise ValueError("the attributes do not match their hash")
    if record["frame"] != frame:
        raise ValueError(f"holds frame {record['frame']}")
    return record


def read_frame(log_folder: Path, frame: int, arrays: Collection[str] = ARRAYS) -> StoredFrame:
    """Read one frame and check the hashes of its attributes and arrays.

    Args:
        log_folder: the log's folder in the frame store.
        frame: number in the log.
        arrays: names of the arrays to read; the others come back with no rows.

    Raises:
        FileNotFoundError: the frame was never written.
        CorruptFrameError: its bytes are not those that were written.
    """
    path = frame_path(log_folder, frame)
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is not in the frame store: run the build again") from None
    return _decode(path, data, frame, arrays)


def _decode(path: Path, data: bytes, frame: int, arrays: Collection[str]) -> StoredFrame:
    """A frame from its file's bytes, hashes checked; `path` is for errors."""
    try:
        group = zarr.open_group(MemoryStore(_unpack(data, arrays)), mode="r")
        stored = _record(dict(group.attrs), frame)
        version = int(stored["frame_schema_version"])
        held = {name: np.asarray(group[name]) for name in arrays if not (name == "agent" and version < 4)}
        odd = [name for name, array in held.items() if array_hash(array) != stored["hashes"][name]]
        attributes = FrameAttributes.from_json(stored["attributes"], version)
        if "agent" in arrays and version < 4:
            held["agent"] = np.zeros_like(np.asarray(group["sensor"]))
    # A flipped bit may surface anywhere between zip, JSON, Zarr and zstd.
    except Exception as error:
        raise CorruptFrameError(f"{path}: {error}; delete the file and run the build again") from error
    if odd:
        raise CorruptFrameError(f"{path}: {odd[0]} does not match its hash; delete the file and run the build again")
    return StoredFrame(frame=frame, arrays=FrameArrays(**{**_EMPTY, **held}), attributes=attributes)


def check_frame(path: Path) -> None:
    """Compare every byte of a stored frame with what was written, the zip's own bookkeeping included.

    Raises:
        FileNotFoundError: no such file.
        CorruptFrameError: it is not what was written.
    """
    digits = path.name.removeprefix("f").removesuffix(_SUFFIX)
    if not digits.isdecimal():
        raise CorruptFrameError(f"{path}: is not the name of a frame; delete the file")
    data = read_bytes(path)
    _decode(path, data, int(digits), ARRAYS)
    # What is in it is right by now, and the same entries have one form.
    if _pack(_unpack(data, ARRAYS)) != data:
        raise CorruptFrameError(f"{path}: the zip's bookkeeping is damaged; delete the file and run the build again")


_EMPTY: Mapping[str, NDArray] = {
    "points": np.zeros((0, 3)),
    "times": np.zeros(0),
    "intensity": np.zeros(0, np.uint8),
    "sensor": np.zeros(0, np.uint8),
    "agent": np.zeros(0, np.uint8),
    "scale": np.zeros(0, np.uint16),
    "rgb": np.zeros((0, 3), np.uint8),
    "camera": np.zeros(0, np.int8),
    "in_view": np.zeros(0, np.bool_),
    "flow": np.zeros((0, 3)),
    "flow_class": np.zeros(0, np.uint8),
    "bucket": np.zeros(0, np.uint8),
    "smooth_flow": np.zeros((0, 3)),
    "depth_view": np.zeros(0, np.int16),
    "depth_pixel": np.zeros(0, np.int32),
    "depth": np.zeros(0, np.uint32),
    "depth_visible": np.zeros(0, np.bool_),
    "moving_view": np.zeros(0, np.int16),
    "moving_start": np.zeros(0, np.int32),
    "moving_length": np.zeros(0, np.int32),
    "box_pose": np.zeros((0, 4)),
    "box_size": np.zeros((0, 3)),
    "box_sensor": np.zeros(0, np.int8),
    "box_moving": np.zeros(0, np.bool_),
}


def _pack(entries: Mapping[str, Any]) -> bytes:
    """Zarr entries as a zip with fixed dates, so that the same arrays give the same bytes."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), entries[name].to_bytes())
    return sink.getvalue()


def _unpack(data: bytes, arrays: Collection[str]) -> dict[str, Any]:
    """The group's own entry and those of `arrays`; zip checks the CRC of each."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if "/" not in name or name.split("/")[0] in arrays]
        return {name: cpu.Buffer.from_bytes(archive.read(name)) for name in names}
