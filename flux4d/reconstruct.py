"""Reconstruct one clip as a 4D scene: lift it, then refine it with a network."""

from __future__ import annotations

import torch

from flux4d.gaussians import Gaussians
from flux4d.lift.scene import SceneConfig, clip_duration, lift_clip
from flux4d.network.model import Flux4D
from store_schema.clip import Clip


@torch.no_grad()
def reconstruct(
    clip: Clip,
    network: Flux4D | None,
    scene: SceneConfig,
    *,
    static: bool = False,
    device: torch.device | str = "cpu",
) -> Gaussians:
    """Reconstruct a clip from its input frames.

    Args:
        clip: The clip; only input LiDAR, input images and camera poses are used.
        network: The trained network, on `device`, put in evaluation mode; None gives the unrefined static lift.
        scene: How to lift.
        static: Set every velocity to zero: what the scene is worth without its motion.
        device: Where to work.

    Returns:
        Gaussians that `flux4d.render.render` shows at any time and view.

    Raises:
        ValueError: nothing to render, see `flux4d.lift.scene.lift_clip`.
    """
    gaussians = lift_clip(clip, scene, device)
    if network is not None:
        was_training = network.training
        network.eval()
        try:
            gaussians = network(gaussians, clip_duration(clip))
        finally:
            network.train(was_training)
    return gaussians.static() if static else gaussians
