"""Target of a rendering: a stored view decoded at the rendered size, with LiDAR depth and moving mask.

In two parts. `pack_target` works on the host and gives what is small to send: 8-bit pixels and depth samples.
`unpack_target` makes floats of them wherever they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flux4d.cameras.cameras import Cameras
from flux4d.cameras.decode import decode_image, image_size
from flux4d.cameras.posed import Posed, rendered_size
from flux4d.cameras.shutter import Shutter
from store_schema.clip import Role, View

Depth = tuple[NDArray[np.integer], NDArray[np.float32]]
"""Pixels (row * width + column at the rendered size, ascending) and metres. [D], [D]"""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One view to render and what it should look like.

    The image was exposed as the camera's shutter says. The depth was not: it is that of LiDAR returns, each where it
    was at its own time, projected with the pose of `view.time` all at once. It is therefore to be compared with a
    rendering without a shutter, `global_cameras`.
    """

    view: Posed
    role: Role
    cameras: Cameras  # one camera, with the shutter the image was taken with
    rgb: Tensor  # [H, W, 3] in [0, 1]
    depth_pixel: Tensor  # [D] int64 row * width + column at the rendered size
    depth: Tensor  # [D] m

    @property
    def global_cameras(self) -> Cameras:
        """The camera with all rows exposed at `view.time`: what the depth is to be compared with."""
        return all_rows_at_once(self.cameras)


