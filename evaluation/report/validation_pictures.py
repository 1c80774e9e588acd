"""Pictures of early evaluations: image, rendering and error side by side."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.methods.method import Method, SceneMethod, ViewImage
from evaluation.metrics.truth import Truth
from evaluation.report.colours import ERROR_RAMP, ramp
from evaluation.report.pictures import FULL_ERROR
from flux4d.gaussians import Gaussians
from store_schema.clip import Clip, View
from store_schema.files.atomic import write_atomic

_GAP = 4  # white pixels between two panels


class ViewSheets:
    """Draws the first target views of each clip while it is scored (an `evaluation.methods.observer.Observer`).

    A sheet shows the image, the rendering and the absolute error, mean over channels, black at 0 and brightest from
    `evaluation.report.pictures.FULL_ERROR` on. Files are ``{prefix}_{clip id}_{camera}-{frame:03d}.jpg``.
    """

    def __init__(self, folder: Path | None, views_per_clip: int, max_width: int = 640, *, prefix: str) -> None:
        """Start without a sheet.

        Args:
            folder: Where the files go, made with the first of them; None writes none.
            views_per_clip: Views drawn of each clip, in the order they are scored.
            max_width: Most width of each panel of a file and of a whole sheet of `images`, pixels.
            prefix: Beginning of the file names; a run folder's pictures have ``step-{step:08d}``.
        """
        self.folder, self.views_per_clip, self.max_width, self.prefix = folder, views_per_clip, max_width, prefix
        self.images: dict[str, NDArray[np.uint8]] = {}
        """Small sheets [H, W, 3], by ``{clip id}/{camera}-{frame:03d}``."""
        self._drawn: dict[str, int] = {}

    def wants_velocity(self, clip: Clip, view: View) -> bool:
        """Never: no velocity is drawn."""
        return False

    def scene(self, clip: Clip, method: SceneMethod, gaussians: Gaussians) -> None:
        """Nothing is drawn of a whole scene."""

    def frame(self, clip: Clip, method: Method, view: View, image: ViewImage, truth: Truth) -> None:
        """Draw the view if it is among the first of its clip."""
        clip_id = clip.record.clip_id
        if self._drawn.get(clip_id, 0) >= self.views_per_clip:
            return
        self._drawn[clip_id] = self._drawn.get(clip_id, 0) + 1
        rgb = image.rgb.detach().cpu().numpy().clip(0.0, 1.0)
        error = ramp(np.abs(rgb - truth.rgb).mean(-1) / FULL_ERROR, ERROR_RAMP)
        panels = [_uint8(truth.rgb), _uint8(rgb), error]
        name = f"{view.name}-{view.frame:03d}"
        self.images[f"{clip_id}/{name}"] = np.asarray(_narrowed(_side_by_side(panels), self.max_width))
        if self.folder is not None:
            sheet = _side_by_side([np.asarray(_narrowed(panel, self.max_width)) for panel in panels])
            data = io.BytesIO()
            Image.fromarray(sheet).save(data, "JPEG", quality=88, subsampling=0)
            write_atomic(self.folder / f"{self.prefix}_{clip_id}_{name}.jpg", data.getvalue())


def _side_by_side(panels: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    gap = np.full((panels[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([part for panel in panels for part in (gap, panel)][1:], axis=1)


def _narrowed(pixels: NDArray[np.uint8], width: int) -> Image.Image:
    image = Image.fromarray(pixels)
    if image.width <= width:
        return image
    return image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.BOX)


def _uint8(rgb: NDArray[np.floating]) -> NDArray[np.uint8]:
    return (rgb * 255.0).round().astype(np.uint8)
