"""Refuse settings that this machine or this number of processes cannot follow, before anything is done."""

from __future__ import annotations

import importlib.util

import torch

from training.config import TrainConfig
from training.distributed import Ranks


def require_possible(config: TrainConfig, ranks: Ranks, device: torch.device) -> None:
    """Check settings against processes, device and packages.

    Raises:
        ValueError: with what to change.
    """
    _require_shareable(config, ranks)
    _require_precision(config, device)
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ValueError("tensorboard is not installed: pip install tensorboard, or give --no-tensorboard")
    if config.evaluation.every > config.steps:
        raise ValueError(
            f"--evaluation.every {config.evaluation.every} is never reached in {config.steps} steps: lower it, or "
            "leave it out"
        )


def _require_shareable(config: TrainConfig, ranks: Ranks) -> None:
    clips, size = config.clips_per_step, ranks.world_size
    if clips % size:
        possible = [count for count in range(1, clips + 1) if clips % count == 0]
        raise ValueError(
            f"clips_per_step={clips} cannot be shared by {size} processes: start {possible} processes (the numbers "
            f"stay the same), or a new run with --clips-per-step {-(-clips // size) * size}, another training: "
            "its learning rate is yours to choose"
        )
    if config.network.norm == "batch" and size > 1:
        raise ValueError(
            "network.norm batch keeps running statistics that processes do not share: use layer or clip, or one process"
        )


def _require_precision(config: TrainConfig, device: torch.device) -> None:
    if config.precision == "fp16" and device.type == "cpu":
        raise ValueError("precision fp16 needs CUDA: use fp32, or bf16 with --network.conv-backend torch")
    if config.precision == "bf16" and config.network.conv_backend != "torch":
        # Under autocast of any kind spconv computes in fp16 on CUDA, where small gradients vanish without a loss scale.
        raise ValueError(
            "spconv knows fp32 and, on CUDA, fp16: use --precision fp32 or fp16, or --network.conv-backend torch"
        )
