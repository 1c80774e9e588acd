"""Render a view as it was recorded: colours through the rolling shutter, LiDAR depth at one time."""

from __future__ import annotations

from dataclasses import replace

from flux4d.cameras.cameras import Cameras
from flux4d.gaussians import Gaussians
from flux4d.rasterize import Backend
from flux4d.render import Rendering, render
from flux4d.supervision.target import all_rows_at_once


def render_recorded(
    gaussians: Gaussians, cameras: Cameras, *, with_velocity: bool = False, backend: Backend = "auto"
) -> Rendering:
    """Render what stored views are compared with: all but depth through the cameras' shutter, depth without.

    Stored depth is that of LiDAR returns projected with the pose of the view's time (`Target`). With a
    shutter the scene is therefore rendered twice; without one this is `flux4d.render.render`, once.

    Args:
        gaussians: N Gaussians.
        cameras: C cameras, with the shutter the images were taken with.
        with_velocity: As in `flux4d.render.render`; seen through the shutter.
        backend: As there.

    Returns:
        Rendering: Differentiable; its alpha is that of the colours.

    Raises:
        ValueError: as `flux4d.render.render`.
    """
    rendering = render(gaussians, cameras, with_velocity=with_velocity, backend=backend)
    at_once = all_rows_at_once(cameras)
    if at_once is cameras:
        return rendering
    return replace(rendering, depth=render(gaussians, at_once, backend=backend).depth)
