"""The frame store: what one frame of a log costs to compute, kept once per frame (Zarr v3).

Clips overlap (stride 6 of 11 frames), so per-frame work is done per frame and clips are assembled from
here. One group a log, one group a frame inside it, one chunk an array. A frame is renamed into place
whole. A lost chunk would read as zeros in Zarr, so every frame carries a digest of its arrays, checked on read.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from blake3 import blake3
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from store_schema.atomic import atomic_directory

FRAME_SCHEMA_VERSION = 1


class CorruptFrameError(RuntimeError):
    """A stored frame is not what was written."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameArrays:
    """The arrays of one frame. World frame, metres, seconds since the log's first sweep stamp."""

    points: NDArray[np.float64]  # [P, 3] m, world
    times: NDArray[np.float64]  # [P] s
    intensity: NDArray[np.uint8]  # [P]
    sensor: NDArray[np.uint8]  # [P]
    scale: NDArray[np.float32]  # [P] m, mean distance to 3 neighbours
    rgb: NDArray[np.uint8]  # [P, 3]
    camera: NDArray[np.int8]  # [P] index into the log's cameras, -1 none
    in_view: NDArray[np.bool_]  # [P] seen by a view camera of this frame
    flow: NDArray[np.float32]  # [P, 3] m, world axes
    flow_class: NDArray[np.uint8]  # [P]
    bucket: NDArray[np.uint8]  # [P]
    depth_view: NDArray[np.int16]  # [D] index into the view cameras
    depth_pixel: NDArray[np.int32]  # [D] row * width + column
    depth: NDArray[np.float32]  # [D] m
    moving_view: NDArray[np.int16]  # [R]
    moving_start: NDArray[np.int32]  # [R]
    moving_length: NDArray[np.int32]  # [R]
    box_pose: NDArray[np.float64]  # [M, 4] m and rad: centre x y z, yaw
    box_size: NDArray[np.float64]  # [M, 3] m
    box_sensor: NDArray[np.int8]  # [M]
    box_moving: NDArray[np.bool_]  # [M]


@dataclass(frozen=True, slots=True, eq=False)
class StoredFrame:
    """One frame: its arrays and what is not an array."""

    frame: int
    arrays: FrameArrays
    attributes: dict[str, Any]
    """JSON values: time, ego2world, cameras (per view camera: time, cam2world, K, width, height, path), track, label,
    has_cuboids."""


def frame_name(frame: int) -> str:
    """Group name of a frame."""
    return f"f{frame:04d}"


def digest_of(arrays: FrameArrays) -> str:
    """blake3 over every array's name, dtype, shape and bytes."""
    hasher = blake3()
    for field in fields(arrays):
        array = np.ascontiguousarray(getattr(arrays, field.name))
        hasher.update(f"{field.name}|{array.dtype.str}|{array.shape}|".encode())
        hasher.update(array.view(np.uint8).data if array.size else b"")
    return str(hasher.hexdigest())


def write_frame(log_group: Path, frame: StoredFrame, input_hash: str) -> None:
    """Write one frame atomically; `input_hash` says which raw bytes and config it came from."""
    with atomic_directory(log_group / frame_name(frame.frame)) as temporary:
        group = zarr.open_group(temporary, mode="w", zarr_format=3)
        for field in fields(frame.arrays):
            array = np.ascontiguousarray(getattr(frame.arrays, field.name))
            stored = group.create_array(
                field.name,
                shape=array.shape,
                dtype=array.dtype,
                chunks=tuple(max(1, size) for size in array.shape),
                compressors=ZstdCodec(level=1, checksum=True),
                config={"write_empty_chunks": True},
            )
            if array.size:
                stored[...] = array
        group.attrs.update(
            {
                "frame_schema_version": FRAME_SCHEMA_VERSION,
                "frame": frame.frame,
                "input_hash": input_hash,
                "digest": digest_of(frame.arrays),
                "attributes": frame.attributes,
            }
        )


def stored_input_hash(log_group: Path, frame: int) -> str | None:
    """What a stored frame was made from; None when it is not there."""
    path = log_group / frame_name(frame)
    if not path.is_dir():
        return None
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    if attributes.get("frame_schema_version") != FRAME_SCHEMA_VERSION:
        return None
    return str(attributes["input_hash"])


def read_frame(log_group: Path, frame: int) -> StoredFrame:
    """Read one frame and check its digest.

    Raises:
        FileNotFoundError: the frame was never written.
        CorruptFrameError: its bytes are not those that were written.
    """
    path = log_group / frame_name(frame)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not in the frame store: run the build again")
    try:
        group = zarr.open_group(path, mode="r")
        stored: dict[str, Any] = dict(group.attrs)
        arrays = FrameArrays(**{field.name: np.asarray(group[field.name]) for field in fields(FrameArrays)})
    except (KeyError, RuntimeError, ValueError) as error:
        raise CorruptFrameError(f"{path}: {error}; delete the folder and run the build again") from error
    if digest_of(arrays) != stored["digest"]:
        raise CorruptFrameError(f"{path}: arrays do not match their digest; delete the folder and run the build again")
    return StoredFrame(frame=frame, arrays=arrays, attributes=dict(stored["attributes"]))
