"""What a LiDAR evaluation yields: scores of every sweep, and their means, as one JSON file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np

from evaluation.lidar.metrics import LidarScores
from evaluation.methods.method import MethodInfo
from store_schema.clip import Role

RangeKind = Literal["expected", "median", "floor"]
"""Range read from a rendering (`flux4d.lidar.LidarImage`), or what was measured, for a floor."""
_COUNTS = ("rays", "known_rays", "dropped_rays", "dropped_rays_hard")


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One sweep, one method or floor, one kind of range."""

    method: str
    kind: RangeKind
    clip_id: str
    seen: bool
    frame: int
    role: Role
    scores: LidarScores
    render_seconds: float | None
    """None for a floor."""


@dataclass(frozen=True, slots=True)
class LidarMeans:
    """Means over the sweeps that have the figure; counts are sums."""

    sweeps: int
    median_error: float | None
    median_squared_error: float | None
    mean_error: float | None
    rmse: float | None
    drop_accuracy: float | None
    drop_precision: float | None
    drop_recall: float | None
    drop_recall_hard: float | None
    chamfer: float | None
    rays: int
    known_rays: int
    dropped_rays: int
    dropped_rays_hard: int
    render_seconds: float | None


@dataclass(frozen=True, slots=True)
class SensorRow:
    """The sensor of a clip and how its points fell on the rays of the scored sweeps."""

    clip_id: str
    rig: str
    sweeps: int
    points: int
    off_beam: int
    hidden: int
    gaussians: dict[str, int] = field(default_factory=dict)
    """By method, sky included."""
    reconstruct_seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LidarEvaluation:
    """Everything that was measured."""

    dataset_version: str
    store: str
    weights: str
    """Empty when only the lifted scene was scored."""
    weights_hash: str
    machine: dict[str, str]
    methods: tuple[MethodInfo, ...]
    """Methods, then floors."""
    every: int
    """Every so many-th held-out sweep was scored."""
    sensors: tuple[SensorRow, ...]
    sweeps: tuple[SweepRow, ...]
    notes: tuple[str, ...]
    """What is n/a and why."""


def means_of(rows: Sequence[SweepRow]) -> LidarMeans:
    """Average scores over sweeps; of an empty set every mean is None and every count 0."""
    found: dict[str, float | int | None] = {}
    for name in (item.name for item in fields(LidarMeans)):
        if name == "sweeps":
            found[name] = len(rows)
        elif name in _COUNTS:
            found[name] = sum(getattr(row.scores, name) for row in rows)
        else:
            values = (row.render_seconds if name == "render_seconds" else getattr(row.scores, name) for row in rows)
            found[name] = _mean(values)
    return LidarMeans(**found)  # type: ignore[arg-type]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
