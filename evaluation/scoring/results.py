"""Results of an evaluation: rows and summaries that are saved as one JSON file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from evaluation.methods.method import MethodInfo
from evaluation.metrics.flow import FlowScores
from evaluation.metrics.image import RegionScores, ViewScores
from evaluation.metrics.point_set import P0, PointSet
from evaluation.scoring.imaging import IDEAL, Imaging
from store_schema.clip import Role
from store_schema.json_dataclass import load_json, save_json

Group = Literal["all", "seen", "unseen"]
"""Clips that are aggregated: `seen` ones share a frame with a training clip."""
GROUPS: tuple[tuple[Group, tuple[bool, ...]], ...] = (("all", (True, False)), ("seen", (True,)), ("unseen", (False,)))
"""Each group with the values of `ClipRow.seen` it takes."""


@dataclass(frozen=True, slots=True)
class FrameRow:
    """Image metrics of one rendered view."""

    method: str
    clip_id: str
    frame: int
    camera: str
    role: Role
    time: float
    """Seconds since the clip's first sweep stamp."""
    scores: ViewScores


@dataclass(frozen=True, slots=True)
class RegionSummary:
    """Mean of per-frame metrics over the frames that have them."""

    psnr: float | None
    ssim: float | None
    depth_rmse: float | None = field(metadata={"was": "d_rmse"})
    frames: int
    """Frames with at least one pixel in the region."""
    depth_frames: int
    """Frames with at least one LiDAR pixel in the region."""
    pixels: int
    depth_pixels: int | None
    """None: the method gives no depth."""
    lpips: float | None = None
    """Over the same frames as SSIM; None without a network."""
    measured: dict[str, float | None] = field(default_factory=dict)
    """Metrics that their row in `evaluation.metrics.table` measures, by key; each over the frames that have it."""


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """Full image and moving region."""

    full: RegionSummary
    moving: RegionSummary


@dataclass(frozen=True, slots=True)
class ClipRow:
    """One method on one clip."""

    method: str
    clip_id: str
    log_id: str
    seen: bool
    interpolation: ImageSummary
    future: ImageSummary
    flow: FlowScores | None
    """None where the method gives images: it has no scene flow, Gaussians or times."""
    gaussians: int | None
    flow_nearest: int | None
    """Scored points without a Gaussian of their own: they took the nearest one's velocity."""
    flow_without_next_sweep: int
    """Points of the last input frame left out because the clip ends there."""
    reconstruct_seconds: float | None
    """With the fit of exposures, where there is one; None for scenes from files."""
    render_seconds: float | None
    """Mean over the rendered views; with a shutter, colours and depth are two renderings."""


@dataclass(frozen=True, slots=True)
class MethodSummary:
    """One method over a group of clips."""

    method: str
    group: Group
    clips: int
    interpolation: ImageSummary
    future: ImageSummary
    flow: FlowScores | None
    flow_nearest: int | None
    reconstruct_seconds: float | None
    render_seconds: float | None


@dataclass(frozen=True, slots=True)
class ClipFloor:
    """Annotation noise floor of one clip."""

    clip_id: str
    seen: bool
    flow: FlowScores | None
    """Scores of the cuboids' other reading (smoothed, or annotated where smoothed is the truth) as a prediction, at
    the points the methods are scored on; None when the store does not hold it."""


@dataclass(frozen=True, slots=True)
class GroupFloor:
    """Annotation noise floor of a group of clips."""

    group: Group
    clips: int
    flow: FlowScores | None
    """Pooled over the group's clips; None when one of them has none."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was measured, with the counts it rests on."""

    protocol: str
    width: int
    height: int
    backend: str
    methods: tuple[MethodInfo, ...]
    summaries: tuple[MethodSummary, ...]
    clips: tuple[ClipRow, ...]
    frames: tuple[FrameRow, ...]
    notes: tuple[str, ...]
    """What is n/a and why."""
    points: PointSet = P0
    """Points that scene flow is scored on."""
    floors: tuple[GroupFloor, ...] = ()
    """Empty in files of older versions: not measured."""
    lpips: str = ""
    """Backbone and heads that LPIPS was measured with; empty when it was not."""
    clip_floors: tuple[ClipFloor, ...] = ()
    dataset_options: str = ""
    """What of the dataset's ground truth and camera times is not the protocol's, in words."""
    imaging: Imaging = field(default=IDEAL, metadata={"was": "camera_model"})
    """Shutter and exposures that renderings were scored with."""

    def summary(self, method: str, group: Group = "all") -> MethodSummary | None:
        """The summary of a method over a group; None when the group has no clip."""
        return next((s for s in self.summaries if s.method == method and s.group == group), None)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        save_json(path, self)

    @classmethod
    def load(cls, path: Path) -> Evaluation:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not an evaluation of this version.
        """
        return load_json(path, cls)


def summarise_regions(regions: Iterable[RegionScores | None]) -> RegionSummary:
    """Average per-frame metrics; frames whose region is empty or unknown do not count.

    A frame without any error has an infinite PSNR and makes the mean infinite: dropping it would punish the best frame,
    any other value would be made up.
    """
    rows = [region for region in regions if region is not None and region.pixels]
    depths = [region.depth_rmse for region in rows if region.depth_rmse is not None]
    measured = dict.fromkeys(key for region in rows for key in region.measured)
    return RegionSummary(
        psnr=_mean([region.psnr for region in rows if region.psnr is not None]),
        ssim=_mean([region.ssim for region in rows if region.ssim is not None]),
        depth_rmse=_mean(depths),
        frames=len(rows),
        depth_frames=len(depths),
        pixels=sum(region.pixels for region in rows),
        depth_pixels=total(region.depth_pixels for region in rows),
        lpips=_mean([region.lpips for region in rows if region.lpips is not None]),
        measured={
            key: _mean([value for region in rows if (value := region.measured.get(key)) is not None])
            for key in measured
        },
    )


def summarise_images(rows: Sequence[FrameRow], role: Role) -> ImageSummary:
    """Average the rows of one role."""
    scores = [row.scores for row in rows if row.role == role]
    return ImageSummary(summarise_regions(s.full for s in scores), summarise_regions(s.moving for s in scores))


Number = TypeVar("Number", int, float)


def total(values: Iterable[Number | None]) -> Number | None:
    """Sum in order; None when one is not known."""
    added: Number = 0
    for value in values:
        if value is None:
            return None
        added += value
    return added


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
