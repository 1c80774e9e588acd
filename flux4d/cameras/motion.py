"""Camera motion: the twist (linear and angular velocity) from the clip's poses, and points seen a moment later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flux4d.cameras.posed import Posed

_MAX_TURN = 3.0
"""Largest turn between two poses, rad: near half a turn (3.14) it is not known which way round it went."""
_SMALL_TURN = 1e-3
"""Below this angle, rad, a series stands in for a quotient that cancels."""


def camera_twists(
    views: Sequence[Posed],
    path: Sequence[Posed],
) -> NDArray[np.float64]:
    """Linear and angular velocity of each view's camera at the view's time, from the same camera's other poses.

    The twist is that of the camera in its own axes (x right, y down, z forward), so that
    ``cam2ego0(t + dt) = cam2ego0(t) exp(dt [twist])``. It is the mean of the constant twists to the pose before and to
    the one after, weighted so that a twist that changes evenly is met; at the ends of the path, that to the only
    neighbour. Poses only: nothing is learned from what a camera sees.

    Args:
        views: C views.
        path: Views of the clip, any order and number; those of the same camera are used.

    Returns:
        Twists [C, 6]: velocity in m/s, angular velocity in rad/s. Exactly zero for a camera that stands still.

    Raises:
        ValueError: a camera has a single view, two at one time, or nearly half a turn between two.
    """
    return np.array([_twist(view, path) for view in views]).reshape(-1, 6)


def _twist(view: Posed, path: Sequence[Posed]) -> NDArray[np.float64]:
    others = [other for other in path if other.name == view.name and other.frame != view.frame]
    if not others:
        raise ValueError(
            f"{view.name} has no view but that of frame {view.frame}: its motion is not known, so no shutter can be"
            " rendered; give the clip's other views too, or leave the shutter out"
        )
    before = max((other for other in others if other.frame < view.frame), key=lambda other: other.frame, default=view)
    after = min((other for other in others if other.frame > view.frame), key=lambda other: other.frame, default=view)
    if before is view or after is view:
        return _between(before, after)
    past, ahead = view.time - before.time, after.time - view.time
    return (ahead * _between(before, view) + past * _between(view, after)) / (past + ahead)


def _between(start: Posed, end: Posed) -> NDArray[np.float64]:
    """Constant twist [6] that takes one pose of a camera to a later one."""
    elapsed = end.time - start.time
    where = f"{start.name}, frames {start.frame} and {end.frame}"
    if not elapsed > 0:
        raise ValueError(f"{where}: views at {start.time} and {end.time} s, times must increase; correct the stamps")
    try:
        return _log(start.cam2ego0, end.cam2ego0) / elapsed
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _log(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """``log(start^-1 end)`` as (translation, rotation vector) [6]; equal poses give exactly zero."""
    rotation = start[:3, :3]
    # Summed in one order for (i, j) and (j, i), so that equal rotations leave nothing to their difference.
    turn = (rotation[:, :, None] * end[:3, None, :3]).sum(axis=0)
    step = rotation.T @ (end[:3, 3] - start[:3, 3])
    twice = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    sine = float(np.linalg.norm(twice)) / 2
    angle = float(np.arctan2(sine, (np.trace(turn) - 1) / 2))
    if angle > _MAX_TURN:
        raise ValueError(f"a turn of {angle:.2f} rad can have been either way round; give poses closer in time")
    vector = twice / 2 * (angle / sine if sine > 0 else 1.0)
    # (1 - (angle / 2) / tan(angle / 2)) / angle^2
    small = angle < _SMALL_TURN
    weight = 1 / 12 + angle**2 / 720 if small else (1 - angle / 2 / np.tan(angle / 2)) / angle**2
    along = step - np.cross(vector, step) / 2 + weight * np.cross(vector, np.cross(vector, step))
    return np.concatenate([along, vector])


def drift(
    points: Tensor,  # [N, 3]
    twist: Tensor,  # [6]
    elapsed: Tensor,  # [N]
) -> Tensor:
    """How far points that stay in the world move in the axes of a moving camera: ``exp(-dt [twist]) p - p``.

    Args:
        points: In camera axes at some time, m.
        twist: The camera's velocity in its own axes, m/s and rad/s, as of `camera_twists`.
        elapsed: s since that time, of each point.

    Returns:
        Tensor: [N, 3] m in the camera's axes at the later time. Exactly zero with a zero twist, differentiable.
    """
    axis, angle = _axis_angle(twist, elapsed)
    velocity = twist[:3]
    across = torch.linalg.cross(axis, velocity)
    centre = torch.linalg.cross(axis, across)
    # The integral of a rotation by -angle; torch.sinc(x) is sin(pi x) / (pi x).
    bend = torch.sin(angle / 2) * torch.sinc(angle / (2 * torch.pi))
    flat = 1 - torch.sinc(angle / torch.pi)
    carried = velocity - bend[:, None] * across + flat[:, None] * centre
    moved: Tensor = swing(points, twist, elapsed) - elapsed[:, None] * carried
    return moved


def swing(
    vectors: Tensor,  # [N, 3]
    twist: Tensor,  # [6]
    elapsed: Tensor,  # [N]
) -> Tensor:
    """The part of `drift` that directions have too: what the camera's turning changes in them. [N, 3]"""
    axis, angle = _axis_angle(twist, elapsed)
    across = torch.linalg.cross(axis.expand_as(vectors), vectors)
    twice = torch.linalg.cross(axis.expand_as(vectors), across)
    turned: Tensor = 2 * torch.sin(angle / 2).square()[:, None] * twice - torch.sin(angle)[:, None] * across
    return turned


def _axis_angle(twist: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
    """Unit axis [3] and the angle about it, rad [N]."""
    turning = twist[3:]
    # A camera that does not turn has no axis: any will do, and dividing by its length would spoil gradients.
    # Nor has one whose turning is too small to square.
    aside = torch.where(turning.square().sum() > 0, turning, torch.ones_like(turning))
    axis = aside / aside.norm()
    return axis, (turning * axis).sum() * elapsed
