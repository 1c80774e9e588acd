"""What the one public reproduction of the paper computes per frame, written anew from a description of it.

Its code has no licence: nothing here is copied from it. These are its algorithms as described, one point, voxel or box
at a time in Python, for a comparison of cost on the same data.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.spatial import cKDTree

from pipelines.sources.base import CameraFrame

VOXEL_M = 0.2
GREY = 0.5
DILATION_PX = 11
DYNAMIC_M = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """One cuboid."""

    track: str
    centre: NDArray[np.float64]  # [3] m, world
    size: NDArray[np.float64]  # [3] m
    yaw: float  # rad


def read_points(path: Path) -> NDArray[np.float64]:
    """Points of a sweep [P, 3] as pandas gives them, without a look at what the pickle runs."""
    table: pd.DataFrame = pd.read_pickle(path)  # noqa: S301 - this is what is measured
    return table[["x", "y", "z"]].to_numpy(dtype=np.float64)


def read_boxes(path: Path) -> list[Box]:
    """Cuboids of a frame, row by row."""
    boxes = []
    for _, row in pd.read_pickle(path).iterrows():  # noqa: S301 - this is what is measured
        centre = np.array([row[f"position.{axis}"] for axis in "xyz"], dtype=np.float64)
        size = np.array([row[f"dimensions.{axis}"] for axis in "xyz"], dtype=np.float64)
        boxes.append(Box(row["uuid"], centre, size, float(row["yaw"])))
    return boxes


def voxel_downsample(points: NDArray[np.float64], voxel: float = VOXEL_M) -> NDArray[np.float32]:
    """Mean point of every occupied voxel [V, 3], in the order they were first hit."""
    sums: dict[tuple[int, int, int], NDArray[np.float64]] = {}
    counts: dict[tuple[int, int, int], int] = {}
    for point, cell in zip(points, np.floor(points / voxel).astype(np.int64).tolist(), strict=True):
        key = tuple(cell)
        if key in sums:
            sums[key] = sums[key] + point
            counts[key] += 1
        else:
            sums[key] = point
            counts[key] = 1
    return np.stack([(total / counts[key]).astype(np.float32) for key, total in sums.items()])


def neighbour_scale(points: NDArray[np.float32], k: int = 3) -> NDArray[np.float64]:
    """Mean distance to the k nearest others [V]."""
    distance = cKDTree(points).query(points, k=k + 1)[0]
    mean: NDArray[np.float64] = distance[:, 1:].mean(axis=1)
    return mean


def load_image(jpeg: bytes) -> NDArray[np.float32]:
    """[H, W, 3] in 0..1."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), dtype=np.float32) / 255.0


def project_plain(
    points: NDArray[np.floating],  # [P, 3] m, world
    camera: CameraFrame,
    width: int,
    height: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Column, row, depth and index of the points in the image; the pixel by rounding, then clipping."""
    world2cam = np.linalg.inv(camera.cam2world)
    seen = points @ world2cam[:3, :3].T + world2cam[:3, 3]
    front = np.flatnonzero(seen[:, 2] > 0.1)
    pixels = seen[front] @ camera.K.T
    u, v = pixels[:, 0] / pixels[:, 2], pixels[:, 1] / pixels[:, 2]
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    column = np.clip(np.round(u[inside]), 0, width - 1).astype(np.int64)
    row = np.clip(np.round(v[inside]), 0, height - 1).astype(np.int64)
    return column, row, seen[front, 2][inside], front[inside]


def colour(
    points: NDArray[np.float32], cameras: Sequence[CameraFrame], images: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Colour from the first camera in the list that a point projects into [V, 3], grey where there is none."""
    rgb = np.full((len(points), 3), GREY, dtype=np.float32)
    free = np.ones(len(points), dtype=bool)
    for camera, image in zip(cameras, images, strict=True):
        column, row, _, index = project_plain(points, camera, image.shape[1], image.shape[0])
        first = free[index]
        rgb[index[first]] = image[row[first], column[first]]
        free[index[first]] = False
    return rgb


def raster_depth(
    column: NDArray[np.int64],
    row: NDArray[np.int64],
    depth: NDArray[np.floating],
    width: int,
    height: int,
) -> NDArray[np.float32]:
    """Nearest depth of every pixel [H, W], 0 where there is none; point after point."""
    image = np.zeros((height, width), dtype=np.float32)
    for x, y, z in zip(column, row, depth, strict=True):
        if image[y, x] == 0 or z < image[y, x]:
            image[y, x] = z
    return image


def assign_boxes(points: NDArray[np.floating], boxes: Sequence[Box]) -> NDArray[np.int64]:
    """Number of the first box each point lies in [P], -1 none: every point against every box."""
    owner = np.full(len(points), -1, dtype=np.int64)
    for number, box in enumerate(boxes):
        local = (points - box.centre) @ _turn(box.yaw)
        inside = (np.abs(local) <= box.size / 2).all(axis=1)
        owner[inside & (owner < 0)] = number
    return owner


def flow_to_next(
    points: NDArray[np.floating], boxes: Sequence[Box], following: Sequence[Box]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Motion of the points to the next frame [P, 3] m, and the box each is in [P]; 0 without a next box."""
    owner = assign_boxes(points, boxes)
    later = {box.track: box for box in following}
    flow = np.zeros((len(points), 3))
    for number, box in enumerate(boxes):
        rows = np.flatnonzero(owner == number)
        if len(rows) and box.track in later:
            other = later[box.track]
            flow[rows] = (points[rows] - box.centre) @ _turn(other.yaw - box.yaw).T + other.centre - points[rows]
    return flow, owner


def dynamic_mask(
    points: NDArray[np.floating],
    boxes: Sequence[Box],
    following: Sequence[Box],
    camera: CameraFrame,
    width: int,
    height: int,
) -> NDArray[np.bool_]:
    """Pixels of the points in moving boxes, dilated [H, W]."""
    owner = assign_boxes(points, boxes)
    later = {box.track: box for box in following}
    moving = [
        number
        for number, box in enumerate(boxes)
        if box.track in later and np.linalg.norm(later[box.track].centre - box.centre) > DYNAMIC_M
    ]
    column, row, _, _ = project_plain(points[np.isin(owner, moving)], camera, width, height)
    dots = np.zeros((height, width), dtype=np.uint8)
    dots[row, column] = 255
    return np.asarray(Image.fromarray(dots).filter(ImageFilter.MaxFilter(DILATION_PX))) > 0


def _turn(yaw: float) -> NDArray[np.float64]:
    """[3, 3] rotation about z."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
