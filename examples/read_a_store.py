"""Read a store without this project
=================================

A dataset version is a folder of WebDataset shards and Parquet indexes. This example opens one with `webdataset`,
`pyarrow` and `json` alone, prints what a clip holds, and draws the LiDAR points of one sweep into the image that was
taken with it. `docs/store_format.md` is the specification; no module of this project is imported to read.

    python examples/read_a_store.py [STORE] [--out FOLDER]

Without STORE a small generated one is made first (that part does use the project).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from PIL import Image

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("store", nargs="?", help="folder of a store; a generated one when left out")
parser.add_argument("--out", type=Path, help="folder for the picture; a temporary one when left out")
arguments = parser.parse_args()
if arguments.store is None:
    from small_store import temporary_store

    arguments.store = temporary_store()
out = arguments.out or Path(tempfile.mkdtemp(prefix="flux4d-example-"))
out.mkdir(parents=True, exist_ok=True)

# %%
# The version
# -----------
# `LATEST` names the newest version. Its index says which clips there are, and in which shard each of them lies.
store = Path(arguments.store)
folder = store / "versions" / (store / "LATEST").read_text().strip()
index = pq.read_table(folder / "clips.parquet").to_pylist()
for row in index:
    print(f"{row['clip_id']}  {row['split']}  {row['num_points']:,} points  {row['num_views']} views")

# %%
# One clip
# --------
# A sample is a header, tables in Arrow IPC streams, and the log's own JPEG files. This way of reading checks no hash.
shard = str(folder / "shards" / index[0]["shard"])
sample = next(iter(webdataset.WebDataset(shard, shardshuffle=False).decode("rgb8")))
header = sample["clip.json"]
print(f"\n{header['record']['clip_id']}: {', '.join(sorted(name for name in sample if not name.startswith('__')))}")

# %%
# Points
# ------
# Integers on a grid of a millimetre, in `ego0`: the ego frame of the clip's frame 0, at each point's own time.
points = pa.ipc.open_stream(sample["points.arrow"]).read_all()
xyz = np.stack([points[axis].to_numpy() for axis in "xyz"], axis=1) / 1000  # [N, 3] m
seconds = points["time"].to_numpy() / 1e6  # [N]
print(f"{len(xyz):,} points of frames {header['record']['input_frames']}, {seconds.min():.2f} to {seconds.max():.2f} s")

# %%
# Views and cameras
# -----------------
# A view is an image of a camera at a time of its own; `cam2ego0` takes points from the camera's axes to ego0.
for view in header["views"]:
    x, y, z = np.array(view["cam2ego0"])[:3, 3]
    size = f"{view['width']}x{view['height']}"
    print(f"frame {view['frame']:2d}  {view['camera']}  {size}  {view['time']:.3f} s  at {x:.2f} {y:.2f} {z:.2f} m")

# %%
# Both together
# -------------
# The points of frame 0 in its image: pixel = K (world2cam point) / depth, pixel centres at +0.5. Warm is near.
view = next(view for view in header["views"] if view["frame"] == 0)
image = sample[view["member"]].copy()  # [H, W, 3] uint8
ego02cam = np.linalg.inv(np.array(view["cam2ego0"]))
own = xyz[points["frame"].to_numpy() == view["frame"]] @ ego02cam[:3, :3].T + ego02cam[:3, 3]
own = own[own[:, 2] > 0.5]
pixel = own @ np.array(view["K"]).T
column, row = (np.floor(pixel[:, axis] / pixel[:, 2]).astype(int) for axis in (0, 1))
within = (column >= 0) & (column < view["width"]) & (row >= 0) & (row < view["height"])
near = np.exp(-own[within, 2:] / 20)
colour = np.rint(255 * np.concatenate([near, 0.5 * near, 1 - near], axis=1))
for down in (0, 1):  # dots of 2x2 pixels
    for right in (0, 1):
        rows, columns = (row[within] + down).clip(max=view["height"] - 1), column[within] + right
        image[rows, columns.clip(max=view["width"] - 1)] = colour
Image.fromarray(image).save(out / "points.png")
print(f"\n{within.sum():,} points lie in the image of frame 0: {out / 'points.png'}")
