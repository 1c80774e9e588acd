"""The toy street with a striped box that crosses the view, its images rendered from the true moving Gaussians.

`toy` draws its box by hand along the line of sight, where motion hardly shows; here geometry, images
and depth agree, so a network can find the velocity.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import simplejpeg
import torch

from flux4d.cameras.cameras import Cameras
from flux4d.gaussians import Gaussians
from flux4d.lift.scene import SceneConfig, lift_clip
from flux4d.lift.sky import SkyConfig
from flux4d.render import render
from store_schema.clip import Clip, View
from store_schema.labels import FlowClass
from tests.support.scenes.toy import make_clip

CROSSING_VELOCITY = np.array([5.0, 0.0, 0.0])  # m/s, ego0: x is to the right
SKY = SkyConfig(spacing=0.012)


def moving_rows(clip: Clip, gaussians: Gaussians) -> torch.Tensor:
    """Which Gaussians stand for points of the box. [N] bool"""
    moving = torch.from_numpy(clip.points.flow_class == FlowClass.FOREGROUND_DYNAMIC)
    return moving[gaussians.source.clamp_min(0)] & ~gaussians.is_sky


def _paint(view: View, truth: Gaussians) -> View:
    image = render(truth, Cameras.from_views([view]))
    rgb = (image.rgb[0].clamp(0, 1) * 255).round().byte().numpy()
    depth = image.depth[0, ..., 0].flatten()
    pixel = torch.nonzero((depth > 1.0) & (depth < 29.0)).squeeze(1)[::7]
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality=95)
    return replace(
        view,
        image=jpeg,
        depth_pixel=pixel.int().numpy(),
        depth=depth[pixel].numpy(),
        depth_visible=np.ones(len(pixel), bool),
    )


def crossing_clip(per_frame: int = 900) -> Clip:
    """11 frames; a 3 m box 9 m ahead moves to the right at 5 m/s before a striped wall."""
    clip = make_clip(per_frame=per_frame, setting="train_interpolation")
    points, rng = clip.points, np.random.default_rng(1)
    moving = points.flow_class == FlowClass.FOREGROUND_DYNAMIC
    body = rng.uniform([-3.5, 8.5, 0.0], [-0.5, 9.5, 2.0], (int(moving.sum()), 3))
    means, rgb = points.means.copy(), points.rgb.copy()
    means[moving] = body + CROSSING_VELOCITY * points.times[moving, None]
    rgb[moving] = np.where((np.floor(body[:, :1] * 1.5) % 2 == 0), [[210, 40, 30]], [[240, 220, 60]])
    wall = ~moving & (means[:, 1] > 29.9)
    rgb[wall] = np.where(np.floor(means[wall, :1] / 2) % 2 == 0, [[170, 120, 80]], [[90, 70, 60]])
    clip = replace(clip, points=replace(points, means=means, rgb=rgb))
    lifted = lift_clip(clip, SceneConfig(sky=SKY, crop_to_views=False))
    on_box, sky = moving_rows(clip, lifted), lifted.is_sky
    truth = replace(
        lifted,
        velocities=torch.where(on_box[:, None, None], torch.tensor(CROSSING_VELOCITY).float(), 0.0),
        opacities=torch.where(sky, lifted.opacities, 0.9),
        scales=torch.where(sky[:, None], lifted.scales, 0.25),
        rgb=torch.where(sky[:, None], torch.tensor([0.6, 0.7, 0.86]), lifted.rgb),
    )
    return replace(clip, views=tuple(_paint(view, truth) for view in clip.views))
