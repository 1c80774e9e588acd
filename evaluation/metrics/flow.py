"""Scene-flow metrics, pooled over every point of every clip.

The definitions are those of the official codes: Argoverse 2 (end-point error, accuracies, space-time angle,
three-way classes) and BucketedSceneFlowEval (bucket-normalised EPE). Motion is world motion: the ego's own
motion is not in it. A statistic of an empty group is None, never 0 or NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from store_schema.labels import Bucket, FlowClass

SPACE_TIME_S = 0.1
"""Fourth component of the vectors whose angle Argoverse 2 takes."""
SPEED_EDGES_M = np.concatenate([np.linspace(0.0, 2.0, 51), [np.inf]])
"""Edges of the 51 speed bins of Bucket Normalized EPE, metres a pair, ``[low, high)``."""
BUCKETS = (Bucket.BACKGROUND, Bucket.CAR, Bucket.OTHER_VEHICLES, Bucket.PEDESTRIAN, Bucket.WHEELED_VRU)
"""Classes of the bucketed metric; `Bucket.OTHER` takes part in the three-way classes only."""
_CLASSES = (FlowClass.BACKGROUND_STATIC, FlowClass.FOREGROUND_STATIC, FlowClass.FOREGROUND_DYNAMIC)
_ACCURACIES = ((0.05, True), (0.10, True), (0.05, False), (0.10, False))  # (threshold, or relative error too)
_EPS = 1e-10
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FlowScores:
    """Pooled flow metrics with their counts. Lengths are metres over one pair of sweeps."""

    points: int
    """Points that are scored: BS + FS + FD."""
    points_bs: int
    points_fs: int
    points_fd: int
    epe3d: float | None
    """Mean of ||e||, e = predicted - true flow [m]."""
    acc5: float | None
    """Share with ||e|| < 0.05 m or ||e|| / ||f|| < 0.05 (AV2 ACCURACY_STRICT)."""
    acc10: float | None
    """Share with ||e|| < 0.10 m or ||e|| / ||f|| < 0.10 (AV2 ACCURACY_RELAX)."""
    acc5_abs: float | None
    """Share with ||e|| < 0.05 m."""
    acc10_abs: float | None
    """Share with ||e|| < 0.10 m."""
    theta: float | None
    """Mean angle of the space-time vectors (flow, 0.1) over all points [rad] (AV2 ANGLE_ERROR)."""
    theta_dyn: float | None
    """Mean 3-D angle over foreground-dynamic points [rad]; a zero prediction counts pi / 2."""
    epe_bs: float | None
    """Mean ||e|| of background-static points [m]."""
    epe_fs: float | None
    """Mean ||e|| of foreground-static points [m]."""
    epe_fd: float | None
    """Mean ||e|| of foreground-dynamic points [m]."""
    epe_3way: float | None
    """Unweighted mean of `epe_bs`, `epe_fs` and `epe_fd`; None when one of them is."""
    v_rmse: float | None
    """sqrt(mean ||v - v_true||^2) over all points [m/s]."""
    v_rmse_dyn: float | None
    """The same over foreground-dynamic points [m/s]."""
    v_rmse_component: float | None
    """`v_rmse` per vector component, that is divided by sqrt 3 (STORM's flow RMSE) [m/s]."""
    bucket_points: dict[str, int] = field(default_factory=dict)
    """Points of each class of the bucketed metric."""
    bucket_static_points: dict[str, int] = field(default_factory=dict)
    """Those that move less than 0.04 m: `bucket_static_epe` rests on them, `bucket_dynamic_nepe` on the rest."""
    bucket_static_epe: dict[str, float | None] = field(default_factory=dict)
    """Mean ||e|| of the class's points that move less than 0.04 m [m]."""
    bucket_dynamic_nepe: dict[str, float | None] = field(default_factory=dict)
    """Mean over the class's non-empty faster bins of sum ||e|| / sum ||f|| of the bin."""
    mean_static_epe: float | None = None
    """Mean over classes of `bucket_static_epe` that are not None [m]."""
    mean_dynamic_nepe: float | None = None
    """Mean over classes of `bucket_dynamic_nepe` that are not None."""


class FlowAccumulator:
    """Sums from which every flow metric follows; sums of parts merge to the sums of the whole.

    V_RMSE: the paper prints no formula. Here ``v = flow / dt`` with dt the two sweeps' own stamps, and
    ``V_RMSE = sqrt(mean over points of ||v - v_true||^2)`` in m/s.
    """

    def __init__(self) -> None:
        self.count = np.zeros(3, np.int64)  # per three-way class, as all of the next five
        self.error = np.zeros(3)  # sum of ||e||
        self.hits = np.zeros((len(_ACCURACIES), 3))
        self.angle = np.zeros(3)  # sum of the space-time angle
        self.angle3 = np.zeros(3)  # sum of the 3-D angle, foreground dynamic only
        self.speed_error2 = np.zeros(3)  # sum of ||v - v_true||^2
        shape = (len(BUCKETS), len(SPEED_EDGES_M) - 1)
        self.bin_count = np.zeros(shape, np.int64)
        self.bin_error = np.zeros(shape)
        self.bin_speed = np.zeros(shape)

    def add(
        self,
        predicted: ArrayLike,  # [N, 3] m
        truth: ArrayLike,  # [N, 3] m
        flow_class: ArrayLike,  # [N] FlowClass
        bucket: ArrayLike,  # [N] Bucket
        dt: ArrayLike,  # [N] or scalar, s
    ) -> None:
        """Count points in; those of class IGNORED are left out.

        Raises:
            ValueError: lengths differ, a flow is not finite, or a dt is not positive.
        """
        classes, buckets = np.asarray(flow_class), np.asarray(bucket)
        pred = np.asarray(predicted, np.float64).reshape(-1, 3)
        true = np.asarray(truth, np.float64).reshape(-1, 3)
        step = np.broadcast_to(np.asarray(dt, np.float64), (len(true),))
        if not len(pred) == len(true) == len(classes) == len(buckets):
            raise ValueError(
                f"flow of {len(pred)} points, truth {len(true)}, class {len(classes)}, bucket {len(buckets)}"
            )
        keep = classes != FlowClass.IGNORED
        pred, true, classes, buckets, step = pred[keep], true[keep], classes[keep], buckets[keep], step[keep]
        if not (np.isfinite(pred).all() and np.isfinite(true).all()):
            bad = int((~np.isfinite(pred).all(1) | ~np.isfinite(true).all(1)).sum())
            raise ValueError(f"the flow of {bad} of {len(true)} points is not finite: check the predicted velocities")
        if (step <= 0).any():
            raise ValueError(f"time between sweeps must be positive, got {step.min()} s: check Clip.sweep_times")
        self._add_three_way(pred, true, classes, step)
        self._add_buckets(pred, true, buckets)

    def _add_three_way(self, pred: Array, true: Array, classes: NDArray[np.integer], step: Array) -> None:
        group = np.searchsorted(_CLASSES, classes)  # the enum is ascending
        error, speed = np.linalg.norm(pred - true, axis=1), np.linalg.norm(true, axis=1)

        def sums(values: Array) -> Array:
            return np.bincount(group, values, minlength=3).astype(np.float64)

        self.count += np.bincount(group, minlength=3)
        self.error += sums(error)
        for row, (limit, relative) in enumerate(_ACCURACIES):
            hit = error < limit
            if relative:
                hit |= error / (speed + _EPS) < limit
            self.hits[row] += sums(hit.astype(np.float64))
        self.angle += sums(space_time_angle(pred, true))
        dynamic = classes == FlowClass.FOREGROUND_DYNAMIC
        self.angle3[2] += angle_3d(pred[dynamic], true[dynamic]).sum()
        self.speed_error2 += sums((error / step) ** 2)

    def _add_buckets(self, pred: Array, true: Array, buckets: NDArray[np.integer]) -> None:
        keep = buckets != Bucket.OTHER
        pred, true = pred[keep], true[keep]
        error, speed = np.linalg.norm(pred - true, axis=1), np.linalg.norm(true, axis=1)
        bins = np.searchsorted(SPEED_EDGES_M, speed, side="right") - 1
        cell = np.searchsorted(BUCKETS, buckets[keep]) * self.bin_count.shape[1] + bins
        size, shape = self.bin_count.size, self.bin_count.shape
        self.bin_count += np.bincount(cell, minlength=size).reshape(shape)
        self.bin_error += np.bincount(cell, error, minlength=size).reshape(shape)
        self.bin_speed += np.bincount(cell, speed, minlength=size).reshape(shape)

    def merge(self, other: FlowAccumulator) -> None:
        """Add the sums of another accumulator to this one."""
        for name, value in vars(other).items():
            getattr(self, name)[...] += value

    def to_json(self) -> dict[str, list[Any]]:
        """The sums as nested lists by name: JSON holds them to the last bit."""
        return {name: value.tolist() for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, value: dict[str, list[Any]]) -> FlowAccumulator:
        """What `to_json` made.

        Raises:
            ValueError: a sum is missing, unknown or of another shape.
        """
        sums = cls()
        if set(value) != set(vars(sums)):
            raise ValueError(f"flow sums are {sorted(vars(sums))}, got {sorted(value)}")
        for name, zeros in vars(sums).items():
            loaded = np.array(value[name], zeros.dtype)
            if loaded.shape != zeros.shape:
                raise ValueError(f"flow sum {name} has shape {zeros.shape}, got {loaded.shape}")
            setattr(sums, name, loaded)
        return sums

    def result(self) -> FlowScores:
        """The metrics of everything added so far."""
        total = int(self.count.sum())
        by_class = [_ratio(error, int(count)) for error, count in zip(self.error, self.count, strict=True)]
        v_rmse = _root(_ratio(self.speed_error2.sum(), total))
        static, dynamic = self._bucket_scores()
        return FlowScores(
            points=total,
            points_bs=int(self.count[0]),
            points_fs=int(self.count[1]),
            points_fd=int(self.count[2]),
            epe3d=_ratio(self.error.sum(), total),
            acc5=_ratio(self.hits[0].sum(), total),
            acc10=_ratio(self.hits[1].sum(), total),
            acc5_abs=_ratio(self.hits[2].sum(), total),
            acc10_abs=_ratio(self.hits[3].sum(), total),
            theta=_ratio(self.angle.sum(), total),
            theta_dyn=_ratio(self.angle3[2], int(self.count[2])),
            epe_bs=by_class[0],
            epe_fs=by_class[1],
            epe_fd=by_class[2],
            epe_3way=_mean(by_class) if None not in by_class else None,
            v_rmse=v_rmse,
            v_rmse_dyn=_root(_ratio(self.speed_error2[2], int(self.count[2]))),
            v_rmse_component=None if v_rmse is None else v_rmse / 3**0.5,
            bucket_points={b.name: int(n) for b, n in zip(BUCKETS, self.bin_count.sum(1), strict=True)},
            bucket_static_points={b.name: int(n) for b, n in zip(BUCKETS, self.bin_count[:, 0], strict=True)},
            bucket_static_epe=static,
            bucket_dynamic_nepe=dynamic,
            mean_static_epe=_mean(list(static.values())),
            mean_dynamic_nepe=_mean(list(dynamic.values())),
        )

    def _bucket_scores(self) -> tuple[dict[str, float | None], dict[str, float | None]]:
        static: dict[str, float | None] = {}
        dynamic: dict[str, float | None] = {}
        for row, bucket in enumerate(BUCKETS):
            static[bucket.name] = _ratio(self.bin_error[row, 0], int(self.bin_count[row, 0]))
            filled = np.flatnonzero(self.bin_count[row, 1:]) + 1
            ratios = self.bin_error[row, filled] / self.bin_speed[row, filled]
            dynamic[bucket.name] = float(ratios.mean()) if len(ratios) else None
        return static, dynamic


def space_time_angle(pred: Array, true: Array) -> Array:
    """Angle between (pred, 0.1) and (true, 0.1), [N, 3] m each; [N] rad. Defined for zero flow too (AV2)."""
    dot = (pred * true).sum(1) + SPACE_TIME_S**2
    norms = np.sqrt(((pred**2).sum(1) + SPACE_TIME_S**2) * ((true**2).sum(1) + SPACE_TIME_S**2))
    angle: Array = np.arccos(np.clip(dot / norms, -1.0, 1.0))
    return angle


def angle_3d(pred: Array, true: Array) -> Array:
    """Angle between flows, [N, 3] each; [N] rad. pi / 2 where one of them is zero."""
    norms = np.linalg.norm(pred, axis=1) * np.linalg.norm(true, axis=1)
    cosine = np.divide((pred * true).sum(1), norms, out=np.zeros(len(norms)), where=norms > _EPS)
    angle: Array = np.arccos(np.clip(cosine, -1.0, 1.0))
    return angle


def _ratio(total: float, count: float) -> float | None:
    return float(total / count) if count else None


def _root(value: float | None) -> float | None:
    return None if value is None else value**0.5


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
