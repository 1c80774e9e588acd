"""The three methods every evaluation compares: what lifting, refinement and motion each add."""

from __future__ import annotations

import torch

from evaluation.evaluate import Method
from flux4d.network import Flux4D
from flux4d.reconstruct import reconstruct
from flux4d.scene import SceneConfig


def standard_methods(
    network: Flux4D, scene_config: SceneConfig, device: torch.device | str
) -> tuple[Method, Method, Method]:
    """`lifted` (no network), `static` (network, velocities zero) and `flux4d` (the method itself)."""
    return (
        Method(
            "lifted",
            "LiDAR points lifted to Gaussians: no network, no motion",
            lambda clip: reconstruct(clip, None, scene_config, static=True, device=device),
        ),
        Method(
            "static",
            "Gaussians refined by the network, every velocity set to zero",
            lambda clip: reconstruct(clip, network, scene_config, static=True, device=device),
        ),
        Method(
            "flux4d",
            "Gaussians refined and moved by the network's velocities",
            lambda clip: reconstruct(clip, network, scene_config, device=device),
        ),
    )
