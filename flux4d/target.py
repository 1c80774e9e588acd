"""What a rendering is compared with: a stored view, decoded, at the rendered size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from flux4d.cameras import Cameras
from store_schema.clip import View


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One view to render and what it should look like."""

    view: View
    cameras: Cameras  # one camera
    rgb: Tensor  # [H, W, 3] in [0, 1]
    depth_pixel: Tensor  # [D] int64 row * width + column at the rendered size
    depth: Tensor  # [D] m


def make_target(view: View, width: int | None, device: torch.device) -> Target:
    """Decode a view and bring image and depth to `width` pixels (box filter; nearest return per pixel)."""
    cameras = Cameras.from_views([view], width).to(device)
    image = torch.from_numpy(simplejpeg.decode_jpeg(view.jpeg, colorspace="RGB")).to(device)
    rgb = image.permute(2, 0, 1)[None].float() / 255.0
    if (cameras.height, cameras.width) != tuple(rgb.shape[2:]):
        rgb = torch.nn.functional.interpolate(rgb, size=(cameras.height, cameras.width), mode="area")
    pixel, depth = scale_depth(view, cameras.width, cameras.height)
    return Target(
        view=view,
        cameras=cameras,
        rgb=rgb[0].permute(1, 2, 0).contiguous(),
        depth_pixel=torch.from_numpy(pixel).to(device),
        depth=torch.from_numpy(depth).to(device),
    )


def scale_depth(view: View, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A view's sparse depth at another image size: pixel int64 ascending and metres.

    Of the returns the camera sees, the nearest one per pixel.
    """
    depth = view.depth[view.depth_visible]
    row, column = np.divmod(view.depth_pixel[view.depth_visible].astype(np.int64), view.width)
    pixel = (row * height // view.height) * width + column * width // view.width
    order = np.lexsort((depth, pixel))
    pixel, first = np.unique(pixel[order], return_index=True)
    return pixel, depth[order][first]
