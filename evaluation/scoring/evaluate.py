"""The evaluation loop: reconstruct each clip with each method, render its target views, score, pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from evaluation.metrics.flow_prediction import accumulate_flow, predicted_flow
from evaluation.metrics.image import score_view
from evaluation.metrics.lpips import NOT_LOADED, Lpips, Unavailable, fitting
from evaluation.metrics.point_set import P0, FlowTruth, PointSet, flow_truth
from evaluation.metrics.truth import Truth, truth_of
from evaluation.scoring.aggregate import ClipScores, MethodScores, aggregate, refuse_other_sizes, refuse_second
from evaluation.scoring.clip_notes import clip_notes, progress_line
from evaluation.scoring.imaging import IDEAL, Imaging
from evaluation.scoring.noise_floor import clip_floor
from evaluation.scoring.protocol import protocol_in_words, seen_in_training
from evaluation.scoring.results import ClipRow, Evaluation, FrameRow, MethodInfo, summarise_images
from flux4d.clip_errors import naming_clip
from flux4d.gaussians import Gaussians
from flux4d.rasterize import Backend
from flux4d.render import Rendering
from flux4d.supervision.exposure import Exposure
from flux4d.supervision.exposure_fit import compare_inputs, fit_exposure
from flux4d.supervision.recorded import render_recorded
from store_schema.clip import Clip, View


@dataclass(frozen=True, slots=True)
class Method:
    """A way to turn a clip into a 4D scene."""

    name: str
    description: str
    reconstruct: Callable[[Clip], Gaussians]

    @property
    def info(self) -> MethodInfo:
        """What results say of it."""
        return MethodInfo(self.name, self.description)


class Observer(Protocol):
    """Is shown every scene and every rendered view while they are in memory, for pictures or exports."""

    def wants_velocity(self, clip: Clip, view: View) -> bool:
        """Should the view's velocity image be rendered too?"""

    def scene(self, clip: Clip, method: Method, gaussians: Gaussians) -> None:
        """A clip was reconstructed."""

    def frame(self, clip: Clip, method: Method, view: View, rendering: Rendering, truth: Truth) -> None:
        """A target view was rendered; `rendering` holds one camera, as it is scored."""


def evaluate(
    clips: Iterable[Clip],
    methods: Sequence[Method],
    *,
    width: int | None = None,
    lpips: Lpips | Unavailable = NOT_LOADED,
    points: PointSet = P0,
    backend: Backend = "auto",
    imaging: Imaging = IDEAL,
    seen_clips: Collection[str] = (),
    dataset_options: str = "",
    progress: Callable[[str], None] | None = None,
    observer: Observer | None = None,
) -> Evaluation:
    """Score methods on clips by the paper's protocol: `score_clips`, then `evaluation.scoring.aggregate.aggregate`.

    Args:
        clips: Clips with target views; read one at a time.
        methods: What to compare; every method sees every clip.
        width: Width to render at, pixels; None renders at the stored size.
        lpips: Network of LPIPS, or why there is none.
        points: Points that scene flow is scored on, and their truth.
        backend: Rasteriser, as in `flux4d.render.render`.
        imaging: Shutter and exposures that renderings are scored with.
        seen_clips: Ids of the clips the training used; a clip that shares a frame with one counts as seen.
        dataset_options: What of the dataset is not the protocol's, in words (`evaluation.scoring.dataset_options`).
        progress: Called with one line after each clip and method.
        observer: Is shown scenes and renderings.

    Returns:
        Metrics of every frame and clip, and of all, seen and unseen clips.

    Raises:
        ValueError: there is no clip, or what `score_clips` refuses.
    """
    scores = score_clips(
        clips,
        methods,
        width=width,
        lpips=lpips,
        points=points,
        backend=backend,
        imaging=imaging,
        seen_clips=seen_clips,
        progress=progress,
        observer=observer,
    )
    return aggregate(
        scores,
        [method.info for method in methods],
        backend=backend,
        points=points,
        imaging=imaging,
        dataset_options=dataset_options,
    )


def score_clips(
    clips: Iterable[Clip],
    methods: Sequence[Method],
    *,
    width: int | None = None,
    lpips: Lpips | Unavailable = NOT_LOADED,
    points: PointSet = P0,
    backend: Backend = "auto",
    imaging: Imaging = IDEAL,
    seen_clips: Collection[str] = (),
    progress: Callable[[str], None] | None = None,
    observer: Observer | None = None,
) -> list[ClipScores]:
    """Score methods on clips, each clip for itself; the arguments are those of `evaluate`.

    Returns:
        Scores of each clip, in the order of `clips`; none without clips.

    Raises:
        ValueError: there is no method, two methods share a name, a clip comes twice or has no view to render, the
            views of the clips differ in size, a store lacks the truth that `points` asks for, or a clip has too few
            views for the camera model: a shutter needs two of a camera, an exposure an input view; or a scene cannot be
            made or rendered. What is wrong with a clip names it.
    """
    names = [method.name for method in methods]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"an evaluation needs methods with different names, got {names}")
    done: dict[str, ClipScores] = {}
    for clip in clips:
        clip_id = clip.record.clip_id
        refuse_second(clip_id, done)
        sizes = {(scores.width, scores.height) for scores in done.values()}
        with naming_clip(clip_id):
            done[clip_id] = _score_methods(
                clip, methods, sizes, width, lpips, points, backend, imaging, seen_clips, progress, observer
            )
    return list(done.values())


