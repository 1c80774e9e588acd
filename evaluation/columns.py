"""Columns of the tables: the quantity, its unit and which way is better; here those of scene flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from evaluation.flow_metrics import FlowScores
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

    @property
    def head(self) -> str:
        """Name and which way is better."""
        return self.name + {"higher": " ↑", "lower": " ↓", "neither": ""}[self.better]


FLOW_COLUMNS: list[Column[FlowScores]] = [
    Column("EPE3D", "m", lambda f: f.epe3d, 3, "lower"),
    Column("Acc5", "", lambda f: f.acc5, 3, "higher"),
    Column("Acc10", "", lambda f: f.acc10, 3, "higher"),
    Column("θ", "rad", lambda f: f.theta, 3, "lower"),
    Column("θ_dyn", "rad", lambda f: f.theta_dyn, 3, "lower"),
    Column("EPE-BS", "m", lambda f: f.epe_bs, 3, "lower"),
    Column("EPE-FS", "m", lambda f: f.epe_fs, 3, "lower"),
    Column("EPE-FD", "m", lambda f: f.epe_fd, 3, "lower"),
    Column("EPE-3way", "m", lambda f: f.epe_3way, 3, "lower"),
    Column("V_RMSE", "m/s", lambda f: f.v_rmse, 3, "lower"),
    Column("V_RMSE dyn", "m/s", lambda f: f.v_rmse_dyn, 3, "lower"),
    Column("points", "", lambda f: f.points),
    Column("BS points", "", lambda f: f.points_bs),
    Column("FS points", "", lambda f: f.points_fs),
    Column("FD points", "", lambda f: f.points_fd),
]
"""Scene flow on the input frames."""

FLOW_SUMMARY_COLUMNS: list[Column[FlowScores]] = [
    Column("EPE3D", "m", lambda f: f.epe3d, 3, "lower", "Scene flow"),
    Column("EPE-FD", "m", lambda f: f.epe_fd, 3, "lower", "Scene flow"),
    Column("V_RMSE", "m/s", lambda f: f.v_rmse, 3, "lower", "Scene flow"),
    Column("points", "", lambda f: f.points, group="Scene flow"),
    Column("FD points", "", lambda f: f.points_fd, group="Scene flow"),
]
"""Scene flow in short."""


def bucket_columns() -> list[Column[FlowScores]]:
    """Static EPE and dynamic normalised EPE of each class and their means, each with the count it rests on."""
    columns: list[Column[FlowScores]] = []
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

        columns.append(Column("S", "m", static, 3, "lower", title))
        columns.append(Column("S points", "", static_points, group=title))
        if bucket is not Bucket.BACKGROUND:
            columns.append(Column("D", "", dynamic, 3, "lower", title))
            columns.append(Column("D points", "", dynamic_points, group=title))
    columns.append(Column("S", "m", lambda f: f.mean_static_epe, 3, "lower", "Mean"))
    columns.append(Column("S classes", "", lambda f: _present(f.bucket_static_epe), group="Mean"))
    columns.append(Column("D", "", lambda f: f.mean_dynamic_nepe, 3, "lower", "Mean"))
    columns.append(Column("D classes", "", lambda f: _present(f.bucket_dynamic_nepe), group="Mean"))
    return columns


def _present(values: dict[str, float | None]) -> int:
    return sum(value is not None for value in values.values())
