"""Gaussians to voxels: which voxel each point falls in, and mean pooling of features.

Near points sit on a regular grid. Far points are not dropped (the paper does not say what it does with
them): each axis is contracted as in mip-NeRF 360, `u -> sign(u) (2 - 1 / |u|)` for |u| > 1, so that
everything up to the sky lands in a grid of twice the near range, ever more coarsely.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Triple = tuple[float, float, float]


@dataclass(kw_only=True, slots=True, frozen=True)
class VoxelConfig:
    """The voxel grid, in the clip's ego0 frame."""

    size: float = 0.3
    """Edge of a voxel inside the near range, m."""
    low: Triple = (-60.0, -60.0, -5.0)
    """Lower corner (x, y, z) of the near range, m."""
    high: Triple = (60.0, 60.0, 15.0)
    """Upper corner (x, y, z) of the near range, m."""

    def __post_init__(self) -> None:
        if not self.size > 0.0:
            raise ValueError(f"voxel size {self.size} m: use a positive size, for instance 0.3")
        if any(b - a < self.size for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(
                f"near range {self.low} to {self.high}: each side must be at least one voxel ({self.size} m)"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells of the whole contracted grid in (z, y, x) order."""
        x, y, z = (int(2.0 * (high - low) / self.size) + 2 for low, high in zip(self.low, self.high, strict=True))
        return z, y, x


@dataclass(frozen=True, slots=True, eq=False)
class Voxels:
    """M occupied voxels of N points, ordered by (z, y, x)."""

    coords: Tensor  # [M, 3] int64 (z, y, x)
    point2voxel: Tensor  # [N] int64 row of `coords` for each point
    counts: Tensor  # [M] int64 points in the voxel, >= 1
    offsets: Tensor  # [N, 3] (x, y, z) of the point from its voxel's centre, in cells, in [-0.5, 0.5]
    shape: tuple[int, int, int]  # cells of the grid (z, y, x)

    def __len__(self) -> int:
        return len(self.coords)


def contract(
    means: Tensor,  # [N, 3]
    config: VoxelConfig,
) -> Tensor:
    """Contracted coordinates: the near range maps linearly to [-1, 1], everything else to (-2, 2).

    Args:
        means: Positions, m. [N, 3]
        config: The near range.

    Returns:
        [N, 3] (x, y, z) in (-2, 2).
    """
    low, high = means.new_tensor(config.low), means.new_tensor(config.high)
    unit = (means - 0.5 * (low + high)) / (0.5 * (high - low))
    size = unit.abs().clamp_min(1.0)
    return torch.where(unit.abs() <= 1.0, unit, unit.sign() * (2.0 - 1.0 / size))


def voxelize(
    means: Tensor,  # [N, 3]
    config: VoxelConfig,
) -> Voxels:
    """Assign points to voxels. Deterministic: voxels are ordered by their coordinate, not by arrival.

    Args:
        means: Positions, m; no gradient is taken. [N, 3]
        config: The grid.

    Raises:
        ValueError: no point, or a position that is not finite.
    """
    means = means.detach()
    if len(means) == 0:
        raise ValueError("no point to voxelise: the scene is empty (is every LiDAR point cropped away?)")
    if not bool(torch.isfinite(means).all()):
        bad = int((~torch.isfinite(means)).any(dim=1).sum())
        raise ValueError(f"{bad} of {len(means)} positions are not finite: they cannot be voxelised")
    half = 0.5 * (means.new_tensor(config.high) - means.new_tensor(config.low))
    cells = (contract(means, config) + 2.0) * half / config.size
    z, y, x = config.shape
    index = torch.minimum(cells.floor().long(), torch.tensor([x - 1, y - 1, z - 1], device=means.device))
    # One 1-D key per voxel: sorting rows (`unique(dim=0)`) is two orders of magnitude slower.
    keys = (index[:, 2] * y + index[:, 1]) * x + index[:, 0]
    keys, point2voxel, counts = torch.unique(keys, return_inverse=True, return_counts=True)
    coords = torch.stack([keys // (y * x), (keys // x) % y, keys % x], dim=1)
    return Voxels(coords, point2voxel, counts, (cells - index - 0.5).to(means.dtype), config.shape)


def mean_pool(
    features: Tensor,  # [N, F]
    voxels: Voxels,
) -> Tensor:
    """Mean feature of the points in each voxel, differentiable in `features`.

    Args:
        features: One row a point. [N, F]
        voxels: The assignment.

    Returns:
        [M, F]
    """
    total = features.new_zeros(len(voxels), features.shape[1]).index_add_(0, voxels.point2voxel, features)
    return total / voxels.counts[:, None]
