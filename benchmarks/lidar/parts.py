"""What `benchmarks.lidar` renders: scenes lifted from a clip in one way or another, and a turn that stands still."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from evaluation.lidar.own_car import without_own_car
from evaluation.lidar.path import SPINNING, SensorPath
from flux4d.gaussians import Gaussians
from flux4d.lidar import BEAM_EPS2D, SpinningLidar
from flux4d.lift.scene import SceneConfig, lift_clip

LIDAR_SCENE = SceneConfig(scale_factor=0.25, initial_opacity=0.9, max_scale=0.5)
"""Thin, nearly opaque Gaussians: a LiDAR asks where the surface is, not what colour shines through. Lone returns are
held small by `SceneConfig.max_spread`."""
UNCUT = replace(LIDAR_SCENE, max_spread=None)


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to render."""

    name: str
    scene: SceneConfig = LIDAR_SCENE
    spinning_only: bool = True
    moving: bool = False
    own_body: bool = False
    max_pixels: float | None = None  # largest standard deviation as the LiDAR that measured the point saw it
    eps2d: float = BEAM_EPS2D
    finer: int = 1  # columns of the image for each of the sensor's
    sweep_motion: bool = True


VARIANTS = (
    Variant("base"),
    Variant("scene.py's defaults", scene=SceneConfig()),
    Variant("true velocities", moving=True),
    Variant("true velocities, no sweep motion", moving=True, sweep_motion=False),
    Variant("no sweep motion", sweep_motion=False),
    Variant("both LiDARs", spinning_only=False),
    Variant("own car kept", scene=replace(LIDAR_SCENE, camera_clearance=0.0), own_body=True),
    Variant("3600 columns", finer=2),
    *(Variant(f"eps2d {eps2d:g}", eps2d=eps2d) for eps2d in (0.0, 0.02, 0.3)),
    *(Variant(f"max_pixels {pixels}", scene=UNCUT, max_pixels=pixels) for pixels in (None, 0.25, 0.5, 1.0)),
    *(Variant(f"scale_factor {factor:g}", scene=replace(LIDAR_SCENE, scale_factor=factor)) for factor in (0.15, 0.5)),
    *(Variant(f"opacity {opacity:g}", scene=replace(LIDAR_SCENE, initial_opacity=opacity)) for opacity in (0.5, 0.98)),
)
QUICK = ("base", "true velocities")


def scene_of(path: SensorPath, variant: Variant) -> Gaussians:
    """The LiDAR Gaussians of a clip's input frames, without sky.

    `moving` gives each Gaussian the true velocity (annotated flow over the time to the next sweep): the best a network
    could do, and ground truth. `max_pixels` is another way than `SceneConfig.max_spread` to keep a lone point, which
    has its neighbours far away, from becoming a ball in the air. `own_body` keeps what lies within `OWN_BODY` of the
    LiDAR; what is near the cameras is for the scene's `camera_clearance` to say.
    """
    clip = path.clip
    lifted = lift_clip(clip, replace(variant.scene, crop_to_views=False))
    lifted = lifted.select(~lifted.is_sky)
    if variant.spinning_only:
        lifted = lifted.select(torch.from_numpy(clip.points.sensor[lifted.source.numpy()] == SPINNING))
    if not variant.own_body:
        lifted = without_own_car(lifted, path)
    if variant.max_pixels is not None:
        away = np.linalg.norm(lifted.means.numpy() - path.origins(lifted.times.numpy()), axis=1)
        angle = variant.max_pixels * 2 * np.pi / path.rig.columns
        largest = torch.from_numpy((angle * away).astype(np.float32))[:, None]
        lifted = replace(lifted, scales=torch.minimum(lifted.scales, largest))
    if not variant.moving:
        return lifted
    rows = lifted.source.numpy()
    period = np.diff(clip.sweep_times)[np.minimum(clip.points.frame[rows], len(clip.sweep_times) - 2)]
    velocities = torch.zeros_like(lifted.velocities)
    velocities[:, 0] = torch.from_numpy((clip.points.flow[rows] / period[:, None]).astype(np.float32))
    return replace(lifted, velocities=velocities)


def standing(lidar: SpinningLidar) -> SpinningLidar:
    """The turn as if it were measured at its middle: the sensor and all that moves stand still."""
    middle, time = lidar.poses(np.array(0.5)), sum(lidar.times) / 2
    return replace(lidar, lidar2world=np.stack([middle, middle]), times=(time - 1e-6, time + 1e-6))
