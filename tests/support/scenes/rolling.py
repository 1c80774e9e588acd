"""A toy street that a camera drives past, photographed row after row: what a shutter is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import simplejpeg

from flux4d.cameras.cameras import Cameras
from flux4d.cameras.shutter import Shutter
from flux4d.gaussians import Gaussians
from flux4d.lift.scene import SceneConfig, lift_clip
from flux4d.lift.sky import SkyConfig
from flux4d.render import render
from store_schema.clip import Clip
from tests.support.scenes.toy import make_clip

SPEED = 8.0
"""m/s of the camera, sideways."""


def street(shutter: Shutter, *, brightness: float = 1.0, setting: str = "evaluation") -> tuple[Clip, Gaussians]:
    """A clip whose images are those of a scene that stands still, taken with a shutter, and that scene."""
    clip = make_clip(per_frame=240, setting=setting)
    views = []
    for view in clip.views:
        cam2ego0 = view.cam2ego0.copy()
        cam2ego0[0, 3] += SPEED * (view.time - 0.7)
        views.append(replace(view, cam2ego0=cam2ego0))
    # A texture coarse enough to be seen at this size.
    rgb = (127 + 100 * np.sin(3 * clip.points.means)).astype(np.uint8)
    clip = replace(clip, views=tuple(views), points=replace(clip.points, rgb=rgb))
    scene = lift_clip(clip, SceneConfig(sky=SkyConfig(spacing=0.05)))
    return replace(clip, views=tuple(photograph(scene, clip, shutter, brightness))), scene


def photograph(scene: Gaussians, clip: Clip, shutter: Shutter, brightness: float) -> list:
    views = []
    for view in clip.views:
        image = render(scene, Cameras.from_views([view], path=clip.views, shutter=shutter), backend="cpu").rgb[0]
        pixels = (image * brightness * 255).clamp(0, 255).round().byte().numpy()
        views.append(replace(view, image=simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=95)))
    return views
