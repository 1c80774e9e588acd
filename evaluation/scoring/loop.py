"""The evaluation loop: show each clip to each method, score its target views and motion, aggregate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from evaluation.methods.method import ImageMethod, Method
from evaluation.methods.observer import Observer
from evaluation.metrics.lpips import Unavailable, fitting
from evaluation.metrics.point_set import flow_truth
from evaluation.metrics.truth import truth_of
from evaluation.scoring.aggregate import ClipScores, aggregate, refuse_other_sizes, refuse_second
from evaluation.scoring.clip_notes import clip_notes, progress_line
from evaluation.scoring.config import DEFAULTS, ScoringConfig
from evaluation.scoring.noise_floor import clip_floor
from evaluation.scoring.protocol import protocol_in_words
from evaluation.scoring.results import Evaluation
from evaluation.scoring.score_method import Trial, score_method
from flux4d.clip_errors import naming_clip
from store_schema.clip import Clip

Progress = Callable[[str], None]


def evaluate(
    clips: Iterable[Clip],
    methods: Sequence[Method],
    config: ScoringConfig = DEFAULTS,
    *,
    progress: Progress | None = None,
    observer: Observer | None = None,
) -> Evaluation:
    """Score methods on clips by the paper's protocol: `score_clips`, then `evaluation.scoring.aggregate.aggregate`.

    Args:
        clips: Clips with target views; read one at a time.
        methods: What to compare; every method sees every clip.
        config: How to score.
        progress: Called with one line after each clip and method.
        observer: Is shown scenes and images.

    Returns:
        Metrics of every frame and clip, and of all, seen and unseen clips.

    Raises:
        ValueError: there is no clip, or what `score_clips` refuses.
        FileNotFoundError: a method reads files and one is missing.
    """
    scores = score_clips(clips, methods, config, progress=progress, observer=observer)
    return aggregate(scores, [method.info for method in methods], config)


def score_clips(
    clips: Iterable[Clip],
    methods: Sequence[Method],
    config: ScoringConfig = DEFAULTS,
    *,
    progress: Progress | None = None,
    observer: Observer | None = None,
) -> list[ClipScores]:
    """Score methods on clips, each clip for itself; the arguments are those of `evaluate`.

    Returns:
        Scores of each clip, in the order of `clips`; none without clips.

    Raises:
        ValueError: there is no method, two methods share a name, exposures are asked for and a method gives images, a
            clip comes twice or has no view to render, the views of the clips differ in size, a store lacks the truth
            that `points` asks for, or a clip has too few views for the camera model: a shutter needs two of a camera,
            an exposure an input view; or a scene or image cannot be made or rendered. What is wrong with a clip names
            it.
        FileNotFoundError: a method reads files and one is missing.
    """
    _check_methods(methods, config)
    done: dict[str, ClipScores] = {}
    for clip in clips:
        clip_id = clip.record.clip_id
        refuse_second(clip_id, done)
        sizes = {(scores.width, scores.height) for scores in done.values()}
        with naming_clip(clip_id):
            done[clip_id] = _score_clip(clip, methods, sizes, config, progress, observer)
    return list(done.values())


def _check_methods(methods: Sequence[Method], config: ScoringConfig) -> None:
    names = [method.name for method in methods]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"an evaluation needs methods with different names, got {names}")
    images = [method.name for method in methods if isinstance(method, ImageMethod)]
    if images and config.imaging.exposure is not None:
        raise ValueError(
            f"exposures are fitted to renderings of the input views, which {', '.join(images)} does not give: leave "
            "out the exposure, or score scenes and images in two evaluations"
        )


def _score_clip(
    clip: Clip,
    methods: Sequence[Method],
    sizes: set[tuple[int, int]],
    config: ScoringConfig,
    progress: Progress | None,
    observer: Observer | None,
) -> ClipScores:
    views = clip.views_of("interpolation", "future")
    if not views:
        raise ValueError("no interpolation or future view to score")
    truths = [truth_of(view, config.width, path=clip.views, shutter=config.imaging.shutter) for view in views]
    own = {(truth.camera.width, truth.camera.height) for truth in truths}
    refuse_other_sizes(clip.record.clip_id, own | sizes)
    size = own.pop()
    lpips = fitting(config.lpips, *size)
    network = None if isinstance(lpips, Unavailable) else lpips
    true_flow = flow_truth(clip, config.points)
    seen = config.seen_frames.has_seen(clip.record)
    floor = clip_floor(clip.record, seen, true_flow)
    trial = Trial(clip=clip, views=views, truths=truths, flow=true_flow, lpips=network, seen=seen)
    results = []
    for method in methods:
        result = score_method(trial, method, config, observer)
        results.append(result)
        if progress is not None:
            progress(progress_line(result.row))
    unknown = tuple(words for method in methods for words in method.unknown)
    return ClipScores(
        clip_id=clip.record.clip_id,
        protocol=protocol_in_words(clip.record, config.points, config.imaging),
        width=size[0],
        height=size[1],
        methods=tuple(results),
        floor=floor,
        lpips="" if isinstance(lpips, Unavailable) else lpips.description,
        notes=((lpips.reason,) if isinstance(lpips, Unavailable) else ()) + unknown + clip_notes(clip, floor),
    )
