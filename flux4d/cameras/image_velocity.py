"""Optical flow of Gaussians, pixels a second: the projection's Jacobian times the velocity relative to the camera."""

from __future__ import annotations

import torch
from torch import Tensor

NEAR_M = 0.01
"""Points at less z-depth have no image velocity; the rasteriser leaves them out (its default near plane)."""


def image_velocity(
    means: Tensor,  # [N, 3]
    velocities: Tensor,  # [N, 3]
    viewmat: Tensor,  # [4, 4]
    K: Tensor,  # [3, 3]
    twist: Tensor | None = None,  # [6]
) -> Tensor:
    """``d(u, v)/dt`` of the centres: ``J (R p' - v - w x X)`` with the Jacobian J of the pinhole projection at X.

    Args:
        means: Centres in world axes, m.
        velocities: Their velocities in world axes, m/s.
        viewmat: World to camera (OpenCV axes).
        K: Intrinsics in pixels; its skew is not used, as in the rasteriser.
        twist: The camera's own velocity v, m/s, and angular velocity w, rad/s, in its axes; None is a camera that
            stands still.

    Returns:
        Tensor: [N, 2] px/s, differentiable. No slope is clamped: it is the centre's true motion, which is large for
        what passes close by. Exactly zero for what stands still before a camera that does, and for centres behind
        or nearer than `NEAR_M`.
    """
    px, py, pz = means.unbind(dim=1)
    vx, vy, vz = velocities.unbind(dim=1)
    # Spelled out, so that zero velocities give zeros whatever order a matrix product would sum in.
    x, y, z = (viewmat[i, 0] * px + viewmat[i, 1] * py + viewmat[i, 2] * pz + viewmat[i, 3] for i in range(3))
    dx, dy, dz = (viewmat[i, 0] * vx + viewmat[i, 1] * vy + viewmat[i, 2] * vz for i in range(3))
    if twist is not None:
        tx, ty, tz, wx, wy, wz = twist.unbind()
        dx = dx - tx - (wy * z - wz * y)
        dy = dy - ty - (wz * x - wx * z)
        dz = dz - tz - (wx * y - wy * x)
    seen = z > NEAR_M
    z = torch.where(seen, z, torch.ones_like(z))
    flow = torch.stack([K[0, 0] * (dx - x / z * dz) / z, K[1, 1] * (dy - y / z * dz) / z], dim=1)
    return torch.where(seen[:, None], flow, torch.zeros_like(flow))
