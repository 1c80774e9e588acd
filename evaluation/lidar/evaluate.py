"""The loop of a LiDAR evaluation: reconstruct each clip, render its held-out sweeps, score; then the floors."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.lidar.floors import floor_images
from evaluation.lidar.metrics import score_sweep
from evaluation.lidar.own_car import without_own_car
from evaluation.lidar.path import SensorPath
from evaluation.lidar.results import RangeKind, SensorRow, SweepRow
from evaluation.lidar.truth import OWN_BODY, RangeTruth
from evaluation.methods.method import SceneMethod
from flux4d.gaussians import Gaussians
from flux4d.lidar import BEAM_EPS2D, SpinningLidar, render_lidar

RETURNS_BELOW = 0.5
"""A ray is said to come back when its drop is less likely than this."""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class SweepImage:
    """A rendered sweep."""

    expected: NDArray[np.float32]  # [H, W] m
    median: NDArray[np.float32]  # [H, W] m
    returned: NDArray[np.bool_]  # [H, W]


class SweepObserver(Protocol):
    """Is shown every rendered sweep, for pictures."""

    def sweep(self, path: SensorPath, method: str, frame: int, truth: RangeTruth, image: SweepImage) -> None:
        """A held-out sweep was rendered."""


@dataclass(frozen=True, slots=True)
class ScoredClip:
    """One clip with all methods and floors."""

    sensor: SensorRow
    sweeps: tuple[SweepRow, ...]


@torch.no_grad()
def render_sweep(scene: Gaussians, lidar: SpinningLidar, *, eps2d: float = BEAM_EPS2D, every: int = 1) -> SweepImage:
    """Expected and median range and which rays come back; of each `every` columns the first."""
    image = render_lidar(scene, lidar, with_median=True, near=OWN_BODY, eps2d=eps2d)
    assert image.median_range is not None
    maps = (value.numpy()[:, ::every] for value in (image.range, image.median_range, image.drop < RETURNS_BELOW))
    expected, median, returned = maps
    # Half of the light is gone and none is left to tell: rounding at exactly one half.
    return SweepImage(expected, np.where(np.isfinite(median), median, expected), returned)


def score_clip(
    path: SensorPath,
    methods: Sequence[SceneMethod],
    *,
    every: int = 1,
    seen: bool = False,
    progress: Progress | None = None,
    observer: SweepObserver | None = None,
) -> ScoredClip:
    """Score methods and floors on a clip's held-out sweeps.

    Gaussians made from returns of the own car are left out, as floors leave out such points. Range images are rendered
    on the CPU, wherever the scene was made: that is where the fast rasteriser for them is.

    Args:
        path: The clip with its sensor.
        methods: What to compare.
        every: Take each `every`-th interpolation and each `every`-th future frame.
        seen: Whether the training has seen frames of the clip.
        progress: Called with one line after each method.
        observer: Is shown every rendered sweep.

    Raises:
        ValueError: the clip has no held-out frame.
    """
    record = path.clip.record
    frames = record.interpolation_frames[::every] + record.future_frames[::every]
    if not frames:
        raise ValueError(f"clip {record.clip_id} has no interpolation or future frame: no sweep is held out")
    turns = {frame: path.turn(frame) for frame in frames}
    truths = {frame: path.truth(frame, turns[frame]) for frame in frames}
    in_inputs = path.returned_in_inputs()
    rows: list[SweepRow] = []

    def add(
        method: str,
        kind: RangeKind,
        frame: int,
        ranges: NDArray[np.float32],
        returned: NDArray[np.bool_],
        spent: float | None,
    ) -> None:
        scores = score_sweep(ranges, returned, truths[frame], turns[frame].directions(), in_inputs)
        rows.append(SweepRow(method, kind, record.clip_id, seen, frame, record.role(frame), scores, spent))

    gaussians: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for method in methods:
        start = time.perf_counter()
        scene = without_own_car(method.reconstruct(path.clip).to("cpu"), path)
        gaussians[method.name], taken = len(scene), "read from its file"
        if method.made_here:
            seconds[method.name] = time.perf_counter() - start
            taken = f"reconstructed in {seconds[method.name]:.2f} s"
        for frame in frames:
            start = time.perf_counter()
            image = render_sweep(scene, turns[frame])
            spent = time.perf_counter() - start
            add(method.name, "expected", frame, image.expected, image.returned, spent)
            add(method.name, "median", frame, image.median, image.returned, spent)
            if observer is not None:
                observer.sweep(path, method.name, frame, truths[frame], image)
        if progress is not None:
            progress(f"{record.clip_id} {method.name}: {len(frames)} sweeps, {len(scene)} Gaussians, {taken}")
    for frame in frames:
        for name, ranges in floor_images(path, frame, turns[frame]).items():
            add(name, "floor", frame, ranges, ranges > 0, None)
    sensor = SensorRow(
        clip_id=record.clip_id,
        rig=path.rig.name,
        sweeps=len(frames),
        points=sum(truth.points for truth in truths.values()),
        off_beam=sum(truth.off_beam for truth in truths.values()),
        hidden=sum(truth.hidden for truth in truths.values()),
        gaussians=gaussians,
        reconstruct_seconds=seconds,
    )
    return ScoredClip(sensor, tuple(rows))
