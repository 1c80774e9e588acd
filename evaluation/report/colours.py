"""Colours of the pictures: ramps for depth and error, a wheel for velocity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DEPTH_RAMP = ((253, 231, 37), (94, 201, 98), (33, 145, 140), (59, 82, 139), (68, 1, 84))
"""Near is bright, far is dark."""
ERROR_RAMP = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""Black is right, bright is wrong."""
_BAR = (12, 240)
"""Height and width of a colour bar, pixels."""


def ramp(values: NDArray[np.floating], stops: tuple[tuple[int, int, int], ...]) -> NDArray[np.uint8]:
    """Colours [..., 3] of values in [0, 1] (clipped), [...]."""
    position = np.linspace(0.0, 1.0, len(stops))
    table = np.array(stops, float)
    clipped = np.clip(values, 0.0, 1.0)
    return np.stack([np.interp(clipped, position, table[:, c]) for c in range(3)], -1).round().astype(np.uint8)


def depth_colours(depth: NDArray[np.floating], near: float, far: float) -> NDArray[np.uint8]:
    """Depth in metres [...] on a logarithmic ramp from `near` to `far`; black where the depth is 0 (nothing there)."""
    colours = ramp(np.log(np.maximum(depth, near) / near) / np.log(far / near), DEPTH_RAMP)
    colours[depth <= 0] = 0
    return colours


def velocity_colours(velocity: NDArray[np.floating], full_speed: float) -> NDArray[np.uint8]:
    """Horizontal velocity [..., 2 or more] in m/s: direction is hue, speed saturation; white stands still.

    Red moves along +x, colours turn with the angle; saturation is full from `full_speed` on.
    """
    x, y = velocity[..., 0], velocity[..., 1]
    saturation = np.clip(np.hypot(x, y) / full_speed, 0.0, 1.0)[..., None]
    hue = np.arctan2(y, x) / (2 * np.pi)
    # A hue circle of three raised cosines is smooth, so direction noise does not look like edges.
    phase = 2 * np.pi * (hue[..., None] - np.array([0.0, 1.0, 2.0]) / 3)
    pure = 0.5 + 0.5 * np.cos(phase)
    colours: NDArray[np.uint8] = (255 * (1.0 - saturation * (1.0 - pure))).round().astype(np.uint8)
    return colours


def velocity_wheel(size: int) -> NDArray[np.uint8]:
    """Legend of `velocity_colours`, [size, size, 3]: +y up, full saturation at the rim, white outside."""
    axis = (np.arange(size) + 0.5) / size * 2.0 - 1.0
    x, y = np.meshgrid(axis, -axis)
    wheel = velocity_colours(np.stack([x, y], -1), 1.0)
    wheel[np.hypot(x, y) > 1.0] = 255
    return wheel


def depth_legend(near: float, far: float) -> NDArray[np.uint8]:  # [h, w, 3]
    """Colour bar of `depth_colours`."""
    return _bar(depth_colours(np.geomspace(near, far, _BAR[1]), near, far))


def error_legend() -> NDArray[np.uint8]:  # [h, w, 3]
    """Colour bar of errors on `ERROR_RAMP`, none to the left."""
    return _bar(ramp(np.linspace(0.0, 1.0, _BAR[1]), ERROR_RAMP))


def _bar(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.broadcast_to(colours, (_BAR[0], *colours.shape)).copy()
