"""One optimiser step's gradients: losses of each clip, accumulated and summed over the ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from flux4d.network.model import Flux4D
from flux4d.supervision.losses.total import TERMS, LossConfig, Losses, view_loss
from flux4d.supervision.recorded import render_recorded
from training.data.sample import Sample
from training.optimisation.profiling import StepProfiler

Precision = Literal["fp32", "bf16", "fp16"]
_SUMS = ("loss", "psnr", "gaussians", "clips", "broken", "stop")
"""First columns of the vector that travels with the gradients; each loss term and the clips that have it come after."""


@dataclass(frozen=True, slots=True)
class StepMeans:
    """What a step's clips gave, over all ranks."""

    loss: float
    terms: Mapping[str, float | None]
    """Unweighted loss terms by name; None where no clip has it."""
    psnr: float
    gaussians: float
    clips: int
    broken: int
    """Clips whose loss is not finite."""
    stop: bool
    """Was any rank asked to stop?"""


class Sums:
    """Adds up a rank's clips on the device: nothing is read back before all have been counted."""

    CLIPS = _SUMS.index("clips")
    """Place of the number of clips in the vector."""

    def __init__(self, device: torch.device) -> None:
        self._values, self._terms, self._having = (
            {name: torch.zeros((), dtype=torch.float32, device=device) for name in names}
            for names in (_SUMS, TERMS, TERMS)
        )

    def add(self, losses: Sequence[Losses], psnr: Tensor, gaussians: int) -> None:
        """Count a clip; its terms are means over its views."""
        total = mean_total(losses).detach()
        self._values["loss"] += total
        for name in TERMS:
            found = [value for loss in losses if (value := loss.terms[name]) is not None]
            if found:
                self._terms[name] += torch.stack(found).detach().mean()
                self._having[name] += 1
        self._values["psnr"] += psnr
        self._values["gaussians"] += gaussians
        self._values["clips"] += 1
        self._values["broken"] += ~torch.isfinite(total)

    def add_broken(self) -> None:
        """Count a clip that gave no loss because what the network made of it cannot be rendered."""
        self._values["clips"] += 1
        self._values["broken"] += 1

    def vector(self, stop: bool) -> Tensor:
        """[6 + 2 * terms] to be summed over the ranks."""
        if stop:
            self._values["stop"] += 1
        return torch.stack([*self._values.values(), *self._terms.values(), *self._having.values()])


def means(summed: Sequence[float]) -> StepMeans:
    """Means of the sums over all ranks; NaN without a clip."""
    values = dict(zip(_SUMS, summed, strict=False))
    terms, having = summed[len(_SUMS) : len(_SUMS) + len(TERMS)], summed[len(_SUMS) + len(TERMS) :]
    clips = values["clips"] or math.nan
    return StepMeans(
        loss=values["loss"] / clips,
        terms={name: total / count if count else None for name, total, count in zip(TERMS, terms, having, strict=True)},
        psnr=values["psnr"] / clips,
        gaussians=values["gaussians"] / max(values["clips"], 1.0),
        clips=round(values["clips"]),
        broken=round(values["broken"]),
        stop=values["stop"] > 0,
    )


def mean_total(losses: Sequence[Losses]) -> Tensor:
    """Loss [] of a clip: the mean of its views' weighted sums."""
    return torch.stack([loss.total for loss in losses]).mean()


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Mixed precision of the network's forward pass."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def clip_losses(
    network: Flux4D,
    sample: Sample,
    config: LossConfig,
    *,
    precision: Precision = "fp32",
    profiler: StepProfiler | None = None,
) -> tuple[list[Losses], Tensor, Tensor]:
    """Losses of every target view of a sample, their mean PSNR in dB [] and the velocities [N, L + 1, 3]."""
    phase = profiler.phase if profiler is not None else _no_phase
    with phase("network"), autocast(sample.gaussians.means.device, precision):
        gaussians = network(sample.gaussians, sample.duration)
    losses, psnrs = [], []
    for target in sample.targets:
        with phase("render"):
            rendering = render_recorded(gaussians, target.cameras)
        with phase("loss"):
            losses.append(view_loss(rendering, target, gaussians, config))
            error = (rendering.rgb[0].detach().clamp(0, 1) - target.rgb).square().mean()
            psnrs.append(-10.0 / math.log(10.0) * error.clamp_min(1e-12).log())
    return losses, torch.stack(psnrs).mean(), gaussians.velocities.detach()


def _no_phase(_: str) -> AbstractContextManager[object]:
    return nullcontext()
