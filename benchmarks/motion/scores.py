"""Figures of predicted motion: protocol P0, the whole sweep, and by class, speed and distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.motion.cases import Case
from evaluation.metrics.flow import FlowAccumulator
from store_schema.labels import Bucket, FlowClass

Flows = Sequence[NDArray[np.floating]]
"""Predicted motion [P, 3] m to the next sweep, of every sweep with a truth."""
NAMES = {Bucket.CAR: "car", Bucket.OTHER_VEHICLES: "other vehicle", Bucket.PEDESTRIAN: "pedestrian"} | {
    Bucket.WHEELED_VRU: "cyclist"
}
SPEEDS = ((0.5, 1.5), (1.5, 4.0), (4.0, 10.0), (10.0, 50.0))
DISTANCES = ((0.0, 20.0), (20.0, 40.0), (40.0, 80.0))
FALSE_SPEED = 0.5


def flow_of(velocity: NDArray[np.floating], dt: float) -> NDArray[np.float64]:
    """Motion to the next sweep as the evaluator takes it: velocity times the time between the stamps."""
    return np.asarray(velocity, np.float64) * dt


class Scores:
    """Pooled figures over the sweeps of logs."""

    def __init__(self, *, whole: bool = False) -> None:
        """`whole`: both LiDARs all around, instead of P0 (spinning LiDAR, front camera)."""
        self._whole, self._flow = whole, FlowAccumulator()
        self._rows: list[NDArray[np.float64]] = []

    def add(self, case: Case, frame: int, flow: NDArray[np.floating]) -> None:
        """Count one sweep in."""
        sweep, truth = case.sweeps[frame], case.truth[frame]
        keep = truth.flow_class != FlowClass.IGNORED
        if not self._whole:
            keep &= (sweep.sensor == 0) & truth.in_view
        predicted, true = np.asarray(flow, np.float64)[keep], truth.flow[keep]
        self._flow.add(predicted, true, truth.flow_class[keep], truth.bucket[keep], truth.dt)
        away = np.linalg.norm((sweep.points[keep] - sweep.ego2world[:3, 3])[:, :2], axis=1)
        error, speed = np.linalg.norm(predicted - true, axis=1), np.linalg.norm(true, axis=1)
        said = np.linalg.norm(predicted, axis=1) / truth.dt
        columns = (error, speed, truth.flow_class[keep], truth.bucket[keep], away, said, speed / truth.dt)
        self._rows.append(np.stack([np.asarray(c, np.float64) for c in columns], 1))

    def result(self) -> dict[str, Any]:
        """Metres over one pair of sweeps; `ratio` is of the error that rest makes."""
        scores = self._flow.result()
        error, true, classes, bucket, away, said, speed = np.concatenate(self._rows).T
        moving, still = classes == FlowClass.FOREGROUND_DYNAMIC, classes != FlowClass.FOREGROUND_DYNAMIC

        def of(keep: NDArray[np.bool_]) -> dict[str, float]:
            rest = true[keep].mean()
            return {
                "points": int(keep.sum()),
                "epe": float(error[keep].mean()),
                "ratio": float(error[keep].mean() / rest),
            }

        groups: dict[str, dict[str, NDArray[np.bool_]]] = {
            "by_class": {name: moving & (bucket == key) for key, name in NAMES.items()},
            "by_speed": {f"{a:g}-{b:g} m/s": moving & (speed >= a) & (speed < b) for a, b in SPEEDS},
            "by_distance": {f"{a:g}-{b:g} m": moving & (away >= a) & (away < b) for a, b in DISTANCES},
        }
        return {
            "epe3d": scores.epe3d,
            "epe_3way": scores.epe_3way,
            "epe_bs": scores.epe_bs,
            "epe_fs": scores.epe_fs,
            "epe_fd": scores.epe_fd,
            "epe_fd_rest": float(true[moving].mean()) if moving.any() else None,
            "points_fd": scores.points_fd,
            "false_speed_share": float((said[still] > FALSE_SPEED).mean()),
            **{kind: {k: of(m) for k, m in parts.items() if m.any()} for kind, parts in groups.items()},
        }


def scored(
    cases: Sequence[Case], flow: Callable[[int, int], NDArray[np.floating]], frames: Sequence[int] | None = None
) -> dict[str, Any]:
    """P0 figures of motion that `flow(case, frame)` gives, with those of the whole sweep under `whole`."""
    narrow, wide = Scores(), Scores(whole=True)
    for number, case in enumerate(cases):
        for frame in range(len(case.truth)) if frames is None else frames:
            said = flow(number, frame)
            narrow.add(case, frame, said)
            wide.add(case, frame, said)
    return narrow.result() | {"whole": wide.result()}
