"""How methods are scored: what evaluations that are compared with each other have to share."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.metrics.lpips import NOT_LOADED, Lpips, Unavailable
from evaluation.metrics.point_set import P0, PointSet
from evaluation.run_folder.seen_frames import NOTHING_SEEN, SeenFrames
from evaluation.scoring.imaging import IDEAL, Imaging
from flux4d.rasterize import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringConfig:
    """Settings of `evaluation.scoring.loop.evaluate` and its parts."""

    width: int | None = None
    """Width to render at, pixels; None renders at the stored size."""
    lpips: Lpips | Unavailable = NOT_LOADED
    """Network of LPIPS, or why there is none."""
    points: PointSet = P0
    """Points that scene flow is scored on, and their truth."""
    backend: Backend = "auto"
    """Rasteriser, as in `flux4d.render.render`."""
    imaging: Imaging = IDEAL
    """Shutter and exposures that renderings are scored with."""
    seen_frames: SeenFrames = NOTHING_SEEN
    """Frames the training used; a clip that spans one of them counts as seen."""
    dataset_options: str = ""
    """What of the dataset is not the protocol's, in words (`evaluation.scoring.dataset_options`)."""


DEFAULTS = ScoringConfig()
"""The protocol's own."""
