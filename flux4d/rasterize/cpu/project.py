"""Projection on a CPU: compiled kernels on a thread pool behind one autograd function.

`flux4d.rasterize.projection` is the plain twin, and says what is computed. Bitwise the same for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.cpu import projection_kernels as kernels
from flux4d.rasterize.cpu.depth_order import depth_order
from flux4d.rasterize.cpu.threads import in_parts
from flux4d.rasterize.projection import BOX_PIXEL_SLACK, BOX_SIGMA_SLACK, Projected


def project(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4]
    scales: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    viewmat: Tensor,  # [4, 4]
    K: Tensor,  # [3, 3]
    settings: RasterSettings,
) -> Projected:
    """Project the Gaussians that can be seen; arguments and results as `projection.project`, on a CPU.

    No gradient reaches `K`.
    """
    means2d, conics, depths, index, radii, boxes = _Project.apply(means, quats, scales, opacities, viewmat, K, settings)
    return Projected(
        index=index,
        means2d=means2d,
        conics=conics,
        depths=depths,
        opacities=opacities.index_select(0, index),
        radii=radii,
        boxes=boxes,
    )


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        viewmat: Tensor,
        K: Tensor,
        settings: RasterSettings,
    ) -> tuple[Tensor, ...]:
        arrays = tuple(value.detach().contiguous().numpy() for value in (means, quats, scales, viewmat))
        centres, turns, sizes, view = arrays
        opaque = opacities.detach().contiguous().numpy()
        lens = kernels.lens(K.detach().numpy(), settings, BOX_SIGMA_SLACK, BOX_PIXEL_SLACK)
        norm = view.dtype.type(np.linalg.norm(view[:3, :3], ord=2))
        maybe = np.empty(len(centres), centres.dtype)
        in_parts(kernels.candidates, centres, sizes, opaque, view, norm, lens, maybe)
        index = depth_order(maybe)
        floats = (means.new_empty(len(index), 2), means.new_empty(len(index), 3), means.new_empty(len(index)))
        radii = torch.empty(len(index), 2, dtype=torch.int32)
        boxes = torch.empty(len(index), 4, dtype=torch.int32)
        outputs = (value.numpy() for value in (*floats, radii, boxes))
        in_parts(kernels.forward, index, centres, turns, sizes, opaque, view, lens, *outputs)
        rows = torch.from_numpy(index)
        ctx.mark_non_differentiable(rows, radii, boxes)
        ctx.save_for_backward(means, quats, scales, viewmat, rows)
        ctx.lens = lens
        return (*floats, rows, radii, boxes)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        means, quats, scales, viewmat, rows = (value.detach().contiguous() for value in ctx.saved_tensors)
        v_splats = (gradient.contiguous().numpy() for gradient in gradients[:3])
        v_gaussians = [torch.zeros_like(value) for value in (means, quats, scales)]
        v_view = torch.zeros(kernels.CHUNKS, 3, 4, dtype=torch.float64)
        in_parts(
            kernels.backward,
            rows.numpy(),
            *(value.numpy() for value in (means, quats, scales, viewmat)),
            ctx.lens,
            *v_splats,
            *(value.numpy() for value in v_gaussians),
            v_view.numpy(),
        )
        v_viewmat = torch.nn.functional.pad(v_view.sum(dim=0), (0, 0, 0, 1)).to(means.dtype)
        return (*v_gaussians, None, v_viewmat, None, None)
