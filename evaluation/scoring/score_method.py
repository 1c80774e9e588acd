"""One method on one clip: its scene rendered here or its own images, each view and the motion scored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from evaluation.methods.method import ImageMethod, Method, SceneMethod, ViewImage
from evaluation.methods.observer import Observer
from evaluation.metrics.flow_prediction import accumulate_flow, predicted_flow
from evaluation.metrics.image import score_view
from evaluation.metrics.lpips import Lpips
from evaluation.metrics.point_set import FlowTruth
from evaluation.metrics.truth import Truth
from evaluation.scoring.aggregate import MethodScores
from evaluation.scoring.config import ScoringConfig
from evaluation.scoring.results import ClipRow, FrameRow, summarise_images
from flux4d.gaussians import Gaussians
from flux4d.supervision.exposure import Exposure
from flux4d.supervision.exposure_fit import compare_inputs, fit_exposure
from flux4d.supervision.recorded import render_recorded
from store_schema.clip import Clip, View


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """A clip and all that is known of it before a method is scored."""

    clip: Clip
    views: Sequence[View]
    """To score."""
    truths: Sequence[Truth]
    """One for each of the views."""
    flow: FlowTruth
    lpips: Lpips | None
    seen: bool


@torch.no_grad()
def score_method(trial: Trial, method: Method, config: ScoringConfig, observer: Observer | None) -> MethodScores:
    """Score a method on a clip.

    Raises:
        ValueError: a scene or image cannot be made or rendered.
        FileNotFoundError: the method reads files and one is missing.
    """
    if isinstance(method, ImageMethod):
        return _score_images(trial, method, observer)
    return _score_scene(trial, method, config, observer)


def _score_scene(trial: Trial, method: SceneMethod, config: ScoringConfig, observer: Observer | None) -> MethodScores:
    clip = trial.clip
    start = _now()
    gaussians = method.reconstruct(clip)
    exposure = _fitted_exposure(gaussians, trial, config)
    reconstruct_seconds = _now() - start
    if observer is not None:
        observer.scene(clip, method, gaussians)
    frames, render_seconds = [], 0.0
    for view, truth in zip(trial.views, trial.truths, strict=True):
        velocity = observer is not None and observer.wants_velocity(clip, view)
        # One view at a time: a full-size view of a large scene fills a small GPU already.
        camera = truth.camera.to(gaussians.means.device)
        start = _now()
        rendering = render_recorded(gaussians, camera, with_velocity=velocity, backend=config.backend)
        if exposure is not None:
            rendering = exposure.expose(rendering, [view])
        render_seconds += _now() - start
        image = ViewImage(
            rgb=rendering.rgb[0],
            depth=rendering.depth[0, ..., 0],
            velocity=None if rendering.velocity is None else rendering.velocity[0],
        )
        frames.append(_score_view(trial, method, view, truth, image, observer))
    predicted = predicted_flow(gaussians, clip, trial.flow)
    flow = accumulate_flow(predicted.flow, trial.flow)
    row = ClipRow(
        method=method.name,
        clip_id=clip.record.clip_id,
        log_id=clip.record.log_id,
        seen=trial.seen,
        interpolation=summarise_images(frames, "interpolation"),
        future=summarise_images(frames, "future"),
        flow=flow.result(),
        gaussians=len(gaussians),
        flow_nearest=predicted.nearest,
        flow_without_next_sweep=trial.flow.without_next_sweep,
        reconstruct_seconds=reconstruct_seconds if method.made_here else None,
        render_seconds=render_seconds / len(trial.views),
    )
    return MethodScores(row, tuple(frames), flow)


def _score_images(trial: Trial, method: ImageMethod, observer: Observer | None) -> MethodScores:
    clip, frames = trial.clip, []
    for view, truth in zip(trial.views, trial.truths, strict=True):
        image = method.image(clip, view, truth.camera.width, truth.camera.height)
        if (image.depth is not None) != method.has_depth:
            raise ValueError(
                f"frame {view.frame}, {view.name}: {method.name} gives {'no ' * method.has_depth}depth here but says "
                f"has_depth={method.has_depth}: depth is compared in all views or in none"
            )
        frames.append(_score_view(trial, method, view, truth, image, observer))
    row = ClipRow(
        method=method.name,
        clip_id=clip.record.clip_id,
        log_id=clip.record.log_id,
        seen=trial.seen,
        interpolation=summarise_images(frames, "interpolation"),
        future=summarise_images(frames, "future"),
        flow=None,
        gaussians=None,
        flow_nearest=None,
        flow_without_next_sweep=trial.flow.without_next_sweep,
        reconstruct_seconds=None,
        render_seconds=None,
    )
    return MethodScores(row, tuple(frames), None)


def _score_view(
    trial: Trial, method: Method, view: View, truth: Truth, image: ViewImage, observer: Observer | None
) -> FrameRow:
    scores = score_view(image.rgb, image.depth, truth, trial.lpips)
    if observer is not None:
        observer.frame(trial.clip, method, view, image, truth)
    clip_id = trial.clip.record.clip_id
    return FrameRow(method.name, clip_id, view.frame, view.name, view.role, view.time, scores)


def _fitted_exposure(gaussians: Gaussians, trial: Trial, config: ScoringConfig) -> Exposure | None:
    """Fitted to input views alone: `compare_inputs` opens no other."""
    if config.imaging.exposure is None:
        return None
    width = trial.truths[0].camera.width
    inputs = compare_inputs(gaussians, trial.clip, width, config.backend, config.imaging.shutter)
    return fit_exposure(inputs, config.imaging.exposure)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
