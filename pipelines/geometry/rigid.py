"""Rigid transforms: applied, inverted, composed and interpolated, with the same bits on every CPU.

Everything here multiplies and adds element by element in a fixed order, never through BLAS, which may fuse
multiply-adds differently from CPU to CPU.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_SMALL_TURN = 1e-4
"""Turns below this, rad, are too small to divide by their sine, which is rounded."""


def transform_points(a2b: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of frame a in frame b.

    Args:
        a2b: [4, 4] transform.
        points: [P, 3] m, in a.

    Returns:
        [P, 3] m, in b.

    Raises:
        ValueError: wrong shapes or a transform that is not finite.
    """
    moved: NDArray[np.float64] = _affine(_checked_transform(a2b), checked_points(points))
    return moved


def invert_rigid(a2b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse ``b2a`` [4, 4] of a rotation plus translation [4, 4].

    Raises:
        ValueError: `a2b` is not finite, or its 3x3 part is not a rotation (orthonormal to 1e-6, not a mirror).
    """
    matrix = _checked_transform(a2b)
    rotation = matrix[:3, :3]
    gram = (rotation[:, :, None] * rotation[:, None, :]).sum(axis=0)
    handedness = float(np.dot(np.cross(rotation[0], rotation[1]), rotation[2]))
    if np.abs(gram - np.eye(3)).max() > 1e-6 or handedness < 0:
        raise ValueError(f"not a rigid transform: its 3x3 part is no rotation\n{matrix}")
    inverse = np.eye(4)
    inverse[:3, :3] = rotation.T
    x, y, z = matrix[:3, 3]
    inverse[:3, 3] = -(rotation[0] * x + rotation[1] * y + rotation[2] * z)
    return inverse


def compose(a2b: NDArray[np.float64], b2c: NDArray[np.float64]) -> NDArray[np.float64]:  # [4, 4]
    """a2c, by plain sums: BLAS may fuse multiply-adds differently from CPU to CPU."""
    product: NDArray[np.float64] = (b2c[:, :, None] * a2b[None, :, :]).sum(axis=1)
    return product


def cos_sin(angle: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine and sine of angles in radians, with the same bits on every CPU."""
    # Their last bits differ between CPUs; 12 decimals (a picometre on a box) do not.
    return np.cos(angle, dtype=np.float64).round(12), np.sin(angle, dtype=np.float64).round(12)


def interpolate_pose(
    start: NDArray[np.float64],  # [4, 4] rigid, a2world
    end: NDArray[np.float64],  # [4, 4] rigid, a2world
    share: float,
) -> NDArray[np.float64]:
    """Pose [4, 4] after `share` of the constant twist (screw motion) that takes `start` to `end`.

    ``start exp(share log(start^-1 end))``. What is bolted to the moving body has the same motion, whatever point of
    the body its frame is in: a camera and the ego frame interpolated apart stay as far apart as they are. Below 0
    and above 1 the twist goes on. Bits do not depend on the CPU.

    Raises:
        ValueError: half a turn lies between the poses, so that the way round is not known.
    """
    rotation = start[:3, :3]
    turn = _product(rotation.T, end[:3, :3])
    step = _product(rotation.T, (end[:3, 3] - start[:3, 3])[:, None])[:, 0]
    axis, angle = _axis_angle(turn)
    # About the axis a screw is a circle: its chord is 2 r sin(angle / 2), and lies half the angle from the tangent.
    # Along the axis it is a straight line.
    angles = np.array([angle * share, angle / 2, angle * share / 2, angle * (share - 1) / 2])
    cos, sin = cos_sin(angles)
    chord = share if angle < _SMALL_TURN else sin[2] / sin[1]
    along = axis * (axis[0] * step[0] + axis[1] * step[1] + axis[2] * step[2])
    moved = share * along + chord * _turned(axis, cos[3], sin[3], (step - along)[:, None])[:, 0]
    pose = np.eye(4)
    pose[:3, :3] = _product(rotation, _turned(axis, cos[0], sin[0], np.eye(3)))
    pose[:3, 3] = start[:3, 3] + _product(rotation, moved[:, None])[:, 0]
    return pose


def _axis_angle(turn: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Unit axis [3] and angle in [0, pi) of a rotation [3, 3]."""
    twice = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    sine = np.sqrt(twice[0] * twice[0] + twice[1] * twice[1] + twice[2] * twice[2]) / 2
    cosine = (turn[0, 0] + turn[1, 1] + turn[2, 2] - 1) / 2
    if sine < 1e-6 and cosine < 0:
        raise ValueError("the pose makes half a turn, which can be either way round")
    if sine == 0:
        return np.array([0.0, 0.0, 1.0]), 0.0
    # Rounded for the same reason as in `cos_sin`.
    return twice / (2 * sine), float(np.arctan2(sine, cosine).round(12))


def _turned(
    axis: NDArray[np.float64],  # [3] unit
    cos: float,
    sin: float,
    columns: NDArray[np.float64],  # [3, C]
) -> NDArray[np.float64]:
    """Column vectors turned about an axis, [3, C] (Rodrigues)."""
    x, y, z = axis
    rotation = np.array(
        [
            [cos + (1 - cos) * x * x, (1 - cos) * x * y - sin * z, (1 - cos) * x * z + sin * y],
            [(1 - cos) * x * y + sin * z, cos + (1 - cos) * y * y, (1 - cos) * y * z - sin * x],
            [(1 - cos) * x * z - sin * y, (1 - cos) * y * z + sin * x, cos + (1 - cos) * z * z],
        ]
    )
    return _product(rotation, columns)


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix product [3, C] of [3, 3] and [3, C], added up in a fixed order (BLAS has one for each CPU)."""
    product: NDArray[np.float64] = a[:, 0:1] * b[0] + a[:, 1:2] * b[1] + a[:, 2:3] * b[2]
    return product


def _checked_transform(a2b: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.ascontiguousarray(a2b, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError(f"a transform is a finite 4x4 matrix, got shape {matrix.shape}\n{matrix}")
    return matrix


def checked_points(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points as contiguous float64 [P, 3].

    Raises:
        ValueError: another shape.
    """
    array = np.ascontiguousarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"points must have shape [P, 3], got {list(array.shape)}")
    return array


@njit(cache=True, nogil=True)
def _affine(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.empty_like(points)
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for row in range(3):
            out[i, row] = matrix[row, 0] * x + matrix[row, 1] * y + matrix[row, 2] * z + matrix[row, 3]
    return out
