"""The report of one optimiser step: a line of ``metrics.jsonl``, a row on the screen, a point in TensorBoard."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from training.data.sampler import SamplePlace
from training.distributed import Ranks
from training.optimisation.step import StepMeans


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One optimiser step over all ranks.

    Losses, PSNR and counts are means over the step's clips, NaN when all were left out; times and memory are those of
    the slowest and largest rank.
    """

    step: int
    """Steps done, this one included."""
    epoch: int
    """Epoch of the step's first sample."""
    clips: tuple[str, ...]
    """Clips of the step over all ranks, in the global order."""
    loss: float
    terms: Mapping[str, float | None]
    """Unweighted terms of the loss (`flux4d.supervision.losses.total.TERMS`); None when no view of the step has it."""
    psnr: float
    """dB, mean over the views rendered."""
    lr: float
    grad_norm: float
    """Norm of the gradient before it is clipped."""
    gaussians: int
    """Gaussians a clip, mean."""
    left_out: int
    """Clips of the step left out because their stored bytes are damaged (`StreamConfig.on_corrupt`)."""
    seconds: float
    """Wall time of the step."""
    data_seconds: float
    """Of it, waiting for samples."""
    samples_per_second: float
    """Clips of all ranks over wall time."""
    max_rss_mb: float
    """Most resident memory of the process so far, 10^6 bytes."""
    gpu_mb: float | None
    """Most GPU memory so far, 10^6 bytes; None on a CPU."""

    def row(self) -> dict[str, Any]:
        """As a row of ``metrics.jsonl``: the loss terms are columns like all others."""
        row: dict[str, Any] = {}
        for field in fields(self):
            columns = self.terms if field.name == "terms" else {field.name: getattr(self, field.name)}
            assert not row.keys() & columns.keys(), f"a loss term has the name of a column: {sorted(columns)}"
            row |= columns
        return row


def reported(
    step: int,
    places: Sequence[SamplePlace],
    found: StepMeans,
    lr: float,
    norm: float,
    seconds: float,
    waited: float,
    ranks: Ranks,
    device: torch.device,
) -> StepReport:
    """The report of a step, the same on every rank."""
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    gpu = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else 0.0
    seconds, waited, rss, gpu = ranks.largest([seconds, waited, rss, gpu], device)
    return StepReport(
        step=step,
        epoch=places[0].epoch,
        clips=tuple(place.clip_id for place in places),
        loss=found.loss,
        terms=found.terms,
        psnr=found.psnr,
        lr=lr,
        grad_norm=norm,
        gaussians=round(found.gaussians),
        left_out=len(places) - found.clips,
        seconds=seconds,
        data_seconds=waited,
        samples_per_second=found.clips / seconds,
        max_rss_mb=rss,
        gpu_mb=gpu if device.type == "cuda" else None,
    )
