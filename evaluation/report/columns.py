"""Columns of the tables: the quantity, its unit and which way is better; here those of scene flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from evaluation.metrics.flow import FlowScores
from store_schema.labels import Bucket

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
        return self.name + {"higher": " ↑", "lower": " ↓", "neither": ""}[self.better]


class HasFlow(Protocol):
    """A row with scene flow: a summary, a clip or the annotation noise floor."""

    @property
    def flow(self) -> FlowScores | None:
        """Its scores; None: the method gives none."""

    @property
    def flow_nearest(self) -> int | None:
        """Scored points without a Gaussian of their own; None where there are no Gaussians."""


def _flow(
    name: str,
    unit: str,
    value: Callable[[FlowScores], float | int | None],
    better: Better = "neither",
    group: str = "",
    in_floor: bool = True,
) -> Column[HasFlow]:
    def of_row(row: HasFlow) -> float | int | None:
        return None if row.flow is None else value(row.flow)

    return Column(name, unit, of_row, 3, better, group, in_floor)


def _no_gaussian(group: str = "") -> Column[HasFlow]:
    return Column(NO_GAUSSIAN, "", lambda row: row.flow_nearest, group=group)


NO_GAUSSIAN = "no Gaussian"
"""Scored points that no Gaussian was made from; they take the velocity of the nearest one of their frame."""

FLOW_COLUMNS: list[Column[HasFlow]] = [
    _flow("EPE3D", "m", lambda f: f.epe3d, "lower"),
    _flow("Acc5", "", lambda f: f.acc5, "higher"),
    _flow("Acc10", "", lambda f: f.acc10, "higher"),
    _flow("Acc5 abs", "", lambda f: f.acc5_abs, "higher"),
    _flow("Acc10 abs", "", lambda f: f.acc10_abs, "higher"),
    _flow("θ", "rad", lambda f: f.theta, "lower"),
    _flow("θ_dyn", "rad", lambda f: f.theta_dyn, "lower"),
    _flow("EPE-BS", "m", lambda f: f.epe_bs, "lower", in_floor=False),
    _flow("EPE-FS", "m", lambda f: f.epe_fs, "lower"),
    _flow("EPE-FD", "m", lambda f: f.epe_fd, "lower"),
    _flow("EPE-3way", "m", lambda f: f.epe_3way, "lower"),
    _flow("V_RMSE", "m/s", lambda f: f.v_rmse, "lower"),
    _flow("V_RMSE dyn", "m/s", lambda f: f.v_rmse_dyn, "lower"),
    _flow("points", "", lambda f: f.points),
    _flow("BS points", "", lambda f: f.points_bs),
    _flow("FS points", "", lambda f: f.points_fs),
    _flow("FD points", "", lambda f: f.points_fd),
    _no_gaussian(),
]
"""Scene flow on the input frames."""

FLOW_SUMMARY_COLUMNS: list[Column[HasFlow]] = [
    _flow("EPE3D", "m", lambda f: f.epe3d, "lower", "Scene flow"),
    _flow("EPE-FD", "m", lambda f: f.epe_fd, "lower", "Scene flow"),
    _flow("V_RMSE", "m/s", lambda f: f.v_rmse, "lower", "Scene flow"),
    _flow("points", "", lambda f: f.points, group="Scene flow"),
    _flow("FD points", "", lambda f: f.points_fd, group="Scene flow"),
    _no_gaussian("Scene flow"),
]
"""Scene flow in short."""


def bucket_columns() -> list[Column[HasFlow]]:
    """Static EPE and dynamic normalised EPE of each class and their means, each with the count it rests on."""
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

        columns.append(_flow("S", "m", static, "lower", title, in_floor=bucket is not Bucket.BACKGROUND))
        columns.append(_flow("S points", "", static_points, group=title))
        if bucket is not Bucket.BACKGROUND:
            columns.append(_flow("D", "", dynamic, "lower", title))
            columns.append(_flow("D points", "", dynamic_points, group=title))
    columns.append(_flow("S", "m", lambda f: f.mean_static_epe, "lower", "Mean"))
    columns.append(_flow("S classes", "", lambda f: _present(f.bucket_static_epe), group="Mean"))
    columns.append(_flow("D", "", lambda f: f.mean_dynamic_nepe, "lower", "Mean"))
    columns.append(_flow("D classes", "", lambda f: _present(f.bucket_dynamic_nepe), group="Mean"))
    return columns


def _present(values: dict[str, float | None]) -> int:
    return sum(value is not None for value in values.values())
