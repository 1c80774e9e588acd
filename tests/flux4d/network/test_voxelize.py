"""Voxel assignment against a plain dictionary, contraction, pooling and its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flux4d.network.voxelize import VoxelConfig, contract, mean_pool, voxelize

CONFIG = VoxelConfig(size=0.5, low=(-10.0, -20.0, -2.0), high=(10.0, 20.0, 6.0))


def contract_plain(value: float, low: float, high: float) -> float:
    unit = (value - (low + high) / 2) / ((high - low) / 2)
    return unit if abs(unit) <= 1 else math.copysign(2 - 1 / abs(unit), unit)


def voxelize_plain(means: Tensor, config: VoxelConfig) -> dict[tuple[int, int, int], list[int]]:
    """Slow twin: the rows of the points in each voxel."""
    cells: dict[tuple[int, int, int], list[int]] = {}
    for row, point in enumerate(means.double().tolist()):
        cell = [
            math.floor((contract_plain(v, low, high) + 2) * (high - low) / 2 / config.size)
            for v, low, high in zip(point, config.low, config.high, strict=True)
        ]
        cells.setdefault((cell[2], cell[1], cell[0]), []).append(row)
    return cells


def points(count: int, spread: float, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * spread


@pytest.mark.parametrize("spread", [1.0, 8.0, 300.0])
def test_same_as_the_plain_twin(spread: float) -> None:
    means = points(500, spread)
    features = points(500, 1.0, seed=1)
    voxels = voxelize(means, CONFIG)
    cells = voxelize_plain(means, CONFIG)
    assert [tuple(row) for row in voxels.coords.tolist()] == sorted(cells)
    pooled = mean_pool(features, voxels)
    for row, cell in enumerate(sorted(cells)):
        members = cells[cell]
        assert (voxels.point2voxel == row).nonzero().squeeze(1).tolist() == members
        assert int(voxels.counts[row]) == len(members)
        assert torch.allclose(pooled[row], features[members].mean(dim=0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-1e7, 1e7, width=32)] * 3), min_size=1, max_size=30))
def test_every_point_lands_inside_the_grid(rows: list[tuple[float, float, float]]) -> None:
    voxels = voxelize(torch.tensor(rows), CONFIG)
    assert bool((voxels.coords >= 0).all())
    assert bool((voxels.coords < torch.tensor(CONFIG.shape)).all())
    assert int(voxels.counts.sum()) == len(rows)
    assert bool((voxels.offsets.abs() <= 0.501).all())


def test_near_range_is_a_regular_grid_and_far_points_keep_their_order() -> None:
    x = torch.linspace(-10, 10, 81)
    near = contract(torch.stack([x, torch.zeros(81), torch.full((81,), 2.0)], dim=1), CONFIG)[:, 0]
    assert torch.allclose(near, x / 10)
    far = contract(torch.tensor([[10.0, 0, 2], [12, 0, 2], [100, 0, 2], [2000, 0, 2]]), CONFIG)[:, 0]
    assert torch.allclose(far, torch.tensor([1.0, 2 - 10 / 12, 1.9, 1.995]))


def test_order_of_points_does_not_matter() -> None:
    means = points(300, 5.0)
    shuffle = torch.randperm(300, generator=torch.Generator().manual_seed(2))
    a, b = voxelize(means, CONFIG), voxelize(means[shuffle], CONFIG)
    assert torch.equal(a.coords, b.coords)
    assert torch.equal(a.point2voxel[shuffle], b.point2voxel)


def test_pooling_gradient() -> None:
    voxels = voxelize(points(20, 1.0), CONFIG)
    features = points(20, 1.0, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mean_pool(x, voxels), (features,))


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="no point to voxelise"):
        voxelize(torch.zeros(0, 3), CONFIG)
    with pytest.raises(ValueError, match="2 of 3 positions are not finite"):
        voxelize(torch.tensor([[0.0, 0, 0], [float("nan"), 0, 0], [0, float("inf"), 0]]), CONFIG)
    with pytest.raises(ValueError, match="voxel size 0"):
        VoxelConfig(size=0.0)
    with pytest.raises(ValueError, match="must be at least one voxel"):
        VoxelConfig(low=(0.0, 0.0, 0.0), high=(1.0, 1.0, 0.1))
