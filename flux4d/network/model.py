"""Flux4D's network: initial Gaussians in, refined Gaussians with velocities out (paper 3.2, Eq. 1).

Point features are pooled into voxels, a sparse U-Net looks around, and every Gaussian reads its voxel's
answer together with its own features: `G = G_init + dG` in pre-activation space, and a velocity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from flux4d.gaussians import Gaussians, ScaleBounds
from flux4d.network.sparse_conv import BackendName, make_backend
from flux4d.network.sparse_unet import NormName, SparseUNet
from flux4d.network.voxelize import VoxelConfig, contract, mean_pool, voxelize

GAUSSIAN_CHANNELS = 14  # mean 3, scale 3, quaternion 4, rgb 3, opacity 1
INPUT_CHANNELS = GAUSSIAN_CHANNELS + 1  # and time
MAX_MOTION_ORDER = 8
"""Highest order of a motion polynomial; the paper's is 1."""
_EPS = 1.0 / 1024.0  # keeps logits of 0 and 1 finite, below half a grey level


@dataclass(kw_only=True, slots=True, frozen=True)
class NetworkConfig:
    """Size and ranges of the network. The paper states none of the sizes; these are ours."""

    channels: tuple[int, ...] = (32, 64, 96, 128)
    """Width of the U-Net at each resolution, finest first."""
    blocks: int = 2
    """Submanifold blocks at each resolution, on the way down and on the way up."""
    norm: NormName = "layer"
    """Normalisation: "batch" (paper), "clip" or "layer" (learns fastest); see `sparse_unet.make_norm`."""
    head_width: int = 64
    """Hidden width of the per-Gaussian heads."""
    motion_order: int = 0
    """Order l of the motion polynomial: 0 constant velocity, 1 with acceleration (paper's full model)."""
    velocity_unit: float = 3.0
    """Speed in m/s that one unit of the velocity head stands for; large values make the first steps noisy."""
    max_offset: float = 1.0
    """Largest change of a position along an axis, in voxels."""
    voxels: VoxelConfig = field(default_factory=VoxelConfig)
    """The voxel grid."""
    conv_backend: BackendName = "auto"
    """Library for the sparse convolutions; weights do not depend on it."""
    seed: int = 0
    """Seed of the initial weights."""

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1 or self.blocks < 1 or self.head_width < 1:
            raise ValueError(
                f"channels={self.channels}, blocks={self.blocks}, head_width={self.head_width}: "
                "all must be positive, for instance (32, 64, 96, 128), 2 and 64"
            )
        if self.norm not in ("batch", "clip", "layer"):
            raise ValueError(f"norm={self.norm!r}: use 'batch', 'clip' or 'layer'")
        if not 0 <= self.motion_order <= MAX_MOTION_ORDER:
            raise ValueError(f"motion_order={self.motion_order}: use 0 (constant velocity), 1 or 2")
        if not (self.velocity_unit > 0.0 and self.max_offset > 0.0):
            raise ValueError(
                f"velocity_unit={self.velocity_unit}, max_offset={self.max_offset}: use positive values, for instance "
                "3.0 and 1.0"
            )


def small(**changes: Any) -> NetworkConfig:
    """The CPU preset: half the widths, one block a level."""
    return replace(NetworkConfig(channels=(16, 32, 48, 64), blocks=1, head_width=32), **changes)


def _logit(values: Tensor) -> Tensor:
    return torch.logit(values, eps=_EPS)


