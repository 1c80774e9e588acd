"""Pictures of one camera: LiDAR depth over the image, points in their colours, and masks of what moves."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.ground_truth.masks import moving_mask
from pipelines.inspect.gather import InspectedBoxes, InspectedFrame, InspectedView
from pipelines.inspect.paint import HIDDEN_RGB, depth_rgb, put_dots, reduced
from pipelines.sources.base import Cuboids

OUTLINES = ((255, 92, 40), (64, 210, 255), (255, 225, 60), (120, 255, 120), (255, 120, 220), (190, 160, 255))
"""Colours of masks, in turn."""
_TINT = 0.3


@dataclass(frozen=True, slots=True)
class MaskLabel:
    """What stands at a mask, in pixels of the picture."""

    text: str
    x: float  # middle of the mask
    y: float  # its top
    rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class MaskPicture:
    """An image with the masks of moving boxes on it."""

    picture: NDArray[np.uint8]  # [h, w, 3]
    labels: tuple[MaskLabel, ...]  # one a box that reaches into the image
    pixels: int  # of the full image that lie in a mask


def depth_picture(view: InspectedView) -> NDArray[np.uint8]:
    """The depth map over the darkened grey image: visible pixels by depth, hidden ones as small magenta dots."""
    picture = reduced(view.image)
    picture[:] = (picture.mean(axis=2, keepdims=True) * 0.55).astype(np.uint8)
    depth = view.depth
    scale = picture.shape[1] / view.sighting.width
    row, column = np.divmod(depth.pixel, view.sighting.width)
    at = (np.stack([column, row], axis=1) + 0.5) * scale
    seen = np.flatnonzero(depth.visible)
    seen = seen[np.argsort(-depth.depth[seen], kind="stable")]
    put_dots(picture, at[seen], depth_rgb(depth.depth[seen]), size=2 if scale > 0.3 else 1)
    hidden = at[~depth.visible]
    put_dots(picture, hidden, np.full((len(hidden), 3), HIDDEN_RGB, np.uint8), size=1)
    return picture


def colour_picture(frame: InspectedFrame, view: InspectedView) -> NDArray[np.uint8]:
    """The coloured points the camera sees on black, each in its colour, near ones over far ones."""
    picture = np.zeros_like(reduced(view.image))
    seen = view.sighting.projection
    rows = np.flatnonzero(view.sighting.visible & (frame.colours.camera[seen.rows] >= 0))
    rows = rows[np.argsort(-seen.depth[rows], kind="stable")]
    at = seen.uv[rows] * (picture.shape[1] / view.sighting.width)
    put_dots(picture, at, frame.colours.rgb[seen.rows[rows]], size=3)
    return picture


def mask_picture(frame: InspectedFrame, view: InspectedView) -> MaskPicture:
    """The image with the outline and a tint for each moving box of the spinning LiDAR, where it is at its time."""
    picture = reduced(view.image)
    sighting, boxes = view.sighting, frame.boxes
    height, width = sighting.height, sighting.width
    any_mask = np.zeros((height, width), np.bool_)
    labels: list[MaskLabel] = []
    if boxes is None or boxes.beside is None or boxes.moving is None:
        return MaskPicture(picture, (), 0)
    down, right = (_samples(a, b) for a, b in zip(picture.shape[:2], (height, width), strict=True))
    for row in np.flatnonzero(boxes.moving & (boxes.cuboids.sensor <= 0)):
        one = _only(boxes.cuboids, int(row))
        mask = moving_mask(
            sighting.camera,
            width,
            height,
            one,
            boxes.beside.cuboids,
            frame.sweep.time,
            boxes.beside.time,
            box_times=boxes.times[row : row + 1],
        )
        if not mask.any():
            continue
        any_mask |= mask
        rgb = OUTLINES[len(labels) % len(OUTLINES)]
        _paint_mask(picture, mask[np.ix_(down, right)], rgb)
        scale, columns = picture.shape[1] / width, np.flatnonzero(mask.any(axis=0))
        x, y = float(columns[0] + columns[-1] + 1) / 2 * scale, float(mask.any(axis=1).argmax()) * scale
        labels.append(MaskLabel(box_text(boxes, int(row)), x, y, rgb))
    return MaskPicture(picture, tuple(labels), int(any_mask.sum()))


def box_text(boxes: InspectedBoxes, row: int) -> str:
    """Label and speed of a box."""
    known = boxes.speed is not None and np.isfinite(boxes.speed[row])
    return boxes.cuboids.label[row] + (f" {boxes.speed[row]:.1f} m/s" if known and boxes.speed is not None else "")


def _samples(small: int, large: int) -> NDArray[np.int64]:
    """The pixel of the large image under the centre of each pixel of the small one."""
    places: NDArray[np.int64] = np.floor((np.arange(small) + 0.5) * (large / small)).astype(np.int64)
    return places


def _paint_mask(picture: NDArray[np.uint8], mask: NDArray[np.bool_], rgb: tuple[int, int, int]) -> None:
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    picture[mask] = (picture[mask] * (1 - _TINT) + np.array(rgb) * _TINT).astype(np.uint8)
    picture[mask & ~inner] = rgb


def _only(cuboids: Cuboids, row: int) -> Cuboids:
    """The frame's cuboids with one row."""
    held = {f.name: getattr(cuboids, f.name) for f in fields(cuboids) if f.name != "frame"}
    return replace(cuboids, **{name: values[row : row + 1] for name, values in held.items()})
