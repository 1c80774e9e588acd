"""A lifted scene packed for cache and upload: integers on grids, in one buffer that is read, pinned and uploaded whole.

What all Gaussians have in common (opacity, no rotation, no velocity) is a number here and becomes a column where the
scene is used. The bytes are those of `flux4d.lift.packed_header`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flux4d.gaussians import Gaussians
from flux4d.lift.packed_header import COLUMNS, COUNTS, FULL_COLOUR, SceneHeader, column_of, read_header, write_header
from store_schema.hashing import hash_sources
from store_schema.units import POSITION, TIME, Grid

_PACKAGE = Path(__file__).parents[1]
LIFT_FOLDERS = (_PACKAGE, _PACKAGE / "lift", _PACKAGE / "cameras", _PACKAGE / "supervision")
"""Whose files decide what a lifted scene is, and the depth of a target."""
_LIFT_CODE_HASH = hash_sources(*LIFT_FOLDERS)


def lift_code_hash() -> str:
    """Hash of all code in `LIFT_FOLDERS`: scenes that other code has kept may not be what this code makes.

    Drawn when the code is loaded: what is edited later is not what runs.
    """
    return _LIFT_CODE_HASH


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PackedScene:
    """A freshly lifted scene: K LiDAR Gaussians, then S of the background. Nothing moves yet."""

    positions: NDArray[np.int32]  # [K, 3] steps of store_schema.units.POSITION
    spreads: NDArray[np.float32]  # [K] m, standard deviation in all directions
    rgb: NDArray[np.uint8] | NDArray[np.uint16]  # [K, 3] 255 or 65535 is 1
    times: NDArray[np.int32]  # [K] steps of store_schema.units.TIME
    source: NDArray[np.int32]  # [K] row in the clip's LiftedPoints; [0] where that is not kept
    sky_means: NDArray[np.float32]  # [S, 3] m
    sky_rgb: NDArray[np.uint16]  # [S, 3]
    opacity: float
    sky_opacity: float
    sky_scale: float  # m, standard deviation of the background
    duration: float  # s, length of the clip

    def __post_init__(self) -> None:
        for name, place in self.header.places().items():
            column = getattr(self, name)
            if column.dtype != place.dtype or column.shape != place.shape:
                raise ValueError(
                    f"packed scene: {name} is {column.dtype} {list(column.shape)}, expected {place.dtype} "
                    f"{list(place.shape)}"
                )

    def __len__(self) -> int:
        return len(self.positions) + len(self.sky_means)

    @property
    def header(self) -> SceneHeader:
        """All but the columns."""
        rows = {"lidar": len(self.positions), "sky": len(self.sky_means)}
        rows |= {"sourced": len(self.source), "eight_bit": int(self.rgb.dtype == np.uint8)}
        return SceneHeader(**rows, **{f.name: getattr(self, f.name) for f in fields(self) if f.name not in COLUMNS})

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return self.header.nbytes

    def without_source(self) -> PackedScene:
        """The same without the points' rows, which rendering and losses do not ask for: an eighth of the bytes."""
        return replace(self, source=self.source[:0])

    def write_columns(self, buffer: NDArray[np.uint8]) -> None:
        """Copy the columns to where they belong in a buffer of `nbytes`."""
        for name, place in self.header.places().items():
            column_of(buffer, place)[...] = getattr(self, name)

    def to_bytes(self) -> bytes:
        """The scene as bytes, the same for equal scenes."""
        columns = np.zeros(self.nbytes, np.uint8)
        self.write_columns(columns)
        return b"".join([write_header(self.header), columns.data])

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> PackedScene:
        """The scene whose `to_bytes` are `data`. Its columns look into `data`; nothing is copied.

        Raises:
            ValueError: not a packed scene, one of another format, or damaged.
        """
        header, start = read_header(data)
        body = np.frombuffer(data, np.uint8, offset=start)
        columns: dict[str, Any] = {name: column_of(body, place) for name, place in header.places().items()}
        return cls(**columns, **{name: value for name, value in asdict(header).items() if name not in COUNTS})


