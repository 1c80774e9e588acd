"""What a rendering is compared with: a stored view, decoded, at the rendered size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from flux4d.cameras import Cameras
from flux4d.shutter import Shutter
from store_schema.clip import View


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One view to render and what it should look like.

    The image was exposed as the camera's shutter says. The depth was not: it is that of LiDAR returns, each where it
    was at its own time, projected with the pose of `view.time` all at once. It is therefore to be compared with a
    rendering without a shutter, `global_cameras`.
    """

    view: View
    cameras: Cameras  # one camera, with the shutter the image was taken with
    rgb: Tensor  # [H, W, 3] in [0, 1]
    depth_pixel: Tensor  # [D] int64 row * width + column at the rendered size
    depth: Tensor  # [D] m

    @property
    def global_cameras(self) -> Cameras:
        """The camera with all rows exposed at `view.time`: what the depth is to be compared with."""
        return all_rows_at_once(self.cameras)


def all_rows_at_once(cameras: Cameras) -> Cameras:
    """The cameras with all rows exposed at their times; the very same ones when they have no shutter."""
    if cameras.shutter is None or cameras.shutter.instant:
        return cameras
    return replace(cameras, shutter=None)


def make_target(
    view: View,
    width: int | None,
    device: torch.device,
    *,
    path: Sequence[View] | None = None,
    shutter: Shutter | None = None,
) -> Target:
    """Decode a view and bring image and depth to `width` pixels (box filter; nearest return per pixel).

    Args:
        view: The view.
        width: Pixels; None keeps the stored size.
        device: Where the target is wanted.
        path: The clip's views, to know how the camera moves. Not looked at unless a shutter asks for it, so that a
            clip with a single view has targets too.
        shutter: When the image's rows were exposed; one that is not instant needs `path`.

    Raises:
        ValueError: as `flux4d.cameras.Cameras.from_views`, or the JPEG is broken.
    """
    if shutter is None or shutter.instant:
        path = None
    cameras = Cameras.from_views([view], width, path=path, shutter=shutter).to(device)
    try:
        pixels = simplejpeg.decode_jpeg(view.jpeg, colorspace="RGB")
    except ValueError as error:
        raise ValueError(f"frame {view.frame}, {view.camera}: cannot decode the view ({error})") from error
    image = torch.from_numpy(pixels).to(device)
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
