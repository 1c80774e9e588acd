"""The hand-over between network and renderer: activated 3D Gaussians with a time and a velocity."""

from __future__ import annotations

import math
from collections.abc import Callable
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
    sigma_t: Tensor | None = None  # [N] s > 0, lifetime (`flux4d.lifetime`), inf is always there; None: all are
    instance: Tensor | None = None  # [N] int32 object the Gaussian belongs to, -1 none; None: nothing is known

    def __len__(self) -> int:
        return len(self.means)

    def columns(self) -> dict[str, Tensor]:
        """The columns that are there, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def to(self, device: torch.device | str) -> Gaussians:
        """The same Gaussians on another device."""
        return self._each(lambda column: column.to(device))

    def select(self, index: Tensor) -> Gaussians:
        """The rows `index` (bool [N] or int64 [M])."""
        return self._each(lambda column: column[index])

    def concat(self, other: Gaussians) -> Gaussians:
        """These Gaussians followed by `other`'s, on one device and with one motion order.

        Where only one side has lifetimes or instances, the other's Gaussians are always there and of none.
        """
        ours, theirs = self.columns(), other.columns()
        for name, absent in (("sigma_t", math.inf), ("instance", -1)):
            if (name in ours) != (name in theirs):
                (has, scene, lacks) = (ours, other, theirs) if name in ours else (theirs, self, ours)
                lacks[name] = has[name].new_full((len(scene),), absent)
        return Gaussians(**{name: torch.cat([column, theirs[name]]) for name, column in ours.items()})

    def detach(self) -> Gaussians:
        """The same values without their graph."""
        return self._each(Tensor.detach)

    def static(self) -> Gaussians:
        """The same Gaussians with every velocity zero."""
        return replace(self, velocities=torch.zeros_like(self.velocities))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Gaussians:
        return Gaussians(**{name: change(column) for name, column in self.columns().items()})
