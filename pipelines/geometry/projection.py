"""The pinhole projection of world points into a camera.

PandaSet's images are already undistorted: the pinhole matrix of ``intrinsics.json`` is all there is, and
its distortion coefficients must not be applied. Everything here multiplies and adds element by element in a
fixed order, never through BLAS, so that the result has the same bits on every x86 CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.geometry.rigid import checked_points, invert_rigid


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """The points that fall into a camera's image; Q rows, in the order of the points."""

    rows: NDArray[np.int64]  # [Q] rows of the points, ascending
    uv: NDArray[np.float64]  # [Q, 2] pixels, centres at +0.5: column = floor(u)
    depth: NDArray[np.float64]  # [Q] m, z-depth, at least the near plane's


def project(
    points_world: NDArray[np.float64],  # [P, 3] m
    cam2world: NDArray[np.float64],  # [4, 4] OpenCV axes
    K: NDArray[np.float64],  # [3, 3] pixels
    width: int,
    height: int,
    near: float = 0.1,
) -> Projection:
    """Project world points with a pinhole camera and keep those in front of the near plane and within the image.

    Pixel centres lie at +0.5 (gsplat, COLMAP): ``u = fx x/z + cx`` with K used as it is, the pixel of a point is
    ``floor(u), floor(v)`` and the image spans ``[0, width) x [0, height)``. PandaSet does not say which
    convention its K has, and its data cannot tell: on log 002 with the ego at rest, LiDAR depth edges sit 0.9 to
    5 px beside the image's, by another amount and sign for each camera. K is taken as it is.

    Args:
        points_world: [P, 3] m.
        cam2world: [4, 4] rigid.
        K: [3, 3]; the bottom row is (0, 0, 1) and K[1, 0] is 0.
        width: image width in pixels.
        height: image height in pixels.
        near: smallest depth that has a pixel, m.

    Raises:
        ValueError: wrong shapes, a `cam2world` that is not rigid, a K that is not upper triangular.
    """
    world2cam = invert_rigid(cam2world)
    K = np.ascontiguousarray(K, dtype=np.float64)
    if K.shape != (3, 3) or not np.isfinite(K).all() or K[1, 0] != 0 or tuple(K[2]) != (0, 0, 1):
        raise ValueError(f"K must be a finite upper triangular 3x3 matrix with bottom row (0, 0, 1), got\n{K}")
    if not near > 0:
        raise ValueError(f"near must be positive, got {near}")
    return Projection(*_project(world2cam, checked_points(points_world), K, width, height, near))


@njit(cache=True, nogil=True)
def _project(
    world2cam: NDArray[np.float64],
    points: NDArray[np.float64],
    K: NDArray[np.float64],
    width: int,
    height: int,
    near: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    rows = np.empty(len(points), dtype=np.int64)
    uv = np.empty((len(points), 2))
    depth = np.empty(len(points))
    count = 0
    for i in range(len(points)):
        p, q, r = points[i, 0], points[i, 1], points[i, 2]
        z = world2cam[2, 0] * p + world2cam[2, 1] * q + world2cam[2, 2] * r + world2cam[2, 3]
        if z < near:
            continue
        x = world2cam[0, 0] * p + world2cam[0, 1] * q + world2cam[0, 2] * r + world2cam[0, 3]
        y = world2cam[1, 0] * p + world2cam[1, 1] * q + world2cam[1, 2] * r + world2cam[1, 3]
        u = (K[0, 0] * x + K[0, 1] * y) / z + K[0, 2]
        v = K[1, 1] * y / z + K[1, 2]
        if 0.0 <= u < width and 0.0 <= v < height:
            rows[count], depth[count] = i, z
            uv[count, 0], uv[count, 1] = u, v
            count += 1
    return rows[:count].copy(), uv[:count].copy(), depth[:count].copy()
