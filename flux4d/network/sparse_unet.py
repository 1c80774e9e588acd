"""Sparse 3D U-Net: Conv3D, norm, LeakyReLU blocks; strided convolutions down, inverse convolutions up.

The paper's network (section 4.1) names the block and skip connections by concatenation; widths, depth and
kernel of the strided layers are not stated and are ours.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from flux4d.network.sparse_conv import SparseBackend, initialise_weight
from flux4d.network.voxelize import Voxels

NormName = Literal["batch", "clip", "layer"]
LEAK = 0.01


def make_norm(name: NormName, channels: int) -> nn.Module:
    """Normalisation of voxel features [M, C].

    "batch" is the paper's BatchNorm1d. With one clip a step its training statistics are those of a single
    scene while evaluation uses a running mix, so the network that is evaluated is not the one that was
    trained. "clip" is the same formula with the statistics of the clip at hand, in training and evaluation
    alike. "layer" normalises each voxel over its channels; of the three it learned fastest on every clip tried.
    """
    if name == "layer":
        return nn.LayerNorm(channels)
    return nn.BatchNorm1d(channels, track_running_stats=name == "batch")


class _Block(nn.Module):
    """A sparse convolution, norm, LeakyReLU."""

    def __init__(self, conv: nn.Module, channels: int, norm: NormName) -> None:
        super().__init__()
        self.conv = conv
        self.norm = make_norm(norm, channels)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        features = x.features
        # A single voxel has no variance to normalise with.
        if len(features) > 1 or not _uses_own_statistics(self.norm):
            features = self.norm(features)
        return x.replace_feature(nn.functional.leaky_relu(features, LEAK))


def _uses_own_statistics(norm: nn.Module) -> bool:
    return isinstance(norm, nn.BatchNorm1d) and (norm.training or not norm.track_running_stats)


class SparseUNet(nn.Module):
    """Voxel features [M, in] -> [M, channels[0]] at the same voxels."""

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, ...],
        blocks: int,
        norm: NormName,
        backend: SparseBackend,
    ) -> None:
        """Build the layers.

        Args:
            in_channels: Width of the input features.
            channels: Width at each resolution, finest first.
            blocks: Submanifold blocks a level, on the way down and on the way up.
            norm: See `make_norm`.
            backend: Who convolves.
        """
        super().__init__()
        self.backend = backend
        self.stride = 2 ** (len(channels) - 1)

        def level(width_in: int, width: int, at: int) -> nn.Sequential:
            widths = [width_in] + [width] * blocks
            return nn.Sequential(*(_Block(backend.subm(a, b, f"subm{at}"), b, norm) for a, b in pairwise(widths)))

        steps = range(len(channels) - 1)
        self.encoders = nn.ModuleList(
            level(in_channels if at == 0 else channels[at], channels[at], at) for at in range(len(channels))
        )
        self.downs = nn.ModuleList(
            _Block(backend.down(channels[at], channels[at + 1], f"down{at}"), channels[at + 1], norm) for at in steps
        )
        self.ups = nn.ModuleList(
            _Block(backend.up(channels[at + 1], channels[at], f"down{at}"), channels[at], norm) for at in steps
        )
        self.decoders = nn.ModuleList(level(2 * channels[at], channels[at], at) for at in steps)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw every convolution weight from `generator`; norms keep their identity start."""
        for parameter in self.parameters():
            if parameter.dim() == 5:
                initialise_weight(parameter, generator)

    def forward(
        self,
        features: Tensor,  # [M, in]
        voxels: Voxels,
    ) -> Tensor:
        """Convolve.

        Args:
            features: Pooled features of each voxel. [M, in]
            voxels: Where they are.

        Returns:
            [M, channels[0]] in the order of `voxels`.
        """
        # Strided layers of kernel 2 need even sides at every level, or they would drop the last plane.
        z, y, x = (-(-side // self.stride) * self.stride for side in voxels.shape)
        self.backend.place(self.modules(), features.device)
        tensor = self.backend.tensor(features, voxels.coords, (z, y, x))
        skips = []
        for at, encoder in enumerate(self.encoders):
            tensor = encoder(tensor)
            if at < len(self.downs):
                skips.append(tensor)
                tensor = self.downs[at](tensor)
        for at in reversed(range(len(self.ups))):
            tensor = self.ups[at](tensor)
            tensor = tensor.replace_feature(torch.cat([tensor.features, skips[at].features], dim=1))
            tensor = self.decoders[at](tensor)
        out: Tensor = tensor.features
        return out
