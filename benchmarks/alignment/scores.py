"""From the gradient at moved edges to offsets, contrasts and shifts with their spread, for `benchmarks.alignment`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

OFFSETS = np.arange(-60.0, 60.25, 0.5)  # px
SHIFTS_S = np.arange(-40, 41, 2) / 1000
MIN_EDGES = 30  # of a frame that has an offset
MAX_RESIDUAL_PX = 15.0
ZERO, FAR = len(OFFSETS) // 2, np.abs(OFFSETS) >= 40  # the edges where they are, and anywhere
OWN_STAMP, SWEEP_END = len(SHIFTS_S) // 2, len(SHIFTS_S)  # places among the curves of `alignment.static_curves`
PLACES = ("as measured", "at the camera's time", "at the sweep's end")


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Mean gradient at each offset, kept as sums so that frames can be pooled: F frames, V ways to place the edges."""

    total: NDArray[np.float64]  # [F, V, S]
    count: NDArray[np.float64]  # [F, V, S]
    apart: NDArray[np.float64]  # [F] px, mean |place (a) - place (b)| of the frame's edges

    @classmethod
    def join(cls, rows: Sequence[tuple[NDArray[np.float64], NDArray[np.float64], float]]) -> Curves:
        return cls(np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), np.array([r[2] for r in rows]))

    def pooled(self, rows: NDArray[np.int64], variant: int) -> NDArray[np.float64]:
        return self.total[rows, variant].sum(0) / np.maximum(self.count[rows, variant].sum(0), 1)


def peak(curve: NDArray[np.float64], at: NDArray[np.float64]) -> float:
    """Where a curve is largest, between its samples by a parabola."""
    top = int(np.clip(np.argmax(curve), 1, len(curve) - 2))
    before, here, after = curve[top - 1 : top + 2]
    bend = before - 2 * here + after
    return float(at[top] + (0.0 if bend >= 0 else 0.5 * (before - after) / bend) * (at[1] - at[0]))


def bootstrap(frames: int, statistic: Callable[[NDArray[np.int64]], float], rounds: int = 200) -> dict[str, float]:
    """A statistic of all frames, and its 5 and 95 % quantiles over frames drawn with replacement."""
    rng = np.random.default_rng(0)
    low, high = np.quantile([statistic(rng.integers(0, frames, frames)) for _ in range(rounds)], [0.05, 0.95])
    return {"value": statistic(np.arange(frames)), "p5": float(low), "p95": float(high)}


def placing(curves: Curves, variants: NDArray[np.int64]) -> dict[str, Any]:
    """Offset and contrast of one way to place the edges, by frame: `variants` [F]."""
    rows = np.arange(len(variants))
    chosen = Curves(curves.total[rows, variants][:, None], curves.count[rows, variants][:, None], curves.apart)
    own = [peak(chosen.pooled(rows[f : f + 1], 0), OFFSETS) for f in rows if chosen.count[f, 0, ZERO] >= MIN_EDGES]
    curve = chosen.pooled(rows, 0)
    return {
        "offset_px": bootstrap(len(rows), lambda drawn: peak(chosen.pooled(drawn, 0), OFFSETS)),
        "frames_abs_median_px": float(np.median(np.abs(own))) if own else None,
        "frames_rms_px": float(np.sqrt(np.mean(np.square(own)))) if own else None,
        "contrast": float(curve[ZERO] / curve[FAR].mean()) if curve[FAR].any() else None,
    }


def best_shift(curves: Curves, rows: NDArray[np.int64]) -> float:
    """The time shift whose edges meet the largest gradient, s."""
    return peak(np.array([curves.pooled(rows, variant)[ZERO] for variant in range(len(SHIFTS_S))]), SHIFTS_S)


def camera_result(curves: Curves) -> dict[str, Any]:
    """What one camera's moving frames say about the three ways to place it."""
    frames = np.arange(len(curves.total))
    own = np.array([np.abs(SHIFTS_S - best_shift(curves, frames[frames % 2 != odd])).argmin() for odd in (0, 1)])
    return {
        "frames": len(frames),
        "edges": int(curves.count[:, OWN_STAMP, ZERO].sum()),
        "apart_px": float(np.average(curves.apart, weights=curves.count[:, OWN_STAMP, ZERO])),
        "own_stamp": placing(curves, np.full(len(frames), OWN_STAMP)),
        "sweep_end": placing(curves, np.full(len(frames), SWEEP_END)),
        "shifted": placing(curves, own[frames % 2]),
        "best_shift_s": bootstrap(len(frames), lambda drawn: best_shift(curves, drawn)),
    }


def object_result(curves: Curves) -> dict[str, Any]:
    frames = len(curves.total)
    return {
        "frames": frames,
        "edges": int(curves.count[:, 0, ZERO].sum()),
        "apart_px": float(np.average(curves.apart, weights=curves.count[:, 0, ZERO])),
        "places": {place: placing(curves, np.full(frames, variant)) for variant, place in enumerate(PLACES)},
    }


def residual_result(curves: Curves) -> dict[str, float]:
    """How far to the right of the points the image has their edges while the ego stands, px."""
    near = np.abs(OFFSETS) <= MAX_RESIDUAL_PX
    return bootstrap(len(curves.total), lambda drawn: peak(curves.pooled(drawn, 0)[near], OFFSETS[near]))
