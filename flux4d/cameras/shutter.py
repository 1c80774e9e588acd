"""Rolling shutter: a camera that reads its rows one after the other sees each Gaussian at its own row's time.

A Gaussian's row and the time of that row depend on each other. To first order both move evenly, which has a closed
form (`capture_delays`). The Gaussian is then moved to that time, put where the camera of that time sees it, and given
to the rasteriser as a displaced mean of the camera at its nominal time, so that every backend can draw it.

Left out: a Gaussian has one time, that of its centre's row, also where it covers many rows; and its shape is not
turned with the camera within the delay (0.4 degrees at 0.5 rad/s and 15 ms).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from flux4d.cameras.image_velocity import NEAR_M, image_velocity
from flux4d.cameras.motion import drift
from flux4d.gaussians import Gaussians
from flux4d.motion import move, velocity_at

MAX_TIME_S = 0.2
"""Largest readout and offset, s. Cameras read out in 10 to 50 ms; a larger number is meant in ms."""
_MIN_RATE = 0.2
"""Least share of the rows' own speed at which the readout meets a point that moves along with it."""


@dataclass(frozen=True, slots=True)
class Shutter:
    """When a camera's rows are exposed: row r of H at ``View.time + offset + ((r + 0.5) / H - 0.5) readout``.

    Both zero is a global shutter at the view's time.
    """

    readout: float = 0.0
    """s from the first row to the last; negative: the last row comes first."""
    offset: float = 0.0
    """s from the view's time to the middle of the exposures; negative is earlier."""

    def __post_init__(self) -> None:
        for name, value in (("readout", self.readout), ("offset", self.offset)):
            if not (math.isfinite(value) and abs(value) <= MAX_TIME_S):
                raise ValueError(
                    f"shutter {name}={value}: at most {MAX_TIME_S} s either way; give seconds, not milliseconds"
                )

    @property
    def instant(self) -> bool:
        """Whether all rows are exposed at the view's time."""
        return self.readout == 0 and self.offset == 0

    def row_delays(self, rows: Tensor, height: int) -> Tensor:
        """s from the view's time to the exposure at image rows (a pixel's centre is at +0.5), any shape."""
        return self.offset + self.readout * ((rows - height / 2) / height)


def capture_delays(
    means: Tensor,  # [N, 3]
    velocities: Tensor,  # [N, 3]
    viewmat: Tensor,  # [4, 4]
    K: Tensor,  # [3, 3]
    twist: Tensor,  # [6]
    height: int,
    shutter: Shutter,
) -> Tensor:
    """When, after the view's time, the row that sees each centre is exposed: ``d = delay(v + d dv/dt)``.

    Args:
        means: Centres at the view's time in world axes, m.
        velocities: Velocities then, m/s.
        viewmat: World to camera (OpenCV axes) at the view's time.
        K: Intrinsics in pixels.
        twist: The camera's velocity in its axes, m/s and rad/s (`flux4d.cameras.motion.camera_twists`).
        height: Image height in pixels.
        shutter: The exposures.

    Returns:
        Tensor: [N] s, differentiable, within the times of the image's rows: centres above and below the image are
        seen with its first and last row. Centres behind the camera have the shutter's offset.
    """
    depth = means @ viewmat[2, :3] + viewmat[2, 3]
    seen = depth > NEAR_M
    depth = torch.where(seen, depth, torch.ones_like(depth))
    row = K[1, 1] * (means @ viewmat[1, :3] + viewmat[1, 3]) / depth + K[1, 2]
    row = torch.where(seen, row, torch.full_like(row, height / 2))
    flow = image_velocity(means, velocities, viewmat, K, twist)[:, 1]
    rate = 1 - shutter.readout / height * flow
    delays = shutter.row_delays(row, height) / rate.clamp(min=_MIN_RATE)
    half = abs(shutter.readout) / 2
    return delays.clamp(shutter.offset - half, shutter.offset + half)


def displace(
    gaussians: Gaussians,
    time: Tensor,  # []
    viewmat: Tensor,  # [4, 4]
    K: Tensor,  # [3, 3]
    twist: Tensor,  # [6]
    height: int,
    shutter: Shutter,
) -> tuple[Tensor, Tensor]:
    """Where a camera with a shutter sees the Gaussians, as places before the camera at its nominal time.

    Args:
        gaussians: N Gaussians; sky is seen by the moving camera too.
        time: The view's time, s.
        viewmat: World to camera (OpenCV axes) at that time.
        K: Intrinsics in pixels.
        twist: The camera's velocity in its axes, m/s and rad/s.
        height: Image height in pixels.
        shutter: The exposures.

    Returns:
        means: World position [N, 3] in m that `viewmat` sees where the camera of that moment sees the Gaussian.
        delays: s after `time` at which each Gaussian is seen [N].
    """
    delays = capture_delays(move(gaussians, time), velocity_at(gaussians, time), viewmat, K, twist, height, shutter)
    means = move(gaussians, time + delays)
    local = means @ viewmat[:3, :3].T + viewmat[:3, 3]
    return means + drift(local, twist, delays) @ viewmat[:3, :3], delays
