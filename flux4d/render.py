"""Render Gaussians with cameras, each at its own time: colour, opacity, depth, velocity and optical flow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flux4d.cameras.cameras import Cameras
from flux4d.cameras.image_velocity import image_velocity
from flux4d.cameras.motion import swing
from flux4d.cameras.shutter import displace
from flux4d.gaussians import Gaussians
from flux4d.lifetime import opacities_at
from flux4d.motion import move, velocity_at
from flux4d.rasterize import MAX_ALPHA, Backend, rasterize


@dataclass(frozen=True, slots=True, eq=False)
class Rendering:
    """Images of C cameras."""

    rgb: Tensor  # [C, H, W, 3], background added where light is left
    alpha: Tensor  # [C, H, W, 1]
    depth: Tensor  # [C, H, W, 1] expected z-depth in m of all but the sky, 0 where there is nothing else
    velocity: Tensor | None  # [C, H, W, 3] blended m/s in ego0 axes (sum of weight times velocity)
    image_velocity: Tensor | None = None  # [C, H, W, 2] blended px/s to the right and down, in pixels of this image


def render(
    gaussians: Gaussians,
    cameras: Cameras,
    *,
    background: Tensor | None = None,  # [3]
    with_velocity: bool = False,
    with_image_velocity: bool = False,
    camera_flow: bool = True,
    backend: Backend = "auto",
    max_alpha: float = MAX_ALPHA,
) -> Rendering:
    """Move the Gaussians to each camera's time and render them (arXiv 2512.03210, Eq. 2).

    Cameras with a shutter see each Gaussian at the time of its own row (`cameras.shutter`): where it is and where the
    camera is then. Depth is then from the camera of that moment too. Gaussians with a lifetime fade with the time they
    are seen at (`flux4d.lifetime`).

    Args:
        gaussians: N Gaussians; sky is rendered like everything else, at its own distance.
        cameras: C cameras of one size.
        background: RGB behind everything; None is black.
        with_velocity: Whether to render the velocity image too.
        with_image_velocity: Whether to render the motion in the image too (`flux4d.cameras.image_velocity`).
        camera_flow: Whether that counts the camera's own motion where it is known (`Cameras.twists`): optical flow.
            False: only what the scene moves, zero wherever that stands still.
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
        means, opacities, features = _seen(gaussians, cameras, camera, with_velocity, with_image_velocity, camera_flow)
        drawn = rasterize(
            means,
            gaussians.quats,
            gaussians.scales,
            opacities,
            features,
            cameras.viewmats[camera : camera + 1],
            cameras.Ks[camera : camera + 1],
            cameras.width,
            cameras.height,
            backgrounds=None
            if background is None
            else torch.nn.functional.pad(background, (0, features.shape[1] - 3))[None],
            render_mode="RGB",
            max_alpha=max_alpha,
            backend=backend,
        )
        images.append(drawn.features)
        alphas.append(drawn.alphas)
    image, alpha = torch.cat(images), torch.cat(alphas)
    sizes = [3, 1, 1, 3 * with_velocity, 2 * with_image_velocity]
    rgb, weight, depth, velocity, flow = torch.split(image, sizes, dim=-1)
    # gsplat's guard against empty pixels in its expected-depth mode.
    depth = depth / weight.clamp(min=1e-10)
    return Rendering(
        rgb=rgb,
        alpha=alpha,
        depth=depth,
        velocity=velocity if with_velocity else None,
        image_velocity=flow if with_image_velocity else None,
    )


def _seen(
    gaussians: Gaussians,
    cameras: Cameras,
    camera: int,
    with_velocity: bool,
    with_image_velocity: bool,
    camera_flow: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Means [N, 3] and opacities [N] for one camera, and what is blended [N, D]: colour, not sky, its depth, and
    velocities if wanted.
    """
    viewmat, K, time = cameras.viewmats[camera], cameras.Ks[camera], cameras.times[camera]
    twist = None if cameras.twists is None else cameras.twists[camera]
    delays = None
    if cameras.shutter is None or cameras.shutter.instant or twist is None:
        means = move(gaussians, time)
    else:
        means, delays = displace(gaussians, time, viewmat, K, twist, cameras.height, cameras.shutter)
    seen_at = time if delays is None else time + delays
    opacities = opacities_at(gaussians, seen_at)
    solid = (~gaussians.is_sky)[:, None].to(means)
    features = [gaussians.rgb, solid, solid * (means @ viewmat[2, :3] + viewmat[2, 3])[:, None]]
    if not (with_velocity or with_image_velocity):
        return means, opacities, torch.cat(features, dim=1)
    velocities = velocity_at(gaussians, seen_at)
    if with_velocity:
        features.append(velocities)
    if with_image_velocity:
        if delays is not None and twist is not None:  # as the camera sees it, which has turned since
            velocities = velocities + swing(velocities @ viewmat[:3, :3].T, twist, delays) @ viewmat[:3, :3]
        features.append(image_velocity(means, velocities, viewmat, K, twist if camera_flow else None))
    return means, opacities, torch.cat(features, dim=1)
