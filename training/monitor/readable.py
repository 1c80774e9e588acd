"""What is shown of a training's steps and early evaluations, in words: means, units, headings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from evaluation.metrics.table import quantities
from flux4d.supervision.losses.total import TERMS
from training.optimisation.step_report import StepReport

MISSING = "n/a"
HEADLINE = {each.name: each for each in quantities("screen")}
"""Metrics of an early evaluation (`evaluation.scoring.validation`) that are shown, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownMeans:
    """Means over some steps. What no step has is None."""

    loss: float | None
    terms: Mapping[str, float | None]
    """Loss terms by name."""
    psnr: float | None
    """dB."""
    seconds: float | None
    """Of a step."""
    samples_per_second: float | None
    """Samples of all the steps over their time."""
    data_wait: float | None
    """Waiting for samples, share of the steps' time."""


def means(reports: Sequence[StepReport]) -> ShownMeans:
    """Means over steps; rates and shares are ratios of sums, so that a slow step counts by its time."""
    seconds = sum(report.seconds for report in reports)
    samples = sum(report.samples_per_second * report.seconds for report in reports)
    waited = sum(report.data_seconds for report in reports)
    return ShownMeans(
        loss=mean(report.loss for report in reports),
        terms={name: mean(report.terms[name] for report in reports) for name in TERMS},
        psnr=mean(report.psnr for report in reports),
        seconds=mean(report.seconds for report in reports),
        samples_per_second=samples / seconds if seconds else None,
        data_wait=waited / seconds if seconds else None,
    )


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that there are; None when there is none."""
    present = [value for value in values if value is not None and math.isfinite(value)]
    return sum(present) / len(present) if present else None


def shown(value: float | None, form: str = ".4g", unit: str = "") -> str:
    """A number for a reader; None is n/a."""
    return MISSING if value is None else f"{value:{form}}{unit}"


def duration(seconds: float | None) -> str:
    """h:mm:ss; None is n/a."""
    return MISSING if seconds is None else str(timedelta(seconds=round(seconds)))


def metrics_text(metrics: Mapping[str, float | None]) -> str:
    """The headline metrics of an early evaluation in one line; those that were not measured are left out."""
    parts = [
        f"{each.label} {with_unit(metrics[name], each.metric.digits, each.metric.unit)}"
        for name, each in HEADLINE.items()
        if name in metrics
    ]
    return "  ".join(parts) or MISSING


def with_unit(value: float | None, digits: int, unit: str) -> str:
    """A number with so many decimals and its unit; None is n/a."""
    return shown(value, f".{digits}f", f" {unit}" if unit else "")


def terms_text(terms: Mapping[str, float | None]) -> str:
    """The loss terms in one line."""
    parts = []
    for name, value in terms.items():
        term = TERMS[name]
        parts.append(f"{term.label} {with_unit(value, term.digits, term.unit)}")
    return "   ".join(parts)


def term_cells(terms: Mapping[str, float | None]) -> list[tuple[str, int, str]]:
    """Heading, width and text of the columns of a line."""
    cells = []
    for name, value in terms.items():
        head, digits = TERMS[name].column_head, TERMS[name].digits
        cells.append((head, max(len(head), digits + 2) + 2, shown(value, f".{digits}f")))
    return cells