class _Head(nn.Module):
    """Two-layer perceptron whose last layer starts at zero: at the start it changes nothing."""

    def __init__(self, width_in: int, hidden: int, width_out: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width_in, hidden)
        self.out = nn.Linear(hidden, width_out)

    def initialise(self, generator: torch.Generator) -> None:
        bound = math.sqrt(6.0 / self.hidden.in_features)
        with torch.no_grad():
            draw = torch.rand(self.hidden.weight.shape, generator=generator, dtype=torch.float64)
            self.hidden.weight.copy_((draw * 2.0 - 1.0) * bound)
        for zero in (self.hidden.bias, self.out.weight, self.out.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(nn.functional.leaky_relu(self.hidden(x), 0.01))
        return out


class Flux4D(nn.Module):
    """Gaussians -> refined Gaussians with velocities.

    The same weights for the same `config.seed` on every device and with every convolution backend.

    Args:
        config: Size and ranges.
        device: Where it works.
        scale_bounds: What it keeps the scales of LiDAR Gaussians to: those that its scenes are lifted with.
    """

    def __init__(
        self,
        config: NetworkConfig,
        device: torch.device | str = "cpu",
        scale_bounds: ScaleBounds = ScaleBounds(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        self.config, self.scale_bounds = config, scale_bounds
        width = config.channels[0]
        backend = make_backend(config.conv_backend, device)
        self.unet = SparseUNet(INPUT_CHANNELS, config.channels, config.blocks, config.norm, backend)
        point_width = width + INPUT_CHANNELS + 3
        self.residual_head = _Head(point_width, config.head_width, GAUSSIAN_CHANNELS)
        self.velocity_head = _Head(point_width, config.head_width, 3 * (config.motion_order + 1))
        generator = torch.Generator().manual_seed(config.seed)
        for part in (self.unet, self.residual_head, self.velocity_head):
            part.initialise(generator)
        self.to(device)

    def features(self, gaussians: Gaussians, duration: float) -> Tensor:
        """The network's 14 + 1 input channels, each of order one.

        Args:
            gaussians: N Gaussians.
            duration: Length of the clip, s; time enters as a share of it.

        Returns:
            [N, 15] contracted position, log scale, quaternion, rgb, opacity, time.
        """
        return torch.cat(
            [
                contract(gaussians.means, self.config.voxels),
                (gaussians.scales.clamp_min(self.scale_bounds.min_scale).log() + 2.0) * 0.5,
                nn.functional.normalize(gaussians.quats, dim=1),
                gaussians.rgb * 2.0 - 1.0,
                gaussians.opacities[:, None] * 2.0 - 1.0,
                gaussians.times[:, None] / duration,
            ],
            dim=1,
        )

    def forward(self, gaussians: Gaussians, duration: float) -> Gaussians:
        """Refine a scene and give it velocities.

        Args:
            gaussians: N initial Gaussians in ego0; their velocities are ignored.
            duration: Length of the clip, s.

        Returns:
            The same N Gaussians, refined, with velocities [N, motion_order + 1, 3] in m / s^(j+1). Background
            keeps its position and does not move.

        Raises:
            ValueError: no Gaussian, positions not finite, or a duration that is not positive.
        """
        if not duration > 0.0:
            raise ValueError(f"duration={duration} s: a clip must last longer than nothing")
        features = self.features(gaussians, duration)
        voxels = voxelize(gaussians.means, self.config.voxels)
        context = self.unet(mean_pool(features, voxels), voxels)
        point = torch.cat([context.index_select(0, voxels.point2voxel), features, voxels.offsets], dim=1)
        # Autocast ends here: positions of 100 m and more need all of float32.
        residual, velocity = (
            head(point).to(gaussians.means.dtype) for head in (self.residual_head, self.velocity_head)
        )
        return self._refined(gaussians, residual, velocity)

    def _refined(
        self,
        gaussians: Gaussians,
        residual: Tensor,  # [N, 14]
        velocity: Tensor,  # [N, 3 * (motion_order + 1)]
    ) -> Gaussians:
        config, bounds, sky = self.config, self.scale_bounds, gaussians.is_sky[:, None]
        shift, log_scale, turn, colour, opacity = torch.split(residual, [3, 3, 4, 3, 1], dim=1)
        shift = torch.tanh(shift) * (config.max_offset * config.voxels.size)
        low = torch.where(sky, 0.25 * gaussians.scales, bounds.min_scale)
        high = torch.where(sky, 4.0 * gaussians.scales, bounds.max_scale)
        return replace(
            gaussians,
            means=gaussians.means + shift.masked_fill(sky, 0.0),
            quats=nn.functional.normalize(nn.functional.normalize(gaussians.quats, dim=1) + turn, dim=1),
            scales=torch.minimum(torch.maximum(gaussians.scales * log_scale.exp(), low), high),
            opacities=torch.sigmoid(_logit(gaussians.opacities) + opacity[:, 0]),
            rgb=torch.sigmoid(_logit(gaussians.rgb) + colour),
            velocities=(velocity * config.velocity_unit).masked_fill(sky, 0.0).reshape(len(gaussians), -1, 3),
        )
