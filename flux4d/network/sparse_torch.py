"""Sparse 3D convolution in plain torch: gather, multiply, add, one kernel offset at a time.

The readable reference for the spconv backends: any dtype (gradcheck), any device, and deterministic,
because within one kernel offset no two pairs write the same row. Weights have spconv's layout
`[out, kz, ky, kx, in]` and the layers its semantics (cross-correlation, as `F.conv3d`), so weights move freely.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor, nn

Shape = tuple[int, int, int]
Pairs = list[tuple[Tensor, Tensor]]  # for each kernel offset: input rows [P_k], output rows [P_k]


@dataclass(slots=True, eq=False)
class SparseSites:
    """Where the active voxels of one resolution are, and which pairs a convolution on them visits."""

    coords: Tensor  # [M, 3] int64 (z, y, x)
    shape: Shape
    subm_pairs: Pairs | None = field(default=None)

    def keys(self, coords: Tensor) -> Tensor:
        """One integer for each coordinate. [M, 3] -> [M]"""
        _, y, x = self.shape
        return (coords[:, 0] * y + coords[:, 1]) * x + coords[:, 2]

    def neighbour_pairs(self) -> Pairs:
        """Pairs of a submanifold 3x3x3 convolution; built once for all layers of this resolution."""
        if self.subm_pairs is None:
            sorted_keys, order = torch.sort(self.keys(self.coords))
            bound = self.coords.new_tensor(self.shape)
            self.subm_pairs = []
            for offset in product((-1, 0, 1), repeat=3):
                there = self.coords + self.coords.new_tensor(offset)
                wanted = self.keys(there)
                slot = torch.searchsorted(sorted_keys, wanted).clamp_max(len(sorted_keys) - 1)
                hit = (sorted_keys[slot] == wanted) & ((there >= 0) & (there < bound)).all(dim=1)
                rows = hit.nonzero().squeeze(1)
                self.subm_pairs.append((order[slot[rows]], rows))
        return self.subm_pairs


@dataclass(frozen=True, slots=True, eq=False)
class TorchSparseTensor:
    """Features at sites; the part of spconv's `SparseConvTensor` that the U-Net uses."""

    features: Tensor  # [M, C]
    sites: SparseSites
    coarsened: dict[str, tuple[SparseSites, Pairs]]  # by key: the fine sites and the pairs fine -> coarse

    @property
    def indices(self) -> Tensor:
        """[M, 4] int64 (batch, z, y, x); batch is always 0."""
        return torch.nn.functional.pad(self.sites.coords, (1, 0))

    def replace_feature(self, features: Tensor) -> TorchSparseTensor:
        """The same sites with other features [M, C']."""
        return TorchSparseTensor(features, self.sites, self.coarsened)


def _gather_multiply_add(features: Tensor, weight: Tensor, pairs: Pairs, rows: int) -> Tensor:
    """Sum over offsets k of `weight[:, k] @ features` for each pair; weight [out, K, in] -> [rows, out].

    Under autocast the products are of lower precision, their sum has that of the weights.
    """
    out = weight.new_zeros(rows, weight.shape[0])
    for k, (source, target) in enumerate(pairs):
        if len(source):
            product = features.index_select(0, source) @ weight[:, k].T
            out = out.index_add(0, target, product.to(out.dtype))
    return out


class _TorchConv(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, kernel: int, key: str) -> None:
        super().__init__()
        self.key = key
        self.weight = nn.Parameter(torch.empty(out_channels, kernel, kernel, kernel, in_channels))

    @property
    def flat_weight(self) -> Tensor:
        return self.weight.flatten(1, 3)


class TorchSubM(_TorchConv):
    """3x3x3 convolution whose output sites are its input sites."""

    def forward(self, x: TorchSparseTensor) -> TorchSparseTensor:
        """[M, in] -> [M, out] at the same sites."""
        pairs = x.sites.neighbour_pairs()
        return x.replace_feature(_gather_multiply_add(x.features, self.flat_weight, pairs, len(x.features)))


class TorchDown(_TorchConv):
    """2x2x2 convolution of stride 2; output sites are the cells with an active child."""

    def forward(self, x: TorchSparseTensor) -> TorchSparseTensor:
        """[M, in] -> [M', out] at half the resolution."""
        z, y, x_cells = x.sites.shape
        coarse = SparseSites(coords=x.sites.coords[:0], shape=(z // 2, y // 2, x_cells // 2))
        _, half_y, half_x = coarse.shape
        keys, parent = torch.unique(coarse.keys(x.sites.coords // 2), return_inverse=True)
        coarse.coords = torch.stack([keys // (half_y * half_x), (keys // half_x) % half_y, keys % half_x], dim=1)
        corner = ((x.sites.coords % 2) * x.sites.coords.new_tensor([4, 2, 1])).sum(dim=1)
        rows = [(corner == k).nonzero().squeeze(1) for k in range(8)]
        pairs = [(row, parent[row]) for row in rows]
        out = _gather_multiply_add(x.features, self.flat_weight, pairs, len(keys))
        return TorchSparseTensor(out, coarse, {**x.coarsened, self.key: (x.sites, pairs)})


class TorchUp(_TorchConv):
    """Inverse of the `TorchDown` with the same key: back to exactly its input sites."""

    def forward(self, x: TorchSparseTensor) -> TorchSparseTensor:
        """[M', in] -> [M, out] at twice the resolution."""
        sites, pairs = x.coarsened[self.key]
        swapped = [(target, source) for source, target in pairs]
        out = _gather_multiply_add(x.features, self.flat_weight, swapped, len(sites.coords))
        return TorchSparseTensor(out, sites, x.coarsened)


class TorchBackend:
    """Builds the layers of this file; see `flux4d.network.sparse_conv.SparseBackend`."""

    name = "torch"

    def subm(self, in_channels: int, out_channels: int, key: str) -> nn.Module:
        """3x3x3 submanifold convolution."""
        return TorchSubM(in_channels, out_channels, 3, key)

    def down(self, in_channels: int, out_channels: int, key: str) -> nn.Module:
        """2x2x2 convolution of stride 2."""
        return TorchDown(in_channels, out_channels, 2, key)

    def up(self, in_channels: int, out_channels: int, key: str) -> nn.Module:
        """Inverse of the `down` with the same key."""
        return TorchUp(in_channels, out_channels, 2, key)

    def tensor(self, features: Tensor, coords: Tensor, shape: Shape) -> TorchSparseTensor:
        """Features [M, C] at coordinates [M, 3] int64 (z, y, x) of a grid of `shape` (even sides)."""
        return TorchSparseTensor(features, SparseSites(coords, shape), {})

    def place(self, layers: Iterable[nn.Module], device: torch.device) -> None:
        """Nothing to do: the layers run wherever their weights are."""
