"""The three methods every evaluation compares: what lifting, refinement and motion each add."""

from __future__ import annotations

from dataclasses import replace

import torch

from evaluation.methods.method import SceneMethod
from evaluation.metrics.point_set import P0, PointSet
from flux4d.lift.scene import SceneConfig
from flux4d.network.model import Flux4D
from flux4d.reconstruct import reconstruct


def scene_that_holds(points: PointSet, config: SceneConfig) -> SceneConfig:
    """Scene settings under which the scored points have Gaussians of their own.

    Scenes are usually cropped to what the views see; points that are scored everywhere would then mostly take the
    velocity of some Gaussian at the border of the crop.
    """
    return replace(config, crop_to_views=False) if points.view == "everywhere" else config


def lifted_method(scene_config: SceneConfig, device: torch.device | str, points: PointSet = P0) -> SceneMethod:
    """`lifted`, the one that needs no network."""
    scene_config = scene_that_holds(points, scene_config)
    return SceneMethod(
        "lifted",
        f"LiDAR points lifted to Gaussians: no network, no motion{_cropping(points)}",
        lambda clip: reconstruct(clip, None, scene_config, static=True, device=device),
    )


def _cropping(points: PointSet) -> str:
    return "; not cropped to the views" if points.view == "everywhere" else ""


def standard_methods(
    network: Flux4D, scene_config: SceneConfig, device: torch.device | str, points: PointSet = P0
) -> tuple[SceneMethod, SceneMethod, SceneMethod]:
    """`lifted` (no network), `static` (network, velocities zero) and `flux4d` (the method itself).

    With points that are scored everywhere, the scenes are not cropped to the views.
    """
    uncropped = _cropping(points)
    scene_config = scene_that_holds(points, scene_config)
    return (
        lifted_method(scene_config, device, points),
        SceneMethod(
            "static",
            f"Gaussians refined by the network, every velocity set to zero{uncropped}",
            lambda clip: reconstruct(clip, network, scene_config, static=True, device=device),
        ),
        SceneMethod(
            "flux4d",
            f"Gaussians refined and moved by the network's velocities{uncropped}",
            lambda clip: reconstruct(clip, network, scene_config, device=device),
        ),
    )
