"""Reconstruct and render a clip
=============================

A clip of a store becomes a 4D scene: LiDAR points lifted to Gaussians, and with `--run` refined and moved by the
network of a training run. The scene is then rendered where no camera was: at a time between two frames, and from a
view that is shifted to the side.

    python examples/reconstruct_and_render.py [STORE] [--run RUN] [--out FOLDER]

Without STORE a small generated one is made first. It runs on a CPU; on a machine with CUDA add `--device cuda`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from flux4d.cameras import Cameras
from flux4d.lift import SceneConfig
from flux4d.lift.scene import BEFORE
from flux4d.network import load_network
from flux4d.reconstruct import reconstruct
from flux4d.render import render
from flux4d.supervision import make_target
from store_schema.json_dataclass import from_json
from store_schema.version import open_dataset

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("store", nargs="?", help="folder or URL of a store; a generated one when left out")
parser.add_argument("--run", type=Path, help="run folder of flux4d-train; the unrefined scene when left out")
parser.add_argument("--clip", help="id of the clip; the store's first evaluation clip when left out")
parser.add_argument("--width", type=int, default=480, help="pixels (default: 480)")
parser.add_argument("--device", default="cpu", help="where to work (default: cpu)")
parser.add_argument("--out", type=Path, help="folder for the pictures; a temporary one when left out")
arguments = parser.parse_args()
if arguments.store is None:
    from small_store import temporary_store

    arguments.store = temporary_store()
out = arguments.out or Path(tempfile.mkdtemp(prefix="flux4d-example-"))
out.mkdir(parents=True, exist_ok=True)


def save(name: str, rgb: torch.Tensor) -> None:
    """Write an image [H, W, 3] in [0, 1]."""
    pixels = np.rint(255 * rgb.clamp(0, 1).cpu().numpy()).astype(np.uint8)
    Image.fromarray(pixels).save(out / f"{name}.png")
    print(out / f"{name}.png")


# %%
# A clip
# ------
# Every byte that is read is compared with its hash; a flipped bit is an error that names shard and clip.
dataset = open_dataset(arguments.store)
first = next(record.clip_id for record in dataset.records if record.setting == "evaluation")
clip = dataset.read(arguments.clip or first)
print(f"{clip.record.clip_id} of dataset {dataset.version[:12]}: {len(clip.points):,} points, {len(clip.views)} views")

# %%
# Its scene
# ---------
# Only the LiDAR and the images of the input frames are used, and the poses of the cameras. A run says how its network
# was taught to see clips, so its scene settings go with its weights.
network, scene = None, SceneConfig()
if arguments.run is not None:
    network = load_network(arguments.run / "weights.safetensors", torch.device(arguments.device))
    settings = json.loads((arguments.run / "config.json").read_text())
    scene = from_json(SceneConfig, {**BEFORE, **settings["scene"]})
gaussians = reconstruct(clip, network, scene, device=arguments.device)
speed = gaussians.velocities[:, 0].norm(dim=1)
print(f"{len(gaussians):,} Gaussians, {int(gaussians.is_sky.sum()):,} of them background, up to {speed.max():.1f} m/s")

# %%
# What a camera saw, and what the scene shows there
# -------------------------------------------------
view = clip.views_of("interpolation")[0]
target = make_target(view, arguments.width, torch.device("cpu"))
camera = Cameras.from_views([view], arguments.width).to(arguments.device)
with torch.no_grad():
    own = render(gaussians, camera)
error = (own.rgb[0].cpu().clamp(0, 1) - target.rgb).square().mean()
save("truth", target.rgb)
save("rendered", own.rgb[0])
print(f"frame {view.frame} at {view.time:.3f} s: PSNR {-10 * error.log10():.2f} dB")

# %%
# Between two frames
# ------------------
# Each Gaussian has a velocity, so the scene exists at every time. Here: from the same place, half a frame later. (The
# unrefined scene stands still; with `--run` things move.)
following = clip.views_of("interpolation")[1]
halfway = view.time + (following.time - view.time) / (following.frame - view.frame) / 2
with torch.no_grad():
    between = render(gaussians, replace(camera, times=torch.full_like(camera.times, halfway)))
save("between_frames", between.rgb[0])

# %%
# From the side
# -------------
# 1 m to the right and 0.5 m up in the camera's axes (x right, y down, z forward): a lane change that nobody drove.
shift = torch.eye(4, device=arguments.device)
shift[:3, 3] = -torch.tensor([1.0, -0.5, 0.0])
with torch.no_grad():
    shifted = render(gaussians, replace(camera, viewmats=shift @ camera.viewmats))
save("shifted_view", shifted.rgb[0])

# %%
# Depth comes with every rendering, in metres; the background has none. Here near is bright.
depth = shifted.depth[0]
save("shifted_view_depth", (torch.exp(-depth / 20) * (depth > 0)).expand(-1, -1, 3))
