"""Background Gaussians for what cameras see and LiDAR does not measure: sky, far buildings, glass.

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
from numpy.typing import NDArray

from flux4d.cameras.decode import decode_image
from flux4d.cameras.frustum import inside, mark_seen, project
from flux4d.cameras.posed import pinhole
from flux4d.lift.nearest import nearest
from flux4d.lift.packed_header import FULL_COLOUR
from store_schema.clip import Clip, View

Array = NDArray[np.float32]
_VIEW_MARGIN = 0.05
_DECODE_SHRINK = 4
_UNSEEN = 256  # sorts behind every 8-bit colour


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


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """S far Gaussians."""

    means: Array  # [S, 3] m, ego0
    rgb: NDArray[np.uint16]  # [S, 3] 65535 is 1
    scale: float  # m, standard deviation of all


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
        corners = (
            np.array([[u, v, 1.0] for u in (0, view.width) for v in (0, view.height)]) @ np.linalg.inv(pinhole(view)).T
        )
        half_angle = np.arctan(np.linalg.norm(corners[:, :2], axis=1)).max() + math.radians(10.0)
        near |= directions @ view.cam2ego0[:3, 2].astype(np.float32) > math.cos(min(half_angle, math.pi / 2))
    return near


def _sample(view: View, pixels: Array) -> NDArray[np.uint8]:
    """Colours of an image, shrunk to average out pixels, at full-size positions. [N, 2] -> [N, 3]"""
    least = (view.width // _DECODE_SHRINK, view.height // _DECODE_SHRINK)
    try:
        image = decode_image(view.image, view.image_format, least)
    except ValueError as error:
        raise ValueError(f"frame {view.frame}, {view.name}: cannot decode the view ({error})") from error
    height, width = image.shape[:2]
    column = np.clip((pixels[:, 0] * (width / view.width)).astype(np.int64), 0, width - 1)
    row = np.clip((pixels[:, 1] * (height / view.height)).astype(np.int64), 0, height - 1)
    colours: NDArray[np.uint8] = image[row, column]
    return colours


def _colour(points: Array, inputs: Sequence[View]) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Median colour (65535 is 1) of each far point over the input views that see it, and whether any does.

    [N, 3], [N]
    """
    samples = np.full((len(inputs), len(points), 3), _UNSEEN, np.uint16)
    count = np.zeros(len(points), np.int64)
    for row, view in enumerate(inputs):
        pixels, depth = project(points, view)
        seen = np.flatnonzero(inside(pixels, depth, view, 0.0))
        samples[row, seen] = _sample(view, pixels[seen])
        count[seen] += 1
    samples.sort(axis=0)
    known = count > 0
    middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2])  # of an even number, the mean of two
    middle = np.minimum(middle, len(inputs) - 1)[:, :, None]
    low, high = np.take_along_axis(samples, middle, axis=0).astype(np.uint32)
    colour: NDArray[np.uint16] = ((low + high) * np.uint32(FULL_COLOUR // 255) // 2).astype(np.uint16)
    return colour, known


def sky_radius(clip: Clip, config: SkyConfig) -> float:
    """Radius of the background sphere, m."""
    columns = clip.points.means.T  # one at a time: numpy is slow along the long axis of [N, 3]
    length = float(np.linalg.norm([column.max() - column.min() for column in columns])) if columns.size else 0.0
    return max(config.radius_factor * length, config.min_radius)


def background(clip: Clip, config: SkyConfig) -> Background | None:
    """Background Gaussians of a clip.

    A direction that only a target view sees takes the colour of the nearest direction that an input view sees.

    Args:
        clip: The clip; its input images give the colours, the poses of all its views say where to put Gaussians.
        config: Radius and density.

    Returns:
        Where they are, or None if switched off.

    Raises:
        ValueError: the clip has no input view to take colours from, or one is broken.
    """
    if not config.enabled:
        return None
    inputs = clip.views_of("input")
    if not inputs:
        raise ValueError("no input view: no colour for the sky, use sky.enabled=False")
    radius = sky_radius(clip, config)
    centre = np.mean([view.cam2ego0[:3, 3] for view in clip.views], axis=0).astype(np.float32)
    # A hexagonal lattice of this spacing has one point per sqrt(3)/2 spacing^2.
    directions = fibonacci_sphere(round(4.0 * math.pi / (0.866 * config.spacing**2)))
    points = centre + np.float32(radius) * directions[_before_any_camera(directions, clip.views)]
    seen = np.zeros(len(points), bool)
    mark_seen(points, clip.views, _VIEW_MARGIN, seen)
    points = points[seen]
    colour, known = _colour(points, inputs)
    if len(points) and not known.any():
        raise ValueError(
            f"no input view sees any of {len(points)} sky directions: use a smaller sky.spacing, or sky.enabled=False"
        )
    if not known.all():
        colour[~known] = colour[known][nearest(points[~known], points[known])]
    return Background(means=points, rgb=colour, scale=radius * config.spacing * config.scale_factor)