@dataclass(frozen=True, slots=True, eq=False)
class PackedTarget:
    """A target on its way to a device."""

    view: Posed
    role: Role
    cameras: Cameras
    pixels: Tensor  # [h, w, 3] uint8, h and w those of the cameras or larger
    depth_pixel: Tensor  # [D] int32 row * width + column at the cameras' size
    depth: Tensor  # [D] m

    def pin_memory(self) -> PackedTarget:
        """In page-locked memory, from where it can be uploaded while the device works."""
        return replace(
            self,
            cameras=self.cameras.pin_memory(),
            pixels=self.pixels.pin_memory(),
            depth_pixel=self.depth_pixel.pin_memory(),
            depth=self.depth.pin_memory(),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PackedTarget:
        """On another device; `non_blocking` does not wait for the copies if the memory is pinned."""
        return replace(
            self,
            cameras=self.cameras.to(device, non_blocking),
            pixels=self.pixels.to(device, non_blocking=non_blocking),
            depth_pixel=self.depth_pixel.to(device, non_blocking=non_blocking),
            depth=self.depth.to(device, non_blocking=non_blocking),
        )


def all_rows_at_once(cameras: Cameras) -> Cameras:
    """The cameras with all rows exposed at their times; the very same ones when they have no shutter."""
    if cameras.shutter is None or cameras.shutter.instant:
        return cameras
    return replace(cameras, shutter=None)


def pack_target(
    view: Posed,
    width: int | None,
    *,
    role: Role,
    image: bytes,
    depth: Depth,
    path: Sequence[Posed] | None = None,
    shutter: Shutter | None = None,
    scaled: bool = False,
) -> PackedTarget:
    """The host's part of a target.

    Args:
        view: The view's pose, for instance a `store_schema.codec.ViewHeader`.
        width: Pixels; None keeps the stored size.
        role: What the clip uses the view for.
        image: The view's image file.
        depth: Its depth at the rendered size, as of `scale_depth`.
        path: The clip's views, to know how the camera moves. Not looked at unless a shutter asks for it, so that a
            clip with a single view has targets too.
        shutter: When the image's rows were exposed; one that is not instant needs `path`.
        scaled: Decode to a smaller size where one fits (`decode_view`).

    Raises:
        ValueError: as `Cameras.from_views`, or the image is broken or of another size than the view.
    """
    if shutter is None or shutter.instant:
        path = None
    cameras = Cameras.from_views([view], width, path=path, shutter=shutter)
    pixels = decode_view(view, image, cameras.width, cameras.height, scaled)
    pixel, metres = depth
    return PackedTarget(
        view=view,
        role=role,
        cameras=cameras,
        pixels=torch.from_numpy(pixels),
        depth_pixel=torch.from_numpy(np.array(pixel, np.int32)),
        depth=torch.from_numpy(np.array(metres, np.float32)),
    )


def unpack_target(packed: PackedTarget) -> Target:
    """The target, made where the packed one is: pixels become floats and, if larger, means over the rendered size's."""
    cameras = packed.cameras
    rgb = packed.pixels.permute(2, 0, 1)[None].float() / 255.0
    if (cameras.height, cameras.width) != tuple(rgb.shape[2:]):
        rgb = torch.nn.functional.interpolate(rgb, size=(cameras.height, cameras.width), mode="area")
    return Target(
        view=packed.view,
        role=packed.role,
        cameras=cameras,
        rgb=rgb[0].permute(1, 2, 0).contiguous(),
        depth_pixel=packed.depth_pixel.long(),
        depth=packed.depth,
    )


def make_target(
    view: View,
    width: int | None,
    device: torch.device,
    *,
    path: Sequence[Posed] | None = None,
    shutter: Shutter | None = None,
) -> Target:
    """Decode a view and bring image and depth to `width` pixels (box filter; nearest return per pixel).

    The exact path: the image is decoded at its full size. Arguments as `pack_target`.

    Raises:
        ValueError: as `pack_target`.
    """
    depth = scale_depth(view, *rendered_size(view, width))
    packed = pack_target(view, width, role=view.role, image=view.image, depth=depth, path=path, shutter=shutter)
    return unpack_target(packed.to(device))


def decode_view(view: Posed, image: bytes, width: int, height: int, scaled: bool) -> NDArray[np.uint8]:
    """Pixels of a view's image. [h, w, 3]

    Args:
        view: Says how large the image is, and of what format.
        image: The image file.
        width: Pixels wanted.
        height: Pixels wanted.
        scaled: Of the sizes that JPEG blocks can be decoded to (n/8 of the full one), take the smallest that is the
            wanted one or a multiple of it, if any. Close to the mean of the full size's pixels, but not the same. Sizes
            in between are of no use: their pixels would be mixed a second time. A PNG keeps its size.

    Raises:
        ValueError: the image is broken or of another size than the view.
    """
    least = None
    if scaled and view.image_format == "jpeg":
        sizes = [(-(-view.height * n // 8), -(-view.width * n // 8)) for n in range(1, 8)]
        fitting = [size for size in sizes if size == (size[0] // height * height, size[0] // height * width)]
        least = fitting[0][::-1] if fitting else None
    try:
        wide, high = image_size(image, view.image_format)
        if (wide, high) == (view.width, view.height):
            return decode_image(image, view.image_format, least)
    except ValueError as error:
        raise ValueError(f"frame {view.frame}, {view.name}: cannot decode the view ({error})") from error
    raise ValueError(
        f"frame {view.frame}, {view.name}: the image is {wide}x{high}, the clip says {view.width}x{view.height}: "
        "build the dataset version again"
    )


def scale_depth(view: View, width: int, height: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """A view's sparse depth at another image size: pixel int64 ascending and metres.

    Of the returns the camera sees, the nearest one per pixel.
    """
    metres = view.depth[view.depth_visible]
    row, column = np.divmod(view.depth_pixel[view.depth_visible].astype(np.int64), view.width)
    pixel = (row * height // view.height) * width + column * width // view.width
    # The bits of positive floats are in the floats' order.
    keys = np.sort(pixel << 32 | metres.view(np.uint32))
    pixel = keys >> 32
    first = np.flatnonzero(np.diff(pixel, prepend=-1))
    return pixel[first], (keys[first] & 0xFFFFFFFF).astype(np.uint32).view(np.float32)
