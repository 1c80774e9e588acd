"""The hand-over between network and renderer: activated 3D Gaussians with a time and a velocity."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ScaleBounds:
    """Smallest and largest standard deviation that a LiDAR Gaussian may have, m: when lifted, and when refined."""

    min_scale: float = 1e-3
    max_scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.min_scale < self.max_scale:
            raise ValueError(
                f"scales: 0 < min_scale < max_scale needed, got {self.min_scale} and {self.max_scale}: "
                "use 0.001 and 1.0"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Gaussians:
    """N Gaussians of one scene in its ego0 frame, all parameters activated (ready to render)."""

    means: Tensor  # [N, 3] m, at the Gaussian's own time
    quats: Tensor  # [N, 4] wxyz, any norm
    scales: Tensor  # [N, 3] m, standard deviations
    opacities: Tensor  # [N] in [0, 1]
    rgb: Tensor  # [N, 3] in [0, 1]
    times: Tensor  # [N] s since the clip's first sweep stamp
    velocities: Tensor  # [N, L + 1, 3] coefficients v_j of the motion polynomial, m / s^(j+1)
    is_sky: Tensor  # [N] bool, background at a distance: never moves
    source: Tensor  # [N] int64 row in the clip's LiftedPoints, -1 for Gaussians not made from a LiDAR point

    def __len__(self) -> int:
        return len(self.means)

    def to(self, device: torch.device | str) -> Gaussians:
        """The same Gaussians on another device."""
        return Gaussians(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def select(self, index: Tensor) -> Gaussians:
        """The rows `index` (bool [N] or int64 [M])."""
        return Gaussians(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def concat(self, other: Gaussians) -> Gaussians:
        """These Gaussians followed by `other`'s, on one device and with one motion order."""
        return Gaussians(**{f.name: torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)})

    def detach(self) -> Gaussians:
        """The same values without their graph."""
        return Gaussians(**{field.name: getattr(self, field.name).detach() for field in fields(self)})

    def static(self) -> Gaussians:
        """The same Gaussians with every velocity zero."""
        return replace(self, velocities=torch.zeros_like(self.velocities))
