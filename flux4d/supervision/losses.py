"""Training loss of Flux4D (paper Eq. 3-5): colour, structure, LiDAR depth and a preference for rest."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from flux4d.gaussians import Gaussians
from flux4d.render import Rendering
from flux4d.supervision.ssim import ssim_map
from flux4d.supervision.target import Target


@dataclass(kw_only=True, slots=True, frozen=True)
class LossConfig:
    """Weights of the terms; the defaults are the paper's (section 4.1)."""

    l1: float = 0.8
    """Weight of the mean absolute colour error."""
    ssim: float = 0.2
    """Weight of 1 - SSIM."""
    depth: float = 0.01
    """Weight of the mean absolute depth error in metres, at pixels with a LiDAR return."""
    velocity: float = 5e-3
    """Weight of the mean speed in m/s of the Gaussians that may move."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value < float("inf"):
                raise ValueError(
                    f"loss weight {field.name}={value}: use a finite number >= 0 (0 switches the term off)"
                )


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """The weighted sum and the unweighted terms; a term without data is None and not part of the sum."""

    total: Tensor  # [] weighted sum
    l1: Tensor  # [] mean absolute colour error
    ssim: Tensor  # [] 1 - mean SSIM
    depth: Tensor | None  # [] m; None without a LiDAR pixel
    velocity: Tensor | None  # [] m/s; None without a Gaussian that may move

    def detach(self) -> dict[str, float]:
        """The terms that exist as plain numbers, for a log."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: float(value.detach()) for name, value in values.items() if value is not None}


def speed_penalty(
    velocities: Tensor,  # [N, L + 1, 3]
    is_sky: Tensor,  # [N] bool
) -> Tensor | None:
    """Mean norm of the motion coefficients of all Gaussians that may move (Eq. 5).

    For motion polynomials the norm runs over all (L + 1) * 3 coefficients of a Gaussian.

    Args:
        velocities: Motion coefficients, m / s^(j+1). [N, L + 1, 3]
        is_sky: Background that never moves; left out. [N]

    Returns:
        [] m/s, or None if there is only sky.
    """
    moving = velocities[~is_sky].flatten(1)
    return torch.linalg.vector_norm(moving, dim=-1).mean() if len(moving) else None


def depth_error(
    depth: Tensor,  # [H, W]
    depth_pixel: Tensor,  # [D] int64
    target_depth: Tensor,  # [D]
) -> Tensor | None:
    """Mean absolute depth error at the LiDAR pixels (Eq. 4).

    Args:
        depth: Rendered z-depth, m. [H, W]
        depth_pixel: row * W + column at the rendered size. [D]
        target_depth: z-depth of the return, m. [D]

    Returns:
        [] m, or None without a return.
    """
    if len(depth_pixel) == 0:
        return None
    return (depth.reshape(-1).index_select(0, depth_pixel) - target_depth).abs().mean()


def reconstruction_loss(
    rgb: Tensor,  # [H, W, 3]
    depth: Tensor,  # [H, W]
    target_rgb: Tensor,  # [H, W, 3]
    depth_pixel: Tensor,  # [D] int64
    target_depth: Tensor,  # [D]
    gaussians: Gaussians,
    config: LossConfig,
) -> Losses:
    """0.8 L1 + 0.2 (1 - SSIM) + 0.01 depth + 5e-3 speed (paper Eq. 3-5) of one rendered view.

    Args:
        rgb: Rendered colour in [0, 1]. [H, W, 3]
        depth: Rendered z-depth, m. [H, W]
        target_rgb: The image, in [0, 1]. [H, W, 3]
        depth_pixel: row * W + column of each LiDAR return at the rendered size. [D]
        target_depth: Its z-depth, m. [D]
        gaussians: What was rendered; gives the velocities.
        config: Weights.

    Returns:
        The weighted total and every unweighted term.

    Raises:
        ValueError: image shapes do not fit each other, or a LiDAR pixel lies outside the image.
    """
    if rgb.shape != target_rgb.shape or depth.shape != rgb.shape[:2]:
        raise ValueError(
            f"rgb {tuple(rgb.shape)}, target_rgb {tuple(target_rgb.shape)} and depth {tuple(depth.shape)} "
            "must be [H, W, 3], [H, W, 3] and [H, W] of one size: decode the target at the rendered size"
        )
    terms = {
        "l1": (rgb - target_rgb).abs().mean(),
        "ssim": 1.0 - ssim_map(rgb, target_rgb).mean(),
        "depth": depth_error(depth, depth_pixel, target_depth),
        "velocity": speed_penalty(gaussians.velocities, gaussians.is_sky),
    }
    total = torch.stack([getattr(config, name) * term for name, term in terms.items() if term is not None]).sum()
    return Losses(total=total, **terms)  # type: ignore[arg-type]


def view_loss(rendering: Rendering, target: Target, gaussians: Gaussians, config: LossConfig) -> Losses:
    """`reconstruction_loss` of a rendering of one camera (`render_recorded`) against its view."""
    return reconstruction_loss(
        rgb=rendering.rgb[0],
        depth=rendering.depth[0, ..., 0],
        target_rgb=target.rgb,
        depth_pixel=target.depth_pixel,
        target_depth=target.depth,
        gaussians=gaussians,
        config=config,
    )
