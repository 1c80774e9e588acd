"""Lift a clip: one Gaussian for each LiDAR point of the input frames, plus the background (paper 3.1).

Paper section 3.1 and supplement A.2. Ground truth of the clip (`flow`, `flow_class`, `bucket`, boxes, masks)
and the pixels of target views are never read here.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from flux4d.clip_errors import naming_clip
from flux4d.gaussians import Gaussians, ScaleBounds
from flux4d.lift.colours import colours
from flux4d.lift.packed import PackedScene, unpack
from flux4d.lift.points import clear_of_cameras, seen_by_views, spacing
from flux4d.lift.sky import SkyConfig, background
from store_schema.clip import Clip
from store_schema.units import POSITION, TIME

_log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True, frozen=True)
class SceneConfig:
    """How a clip becomes Gaussians."""

    crop_to_views: bool = True
    """Keep the LiDAR points that some view of the clip sees, at any of the views' poses; the others never show."""
    crop_margin: float = 0.15
    """Widen each image by this share of its sides when cropping: a moving point may enter, a splat has a size."""
    camera_clearance: float = 1.5
    """Leave out LiDAR points nearer than this to a camera of their own frame, m: returns of the ego vehicle itself,
    which fill an image when they drift before the lens. 0 keeps them."""
    max_gaussians: int | None = None
    """Keep at most this many LiDAR Gaussians, a random subset drawn from (seed, clip id); None keeps all.

    The kept ones grow with the root of the thinning, so that surfaces stay closed.
    """
    seed: int = 0
    """Seed of that subset."""
    uncoloured: Literal["nearest", "grey", "drop"] = "nearest"
    """Points that no camera saw: take the nearest coloured point's colour, stay grey, or leave them out."""
    level_cameras: bool = False
    """Bring colours that other cameras of the rig gave to the exposure of the clip's own camera, by gains read from
    the points that two cameras coloured (`flux4d.lift.camera_gains`). Only for clips of a single camera."""
    initial_opacity: float = 0.5
    """Opacity of a LiDAR Gaussian before refinement (paper: 0.5)."""
    scale_factor: float = 0.35
    """Standard deviation of a LiDAR Gaussian in mean distances to its 3 nearest neighbours.

    The paper says 1, of one sweep's neighbours; the input sweeps overlap, and on the real slice 0.35 gives the
    unrefined scene 22.2 dB where 1 gives 14.8 (front camera, 640 pixels wide, lone returns not yet cut).
    """
    max_spread: float | None = 1.0
    """Neighbour distances above this many times what is usual at a point's distance (the clip's median of distance to
    neighbours over distance to the car) are cut to it; None keeps them.

    A lone return has no neighbours to close a surface with: uncut, it hangs before the scene as a ball of up to 1 m.
    """
    min_scale: float = 1e-3
    """Smallest standard deviation of a LiDAR Gaussian, m; the network keeps to it, too."""
    max_scale: float = 1.0
    """Largest one, m (paper: 1). Background keeps to 1/4 to 4 times its start."""
    sky: SkyConfig = field(default_factory=SkyConfig)
    """The background."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.camera_clearance <= 5.0:
            raise ValueError(f"camera_clearance={self.camera_clearance}: use 0 to 5 m, for instance 1.5")
        if self.max_spread is not None and not self.max_spread > 0.0:
            raise ValueError(f"max_spread={self.max_spread}: use a positive number, for instance 1.0, or None")
        if self.max_gaussians is not None and self.max_gaussians < 1:
            raise ValueError(f"max_gaussians={self.max_gaussians}: use a positive number, or None for no limit")
        if not 0.0 <= self.crop_margin <= 2.0:
            raise ValueError(
                f"crop_margin={self.crop_margin}: use a share of the image side, 0 to 2, for instance 0.15"
            )
        if self.uncoloured not in ("nearest", "grey", "drop"):
            raise ValueError(f"uncoloured={self.uncoloured!r}: use 'nearest', 'grey' or 'drop'")
        if not 0.0 < self.initial_opacity < 1.0:
            raise ValueError(f"initial_opacity={self.initial_opacity}: use a value between 0 and 1, for instance 0.5")
        if not self.scale_factor > 0.0:
            raise ValueError(f"scale_factor={self.scale_factor}: use a positive number, for instance 0.35")
        _ = self.scale_bounds

    @property
    def scale_bounds(self) -> ScaleBounds:
        """What lifting and the network keep standard deviations to."""
        return ScaleBounds(self.min_scale, self.max_scale)


BEFORE: Mapping[str, object] = MappingProxyType({"max_spread": None, "camera_clearance": 0.0})
"""What settings meant to runs that do not name them: they are younger than those runs."""


@dataclass(frozen=True, slots=True)
class LiftCounts:
    """What happened to the LiDAR points of a clip.

    points = cropped + too_near + dropped_uncoloured + capped + kept.
    """

    points: int
    cropped: int
    """Seen by no view."""
    too_near: int
    """Within `camera_clearance` of a camera of their frame."""
    dropped_uncoloured: int
    """Without a colour, left out on request."""
    recoloured: int
    """Without a colour, kept with the nearest point's colour or grey."""
    capped: int
    """Left out by max_gaussians."""
    kept: int
    sky: int


