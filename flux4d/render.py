"""A scene seen by cameras, each at its own time: colour, opacity, depth and velocity images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flux4d.cameras import Cameras
from flux4d.gaussians import Gaussians
from flux4d.motion import move, velocity_at
from flux4d.rasterize import MAX_ALPHA, Backend, rasterize


@dataclass(frozen=True, slots=True, eq=False)
class Rendering:
    """Images of C cameras."""

    rgb: Tensor  # [C, H, W, 3], background added where light is left
    alpha: Tensor  # [C, H, W, 1]
    depth: Tensor  # [C, H, W, 1] expected z-depth in m of all but the sky, 0 where there is nothing else
    velocity: Tensor | None  # [C, H, W, 3] blended m/s in ego0 axes (sum of weight times velocity)


def render(
    gaussians: Gaussians,
    cameras: Cameras,
    *,
    background: Tensor | None = None,  # [3]
    with_velocity: bool = False,
    backend: Backend = "auto",
    max_alpha: float = MAX_ALPHA,
) -> Rendering:
    """Move the Gaussians to each camera's time and render them (arXiv 2512.03210, Eq. 2).

    Args:
        gaussians: N Gaussians; sky is rendered like everything else, at its own distance.
        cameras: C cameras of one size.
        background: RGB behind everything; None is black.
        with_velocity: Whether to render the velocity image too.
        backend: See `flux4d.rasterize.rasterize`.
        max_alpha: See `flux4d.rasterize.rasterize`.

    Returns:
        Rendering: Images, differentiable in every parameter of the Gaussians.

    Raises:
        ValueError: as `flux4d.rasterize.rasterize`, or no camera, or a background of another shape.
    """
    if not len(cameras):
        raise ValueError("need at least one camera to render")
    if background is not None and background.shape != (3,):
        raise ValueError(f"background must have shape (3,), got {tuple(background.shape)}")
    images, alphas = [], []
    solid = (~gaussians.is_sky)[:, None].to(gaussians.means)
    for camera, viewmat in enumerate(cameras.viewmats):
        time = cameras.times[camera]
        means = move(gaussians, time)
        features = [gaussians.rgb, solid, solid * (means @ viewmat[2, :3] + viewmat[2, 3])[:, None]]
        if with_velocity:
            features.append(velocity_at(gaussians, time))
        channels = sum(feature.shape[1] for feature in features)
        drawn = rasterize(
            means,
            gaussians.quats,
            gaussians.scales,
            gaussians.opacities,
            torch.cat(features, dim=1),
            viewmat[None],
            cameras.Ks[camera : camera + 1],
            cameras.width,
            cameras.height,
            backgrounds=None if background is None else torch.nn.functional.pad(background, (0, channels - 3))[None],
            render_mode="RGB",
            max_alpha=max_alpha,
            backend=backend,
        )
        images.append(drawn.features)
        alphas.append(drawn.alphas)
    image, alpha = torch.cat(images), torch.cat(alphas)
    rgb, weight, depth, velocity = torch.split(image, [3, 1, 1, image.shape[-1] - 5], dim=-1)
    # gsplat's guard against empty pixels in its expected-depth mode.
    depth = depth / weight.clamp(min=1e-10)
    return Rendering(rgb=rgb, alpha=alpha, depth=depth, velocity=velocity if with_velocity else None)
