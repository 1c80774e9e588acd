"""Where each Gaussian is at a time: the polynomial motion of Flux4D (arXiv 2512.03210, Eq. 2 and supplement A.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from flux4d.gaussians import Gaussians


def move(gaussians: Gaussians, time: Tensor | float) -> Tensor:
    """Means at `time`: ``p_i(t) = p_i + sum_j v_ij (t^(j+1) - t_i^(j+1)) / (j+1)``; one term is linear motion.

    Args:
        gaussians: N Gaussians, each at its own time t_i.
        time: s since the clip's first sweep stamp, one for all Gaussians or [N].

    Returns:
        Tensor: [N, 3] m. Rows of `gaussians.is_sky` stay where they are.
    """
    offset = torch.zeros_like(gaussians.means)
    for degree, velocity in enumerate(gaussians.velocities.unbind(dim=1), start=1):
        elapsed = (time**degree - gaussians.times**degree) / degree
        offset = offset + velocity * elapsed[:, None]
    return torch.where(gaussians.is_sky[:, None], gaussians.means, gaussians.means + offset)


def velocity_at(gaussians: Gaussians, time: Tensor | float) -> Tensor:
    """Velocities at `time`, the derivative of `move`: ``sum_j v_ij t^j``.

    Args:
        gaussians: N Gaussians.
        time: s since the clip's first sweep stamp, one for all Gaussians or [N].

    Returns:
        Tensor: [N, 3] m/s in ego0 axes, exactly zero for rows of `gaussians.is_sky`.
    """
    times = torch.as_tensor(time, dtype=gaussians.times.dtype, device=gaussians.times.device)
    times = times.expand_as(gaussians.times)
    velocity = torch.zeros_like(gaussians.means)
    for degree, coefficient in enumerate(gaussians.velocities.unbind(dim=1)):
        velocity = velocity + coefficient * (times**degree)[:, None]
    return torch.where(gaussians.is_sky[:, None], torch.zeros_like(velocity), velocity)
