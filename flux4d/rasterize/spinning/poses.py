"""Poses between two poses, along the constant twist (screw motion) that joins them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_SMALL_TURN = 1e-6


def twist_between(
    start: NDArray[np.float64],  # [4, 4] rigid, sensor2world
    end: NDArray[np.float64],  # [4, 4] rigid, sensor2world
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn [3] in rad and shift [3] in m, in the axes of the start: log of ``start^-1 end``.

    Raises:
        ValueError: more than a quarter turn lies between the poses: no two poses of a car 0.1 s apart do.
    """
    step = np.linalg.inv(start) @ end
    turn, moved = step[:3, :3], step[:3, 3]
    twice = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    sine = float(np.linalg.norm(twice)) / 2
    angle = math.atan2(sine, (np.trace(turn) - 1) / 2)
    if angle > math.pi / 2:
        raise ValueError(f"the sensor turns by {math.degrees(angle):.0f} degrees in one sweep; check the poses")
    if angle < _SMALL_TURN:
        return twice / 2, moved
    axis = twice / (2 * sine)
    # moved = J shift with J = sin/angle I + (1 - sin/angle) axis axis^T + (1 - cos)/angle [axis]x
    ratio, rest = math.sin(angle) / angle, (1 - math.cos(angle)) / angle
    J = ratio * np.eye(3) + (1 - ratio) * np.outer(axis, axis) + rest * _cross(axis)
    return axis * angle, np.asarray(np.linalg.solve(J, moved), np.float64)


def poses_between(
    start: NDArray[np.float64],  # [4, 4] rigid, sensor2world
    end: NDArray[np.float64],  # [4, 4] rigid, sensor2world
    share: NDArray[np.float64],
) -> NDArray[np.float64]:
    """[..., 4, 4] sensor2world after a share [...] of the way: 0 the start, 1 the end, others go on with the twist.

    Raises:
        ValueError: as `twist_between`.
    """
    turn, shift = twist_between(start, end)
    angle = float(np.linalg.norm(turn))
    axis = turn / angle if angle else turn
    share = np.asarray(share, np.float64)[..., None, None]
    phi = share * angle
    small = np.abs(phi) < _SMALL_TURN
    safe = np.where(small, 1.0, phi)
    ratio = np.where(small, 1.0, np.sin(safe) / safe)
    rest = np.where(small, phi / 2, (1 - np.cos(safe)) / safe)
    along, hat = np.outer(axis, axis), _cross(axis)
    # A turn of nothing has no axis: `along` is zero then, and ratio one.
    rotation = np.cos(phi) * np.eye(3) + (1 - np.cos(phi)) * along + np.sin(phi) * hat
    J = ratio * np.eye(3) + (1 - ratio) * along + rest * hat
    moved = np.zeros((*share.shape[:-2], 4, 4))
    moved[..., :3, :3], moved[..., :3, 3] = rotation, (share * J @ shift)
    moved[..., 3, 3] = 1.0
    return np.asarray(start @ moved)


def _cross(v: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
