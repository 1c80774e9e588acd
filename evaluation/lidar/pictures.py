"""Pictures of LiDAR sweeps as range images: measured, rendered, and where the two differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.lidar.evaluate import SweepImage
from evaluation.lidar.path import SensorPath
from evaluation.lidar.truth import RangeTruth
from evaluation.report.colours import ERROR_RAMP, depth_colours, ramp
from store_schema.clip import Role
from store_schema.pages.pictures import Picture, encoded

NEAR_M, FAR_M = 2.0, 100.0
FULL_ERROR_M = 2.0
MISSED, MADE_UP, NOT_SCORED = (40, 90, 255), (0, 170, 90), (90, 90, 90)
"""Colours of the error picture: a return that the rendering lacks, one that only it has, the sensor's own car."""
_ROWS = 3  # picture rows a beam: a range image is 28 times as wide as it is high


@dataclass(frozen=True, slots=True)
class SweepPicture:
    """One range image of a page."""

    clip_id: str
    frame: int
    role: Role
    title: str
    picture: Picture


class SweepPictures:
    """Draws the middle interpolation and the middle future sweep of the first clips (a `SweepObserver`)."""

    def __init__(self, max_clips: int, every: int = 1) -> None:
        """Start without pictures; of the frames, every `every`-th is scored."""
        self.max_clips, self.every = max_clips, every
        self.pictures: list[SweepPicture] = []
        self._clips: list[str] = []

    def sweep(self, path: SensorPath, method: str, frame: int, truth: RangeTruth, image: SweepImage) -> None:
        """Draw a rendered sweep, its truth once, if the frame is one of the chosen."""
        record = path.clip.record
        if record.clip_id not in self._clips and len(self._clips) < self.max_clips:
            self._clips.append(record.clip_id)
        lists = record.interpolation_frames[:: self.every], record.future_frames[:: self.every]
        chosen = [frames[len(frames) // 2] for frames in lists if frames]
        if record.clip_id not in self._clips or frame not in chosen:
            return

        def keep(title: str, pixels: NDArray[np.uint8]) -> None:
            tall = encoded(np.repeat(pixels, _ROWS, axis=0), colours=128)
            self.pictures.append(SweepPicture(record.clip_id, frame, record.role(frame), title, tall))

        if not any((p.clip_id, p.frame) == (record.clip_id, frame) for p in self.pictures):
            keep("measured", range_colours(truth.range, truth.returned))
        keep(f"{method}: median range", range_colours(image.median, image.returned))
        keep(f"{method}: error", error_colours(image.median, image.returned, truth))


def range_colours(ranges: NDArray[np.floating], returned: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Ranges [H, W] as `evaluation.report.colours.depth_colours`, black where nothing comes back. [H, W, 3]"""
    return depth_colours(np.where(returned, ranges, 0.0), NEAR_M, FAR_M)


def error_colours(ranges: NDArray[np.floating], returned: NDArray[np.bool_], truth: RangeTruth) -> NDArray[np.uint8]:
    """Absolute range error [H, W] up to `FULL_ERROR_M`; what only one of the two sees has a colour of its own."""
    both = returned & truth.returned
    error = np.abs(np.where(both, ranges, 0.0) - np.where(both, truth.range, 0.0))
    colours = ramp(error / FULL_ERROR_M, ERROR_RAMP)
    colours[truth.returned & ~returned] = MISSED
    colours[returned & ~truth.returned] = MADE_UP
    colours[~truth.known] = NOT_SCORED
    return colours
