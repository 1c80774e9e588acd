"""A preference for rest: mean speed of the Gaussians that may move (paper Eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from flux4d.supervision.losses.term import LossInput, LossTerm


def mean_speed(view: LossInput) -> Tensor | None:
    """Mean norm of the motion coefficients of all Gaussians but the sky, which never moves.

    For motion polynomials the norm runs over all (L + 1) * 3 coefficients of a Gaussian, m / s^(j+1).

    Returns:
        [] m/s, or None if there is only sky.
    """
    moving = view.gaussians.velocities[~view.gaussians.is_sky].flatten(1)
    return torch.linalg.vector_norm(moving, dim=-1).mean() if len(moving) else None


SPEED = LossTerm(
    value=mean_speed,
    weight=5e-3,
    label="speed",
    title="Mean speed of what may move",
    unit="m/s",
    digits=2,
    head="m/s",
)
