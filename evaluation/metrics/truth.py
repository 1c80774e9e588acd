"""Truth of a view at the rendered size: image, sparse LiDAR depth and moving mask.

The image is the decoded file divided by 255, sRGB-coded as stored. A smaller size is the mean of the source pixels that
a pixel covers, taken in that coding; when the sizes do not divide, whole source pixels are taken and those on a border
count on both sides (torch's "area" mode).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from flux4d.cameras.cameras import Cameras
from flux4d.cameras.shutter import Shutter
from flux4d.supervision.target import make_target
from store_schema.clip import View


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Ground truth of one view at H x W pixels, with the camera to render it with."""

    camera: Cameras
    rgb: NDArray[np.float32]  # [H, W, 3] in [0, 1]
    depth_pixel: NDArray[np.int64]  # [D] row * W + column, ascending
    depth: NDArray[np.float32]  # [D] m, z-depth
    moving: NDArray[np.bool_] | None  # [H, W]; None when the log has no cuboids


def truth_of(
    view: View, width: int | None = None, *, path: Sequence[View] | None = None, shutter: Shutter | None = None
) -> Truth:
    """Decode a view and scale it to `width` pixels (height keeps the aspect); None keeps the stored size.

    Depth is that of the returns the camera sees, the nearest one a pixel. A pixel of the scaled mask is moving when at
    least half of its area is. The camera has the shutter; one that is not instant needs the clip's views as `path`.

    Raises:
        ValueError: the image is broken, the mask has another size than the view, or `path` does not tell how the camera
            of a shutter moves (`flux4d.cameras.motion.camera_twists`).
    """
    target = make_target(view, width, torch.device("cpu"), path=path, shutter=shutter)
    return Truth(
        camera=target.cameras,
        rgb=target.rgb.numpy(),
        depth_pixel=target.depth_pixel.numpy(),
        depth=target.depth.numpy(),
        moving=_scaled_mask(view, target.cameras.width, target.cameras.height),
    )


def _scaled_mask(view: View, width: int, height: int) -> NDArray[np.bool_] | None:
    mask = view.moving_mask
    if mask is not None and mask.shape != (view.height, view.width):
        raise ValueError(f"frame {view.frame}, {view.name}: mask {mask.shape} of a {view.width}x{view.height} view")
    if mask is None or (width, height) == (view.width, view.height):
        return mask
    share = torch.nn.functional.interpolate(
        torch.from_numpy(mask)[None, None].float(), size=(height, width), mode="area"
    )
    return (share[0, 0] >= 0.5).numpy()
