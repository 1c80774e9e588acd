"""Exposure of cameras: an affine map of RGB for each camera of a clip.

The cameras of a rig set exposure and white balance on their own, so a scene coloured by several of them fits none
exactly. The correction rgb' = A rgb + b is that of Urban Radiance Fields (https://arxiv.org/abs/2111.14643, section
4.3). The maps come from the points that two cameras coloured (`flux4d.lift.camera_gains`) or from input images
(`flux4d.supervision.exposure_fit`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flux4d.render import Rendering
from store_schema.clip import View


@dataclass(frozen=True, slots=True, eq=False)
class ExposureCurve:
    """The maps of one camera over time: linear between knots, constant outside."""

    times: Tensor  # [T] s, ascending
    maps: Tensor  # [T, 3, 4] A and b of rgb' = A rgb + b

    def at(self, time: float) -> Tensor:
        """The map at a time. [3, 4]"""
        right = int((self.times < time).sum())
        if right in (0, len(self.times)):
            return self.maps[min(right, len(self.times) - 1)]
        before, after = self.times[right - 1], self.times[right]
        return torch.lerp(self.maps[right - 1], self.maps[right], ((time - before) / (after - before)).to(self.maps))


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """Affine colour maps of the cameras of one clip."""

    curves: Mapping[str, ExposureCurve]

    def apply(
        self,
        rgb: Tensor,  # [..., 3]
        camera: str,
        time: float,
    ) -> Tensor:
        """Colours as a camera would record them at a time; not clipped. [..., 3]

        Differentiable in the colours and in the maps.

        Raises:
            ValueError: the camera had no input view to fit to.
        """
        if camera not in self.curves:
            raise ValueError(
                f"no exposure for {camera}, only for {sorted(self.curves)}: it has no input view, so leave it out"
            )
        matrix = self.curves[camera].at(time).to(rgb)
        return rgb @ matrix[:, :3].T + matrix[:, 3]

    def expose(self, rendering: Rendering, views: Sequence[View]) -> Rendering:
        """The rendering of C views with each colour image as its camera would record it.

        Raises:
            ValueError: not one view a camera of the rendering, or a camera without an exposure.
        """
        if len(views) != len(rendering.rgb):
            raise ValueError(f"{len(views)} views for a rendering of {len(rendering.rgb)} cameras: give one for each")
        images = [self.apply(rgb, view.name, view.time) for rgb, view in zip(rendering.rgb, views, strict=True)]
        return replace(rendering, rgb=torch.stack(images))


def gain_exposure(cameras: Sequence[str], gains: NDArray[np.float64]) -> Exposure:
    """Constant gains as an exposure: what `flux4d.lift.camera_gains.relative_gains` finds, without offsets.

    Args:
        cameras: K names.
        gains: Factor by camera and channel. [K, 3]

    Raises:
        ValueError: not one row of three positive finite factors a camera.
    """
    if gains.shape != (len(cameras), 3) or not (np.isfinite(gains).all() and (gains > 0.0).all()):
        raise ValueError(f"gains {gains.shape} of {len(cameras)} cameras: give three positive factors for each")
    maps = torch.nn.functional.pad(torch.diag_embed(torch.from_numpy(gains)), (0, 1))
    start = torch.zeros(1, dtype=torch.float64)
    return Exposure({camera: ExposureCurve(start, maps[row : row + 1]) for row, camera in enumerate(cameras)})
