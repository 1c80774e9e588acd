"""A short run of the trainer on one clip, as `gpu_speed` times it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.gpu.subject import Check
from flux4d.network.model import Flux4D
from store_schema.clip import Clip
from training.config import CheckpointConfig, presets
from training.loop import Trainer
from training.monitor.callbacks import Silent
from training.optimisation.step import Precision
from training.optimisation.step_report import StepReport


class _Reports(Silent):
    def __init__(self) -> None:
        self.steps: list[StepReport] = []

    def step(self, report: StepReport, speeds: torch.Tensor | None) -> None:
        self.steps.append(report)


def short_training(
    check: Check, store: Path, out: Path, clip: Clip, width: int, precision: Precision
) -> tuple[Flux4D, list[StepReport]]:
    """Train on `clip` alone; the network and what every step gave."""
    config = presets()["cpu"][1]
    steps, reports = check.size.training_steps, _Reports()
    trainer = Trainer(
        replace(
            config,
            store=str(store),
            out=out,
            steps=steps,
            checkpoint=CheckpointConfig(every=steps),
            device=check.device.type,
            scene=check.scene,
            precision=precision,
            tensorboard=False,
            overfit=clip.record.clip_id,
            stream=replace(config.stream, width=width, views_per_step=1),
        ),
        callback=reports,
    )
    trainer.run()
    return trainer.network, reports.steps
