"""The evaluator's metrics of a network that is being trained, over one process or several."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from evaluation.methods.observer import Observer
from evaluation.methods.standard import standard_methods
from evaluation.metrics.table import quantities
from evaluation.scoring.aggregate import ClipScores, aggregate
from evaluation.scoring.config import ScoringConfig
from evaluation.scoring.imaging import Imaging
from evaluation.scoring.loop import score_clips
from evaluation.scoring.results import MethodSummary, RegionSummary
from flux4d.cameras.shutter import Shutter
from flux4d.lift.scene import SceneConfig
from flux4d.network.model import Flux4D
from flux4d.rasterize import Backend
from store_schema.clip import Clip, ClipRecord

BEST_METRIC = "interpolation/psnr"
"""Decides which weights are the best; higher is better."""
BEST_WITHOUT_INTERPOLATION = "future/psnr"
"""Decides where no interpolation view is scored."""
_FLOW_COUNTS = ("points", "points_bs", "points_fs", "points_fd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Metrics pooled over all clips, as the evaluator pools them.

    Names are ``role/metric`` for images (`interpolation`, `future`; with ``_moving`` over what moves) and
    ``flow/metric`` for scene flow; keys and units are those of `evaluation.metrics.table`.
    """

    metrics: dict[str, float | None]
    """None is n/a. PSNR is infinite where a rendering equals its image."""
    counts: dict[str, int]
    """What the metrics rest on: views, pixels, points."""
    clips: tuple[str, ...]
    """Ids, sorted."""

    @property
    def best_metric(self) -> str:
        """Name of the metric that decides; see `best_metric`."""
        return best_metric(self.metrics)

    @property
    def score(self) -> float | None:
        """Its value: the higher, the better. None when no view was scored."""
        return self.metrics[self.best_metric]


def best_metric(metrics: Mapping[str, float | None]) -> str:
    """`BEST_METRIC`, or `BEST_WITHOUT_INTERPOLATION` where that is n/a."""
    return BEST_METRIC if metrics.get(BEST_METRIC) is not None else BEST_WITHOUT_INTERPOLATION


def validation_share(records: Sequence[ClipRecord], rank: int, world_size: int) -> tuple[ClipRecord, ...]:
    """The clips that a rank scores; over all ranks each record comes exactly once. A share may be empty.

    Raises:
        ValueError: there is no such rank.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of {world_size} processes: ranks are 0 to world_size - 1")
    return tuple(records[rank::world_size])


def validate(
    clips: Iterable[Clip],
    network: Flux4D,
    scene: SceneConfig,
    *,
    width: int | None,
    shutter: Shutter,
    device: torch.device | str,
    backend: Backend = "auto",
    gather: Callable[[bytes], list[bytes]] = lambda own: [own],
    observer: Observer | None = None,
) -> Validation:
    """Score a network by the paper's protocol, without LPIPS.

    Every rank calls this with its own share of the clips, perhaps none, and gets the same result to the bit. Pooling
    gives the same bits however the clips were shared out; a clip's own scores do on a CPU, but on CUDA the order of the
    network's sums is left to the device, and last digits may differ from one call to the next. Mode and gradients of
    the network are left as they were, and so are torch's random numbers.

    Args:
        clips: The rank's clips (`validation_share`); read one at a time.
        network: What is scored, on `device`.
        scene: How clips are lifted.
        width: Width to render at, pixels; None is the stored size.
        shutter: Shutter that colours are rendered through.
        device: Where to work.
        backend: Rasteriser, as in `flux4d.render.render`.
        gather: Given a rank's bytes, returns those of all ranks in rank order.
        observer: Is shown the renderings of this rank's clips.

    Raises:
        ValueError: no rank has a clip, a clip came twice, or what `score_clips` refuses; names the
            clip.
        CorruptShardError: from `clips`, when the stored bytes of one are damaged.
    """
    config = ScoringConfig(width=width, backend=backend, imaging=Imaging(shutter))
    method = standard_methods(network, scene, device)[-1]
    with _modes_kept(network):
        own = score_clips(clips, [method], config, observer=observer)
    parts = gather(json.dumps([scores.to_json() for scores in own], allow_nan=False).encode())
    scores = [ClipScores.from_json(value) for part in parts for value in json.loads(part)]
    # Sums of floats depend on their order, so it must not depend on who scored what.
    scores.sort(key=lambda clip: clip.clip_id)
    pooled = aggregate(scores, [method.info], config)
    summary = pooled.summary(method.name)
    assert summary is not None
    return Validation(
        metrics={each.name: each.of(summary) for each in quantities("early")},
        counts=_counts(summary),
        clips=tuple(clip.clip_id for clip in scores),
    )


@contextmanager
def _modes_kept(network: torch.nn.Module) -> Iterator[None]:
    """Bring every module back to training or evaluation as it was: they need not all be alike."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _regions(summary: MethodSummary) -> Iterator[tuple[str, str, RegionSummary]]:
    """Role, suffix of the names, and scores."""
    for role, images in (("interpolation", summary.interpolation), ("future", summary.future)):
        yield role, "", images.full
        yield role, "_moving", images.moving


def _counts(summary: MethodSummary) -> dict[str, int]:
    counts: dict[str, int] = {}
    for role, suffix, region in _regions(summary):
        counts[f"{role}/views{suffix}"] = region.frames
        counts[f"{role}/pixels{suffix}"] = region.pixels
        counts[f"{role}/depth_views{suffix}"] = region.depth_frames
        counts[f"{role}/depth_pixels{suffix}"] = region.depth_pixels or 0  # never None: a scene has depth
    counts |= {f"flow/{name}": getattr(summary.flow, name) for name in _FLOW_COUNTS}
    return counts | {"flow/nearest": summary.flow_nearest or 0}  # never None: a scene has Gaussians