def _subset(rows: NDArray[np.int64], clip_id: str, config: SceneConfig) -> NDArray[np.int64]:
    """At most max_gaussians of the rows, in order; the same for a (seed, clip id) on any machine."""
    if config.max_gaussians is None or len(rows) <= config.max_gaussians:
        return rows
    digest = hashlib.sha256(f"{config.seed}/{clip_id}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    _log.warning("clip %s: %d LiDAR Gaussians, max_gaussians keeps %d", clip_id, len(rows), config.max_gaussians)
    return np.sort(generator.permutation(rows)[: config.max_gaussians])


def clip_duration(clip: Clip) -> float:
    """Length of a clip, s: first to last LiDAR stamp. What `Flux4D.forward` scales time with."""
    return float(clip.sweep_times[-1] - clip.sweep_times[0])


def _pack(clip: Clip, rows: NDArray[np.int64], growth: float, config: SceneConfig) -> PackedScene:
    points = clip.points
    rgb = colours(clip, rows, from_nearest=config.uncoloured == "nearest", level_cameras=config.level_cameras)
    spreads = spacing(clip, config.max_spread, rows) * np.float32(config.scale_factor * growth)
    sky = background(clip, config.sky)
    return PackedScene(
        positions=POSITION.encode(points.means[rows]).astype(np.int32, copy=False),
        spreads=np.clip(spreads, np.float32(config.min_scale), np.float32(config.max_scale)),
        rgb=rgb,
        times=TIME.encode(points.times[rows]).astype(np.int32, copy=False),
        source=rows.astype(np.int32),
        sky_means=np.empty((0, 3), np.float32) if sky is None else sky.means,
        sky_rgb=np.empty((0, 3), np.uint16) if sky is None else sky.rgb,
        opacity=float(config.initial_opacity),
        sky_opacity=float(config.sky.opacity),
        sky_scale=0.0 if sky is None else float(sky.scale),
        duration=clip_duration(clip),
    )


def pack_clip_with_counts(clip: Clip, config: SceneConfig) -> tuple[PackedScene, LiftCounts]:
    """`pack_clip`, and what became of every LiDAR point.

    Raises:
        ValueError: as `pack_clip`.
    """
    with naming_clip(clip.record.clip_id):
        return _pack_with_counts(clip, config)


def _pack_with_counts(clip: Clip, config: SceneConfig) -> tuple[PackedScene, LiftCounts]:
    points, clip_id = clip.points, clip.record.clip_id
    keep = seen_by_views(clip, config.crop_margin) if config.crop_to_views else np.ones(len(points), bool)
    cropped = len(points) - int(keep.sum())
    clear = clear_of_cameras(clip, config.camera_clearance)
    too_near = int((keep & ~clear).sum())
    keep &= clear
    if config.uncoloured == "drop":
        keep &= points.camera >= 0
    candidates = np.flatnonzero(keep)
    rows = _subset(candidates, clip_id, config)
    growth = (len(candidates) / len(rows)) ** 0.5 if len(rows) else 1.0
    packed = _pack(clip, rows, growth, config)
    if len(packed) == 0:
        raise ValueError(
            f"none of {len(points)} LiDAR points is left and the sky is off: check the clip's views, or use "
            "crop_to_views=False"
        )
    counts = LiftCounts(
        points=len(points),
        cropped=cropped,
        too_near=too_near,
        dropped_uncoloured=len(points) - cropped - too_near - len(candidates),
        recoloured=int((points.camera[rows] < 0).sum()),
        capped=len(candidates) - len(rows),
        kept=len(rows),
        sky=len(packed.sky_means),
    )
    _log.debug("clip %s: %s", clip_id, counts)
    return packed, counts


def pack_clip(clip: Clip, config: SceneConfig) -> PackedScene:
    """The unrefined, static starting scene of a clip: LiDAR Gaussians in the clip's order, then the background.

    Positions and times are on the store's grids, where a clip from a store has them already; others are rounded.

    Args:
        clip: The clip.
        config: How to lift.

    Returns:
        What `flux4d.lift.packed.unpack` makes Gaussians of; `source` is the row in `clip.points`.

    Raises:
        ValueError: nothing is left to render, nothing gives colours, an input image is broken, or positions or times
            that no grid holds; names the clip.
    """
    return pack_clip_with_counts(clip, config)[0]


def lift_clip_with_counts(
    clip: Clip, config: SceneConfig, device: torch.device | str = "cpu"
) -> tuple[Gaussians, LiftCounts]:
    """`lift_clip`, and what became of every LiDAR point.

    Raises:
        ValueError: as `pack_clip`.
    """
    packed, counts = pack_clip_with_counts(clip, config)
    return unpack(packed, device), counts


def lift_clip(clip: Clip, config: SceneConfig, device: torch.device | str = "cpu") -> Gaussians:
    """The Gaussians of `pack_clip`.

    Args:
        clip: The clip.
        config: How to lift.
        device: Where the Gaussians go.

    Returns:
        Gaussians with zero velocities [N, 1, 3]; `source` is the row in `clip.points`.

    Raises:
        ValueError: as `pack_clip`.
    """
    return unpack(pack_clip(clip, config), device)
