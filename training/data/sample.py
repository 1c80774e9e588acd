"""One sample of a training step: a lifted clip and some of its target views, packed on the host or on the device."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from flux4d.gaussians import Gaussians
from flux4d.lift.packed import PackedTensors, unpack
from flux4d.supervision.target import PackedTarget, Target, unpack_target


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What one micro-batch needs, on the device."""

    number: int
    """Its place in the global order."""
    epoch: int
    clip_id: str
    duration: float
    """Length of the clip, s."""
    gaussians: Gaussians
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PackedSample:
    """The same as it is kept, checked and uploaded: integers on their grids, 8-bit pixels."""

    number: int
    epoch: int
    clip_id: str
    duration: float
    scene: PackedTensors
    targets: tuple[PackedTarget, ...]

    def pin_memory(self) -> PackedSample:
        """The same in memory that a GPU can fetch from while others work."""
        return replace(
            self, scene=self.scene.pin_memory(), targets=tuple(target.pin_memory() for target in self.targets)
        )

    def to(self, device: torch.device) -> PackedSample:
        """The same on a device; from pinned memory the copy is only begun."""
        return replace(
            self,
            scene=self.scene.to(device, non_blocking=True),
            targets=tuple(target.to(device, non_blocking=True) for target in self.targets),
        )

    def unpack(self) -> Sample:
        """Dequantised, on the device it is on."""
        return Sample(
            number=self.number,
            epoch=self.epoch,
            clip_id=self.clip_id,
            duration=self.duration,
            gaussians=unpack(self.scene),
            targets=tuple(unpack_target(target) for target in self.targets),
        )


@dataclass(frozen=True, slots=True)
class Damaged:
    """A sample that was left out because its stored bytes are not those that were written."""

    number: int
    epoch: int
    clip_id: str
    reason: str
