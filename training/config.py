"""Configuration of a training run, and the presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from flux4d.cameras.shutter import Shutter
from flux4d.lift.scene import SceneConfig
from flux4d.network.model import NetworkConfig, small
from flux4d.supervision.losses.total import LossConfig
from store_schema.command_line.options import RetryMinutes, StoreArgument, lasting
from store_schema.files.retry import RetryPolicy


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
        if self.warmup_steps < 0 or not self.max_grad_norm > 0:
            raise ValueError("warmup_steps must be at least 0 and max_grad_norm above 0")

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of `step` (0-based) in a run of `steps`."""
        warmup = min(1.0, (step + 1) / max(1, self.warmup_steps))
        decay: float = self.final_lr_fraction ** (step / max(1, steps - 1))
        return self.lr * warmup * decay


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """Which samples, at which size."""

    settings: tuple[Literal["train_interpolation", "train_future"], ...] = (
        "train_interpolation",
        "train_future",
    )
    """Clip settings to train on."""
    clips: tuple[str, ...] | None = None
    """Only these clips (ids), of whatever split and setting; None takes all of the train split and the settings."""
    width: int | None = None
    """Rendered image width in pixels; None is the stored size."""
    shutter: Shutter = field(default_factory=Shutter)
    """When the images' rows were exposed; by default all at the view's time. With a shutter, colours are learned from a
    rendering through it and LiDAR depth from a second one at the view's time, so that rendering takes twice as long."""
    views_per_step: int = 2
    """Target views rendered of each clip; the network runs once for all of them."""
    on_corrupt: Literal["error", "skip"] = "error"
    """A clip whose stored bytes are damaged stops the training (error), or is left out of its step and counted."""

    def __post_init__(self) -> None:
        if self.views_per_step < 1:
            raise ValueError("views_per_step must be at least 1")
        if self.width is not None and self.width < 16:
            raise ValueError(f"width={self.width}: use at least 16 pixels, or leave it out for the stored size")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderConfig:
    """How samples are brought to the device. Nothing here changes what is trained on, or in which order."""

    workers: int = 2
    """Threads that read, check and decode."""
    prefetch: int = 4
    """Samples made ahead of the one in use; no more threads than that have work."""
    memory_clips: int = 4
    """Lifted clips kept in memory."""
    cache: Path | None = None
    """Folder on a local disk for lifted clips and, of a remote store, for what was downloaded. Processes and runs may
    share it. None lifts (and downloads) every clip in every epoch again."""
    cache_gb: float = 50.0
    """Most it may hold, 10^9 bytes; what was not used for longest goes first."""
    retry_minutes: Annotated[RetryMinutes, tyro.conf.arg(aliases=["--retry-minutes"])] = 5.0

    def __post_init__(self) -> None:
        if self.workers < 1 or self.prefetch < 1 or self.memory_clips < 1:
            raise ValueError("workers, prefetch and memory_clips must be at least 1")
        _ = self.retry
        if not self.cache_gb > 0:
            raise ValueError(f"cache_gb={self.cache_gb}: use a positive number")
        if self.cache is None and self.cache_gb != 50.0:
            raise ValueError("cache_gb has no effect without --loader.cache FOLDER")

    @property
    def retry(self) -> RetryPolicy:
        """How patiently the store is read."""
        return lasting(self.retry_minutes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    """When the state of the run is written."""

    every: int = 500
    """Steps between checkpoints."""
    keep: int = 2
    """Checkpoints kept; the best of early evaluations is kept besides."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.keep < 1:
            raise ValueError("checkpoint every and keep must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Early evaluation: the evaluator's metrics while the training runs."""

    every: int = 0
    """Steps between early evaluations; 0 is never."""
    clips: tuple[str, ...] | None = None
    """Clips to score (ids); None takes the first `max_clips` evaluation clips of the test split."""
    max_clips: int = 4
    """At most this many clips, where they are not named."""
    width: int | None = None
    """Width to score at, pixels; None is that of the training."""
    pictures: int = 2
    """Views a clip drawn to the run folder and the board."""

    def __post_init__(self) -> None:
        if self.every < 0 or self.max_clips < 1 or self.pictures < 0:
            raise ValueError("evaluation: every and pictures must be at least 0, max_clips at least 1")
        if self.clips is not None and (self.max_clips != 4 or len(set(self.clips)) < len(self.clips)):
            raise ValueError("evaluation.clips: name each clip once, and leave out evaluation.max_clips")
        if self.every == 0 and replace(self, every=1) != EvaluationConfig(every=1):
            raise ValueError("evaluation options have no effect without --evaluation.every: say every how many steps")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A training run. The same command continues it after any stop when it says --resume."""

    store: StoreArgument = "store"
    version: str | None = None
    """Dataset version, a hash or its beginning; None is the newest."""
    out: Path = Path("runs/latest")
    """Run folder."""
    steps: int = 30_000
    """Optimiser steps (paper: 30,000)."""
    clips_per_step: int = 1
    """Clips an optimiser step learns from, over all processes: each process accumulates the gradients of its share."""
    seed: int = 0
    """Seed of the sample order."""
    device: str = "auto"
    """auto takes CUDA when there is one; with torchrun each process takes the card of its local rank."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the network; lifting, rendering and losses are always in fp32. fp16 (CUDA) scales the loss; bf16 needs
    network.conv_backend torch."""
    ema_decay: float | None = None
    """Decay a step of the running mean of the weights, which is then what is evaluated; None keeps none."""
    resume: bool = False
    """Continue the run in `out` from its last checkpoint; without one, begin."""
    init_from: Path | None = None
    """Begin with these weights: a run folder or a weights file of the same network."""
    overfit: str | None = None
    """Train on this one clip (id), of whatever split and setting."""
    fixed_target_frame: int | None = None
    """Render this frame of each clip (clip-relative) in every step, with --overfit to debug one image."""
    profile: bool = False
    """Trace a few steps to the run folder and print where their time goes."""
    tensorboard: bool = True
    """Write scalars, images and histograms for TensorBoard."""
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
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    """How they are brought to the device."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Checkpoints."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Early evaluation."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.clips_per_step < 1:
            raise ValueError(f"steps={self.steps}, clips_per_step={self.clips_per_step}: both must be at least 1")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay={self.ema_decay}: use a value between 0 and 1, for instance 0.999")
        if self.overfit is not None and self.stream.clips is not None:
            raise ValueError("--overfit CLIP and --stream.clips both name the clips: leave one out")


def presets() -> dict[str, tuple[str, TrainConfig]]:
    """Preset name to (description, config)."""
    paper = TrainConfig(clips_per_step=4, ema_decay=None, loader=LoaderConfig(workers=4, prefetch=8))
    medium = replace(
        paper,
        steps=10_000,
        clips_per_step=1,
        precision="fp32",
        stream=replace(paper.stream, width=960),
        optimizer=replace(paper.optimizer, lr=2e-3, warmup_steps=300),
    )
    cpu = replace(
        TrainConfig(),
        steps=240,
        network=small(),
        optimizer=OptimizerConfig(lr=5e-3, warmup_steps=20),
        checkpoint=CheckpointConfig(every=120),
        stream=StreamConfig(settings=("train_future",)),
        loader=LoaderConfig(workers=1, prefetch=2, memory_clips=16),
    )
    return {
        "paper": ("The paper's schedule at full size: 30,000 steps of 4 clips; 1, 2 or 4 GPUs.", paper),
        "small": ("Half resolution, one clip a step, 10,000 steps: one GPU.", medium),
        "cpu": ("Minutes on two CPU cores, for generated logs and trials.", cpu),
    }
