"""The shutter benchmark: colours through a shutter against poses row by row, and that it prefers the true shutter."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
from scipy.linalg import expm

from benchmarks.shutter.__main__ import clip_rows, summary
from benchmarks.shutter.colours import recoloured
from flux4d.cameras.cameras import Cameras
from flux4d.cameras.shutter import Shutter
from flux4d.lift.scene import SceneConfig
from flux4d.lift.sky import SkyConfig
from flux4d.reconstruct import reconstruct
from flux4d.render import render
from store_schema.clip import Clip, View
from tests.flux4d.cameras.test_camera_motion import hat
from tests.flux4d.cameras.test_shutter import SIDEWAYS
from tests.support.scenes.toy import make_clip


def driven_clip() -> Clip:
    """The toy clip, its camera passing sideways."""
    clip = make_clip()
    start = clip.views[0].cam2ego0 @ expm(-0.5 * hat(SIDEWAYS))

    def at(view: View) -> View:
        return replace(view, cam2ego0=start @ expm(view.time * hat(SIDEWAYS)))

    return replace(clip, views=tuple(at(view) for view in clip.views))


def test_colours_are_of_the_pixel_that_its_row_shows():
    """Images that say column and row in red and green; the truth projects with each row's own pose."""
    clip, shutter = driven_clip(), Shutter(0.03, -0.01)
    column, row = np.meshgrid(np.arange(96), np.arange(54))
    image = np.stack([column, row, np.full_like(row, 255)], axis=2).astype(np.uint8)
    images = {(view.camera, view.frame): image for view in clip.views_of("input")}
    found, looked_up, changed = recoloured(clip, images, shutter)
    assert looked_up == changed > 300
    view = next(view for view in clip.views if view.frame == 4)
    mine = np.flatnonzero((clip.points.frame == 4) & (found.points.rgb[:, 2] == 255))
    right = 0
    for point in mine:
        got = found.points.rgb[point, :2].astype(int)
        delay = shutter.offset + ((got[1] + 0.5) / 54 - 0.5) * shutter.readout
        cam2ego0 = view.cam2ego0 @ expm(delay * hat(SIDEWAYS))
        x, y, z = view.K @ (np.linalg.inv(cam2ego0) @ np.append(clip.points.means[point].astype(float), 1))[:3]
        assert np.abs(got + 0.5 - [x / z, y / z]).max() < 0.6, point
        right += int(np.floor(x / z) == got[0] and np.floor(y / z) == got[1])
    assert len(mine) > 100
    assert right > 0.95 * len(mine)
    still, _, _ = recoloured(clip, images, Shutter())
    assert (still.points.rgb[mine] != found.points.rgb[mine]).any(axis=1).mean() > 0.5


def test_images_taken_with_a_shutter_gain_from_that_shutter_alone():
    """Images rendered with readout 60 ms: the benchmark must prefer it, and hold the opposite for worse."""
    clip = driven_clip()
    config = SceneConfig(sky=SkyConfig(enabled=False))  # the sky would be made anew from the changed images
    scene = reconstruct(clip, None, config, static=True)
    views = []
    for view in clip.views:
        out = render(scene, Cameras.from_views([view], path=clip.views, shutter=Shutter(0.06)))
        picture = (out.rgb[0].clamp(0, 1) * 255).round().byte().numpy()
        views.append(replace(view, image=simplejpeg.encode_jpeg(picture, quality=98), moving_mask=None))
    clip = replace(clip, views=tuple(views))
    shutters = [Shutter(), Shutter(0.06), Shutter(-0.06)]
    rows = list(clip_rows(clip, ["front_camera"], shutters, ["render"], 96, config))
    assert len(rows) == 6
    gains = {(row["readout_ms"], row["role"]): row["psnr"] for row in rows}
    for role in ("interpolation", "future"):
        assert gains[0.0, role]["gain"] == 0
        assert gains[60.0, role]["gain"] > 5
        assert gains[60.0, role]["gaining"] == gains[60.0, role]["views"] == 5
        assert gains[-60.0, role]["gain"] < -1
    assert json.loads(json.dumps(rows)) == rows


def test_summary_by_hand():
    assert summary([]) is None
    row = summary([(2.0, 1.0), (5.0, 6.0), (4.0, 1.0)])
    assert row == {"mean": pytest.approx(11 / 3), "gain": 1.0, "gain_sd": 2.0, "gaining": 2, "views": 3}
