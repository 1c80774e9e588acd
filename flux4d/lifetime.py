"""How much of each Gaussian is there at a time: a bell curve over time around the Gaussian's own time.

The temporal opacity of 4D Gaussian splatting (arXiv 2310.10642, Eq. 9) and, with ``sigma_t = scale / sqrt(2)``, of
spacetime Gaussians (arXiv 2312.16812, Eq. 6).
"""

from __future__ import annotations

import torch
from torch import Tensor

from flux4d.gaussians import Gaussians

LEAST_PRESENCE = 0.05
"""2.4 lifetimes from the own time. What is less there counts as gone where it is not drawn, as in 4DGS's kernels."""


def presence(
    times: Tensor,  # [N]
    sigma_t: Tensor,  # [N]
    time: Tensor | float,
) -> Tensor:
    """``exp(-((t - t_i) / sigma_i)^2 / 2)``: 1 at the Gaussian's own time.

    Args:
        times: The Gaussians' own times t_i, s.
        sigma_t: Their lifetimes, s, above 0; inf is always there.
        time: s, one for all or [N].

    Returns:
        Tensor: [N] in [0, 1], differentiable in all three.
    """
    return torch.exp(-0.5 * ((time - times) / sigma_t).square())


def opacities_at(gaussians: Gaussians, time: Tensor | float) -> Tensor:
    """Opacities at `time`: those of the Gaussians times their `presence`.

    Args:
        gaussians: N Gaussians.
        time: s since the clip's first sweep stamp, one for all Gaussians or [N].

    Returns:
        Tensor: [N]; the very column `gaussians.opacities` where no Gaussian has a lifetime. Sky has none: it keeps
            its opacity.
    """
    if gaussians.sigma_t is None:
        return gaussians.opacities
    there = presence(gaussians.times, gaussians.sigma_t, time)
    return torch.where(gaussians.is_sky, gaussians.opacities, gaussians.opacities * there)


def is_there(gaussians: Gaussians, time: Tensor | float) -> Tensor:
    """Which Gaussians are there at `time`: those whose `presence` is at least `LEAST_PRESENCE`, and sky. [N] bool"""
    if gaussians.sigma_t is None:
        return torch.ones_like(gaussians.is_sky)
    return gaussians.is_sky | (presence(gaussians.times, gaussians.sigma_t, time) >= LEAST_PRESENCE)
