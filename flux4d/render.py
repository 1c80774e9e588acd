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
    depth: Tensor  # [C, H, W, 1] expected z-depth in m, 0 where alpha is 0
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
    for camera in range(len(cameras)):
        time = cameras.times[camera]
        features = [gaussians.rgb]
        if with_velocity:
            features.append(velocity_at(gaussians, time))
        D = 3 * len(features)
        drawn = rasterize(
            move(gaussians, time),
            gaussians.quats,
            gaussians.scales,
            gaussians.opacities,
            torch.cat(features, dim=1),
            cameras.viewmats[camera : camera + 1],
            cameras.Ks[camera : camera + 1],
            cameras.width,
            cameras.height,
            backgrounds=None if background is None else torch.nn.functional.pad(background, (0, D - 3))[None],
            render_mode="RGB+ED",
            max_alpha=max_alpha,
            backend=backend,
        )
        images.append(drawn.features)
        alphas.append(drawn.alphas)
    image, alpha = torch.cat(images), torch.cat(alphas)
    velocity = image[..., 3:6] if with_velocity else None
    return Rendering(rgb=image[..., :3], alpha=alpha, depth=image[..., -1:], velocity=velocity)
