"""A stored frame of a few random rows."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from store_schema.camera_model import OpenCVFisheye
from store_schema.frame_attributes import FrameAttributes, ViewAttributes
from store_schema.frame_store import FrameArrays, StoredFrame

K = np.array([[30.0, 0, 16], [0, 30, 12], [0, 0, 1]])
ATTRIBUTES = FrameAttributes(
    time=0.25,
    ego2world=np.eye(4),
    views=(
        ViewAttributes("front", 0.2, np.eye(4), K, 32, 24),
        ViewAttributes("front", 0.21, np.eye(4), K, 32, 24, "truck", OpenCVFisheye(0.1, 0.02, 0.0, -0.001), "png"),
    ),
    has_cuboids=True,
    track=("a", "b"),
    label=("Car", "Bus"),
)


def make_frame(seed: int = 0) -> StoredFrame:
    rng = np.random.default_rng(seed)
    sizes = {"depth": 5, "moving": 0, "box": 2}
    shapes = {
        "points": (7, 3),
        "rgb": (7, 3),
        "flow": (7, 3),
        "smooth_flow": (7, 3),
        "box_pose": (2, 4),
        "box_size": (2, 3),
    }
    arrays = {}
    for field in fields(FrameArrays):
        dtype = np.dtype(str(field.type).split("np.")[1].split("]")[0].replace("bool_", "bool"))
        shape = shapes.get(field.name, (sizes.get(field.name.split("_")[0], 7),))
        arrays[field.name] = (rng.random(shape) * 50).astype(dtype)
    return StoredFrame(3, FrameArrays(**arrays), ATTRIBUTES)
