"""Colours of a clip's points, taken again from the pixels that a camera with a shutter shows them at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from flux4d.cameras.cameras import Cameras
from flux4d.cameras.motion import drift
from flux4d.cameras.shutter import Shutter, capture_delays
from store_schema.clip import Clip, View

Images = Mapping[tuple[str, int], NDArray[np.uint8]]
"""By camera and clip-relative frame: [H, W, 3]."""


def decode(clip: Clip) -> dict[tuple[str, int], NDArray[np.uint8]]:
    """Input images of a clip at their stored size."""
    views = clip.views_of("input")
    return {(view.camera, view.frame): simplejpeg.decode_jpeg(view.image, colorspace="RGB") for view in views}


def recoloured(clip: Clip, images: Images, shutter: Shutter) -> tuple[Clip, int, int]:
    """The clip with each point's colour from the pixel it is at through the shutter.

    As the store's colours: of the camera that coloured it, in the image of its frame, at the point's own place, of the
    pixel it falls in. Points whose image is not in the clip, or that fall outside it, keep their colour.

    Returns:
        The clip, how many points were looked up, and how many of those have another colour than before.
    """
    points, rgb = clip.points, clip.points.rgb.copy()
    looked_up = 0
    for view in clip.views_of("input"):
        camera = clip.rig_cameras.index(view.camera)
        rows = np.flatnonzero((points.camera == camera) & (points.frame == view.frame))
        column, row = _pixels(points.means[rows], view, clip, shutter).T
        inside = (column >= 0) & (column < view.width) & (row >= 0) & (row < view.height)
        looked_up += int(inside.sum())
        image = images[view.camera, view.frame]
        rgb[rows[inside]] = image[row[inside].astype(np.int64), column[inside].astype(np.int64)]
    changed = int((rgb != points.rgb).any(axis=1).sum())
    return replace(clip, points=replace(points, rgb=rgb)), looked_up, changed


def _pixels(means: NDArray[np.float32], view: View, clip: Clip, shutter: Shutter) -> NDArray[np.float64]:
    """Where a view shows points that stand still [N, 2] px; -1 behind it."""
    twist = torch.zeros(6, dtype=torch.float64)
    if not shutter.instant:
        cameras = Cameras.from_views([view], path=clip.views)
        assert cameras.twists is not None
        twist = cameras.twists[0].double()
    places, still = torch.from_numpy(means).double(), torch.zeros(len(means), 3, dtype=torch.float64)
    world2cam, K = torch.from_numpy(np.linalg.inv(view.cam2ego0)), torch.from_numpy(view.K).double()
    delays = capture_delays(places, still, world2cam, K, twist, view.height, shutter)
    local = places @ world2cam[:3, :3].T + world2cam[:3, 3]
    local = local + drift(local, twist, delays)
    depth = local[:, 2:]
    pixels = (local @ K.T)[:, :2] / depth
    return torch.where(depth > 0, pixels, -torch.ones_like(pixels)).numpy()
