"""Front-to-back blending on a CPU: compiled kernels on a thread pool behind one autograd function.

The result is bitwise the same for any number of threads: a pixel belongs to one tile, and the gradient of a
splat is summed over its tiles in a fixed order.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flux4d.rasterize import kernels
from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.projection import SPLAT_GEOMETRY
from flux4d.rasterize.tiles import TileLists, tile_lists

_PARTS_PER_THREAD = 4
assert kernels.GEOMETRY == SPLAT_GEOMETRY, "projection and kernels must agree on a splat's columns"


def blend(
    splats: Tensor,  # [M, 6 + D]
    boxes: Tensor,  # [M, 4]
    settings: RasterSettings,
) -> tuple[Tensor, Tensor]:
    """Blend splats into an image.

    Args:
        splats: Front to back; columns x, y, conic xx, xy, yy, opacity, then D features. float32 or float64.
        boxes: int32 pixels x0, x1, y0, y1 (half open) that the splat can reach; an empty box leaves it out.
        settings: Image size and largest alpha.

    Returns:
        tuple: blended features [H, W, D] and alphas [H, W, 1], differentiable in `splats`.
    """
    image, left = _Blend.apply(splats, boxes, settings)
    return image, 1 - left[..., None]


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, splats: Tensor, boxes: Tensor, settings: RasterSettings) -> tuple[Tensor, Tensor]:
        splats = splats.detach().contiguous()
        lists = tile_lists(boxes.numpy(), settings.width, settings.height)
        channels = splats.shape[1] - SPLAT_GEOMETRY
        image = splats.new_empty(settings.height, settings.width, channels)
        left = splats.new_empty(settings.height, settings.width)
        shared = _shared(splats, settings)
        _in_parts(
            kernels.forward,
            splats.numpy(),
            boxes.numpy(),
            lists.starts,
            lists.members,
            *shared,
            image.numpy(),
            left.numpy(),
        )
        ctx.save_for_backward(splats, boxes, image, left)
        ctx.lists, ctx.settings = lists, settings
        return image, left

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v_image: Tensor, v_left: Tensor) -> tuple[Tensor, None, None]:
        splats, boxes, image, left = ctx.saved_tensors
        lists: TileLists = ctx.lists
        v_slots = np.zeros((len(lists.members), splats.shape[1]), splats.numpy().dtype)
        v_splats = torch.empty_like(splats)
        _in_parts(
            kernels.backward,
            splats.numpy(),
            boxes.numpy(),
            lists.starts,
            lists.members,
            lists.slots,
            *_shared(splats, ctx.settings),
            image.numpy(),
            left.numpy(),
            v_image.contiguous().numpy(),
            v_left.contiguous().numpy(),
            v_slots,
        )
        _in_parts(kernels.add_up, lists.first_slots, v_slots, v_splats.numpy())
        return v_splats, None, None


def _shared(
    splats: Tensor, settings: RasterSettings
) -> tuple[kernels.Array, kernels.Array, kernels.Features, kernels.Constants]:
    """Pixel centres, tile corners, zeros and constants in the type of the splats."""
    dtype = splats.numpy().dtype
    tiles = -(-max(settings.width, settings.height) // kernels.TILE)
    centers = np.arange(kernels.TILE, dtype=dtype) + dtype.type(0.5)
    corners = np.arange(tiles, dtype=dtype) * dtype.type(kernels.TILE)
    zeros = (dtype.type(0),) * (splats.shape[1] - SPLAT_GEOMETRY)
    return centers, corners, zeros, kernels.constants(dtype, settings.max_alpha)


def _in_parts(kernel: Any, *args: Any) -> None:
    """Run ``kernel(part, parts, *args)`` for every part on as many threads as torch uses."""
    threads = torch.get_num_threads()
    if threads == 1:
        kernel(0, 1, *args)
        return
    parts = _PARTS_PER_THREAD * threads
    list(_pool(os.getpid(), threads).map(lambda part: kernel(part, parts, *args), range(parts)))


@lru_cache(maxsize=4)
def _pool(pid: int, threads: int) -> ThreadPoolExecutor:
    """One pool a process: threads do not survive a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="rasterize")
