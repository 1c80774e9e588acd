"""Pixels of an image that show moving cuboids, at the camera's own time."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.geometry.rigid import invert_rigid, transform_points
from pipelines.ground_truth.scene_flow import box_corners, match_tracks, moving_boxes
from pipelines.sources.base import CameraFrame, Cuboids

_NEAR_M = 0.1
_EDGES = np.array([(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)])  # [12, 2]


def moving_mask(
    camera_frame: CameraFrame,
    width: int,
    height: int,
    cuboids: Cuboids,
    cuboids_next: Cuboids,
    time: float,
    time_next: float,
    sensor: int = 0,
    box_times: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    """Mask of the pixels whose centres lie in the outline of a moving cuboid.

    Every moving box of the LiDAR `sensor` (its own boxes and those of both, never the sibling boxes of another) is
    brought to the camera's time along the straight line between its two poses, the yaw the shorter way round, or
    beyond them. A box moves when `moving_boxes` says so; a track missing in the other frame counts as unknown and
    leaves no mark. At the end of a log pass the previous frame as the next one, with its earlier time.

    A cuboid lies where its points are, so it is true at the time the LiDAR passed it and not at the sweep's stamp:
    on PandaSet 50 to 100 ms earlier, more than half a metre at 10 m/s. `box_times` carries that.

    Args:
        camera_frame: the camera and its pose at its own time.
        width: image width in pixels.
        height: image height in pixels.
        cuboids: boxes of the camera's frame.
        cuboids_next: boxes of a neighbouring frame.
        time: stamp of `cuboids`, s.
        time_next: stamp of `cuboids_next`, s.
        sensor: LiDAR whose boxes count.
        box_times: [M] s, when each box of `cuboids` is true (`annotation_times`); default: all at `time`.

    Returns:
        [height, width] bool.

    Raises:
        ValueError: both stamps are the same, or a track stands twice in a frame.
        CameraModelError: boxes move, and the camera is no pinhole.
    """
    if time == time_next:
        raise ValueError(f"frames {cuboids.frame} and {cuboids_next.frame} have the same time {time} s")
    mask = np.zeros((height, width), dtype=np.bool_)
    own = (cuboids.sensor == -1) | (cuboids.sensor == sensor)
    rows = np.flatnonzero(moving_boxes(cuboids, cuboids_next) & own)
    rows_next = match_tracks(cuboids, cuboids_next)[rows]
    true_at = np.full(len(rows), time) if box_times is None else box_times[rows]
    share = (camera_frame.time - true_at) / (time_next - time)
    step = cuboids_next.position[rows_next] - cuboids.position[rows]
    turn = cuboids_next.yaw[rows_next] - cuboids.yaw[rows]
    turn -= 2 * np.pi * np.round(turn / (2 * np.pi))
    position = cuboids.position[rows] + share[:, None] * step
    corners = box_corners(position, cuboids.size[rows], cuboids.yaw[rows] + share * turn)
    in_camera = transform_points(invert_rigid(camera_frame.cam2world), corners.reshape(-1, 3)).reshape(-1, 8, 3)
    K = camera_frame.pinhole() if len(in_camera) else camera_frame.K
    for box in in_camera:
        _fill_outline(mask, _visible_part(box), K)
    return mask


def _visible_part(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vertices [V, 3] of the part of a box [8, 3] (camera axes, m) that lies beyond the near plane."""
    start, end = box[_EDGES[:, 0]], box[_EDGES[:, 1]]
    crossing = (start[:, 2] < _NEAR_M) != (end[:, 2] < _NEAR_M)
    start, end = start[crossing], end[crossing]
    cut = start + (end - start) * ((_NEAR_M - start[:, 2]) / (end[:, 2] - start[:, 2]))[:, None]
    cut[:, 2] = _NEAR_M
    return np.concatenate([box[box[:, 2] >= _NEAR_M], cut])


def _fill_outline(mask: NDArray[np.bool_], vertices: NDArray[np.float64], K: NDArray[np.float64]) -> None:
    """Set the pixels of `mask` whose centres lie in the convex hull of the projected vertices."""
    if len(vertices) < 3:
        return
    x, y, z = vertices.T
    u, v = (K[0, 0] * x + K[0, 1] * y) / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
    height, width = mask.shape
    top, bottom = max(int(np.ceil(v.min() - 0.5)), 0), min(int(np.floor(v.max() - 0.5)) + 1, height)
    left, right = max(int(np.ceil(u.min() - 0.5)), 0), min(int(np.floor(u.max() - 0.5)) + 1, width)
    if top >= bottom or left >= right:
        return
    hull = _convex_hull(np.stack([u, v], axis=1))
    if len(hull) >= 3:
        _fill_hull(mask, hull, top, bottom, left, right)


def _convex_hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners of the convex hull of points [N, 2], in the order that keeps the inside on the positive side."""
    ordered = points[np.lexsort((points[:, 1], points[:, 0]))]
    half: list[list[NDArray[np.float64]]] = [[], []]
    for chain, sequence in zip(half, (ordered, ordered[::-1]), strict=True):
        for point in sequence:
            while len(chain) >= 2 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
    return np.array(half[0][:-1] + half[1][:-1])


def _turn(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


@njit(cache=True, nogil=True)
def _fill_hull(
    mask: NDArray[np.bool_],  # [H, W] changed in place
    hull: NDArray[np.float64],  # [N, 2] pixels
    top: int,
    bottom: int,
    left: int,
    right: int,
) -> None:
    """Set the pixels of rows top..bottom and columns left..right whose centres lie in the hull."""
    for row in range(top, bottom):
        first, end = left, right
        for n in range(len(hull)):
            u0, v0 = hull[n]
            u1, v1 = hull[(n + 1) % len(hull)]
            # Along a row the sign changes once, rounding included: the ends of the run are found by halving.
            begins = v1 - v0 <= 0
            low, high = first, end
            while low < high:
                column = (low + high) // 2
                inside = (u1 - u0) * (row + 0.5 - v0) - (v1 - v0) * (column + 0.5 - u0) >= 0
                if inside == begins:
                    high = column
                else:
                    low = column + 1
            if begins:
                first = low
            else:
                end = low
        for column in range(first, end):
            mask[row, column] = True
