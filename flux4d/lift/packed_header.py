"""Binary layout of a packed scene (`flux4d.lift.packed`): its header, and offset, type and shape of each column.

The bytes: `_MAGIC`, length of the header (4 bytes), the header (JSON), then the columns, little-endian, each from a
multiple of 64 bytes on.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FULL_COLOUR = 65535
"""The integer of colour 1; an 8-bit colour v is 257 v."""
COUNTS = ("lidar", "sky", "sourced", "eight_bit")
"""Entries of the header that follow from the columns."""
COLUMNS: Mapping[str, tuple[str, str, int]] = MappingProxyType(
    {
        "positions": ("lidar", "<i4", 3),
        "spreads": ("lidar", "<f4", 1),
        "rgb": ("lidar", "<u2", 3),  # or <u1
        "times": ("lidar", "<i4", 1),
        "source": ("sourced", "<i4", 1),
        "sky_means": ("sky", "<f4", 3),
        "sky_rgb": ("sky", "<u2", 3),
    }
)
"""Whose rows, type and width of each column, in the order of the bytes."""

_FORMAT = 2
_MAGIC = b"flux4d-scene"
_ALIGN = 64
_MOST_BYTES = 4096
"""Longest header, JSON."""
_MOST: Mapping[str, int | float] = MappingProxyType(
    {"int": int(np.iinfo(np.int32).max), "float": float(np.finfo(np.float32).max)}
)
"""What the columns and tensors that are made of a scene can hold."""


class ColumnPlace(NamedTuple):
    """Where a column is and what it holds."""

    offset: int  # bytes from the start of the columns
    dtype: np.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneHeader:
    """A packed scene without its columns."""

    lidar: int  # number of LiDAR Gaussians, K
    sky: int  # number of background Gaussians, S
    sourced: int  # LiDAR Gaussians whose point is known: all or none
    eight_bit: int  # 1: colours of LiDAR Gaussians are 8-bit, 0: 16-bit
    opacity: float
    sky_opacity: float
    sky_scale: float  # m, standard deviation of the background
    duration: float  # s, length of the clip: what `Flux4D.forward` scales time with

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), "int" if field.type == "int" else "float"
            if type(value).__name__ != kind or not 0 <= value <= _MOST[kind]:
                raise ValueError(
                    f"packed scene: {field.name}={reprlib.repr(value)}: expected {kind}, 0 to {_MOST[kind]}"
                )
        if self.sourced not in (0, self.lidar) or self.eight_bit not in (0, 1):
            raise ValueError(
                f"packed scene: sourced={self.sourced} of {self.lidar}, eight_bit={self.eight_bit}: expected 0 or all, "
                "and 0 or 1"
            )
        if self.duration == 0.0:
            raise ValueError("packed scene: duration=0.0 s: a clip must last longer than nothing")

    def places(self) -> dict[str, ColumnPlace]:
        """Where each column is."""
        places, at = {}, 0
        for name, (rows, kind, width) in COLUMNS.items():
            kind = "<u1" if name == "rgb" and self.eight_bit else kind
            shape = (getattr(self, rows), width) if width > 1 else (getattr(self, rows),)
            places[name] = ColumnPlace(at, np.dtype(kind), shape)
            at += _aligned(math.prod(shape) * np.dtype(kind).itemsize)
        return places

    @property
    def nbytes(self) -> int:
        """Bytes of all columns, each with what is left to the next multiple of 64."""
        return sum(_aligned(math.prod(place.shape) * place.dtype.itemsize) for place in self.places().values())


def column_of(buffer: NDArray[np.uint8], place: ColumnPlace) -> NDArray[Any]:
    """The part of the columns' bytes that is a column."""
    size = math.prod(place.shape) * place.dtype.itemsize
    return buffer[place.offset : place.offset + size].view(place.dtype).reshape(place.shape)


def write_header(header: SceneHeader) -> bytes:
    """All bytes before the columns."""
    text = json.dumps({"format": _FORMAT, **asdict(header)}, sort_keys=True).encode()
    start = _MAGIC + len(text).to_bytes(4, "little") + text
    return start + bytes(-len(start) % _ALIGN)


def read_header(data: bytes | memoryview) -> tuple[SceneHeader, int]:
    """Header of a packed scene, and the byte that its columns start at.

    Raises:
        ValueError: not a packed scene, one of another format, damaged, or with columns of another length.
    """
    start = len(_MAGIC) + 4
    if bytes(data[: len(_MAGIC)]) != _MAGIC:
        raise ValueError("packed scene: the bytes do not start as one: lift the clip again")
    length = int.from_bytes(data[len(_MAGIC) : start], "little")
    try:
        if length > _MOST_BYTES:
            raise ValueError(f"{length} bytes, at most {_MOST_BYTES}")
        values = json.loads(bytes(data[start : start + length]))
        found = values.pop("format")
        if found != _FORMAT:
            raise ValueError(f"format {reprlib.repr(found)}, this code reads {_FORMAT}")
        header = SceneHeader(**values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"packed scene: cannot read the header ({error}): lift the clip again") from error
    columns = _aligned(start + length)
    if len(data) != columns + header.nbytes:
        raise ValueError(f"packed scene: {len(data)} bytes, expected {columns + header.nbytes}: lift the clip again")
    return header, columns


def _aligned(size: int) -> int:
    return size + -size % _ALIGN
