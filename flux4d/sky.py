"""Background Gaussians: what the cameras see and no LiDAR return explains (sky, far buildings, glass).

The paper puts 1,000,000 random points on the upper hemisphere at 4 times the length of the scene's bounding
box. Here they form a Fibonacci lattice on the whole sphere at that radius, only where a view of the clip
looks, as dense as the rendered pixels need, and they start with the colour that the *input* images have in
their direction (target images are never opened).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from flux4d.gaussians import Gaussians
from store_schema.clip import Clip, View

Array = NDArray[np.float32]
_VIEW_MARGIN = 0.05
_DECODE_SHRINK = 4


@dataclass(kw_only=True, slots=True, frozen=True)
class SkyConfig:
    """The background sphere."""

    enabled: bool = True
    """Add background Gaussians."""
    radius_factor: float = 4.0
    """Radius of the sphere, in lengths (diagonals) of the bounding box of the LiDAR points."""
    min_radius: float = 400.0
    """Radius is at least this, m."""
    spacing: float = 0.004
    """Angle between neighbours, rad; 0.004 is 4 pixels of PandaSet's front camera at 960x540."""
    opacity: float = 0.99
    """Initial opacity."""
    scale_factor: float = 0.6
    """Standard deviation of a Gaussian in spacings; 0.6 leaves no holes."""

    def __post_init__(self) -> None:
        if not (self.radius_factor > 0.0 and self.min_radius > 0.0 and self.scale_factor > 0.0):
            raise ValueError(
                f"sky radius_factor={self.radius_factor}, min_radius={self.min_radius}, "
                f"scale_factor={self.scale_factor}: use positive values, for instance 4.0, 400.0 and 0.6"
            )
        if not 5e-4 <= self.spacing <= 0.5:
            raise ValueError(f"sky spacing={self.spacing} rad: use 0.0005 to 0.5, for instance 0.004")
        if not 0.0 < self.opacity < 1.0:
            raise ValueError(f"sky opacity={self.opacity}: use a value between 0 and 1, for instance 0.99")


def project(
    points: Array,  # [N, 3]
    view: View,
) -> tuple[Array, Array]:
    """Pixels of ego0 points in a view's full-size image.

    Args:
        points: Positions in ego0, m. [N, 3]
        view: The camera.

    Returns:
        Pixel positions (column, row), centres at +0.5, only meaningful where depth > 0 [N, 2]; z-depth in m [N].
    """
    ego02image = (view.K @ np.linalg.inv(view.cam2ego0)[:3]).astype(np.float32)
    # Column by column: a [N, 3] @ [3, 3] product spends its time starting threads.
    x, y, z = np.ascontiguousarray(points.T)
    column, row, depth = (a * x + b * y + c * z + d for a, b, c, d in ego02image)
    safe = np.maximum(depth, np.float32(1e-3))
    return np.stack([column / safe, row / safe], axis=1), depth


def inside(pixels: Array, depth: Array, view: View, margin: float) -> NDArray[np.bool_]:
    """Whether projected points lie before the camera and in its image, widened by `margin` image sides. [N]"""
    column, row = pixels.T
    within = depth > 0.1
    for place, size in ((column, view.width), (row, view.height)):
        within &= (place >= -margin * size) & (place <= (1.0 + margin) * size)
    return within


@lru_cache(maxsize=4)
def fibonacci_sphere(count: int) -> Array:
    """`count` nearly equidistant unit vectors. [count, 3] float32, read-only"""
    index = np.arange(count, dtype=np.float64)
    height = 1.0 - (2.0 * index + 1.0) / count
    azimuth = index * (math.pi * (3.0 - math.sqrt(5.0)))
    ring = np.sqrt(1.0 - height**2)
    directions = np.stack([ring * np.cos(azimuth), ring * np.sin(azimuth), height], axis=1).astype(np.float32)
    directions.setflags(write=False)
    return directions


def _before_any_camera(directions: Array, views: Sequence[View]) -> NDArray[np.bool_]:
    """Cheap superset of the directions that some view sees: within its half diagonal (and 10 degrees). [N]"""
    near = np.zeros(len(directions), bool)
    for view in views:
        corners = np.array([[u, v, 1.0] for u in (0, view.width) for v in (0, view.height)]) @ np.linalg.inv(view.K).T
        half_angle = np.arctan(np.linalg.norm(corners[:, :2], axis=1)).max() + math.radians(10.0)
        near |= directions @ view.cam2ego0[:3, 2].astype(np.float32) > math.cos(min(half_angle, math.pi / 2))
    return near


