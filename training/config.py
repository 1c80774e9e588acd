"""What a training run is made of, and the presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from flux4d.losses import LossConfig
from flux4d.network import NetworkConfig, small
from flux4d.scene import SceneConfig
from flux4d.shutter import Shutter


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """Adam with linear warm-up and exponential decay."""

    lr: float = 1e-3
    """Learning rate after warm-up."""
    warmup_steps: int = 1000
    """Steps over which the learning rate rises from 0."""
    final_lr_fraction: float = 0.1
    """Learning rate at the last step, as a share of `lr`."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, got {self.lr}; the presets use 1e-3")
        if not 0 < self.final_lr_fraction <= 1:
            raise ValueError(f"final_lr_fraction must be in (0, 1], got {self.final_lr_fraction}")

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of `step` (0-based) in a run of `steps`."""
        warmup = min(1.0, (step + 1) / max(1, self.warmup_steps))
        decay: float = self.final_lr_fraction ** (step / max(1, steps - 1))
        return self.lr * warmup * decay


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """Which samples, at which size."""

    settings: tuple[Literal["train_interpolation", "train_future", "evaluation"], ...] = (
        "train_interpolation",
        "train_future",
    )
    """Clip settings to train on."""
    split: Literal["train", "test"] = "train"
    """Split to train on; test is only for overfitting one clip on purpose."""
    clips: tuple[str, ...] | None = None
    """Only these clips (ids); None takes all of the split and settings."""
    width: int | None = None
    """Rendered image width in pixels; None is the stored size."""
    shutter: Shutter = field(default_factory=Shutter)
    """When the images' rows were exposed; by default all at the view's time. With a shutter, colours are learned from a
    rendering through it and LiDAR depth from a second one at the view's time, so that rendering takes twice as long."""
    views_per_step: int = 2
    """Target views rendered per step; the network runs once for all of them."""
    cached_clips: int = 4
    """Decoded clips kept in memory."""

    def __post_init__(self) -> None:
        if self.views_per_step < 1 or self.cached_clips < 1:
            raise ValueError("views_per_step and cached_clips must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A training run."""

    store: Path = Path("store")
    """Store made by flux4d-build."""
    version: str | None = None
    """Dataset version, a hash or its beginning; None is the newest."""
    out: Path = Path("runs/latest")
    """Run folder."""
    steps: int = 30_000
    """Optimiser steps (paper: 30,000)."""
    seed: int = 0
    """Seed of the weights and of the sample order."""
    device: str = "auto"
    """auto takes CUDA when there is one."""
    resume: bool = False
    """Continue the run in `out` from its last checkpoint."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """Checkpoints kept."""
    scene: SceneConfig = field(default_factory=SceneConfig)
    """From clip to initial Gaussians."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Sparse U-Net."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Loss weights."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser."""
    stream: StreamConfig = field(default_factory=StreamConfig)
    """Samples."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.checkpoint_every < 1 or self.keep_checkpoints < 1:
            raise ValueError("checkpoint_every and keep_checkpoints must be at least 1")


def presets() -> dict[str, tuple[str, TrainConfig]]:
    """Preset name to (description, config)."""
    paper = TrainConfig()
    fast = replace(paper.optimizer, lr=5e-3, warmup_steps=20)
    demo = replace(
        paper,
        steps=240,
        checkpoint_every=120,
        network=small(),
        optimizer=fast,
        stream=replace(paper.stream, settings=("train_future",), views_per_step=2, cached_clips=16),
    )
    real = replace(
        demo,
        steps=300,
        stream=replace(demo.stream, width=960, views_per_step=1, settings=("evaluation",), split="test"),
    )
    return {
        "paper": ("The paper's schedule at full size, for GPUs.", paper),
        "demo": ("Minutes on two CPU cores, for generated logs.", demo),
        "real": ("One real log on a CPU at half resolution.", real),
    }
