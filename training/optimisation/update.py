"""Update the weights from accumulated gradients: reduce over ranks, clip, step, schedule."""

from __future__ import annotations

import math

import torch

from flux4d.network.model import Flux4D
from training.checkpoint.checkpoint import Learner
from training.checkpoint.ema import Ema
from training.config import TrainConfig
from training.distributed import Ranks
from training.optimisation.profiling import StepProfiler
from training.optimisation.step import StepMeans, Sums, means

_MOST_OVERFLOWS = 100
"""fp16 steps in a row whose gradients overflow, after which the loss scale is not the reason."""


def make_learner(config: TrainConfig, device: torch.device) -> Learner:
    """Network, optimiser and what goes with them, as at the first step."""
    network = Flux4D(config.network, device, config.scene.scale_bounds)
    scaler = torch.amp.GradScaler(device.type) if config.precision == "fp16" else None
    if scaler is not None:
        # It makes its scale at the first use, which must not be a step whose clips were all left out.
        scaler.scale(torch.zeros((), device=device))
    return Learner(
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=config.optimizer.lr),
        ema=None if config.ema_decay is None else Ema(network, config.ema_decay),
        scaler=scaler,
    )


class Updates:
    """The optimiser's part of every step of a run, on one of its processes."""

    def __init__(self, config: TrainConfig, learner: Learner, ranks: Ranks, profiler: StepProfiler) -> None:
        self._config, self._learner, self._ranks, self._profiler = config, learner, ranks, profiler
        self._overflows = 0

    def begin(self, step: int) -> float:
        """Clear the gradients; returns the learning rate of the step (0-based), which is set."""
        lr = self._config.optimizer.lr_at(step, self._config.steps)
        for group in self._learner.optimizer.param_groups:
            group["lr"] = lr
        self._learner.network.train()
        self._learner.optimizer.zero_grad(set_to_none=True)
        return lr

    def add(self, total: torch.Tensor) -> None:
        """Add the gradients of a clip's loss []."""
        scaler, share = self._learner.scaler, total / self._config.clips_per_step
        with self._profiler.phase("backward"):
            (share if scaler is None else scaler.scale(share)).backward()

    def reduce(self, sums: Sums, stop: bool) -> tuple[StepMeans, float]:
        """Means over all ranks, and the gradient's norm before it was clipped."""
        learner, parameters = self._learner, list(self._learner.network.parameters())
        for parameter in parameters:
            if parameter.grad is None:  # every clip of this process was left out
                parameter.grad = torch.zeros_like(parameter)
        with self._profiler.phase("reduce"):
            vector = self._ranks.sum_gradients(parameters, sums.vector(stop))
            if self._config.stream.on_corrupt == "skip":
                # The mean over the clips that are left, not a step that is smaller for those that are not.
                weight = self._config.clips_per_step / vector[Sums.CLIPS].clamp_min(1.0)
                torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], weight)
            if learner.scaler is not None:
                learner.scaler.unscale_(learner.optimizer)
            norm = torch.nn.utils.clip_grad_norm_(parameters, self._config.optimizer.max_grad_norm)
            *values, norm_value = torch.cat([vector, norm[None]]).tolist()
        return means(values), norm_value

    def is_broken(self, found: StepMeans, norm: float) -> bool:
        """Is a loss or gradient not finite, other than by an overflow that lowers the loss scale?"""
        overflow = self._learner.scaler is not None and found.broken == 0 and not math.isfinite(norm)
        self._overflows = self._overflows + 1 if overflow else 0
        return found.broken > 0 or (not math.isfinite(norm) and self._overflows in (0, _MOST_OVERFLOWS))

    def apply(self, step: int, norm: float) -> None:
        """Change the weights after the step (0-based)."""
        learner: Learner = self._learner
        with self._profiler.phase("optimizer"):
            if learner.scaler is None:
                learner.optimizer.step()
            else:
                learner.scaler.step(learner.optimizer)
                learner.scaler.update()
            if learner.ema is not None and math.isfinite(norm):
                learner.ema.update(learner.network, step)