def _sample(view: View, pixels: Array) -> Array:
    """Colours in [0, 1] of an image, shrunk to average out pixels, at full-size positions. [N, 2] -> [N, 3]"""
    image = simplejpeg.decode_jpeg(
        view.jpeg, min_width=view.width // _DECODE_SHRINK, min_height=view.height // _DECODE_SHRINK, min_factor=1
    )
    height, width = image.shape[:2]
    column = np.clip((pixels[:, 0] * (width / view.width)).astype(np.int64), 0, width - 1)
    row = np.clip((pixels[:, 1] * (height / view.height)).astype(np.int64), 0, height - 1)
    colours: Array = image[row, column].astype(np.float32) / np.float32(255.0)
    return colours


def _colour(points: Array, inputs: Sequence[View]) -> tuple[Array, NDArray[np.bool_]]:
    """Median colour of each far point over the input views that see it, and whether any does. [N, 3], [N]"""
    samples = np.full((len(inputs), len(points), 3), np.nan, np.float32)
    for row, view in enumerate(inputs):
        pixels, depth = project(points, view)
        seen = np.flatnonzero(inside(pixels, depth, view, 0.0))
        samples[row, seen] = _sample(view, pixels[seen])
    known: NDArray[np.bool_] = ~np.all(np.isnan(samples[:, :, 0]), axis=0)
    colour = np.zeros((len(points), 3), np.float32)
    colour[known] = np.nanmedian(samples[:, known], axis=0)
    return colour, known


def sky_radius(clip: Clip, config: SkyConfig) -> float:
    """Radius of the background sphere, m."""
    means = clip.points.means
    length = float(np.linalg.norm(means.max(axis=0) - means.min(axis=0))) if len(means) else 0.0
    return max(config.radius_factor * length, config.min_radius)


def background(clip: Clip, config: SkyConfig, motion_order: int = 0) -> Gaussians | None:
    """Background Gaussians of a clip, on the CPU.

    A direction that only a target view sees takes the colour of the nearest direction that an input view sees.

    Args:
        clip: The clip; its input images give the colours, the poses of all its views say where to put Gaussians.
        config: Radius, density, opacity.
        motion_order: Order of the motion polynomial; sets the width of the (zero) velocities.

    Returns:
        The Gaussians (is_sky, source -1, time 0, never moving), or None if switched off.

    Raises:
        ValueError: the clip has no input view to take colours from.
    """
    if not config.enabled:
        return None
    inputs = clip.views_of("input")
    if not inputs:
        raise ValueError(f"clip {clip.record.clip_id} has no input view: no colour for the sky, use sky.enabled=False")
    radius = sky_radius(clip, config)
    centre = np.mean([view.cam2ego0[:3, 3] for view in clip.views], axis=0).astype(np.float32)
    # A hexagonal lattice of this spacing has one point per sqrt(3)/2 spacing^2.
    directions = fibonacci_sphere(round(4.0 * math.pi / (0.866 * config.spacing**2)))
    points = centre + np.float32(radius) * directions[_before_any_camera(directions, clip.views)]
    seen = np.zeros(len(points), bool)
    for view in clip.views:
        seen |= inside(*project(points, view), view, _VIEW_MARGIN)
    points = points[seen]
    colour, known = _colour(points, inputs)
    if not known.all():
        colour[~known] = colour[known][cKDTree(points[known]).query(points[~known])[1]]
    count = len(points)
    quats = torch.zeros(count, 4)
    quats[:, 0] = 1.0
    return Gaussians(
        means=torch.from_numpy(points),
        quats=quats,
        scales=torch.full((count, 3), radius * config.spacing * config.scale_factor),
        opacities=torch.full((count,), config.opacity),
        rgb=torch.from_numpy(colour),
        times=torch.zeros(count),
        velocities=torch.zeros(count, motion_order + 1, 3),
        is_sky=torch.ones(count, dtype=torch.bool),
        source=torch.full((count,), -1, dtype=torch.int64),
    )
