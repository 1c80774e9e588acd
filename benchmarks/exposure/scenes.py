"""Clips as one camera of their rig would have coloured them, and their views rendered, for `benchmarks.exposure`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.metrics.image import score_view
from evaluation.metrics.truth import Truth, truth_of
from flux4d.gaussians import Gaussians
from flux4d.render import Rendering, render
from flux4d.supervision.exposure import Exposure, gain_exposure
from flux4d.supervision.exposure_fit import Comparison
from store_schema.clip import Clip, View


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One view of a clip, rendered."""

    view: View
    truth: Truth
    rendering: Rendering

    def compared(self) -> Comparison:
        """As evidence for a fit.

        Raises:
            ValueError: not an input view.
        """
        if self.view.role != "input":
            raise ValueError(f"frame {self.view.frame} is no input frame: nothing may be fitted to it")
        alpha = self.rendering.alpha[0, ..., 0].clamp(min=0.0)
        image = torch.from_numpy(self.truth.rgb)
        return Comparison(self.view.camera, self.view.time, self.rendering.rgb[0], image, alpha)

    def score(self, exposure: Exposure | None) -> tuple[float, float]:
        """PSNR [dB] and SSIM of the full image, as the evaluation computes them."""
        shown = self.rendering if exposure is None else exposure.expose(self.rendering, [self.view])
        full = score_view(shown.rgb[0], shown.depth[0, ..., 0], self.truth).full
        assert full.psnr is not None
        assert full.ssim is not None
        return full.psnr, full.ssim


@torch.no_grad()
def shoot(clip: Clip, gaussians: Gaussians, width: int) -> list[Shot]:
    """All views of a clip, rendered `width` pixels wide."""
    truths = [(view, truth_of(view, width)) for view in clip.views]
    return [Shot(view, truth, render(gaussians, truth.camera, backend="cpu")) for view, truth in truths]


def scaled(rgb: NDArray[np.uint8], factor: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours times a factor, cut off at 255."""
    return np.rint(np.minimum(rgb * factor, 255.0)).astype(np.uint8)


def common_colours(clip: Clip, gains: NDArray[np.float64]) -> tuple[Clip, Exposure]:
    """A clip as if one camera had taken all its input colours, and the way back for each camera.

    Points and input images are divided by their camera's gain and multiplied by the smallest of the view cameras': no
    image is cut off, and the colours of a single view camera stay as they are. Target images stay as they are anyway:
    they are only compared with.

    Args:
        clip: The clip.
        gains: Factor by camera of the rig and channel. [K, 3]
    """
    darkest = gains[[clip.rig_cameras.index(camera) for camera in clip.view_cameras]].min(axis=0)
    factors = np.concatenate([darkest / gains, np.ones((1, 3))])  # points without a camera, -1, stay grey
    points = replace(clip.points, rgb=scaled(clip.points.rgb, factors[clip.points.camera]))
    views = []
    for view in clip.views:
        if view.role == "input":
            image = scaled(simplejpeg.decode_jpeg(view.image), factors[clip.rig_cameras.index(view.camera)])
            view = replace(view, image=simplejpeg.encode_jpeg(image, quality=97, colorsubsampling="444"))
        views.append(view)
    return replace(clip, points=points, views=tuple(views)), gain_exposure(clip.rig_cameras, gains / darkest)


def with_truth_of(shots: list[Shot], originals: list[Shot]) -> list[Shot]:
    """The shots beside the images that the cameras took."""
    return [replace(shot, truth=original.truth) for shot, original in zip(shots, originals, strict=True)]


def exposed(shots: list[Shot], exposure: Exposure) -> list[Shot]:
    """The shots as the cameras would record them."""
    return [replace(shot, rendering=exposure.expose(shot.rendering, [shot.view])) for shot in shots]


def contrast(shots: list[Shot], exposure: Exposure | None) -> float:
    """Standard deviation of the target views' colours over that of their images: below 1 is flatter than the truth."""

    def spread(images: list[Tensor]) -> float:
        return float(torch.stack([image.double().std() for image in images]).mean())

    targets = [shot for shot in shots if shot.view.role != "input"]
    shown = [
        (shot.rendering if exposure is None else exposure.expose(shot.rendering, [shot.view])).rgb[0].clamp(0.0, 1.0)
        for shot in targets
    ]
    return spread(shown) / spread([torch.from_numpy(shot.truth.rgb) for shot in targets])
