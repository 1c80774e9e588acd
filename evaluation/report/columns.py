"""Columns of the tables: a metric or a count, its unit and which way is better; here those of scene flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

from evaluation.metrics.flow import FlowScores
from evaluation.metrics.metric import ARROWS, Metric, Place, Quantity
from evaluation.metrics.table import BY_KEY, quantities
from store_schema.labels import Bucket

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, slots=True)
class Column(Generic[T_contra]):
    """One quantity of a table."""

    name: str
    unit: str
    value: Callable[[T_contra], float | int | None]
    digits: int = 3
    better: Better = "neither"
    group: str = ""
    """Heading shared with neighbouring columns."""
    in_floor: bool = True
    """Can the annotation noise floor have it? Not where both readings of the annotation are 0 by definition."""

    @property
    def head(self) -> str:
        """Name and which way is better."""
        return f"{self.name} {ARROWS[self.better]}" if self.better in ARROWS else self.name


class HasFlow(Protocol):
    """A row with scene flow: a summary, a clip or the annotation noise floor."""

    @property
    def flow(self) -> FlowScores | None:
        """Its scores; None: the method gives none."""

    @property
    def flow_nearest(self) -> int | None:
        """Scored points without a Gaussian of their own; None where there are no Gaussians."""


NO_GAUSSIAN = "no Gaussian"
"""Scored points that no Gaussian was made from; they take the velocity of the nearest one of their frame."""


def metric_column(quantity: Quantity, name: str, group: str = "") -> Column[Any]:
    """The column of a metric of the table, for rows that have what it is taken on."""
    metric = quantity.metric
    return Column(name, metric.unit, quantity.of, metric.digits, metric.better, group, metric.in_floor)


def _of_flow(value: Callable[[FlowScores], T]) -> Callable[[HasFlow], T | None]:
    """A number of a row's scene flow; None where the row has none."""
    return lambda row: None if row.flow is None else value(row.flow)


def _count(name: str, value: Callable[[FlowScores], int | None], group: str = "") -> Column[HasFlow]:
    return Column(name, "", _of_flow(value), group=group)


def _flow_columns(place: Place, group: str = "") -> list[Column[HasFlow]]:
    return [metric_column(each, each.metric.symbol, group) for each in quantities(place) if each.spot == "flow"]


def _no_gaussian(group: str = "") -> Column[HasFlow]:
    return Column(NO_GAUSSIAN, "", lambda row: row.flow_nearest, group=group)


FLOW_COLUMNS: list[Column[HasFlow]] = [
    *_flow_columns("tables"),
    _count("points", lambda f: f.points),
    _count("BS points", lambda f: f.points_bs),
    _count("FS points", lambda f: f.points_fs),
    _count("FD points", lambda f: f.points_fd),
    _no_gaussian(),
]
"""Scene flow on the input frames."""

FLOW_SUMMARY_COLUMNS: list[Column[HasFlow]] = [
    *_flow_columns("summary", "Scene flow"),
    _count("points", lambda f: f.points, "Scene flow"),
    _count("FD points", lambda f: f.points_fd, "Scene flow"),
    _no_gaussian("Scene flow"),
]
"""Scene flow in short."""


def _of_class(
    metric: Metric, value: Callable[[FlowScores], float | None], group: str, in_floor: bool = True
) -> Column[HasFlow]:
    """A metric whose mean over classes is in the table, of one class."""
    column = metric_column(Quantity(metric, "flow"), metric.symbol, group)
    return replace(column, value=_of_flow(value), in_floor=in_floor)


def bucket_columns() -> list[Column[HasFlow]]:
    """Static EPE and dynamic normalised EPE of each class and their means, each with the count it rests on."""
    static_epe, dynamic_nepe = BY_KEY["mean_static_epe"], BY_KEY["mean_dynamic_nepe"]
    columns: list[Column[HasFlow]] = []
    for bucket in (b for b in Bucket if b is not Bucket.OTHER):
        name, title = bucket.name, bucket.name.replace("_", " ").capitalize().replace("vru", "VRU")

        def static(flow: FlowScores, name: str = name) -> float | None:
            return flow.bucket_static_epe[name]

        def dynamic(flow: FlowScores, name: str = name) -> float | None:
            return flow.bucket_dynamic_nepe[name]

        def static_points(flow: FlowScores, name: str = name) -> int | None:
            return flow.bucket_static_points.get(name)  # absent in files of older versions

        def dynamic_points(flow: FlowScores, name: str = name) -> int | None:
            known = flow.bucket_static_points.get(name)
            return None if known is None else flow.bucket_points[name] - known

        columns.append(_of_class(static_epe, static, title, in_floor=bucket is not Bucket.BACKGROUND))
        columns.append(_count(f"{static_epe.symbol} points", static_points, title))
        if bucket is not Bucket.BACKGROUND:
            columns.append(_of_class(dynamic_nepe, dynamic, title))
            columns.append(_count(f"{dynamic_nepe.symbol} points", dynamic_points, title))
    columns.append(metric_column(Quantity(static_epe, "flow"), static_epe.symbol, "Mean"))
    columns.append(_count(f"{static_epe.symbol} classes", lambda f: _present(f.bucket_static_epe), "Mean"))
    columns.append(metric_column(Quantity(dynamic_nepe, "flow"), dynamic_nepe.symbol, "Mean"))
    columns.append(_count(f"{dynamic_nepe.symbol} classes", lambda f: _present(f.bucket_dynamic_nepe), "Mean"))
    return columns


def _present(values: dict[str, float | None]) -> int:
    return sum(value is not None for value in values.values())
