"""A stored frame of a few random rows."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from store_schema.frame_store import FrameArrays, StoredFrame


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
    return StoredFrame(3, FrameArrays(**arrays), {"time": 0.25, "track": ["a", "b"]})
