"""Gaussians lifted from the real slice's LiDAR, seen by a camera of the log: the load the rasteriser is judged on."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from PIL import Image
from scipy.spatial import cKDTree

from tests.support.logs import real_slice
from tests.support.scenes.rasterize_reference import Scene

FRAME = 18


@cache
def real_scene(
    count: int, width: int, *, camera: str = "front", window: tuple[int, int, int, int] | None = None
) -> Scene:
    """`count` points of two sweeps around the vehicle as Gaussians; 6 channels: RGB and three random ones.

    The image is `width` px wide; `window` (left, top, width, height) shows only that part of it.
    Scale is the mean distance to the 3 nearest points times lognormal(0.3) per axis, opacity U(0.3, 0.99),
    rotation random. Colours are the image's where it sees the point, random elsewhere.
    """
    rng = np.random.default_rng(0)
    seen = real_slice.camera(camera, FRAME)
    points = np.concatenate([real_slice.sweep(frame).points for frame in (FRAME, FRAME + 1)])
    points = points[rng.choice(len(points), count, replace=False)]
    world2cam = np.linalg.inv(seen.cam2world)
    local = points @ world2cam[:3, :3].T + world2cam[:3, 3]
    colours = rng.random((count, 3))
    u, v, z = (local @ seen.K.T).T
    inside = (z > 0.1) & (u >= 0) & (u < z * real_slice.WIDTH) & (v >= 0) & (v < z * real_slice.HEIGHT)
    image = np.asarray(Image.open(seen.path))
    colours[inside] = image[(v / z)[inside].astype(int), (u / z)[inside].astype(int)] / 255
    distance = cKDTree(points).query(points, k=4)[0][:, 1:].mean(axis=1)
    scales = np.maximum(distance, 1e-3)[:, None] * np.exp(0.3 * rng.standard_normal((count, 3)))
    K = np.diag([width / real_slice.WIDTH, width / real_slice.WIDTH, 1.0]) @ seen.K
    left, top, *size = window or (0, 0, width, width * real_slice.HEIGHT // real_slice.WIDTH)
    K[:2, 2] -= left, top
    viewmat = np.eye(4)
    viewmat[:3, :3] = world2cam[:3, :3]  # the world's origin is moved to the camera
    values = (
        points - seen.cam2world[:3, 3],
        rng.standard_normal((count, 4)),
        scales,
        rng.uniform(0.3, 0.99, count),
        np.concatenate([colours, rng.uniform(-1, 1, (count, 3))], axis=1),
        viewmat[None],
        K[None],
    )
    return Scene(*(torch.from_numpy(value).float() for value in values), width=size[0], height=size[1])
