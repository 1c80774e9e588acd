"""The training loop: one clip a step, its target views rendered and compared."""

from __future__ import annotations

import json
import math
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from flux4d.device import resolve_device
from flux4d.losses import LossConfig, Losses, view_loss
from flux4d.network import Flux4D
from flux4d.recorded import render_recorded
from store_schema.dataset import open_dataset
from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import TrainConfig
from training.provenance import run_record
from training.resume import require_same_settings
from training.stream import ClipStream, Sample


class TrainingStoppedError(RuntimeError):
    """Training cannot go on; the message names step and clip."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did; a line of ``metrics.jsonl``."""

    step: int
    clip: str
    loss: float
    l1: float
    ssim: float
    depth: float | None
    velocity: float | None
    psnr: float
    lr: float
    grad_norm: float
    gaussians: int
    seconds: float
    data_seconds: float
    max_rss_mb: float


class Trainer:
    """Network, optimiser and sample order of one run; `run` drives it to the end."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.device = resolve_device(config.device)
        self.dataset = open_dataset(config.store, config.version)
        self.stream = ClipStream(self.dataset, config.stream, config.scene, config.seed, self.device)
        torch.manual_seed(config.seed)
        self.network = Flux4D(config.network, self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.optimizer.lr)
        self.step = 0
        self._prepare_folder()

    def _prepare_folder(self) -> None:
        run = self.config.out
        if self.config.resume:
            require_same_settings(self.config)
            self.step = load_checkpoint(run, self.network, self.optimizer)
            _truncate_metrics(run / "metrics.jsonl", self.step)
        elif (run / "metrics.jsonl").exists():
            raise ValueError(f"{run} already holds a run: continue it with --resume or choose another --out")
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.json").write_text(json.dumps(asdict(self.config), indent=1, default=str, sort_keys=True))
        clips = sorted(record.clip_id for record in self.stream.records)
        record = run_record(self.dataset.version, clips, self.device)
        (run / "run.json").write_text(json.dumps(record, indent=1, sort_keys=True))

    def run(self, on_step: Callable[[StepReport], None] | None = None) -> None:
        """Train to the configured number of steps.

        Raises:
            TrainingStoppedError: a loss or gradient is not finite.
        """
        try:
            with (self.config.out / "metrics.jsonl").open("a") as log:
                while self.step < self.config.steps:
                    report = self.train_step()
                    log.write(json.dumps(asdict(report)) + "\n")
                    log.flush()
                    if on_step is not None:
                        on_step(report)
                    if self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps:
                        keep = self.config.keep_checkpoints
                        save_checkpoint(self.config.out, self.step, self.network, self.optimizer, keep)
        finally:
            self.stream.close()

    def train_step(self) -> StepReport:
        """One optimiser step."""
        started = time.perf_counter()
        sample = self.stream.sample(self.step)
        data_seconds = time.perf_counter() - started
        lr = self.config.optimizer.lr_at(self.step, self.config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        losses, psnr = clip_losses(self.network, sample, self.config.loss)
        total = torch.stack([loss.total for loss in losses]).mean()
        self._require_finite("loss", total, sample)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.max_grad_norm)
        self._require_finite("gradient", norm, sample)
        self.optimizer.step()
        self.step += 1
        return StepReport(
            step=self.step,
            clip=sample.clip_id,
            loss=float(total.detach()),
            **_means(losses),
            psnr=psnr,
            lr=lr,
            grad_norm=float(norm.detach()),
            gaussians=len(sample.gaussians),
            seconds=time.perf_counter() - started,
            data_seconds=data_seconds,
            max_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )

    def _require_finite(self, name: str, value: torch.Tensor, sample: Sample) -> None:
        if not bool(torch.isfinite(value)):
            raise TrainingStoppedError(
                f"{name} is {float(value)} at step {self.step}, clip {sample.clip_id}: lower --optimizer.lr "
                "or continue from the last checkpoint with --resume"
            )


def clip_losses(network: Flux4D, sample: Sample, config: LossConfig) -> tuple[list[Losses], float]:
    """Losses of every target view of a sample, and their mean PSNR in dB."""
    gaussians = network(sample.gaussians, sample.duration)
    losses, psnrs = [], []
    for target in sample.targets:
        rendering = render_recorded(gaussians, target.cameras)
        losses.append(view_loss(rendering, target, gaussians, config))
        error = (rendering.rgb[0].detach().clamp(0, 1) - target.rgb).square().mean()
        psnrs.append(-10.0 * math.log10(max(float(error), 1e-12)))
    return losses, sum(psnrs) / len(psnrs)


def _means(losses: list[Losses]) -> dict[str, Any]:
    def mean(name: str) -> float | None:
        values = [float(value.detach()) for loss in losses if (value := getattr(loss, name)) is not None]
        return sum(values) / len(values) if values else None

    return {name: mean(name) for name in ("l1", "ssim", "depth", "velocity")}


def _truncate_metrics(path: Path, step: int) -> None:
    """Drop lines of steps after the checkpoint: they are going to be run again."""
    if path.exists():
        lines = [line for line in path.read_text().splitlines() if line and json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in lines))