def _score_methods(
    clip: Clip,
    methods: Sequence[Method],
    sizes: set[tuple[int, int]],
    width: int | None,
    lpips: Lpips | Unavailable,
    points: PointSet,
    backend: Backend,
    imaging: Imaging,
    seen_clips: Collection[str],
    progress: Callable[[str], None] | None,
    observer: Observer | None,
) -> ClipScores:
    views = clip.views_of("interpolation", "future")
    if not views:
        raise ValueError("no interpolation or future view to score")
    truths = [truth_of(view, width, path=clip.views, shutter=imaging.shutter) for view in views]
    own = {(truth.camera.width, truth.camera.height) for truth in truths}
    refuse_other_sizes(clip.record.clip_id, own | sizes)
    size = own.pop()
    fitted = fitting(lpips, *size)
    network = None if isinstance(fitted, Unavailable) else fitted
    true_flow = flow_truth(clip, points)
    seen = seen_in_training(clip.record, seen_clips)
    floor = clip_floor(clip.record, seen, true_flow)
    results = []
    for method in methods:
        result = _score_method(clip, method, truths, views, network, true_flow, backend, imaging, seen, observer)
        results.append(result)
        if progress is not None:
            progress(progress_line(result.row))
    return ClipScores(
        clip_id=clip.record.clip_id,
        protocol=protocol_in_words(clip.record, points, imaging),
        width=size[0],
        height=size[1],
        methods=tuple(results),
        floor=floor,
        lpips="" if isinstance(fitted, Unavailable) else fitted.description,
        notes=((fitted.reason,) if isinstance(fitted, Unavailable) else ()) + clip_notes(clip, floor),
    )


@torch.no_grad()
def _score_method(
    clip: Clip,
    method: Method,
    truths: Sequence[Truth],
    views: Sequence[View],
    lpips: Lpips | None,
    true_flow: FlowTruth,
    backend: Backend,
    imaging: Imaging,
    seen: bool,
    observer: Observer | None,
) -> MethodScores:
    start = _now()
    gaussians = method.reconstruct(clip)
    exposure = _fitted_exposure(gaussians, clip, truths[0].camera.width, backend, imaging)
    reconstruct_seconds = _now() - start
    if observer is not None:
        observer.scene(clip, method, gaussians)
    frames, render_seconds = [], 0.0
    for view, truth in zip(views, truths, strict=True):
        velocity = observer is not None and observer.wants_velocity(clip, view)
        # One view at a time: a full-size view of a large scene fills a small GPU already.
        camera = truth.camera.to(gaussians.means.device)
        start = _now()
        rendering = render_recorded(gaussians, camera, with_velocity=velocity, backend=backend)
        if exposure is not None:
            rendering = exposure.expose(rendering, [view])
        render_seconds += _now() - start
        scores = score_view(rendering.rgb[0], rendering.depth[0, ..., 0], truth, lpips)
        frames.append(FrameRow(method.name, clip.record.clip_id, view.frame, view.name, view.role, view.time, scores))
        if observer is not None:
            observer.frame(clip, method, view, rendering, truth)
    predicted = predicted_flow(gaussians, clip, true_flow)
    flow = accumulate_flow(predicted.flow, true_flow)
    row = ClipRow(
        method=method.name,
        clip_id=clip.record.clip_id,
        log_id=clip.record.log_id,
        seen=seen,
        interpolation=summarise_images(frames, "interpolation"),
        future=summarise_images(frames, "future"),
        flow=flow.result(),
        gaussians=len(gaussians),
        flow_nearest=predicted.nearest,
        flow_without_next_sweep=true_flow.without_next_sweep,
        reconstruct_seconds=reconstruct_seconds,
        render_seconds=render_seconds / len(views),
    )
    return MethodScores(row, tuple(frames), flow)


def _fitted_exposure(
    gaussians: Gaussians, clip: Clip, width: int, backend: Backend, imaging: Imaging
) -> Exposure | None:
    """Fitted to input views alone: `compare_inputs` opens no other."""
    if imaging.exposure is None:
        return None
    return fit_exposure(compare_inputs(gaussians, clip, width, backend, imaging.shutter), imaging.exposure)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
