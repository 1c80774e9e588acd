"""Front-to-back blending on a CPU: compiled kernels on a thread pool behind one autograd function.

The result is bitwise the same for any number of threads: a pixel belongs to one tile, and the gradient of a
splat is summed over its tiles in a fixed order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.cpu import kernels
from flux4d.rasterize.cpu.threads import in_parts
from flux4d.rasterize.cpu.tiles import TileLists, reach, tile_lists
from flux4d.rasterize.projection import SPLAT_GEOMETRY

assert kernels.GEOMETRY == SPLAT_GEOMETRY, "projection and kernels must agree on a splat's columns"


def blend(
    splats: Tensor,  # [M, 6 + D]
    boxes: Tensor,  # [M, 4]
    settings: RasterSettings,
    row_centers: Tensor | None = None,  # [H]
) -> tuple[Tensor, Tensor]:
    """Blend splats into an image.

    Args:
        splats: Front to back; columns x, y, conic xx, xy, yy, opacity, then D features. float32 or float64.
        boxes: int32 pixels x0, x1, y0, y1 (half open) outside of which the splat stays below the alpha threshold;
            an empty box leaves it out.
        settings: Image size and largest alpha.
        row_centers: y of each row's centre, ascending, in the units of the splats; None is 0.5, 1.5 and so on.

    Returns:
        tuple: blended features [H, W, D] and alphas [H, W, 1], differentiable in `splats`.

    Raises:
        ValueError: a box reaches beyond the image, or there are more or fewer row centres than rows.
    """
    _check(splats, boxes, settings, row_centers)
    image, left = _Blend.apply(splats, boxes, settings, row_centers)
    return image, 1 - left[..., None]


def _check(splats: Tensor, boxes: Tensor, settings: RasterSettings, row_centers: Tensor | None) -> None:
    """What would make the kernels read or write beyond their arrays."""
    if boxes.shape != (len(splats), 4) or boxes.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"boxes must be integers [{len(splats)}, 4], got {boxes.dtype} {tuple(boxes.shape)}")
    if len(boxes):
        low, high = (values.tolist() for values in torch.aminmax(boxes, dim=0))
        if min(low) < 0 or max(high[:2]) > settings.width or max(high[2:]) > settings.height:
            raise ValueError(f"boxes reach from {low} to {high}, beyond {settings.width}x{settings.height} pixels")
    if row_centers is not None and row_centers.shape != (settings.height,):
        raise ValueError(f"row_centers must have shape ({settings.height},), got {tuple(row_centers.shape)}")


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, splats: Tensor, boxes: Tensor, settings: RasterSettings, row_centers: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        splats = splats.detach().contiguous()
        lists = tile_lists(boxes.numpy(), settings.width, settings.height)
        image = splats.new_empty(settings.height, settings.width, splats.shape[1] - SPLAT_GEOMETRY)
        left, last = splats.new_empty(2, settings.height, settings.width)
        touched = np.zeros(len(lists.members), np.uint16)
        shared = _shared(splats, settings, row_centers)
        in_parts(
            kernels.forward,
            splats.numpy().reshape(-1),
            reach(splats.numpy()),
            lists.starts,
            lists.members,
            lists.slots,
            *shared,
            image.numpy(),
            left.numpy(),
            last.numpy(),
            touched,
        )
        ctx.save_for_backward(splats, left, last, torch.from_numpy(touched))
        ctx.lists, ctx.shared = lists, shared
        return image, left

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v_image: Tensor, v_left: Tensor) -> tuple[Tensor, None, None, None]:
        splats, left, last, blocks = ctx.saved_tensors
        touched = blocks.numpy()
        lists: TileLists = ctx.lists
        flat = splats.numpy().reshape(-1)
        v_slots = np.empty(len(lists.members) * kernels.slot_width(splats.shape[1]), flat.dtype)
        v_splats = torch.empty_like(splats)
        in_parts(
            kernels.backward,
            flat,
            lists.starts,
            lists.members,
            lists.slots,
            touched,
            *ctx.shared,
            left.numpy(),
            last.numpy(),
            v_image.contiguous().numpy(),
            v_left.contiguous().numpy(),
            v_slots,
        )
        constants = ctx.shared[-1]
        in_parts(kernels.add_up, flat, lists.first_slots, touched, v_slots, v_splats.numpy(), constants)
        return v_splats, None, None, None


def _shared(
    splats: Tensor, settings: RasterSettings, row_centers: Tensor | None
) -> tuple[kernels.Array, kernels.Array, kernels.Zeros, kernels.Constants]:
    """Pixel centres, zeros and constants in the type of the splats."""
    dtype = splats.numpy().dtype
    xs = np.arange(settings.width, dtype=dtype) + dtype.type(0.5)
    if row_centers is None:
        ys = np.arange(settings.height, dtype=dtype) + dtype.type(0.5)
    else:
        ys = np.ascontiguousarray(row_centers.detach().to(splats.dtype).numpy())
    zeros = (dtype.type(0),) * (splats.shape[1] - SPLAT_GEOMETRY)
    return xs, ys, zeros, kernels.constants(dtype, settings.max_alpha)
