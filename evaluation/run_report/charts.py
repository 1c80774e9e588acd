"""Which curves of a training run are drawn, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evaluation.metrics.metric import Metric, Quantity
from evaluation.metrics.table import BY_KEY, METRICS
from evaluation.run_folder.rows import Row, usable_number
from evaluation.run_report.log import curve_of
from flux4d.supervision.losses.total import TERMS
from store_schema.pages.line_chart import Curve, Line, chart
from store_schema.pages.values import share_text


@dataclass(frozen=True, slots=True)
class Plot:
    """One chart: columns of ``metrics.jsonl`` or names of early metrics, each with its label."""

    title: str
    columns: tuple[tuple[str, str], ...]
    unit: str = ""
    log: bool = False
    exact: bool = False
    """No running mean: the values are smooth already, or steps in them count."""
    scale: float = 1.0
    """Recorded values are drawn times this."""


LEARNING = (
    Plot("Loss", (("loss", ""),)),
    Plot(f"{BY_KEY['psnr'].symbol} of training views", (("psnr", ""),), BY_KEY["psnr"].unit),
    *(Plot(term.title, ((name, ""),), term.unit) for name, term in TERMS.items()),
    Plot("Gradient norm before clipping", (("grad_norm", ""),), log=True),
    Plot("Learning rate", (("lr", ""),), exact=True),
)
COST = (
    Plot("Seconds a step", (("seconds", "whole step"), ("data_seconds", "waiting for data")), "s"),
    Plot("Peak memory so far", (("max_rss_mb", "process"), ("gpu_mb", "GPU")), "GB", exact=True, scale=1e-3),
    Plot("Gaussians a clip", (("gaussians", ""),)),
)


def _early_plot(metric: Metric) -> Plot:
    if metric.kind == "flow":
        return Plot(f"Scene flow, {metric.symbol}", ((Quantity(metric, "flow").name, ""),), metric.unit)
    shown = [Quantity(metric, spot) for spot in metric.places["charts"]]
    columns = tuple((each.name, f"{each.role}{', moving' if each.moving else ''}") for each in shown)
    return Plot(f"{metric.symbol} of held-out views", columns, metric.unit)


EARLY = tuple(_early_plot(metric) for metric in METRICS if "charts" in metric.places)
"""One chart for each metric that is drawn."""


def run_charts(rows: Sequence[Row], plots: Sequence[Plot]) -> tuple[list[Markup], list[str]]:
    """Charts of the training log, and the columns that have nothing to draw, in words."""
    charts, missing = [], []
    for plot in plots:
        curves = [(_scaled(curve_of(rows, name), plot.scale), label) for name, label in plot.columns]
        missing += [_why(rows, curve.name) for curve, _ in curves if not curve.steps]
        lines = [
            Line(curve, _in_words(rows, curve.name, label), "exact" if plot.exact else "mean")
            for curve, label in curves
            if curve.steps
        ]
        if lines:
            charts.append(chart(plot.title, lines, plot.unit, log=plot.log))
    return charts, missing


def early_charts(evaluations: Sequence[Row]) -> Iterator[Markup]:
    """Charts of early evaluations, a dot for each; metrics that are n/a in all of them are not drawn."""
    rows = [{**row["metrics"], "step": row["step"]} for row in evaluations]
    for plot in EARLY:
        curves = [(curve_of(rows, name), label) for name, label in plot.columns]
        lines = [Line(curve, label, "dots") for curve, label in curves if curve.steps]
        if lines:
            yield chart(plot.title, lines, plot.unit)


def share_of_waiting(rows: Sequence[Row]) -> float | None:
    """Share of the steps' time spent waiting for samples; None where it was not recorded."""
    pairs = [(usable_number(row, "data_seconds"), usable_number(row, "seconds")) for row in rows]
    known = [(waited, total) for waited, total in pairs if waited is not None and total is not None]
    total = sum(total for _, total in known)
    return sum(waited for waited, _ in known) / total if total > 0 else None


def _scaled(curve: Curve, scale: float) -> Curve:
    return curve if scale == 1.0 else Curve(curve.name, curve.steps, tuple(scale * value for value in curve.values))


def _in_words(rows: Sequence[Row], name: str, label: str) -> str:
    share = share_of_waiting(rows) if name == "data_seconds" else None
    return label if share is None else f"{label} ({share_text(share, 1)} of the time)"


def _why(rows: Sequence[Row], name: str) -> str:
    return f"{name} ({'no value in any step' if any(name in row for row in rows) else 'not recorded'})"