@dataclass(frozen=True, slots=True, eq=False)
class PackedTensors:
    """A packed scene on its way to a device: all columns in one tensor, so that one copy takes them there."""

    header: SceneHeader
    buffer: Tensor  # [header.nbytes] uint8

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> PackedTensors:
        """The scene whose `PackedScene.to_bytes` are `data`, on the CPU; memory that may be written to is not copied.

        Raises:
            ValueError: as `PackedScene.from_bytes`.
        """
        header, start = read_header(data)
        # torch has no tensors that cannot be written to.
        writable = data if isinstance(data, memoryview) and not data.readonly else bytearray(data)
        return cls(header, torch.frombuffer(writable, dtype=torch.uint8)[start:])

    @classmethod
    def of(cls, packed: PackedScene) -> PackedTensors:
        """A copy of a scene, on the CPU."""
        buffer = torch.zeros(packed.nbytes, dtype=torch.uint8)
        packed.write_columns(buffer.numpy())
        return cls(packed.header, buffer)

    def pin_memory(self) -> PackedTensors:
        """In page-locked memory, from where it can be uploaded while the device works."""
        return replace(self, buffer=self.buffer.pin_memory())

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PackedTensors:
        """On another device; `non_blocking` does not wait for the copy if the memory is pinned."""
        return replace(self, buffer=self.buffer.to(device, non_blocking=non_blocking))

    def column(self, name: str) -> Tensor:
        """A column as of `PackedScene`, uint16 ones as int16 (torch can do little with uint16)."""
        place = self.header.places()[name]
        size = math.prod(place.shape) * place.dtype.itemsize
        kind = {"f4": torch.float32, "i4": torch.int32, "u2": torch.int16, "u1": torch.uint8}[place.dtype.str[1:]]
        return self.buffer[place.offset : place.offset + size].view(kind).view(place.shape)


def unpack(packed: PackedScene | PackedTensors, device: torch.device | str | None = None) -> Gaussians:
    """The Gaussians of a packed scene. The integers are uploaded and become floats on the device.

    Args:
        packed: The scene.
        device: Where the Gaussians are wanted; None is where the packed scene is.

    Returns:
        Gaussians with zero velocities [N, 1, 3], LiDAR first; `source` is -1 where it is not kept. The
            same bits on every device.
    """
    packed = PackedTensors.of(packed) if isinstance(packed, PackedScene) else packed
    packed = packed if device is None else packed.to(device)
    header, column = packed.header, packed.column
    lidar, sky, where = header.lidar, header.sky, packed.buffer.device
    unsourced = lidar + sky - header.sourced
    means = torch.cat([_decode(column("positions"), POSITION), column("sky_means")])
    spreads = torch.cat([column("spreads"), _full(sky, header.sky_scale, where)])
    quats = torch.zeros(lidar + sky, 4, device=where)
    quats[:, 0] = 1.0  # isotropic: the paper's random quaternions would give the same Gaussians
    return Gaussians(
        means=means,
        quats=quats,
        scales=spreads[:, None].repeat(1, 3),
        opacities=torch.cat([_full(lidar, header.opacity, where), _full(sky, header.sky_opacity, where)]),
        rgb=torch.cat([_colours(column("rgb")), _colours(column("sky_rgb"))]),
        times=torch.cat([_decode(column("times"), TIME), _full(sky, 0.0, where)]),
        velocities=torch.zeros(lidar + sky, 1, 3, device=where),
        is_sky=torch.arange(lidar + sky, device=where) >= lidar,
        source=torch.cat([column("source").long(), column("source").new_full((unsourced,), -1).long()]),
    )


def _full(count: int, value: float, device: torch.device) -> Tensor:
    return torch.full((count,), value, dtype=torch.float32, device=device)


def _decode(steps: Tensor, grid: Grid) -> Tensor:
    """`Grid.decode`, to the bit. CUDA divides by a number with its reciprocal, but by a tensor as IEEE says."""
    per_unit = torch.full((), round(1.0 / grid.step), dtype=torch.float64, device=steps.device)
    return (steps.double() / per_unit).float()


def _colours(stored: Tensor) -> Tensor:
    """Colours in [0, 1] of 8- or 16-bit integers; v / 255 of an 8-bit colour v, to the bit, either way."""
    full = 255 if stored.dtype == torch.uint8 else FULL_COLOUR
    one = torch.full((), full, dtype=torch.float32, device=stored.device)
    return (stored.int() & full).float() / one
