"""Bird's-eye view of a scene: what moves and where to, over what stands still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from evaluation.report.colours import velocity_colours
from store_schema.clip import Boxes

MOVING_MPS = 0.5
"""Speed from which a point is drawn as moving: the threshold of the flow classes."""
_STATIC_RGB = (168, 174, 184)
_BOX_RGB = (20, 24, 32)
_STATIC_BOX_RGB = (150, 156, 166)
_ARROW_S = 0.5
_ARROW_CELL_M = 2.0


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the ground that is drawn: ego0 x to the right, y up."""

    low: tuple[float, float]  # m
    high: tuple[float, float]  # m
    pixels_per_m: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return (
            max(1, round((self.high[0] - self.low[0]) * self.pixels_per_m)),
            max(1, round((self.high[1] - self.low[1]) * self.pixels_per_m)),
        )

    def pixel(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Image positions [N, 2] (column, row) of ground points [N, 2]."""
        return np.stack(
            [(xy[:, 0] - self.low[0]) * self.pixels_per_m, (self.high[1] - xy[:, 1]) * self.pixels_per_m], -1
        )


def window_around(xy: NDArray[np.floating], pixels: int = 900, reach: float = 80.0) -> Window:
    """Window that holds nearly all points [N, 2] within `reach` metres of ego0, `pixels` on its longer side.

    Raises:
        ValueError: no point is within reach.
    """
    near = xy[(np.abs(xy) <= reach).all(1)]
    if not len(near):
        raise ValueError(f"no point within {reach} m of the first ego position: nothing to draw from above")
    low, high = np.percentile(near, 1, axis=0) - 3.0, np.percentile(near, 99, axis=0) + 3.0
    return Window(tuple(low.tolist()), tuple(high.tolist()), pixels / float((high - low).max()))


def birds_eye(
    means: NDArray[np.floating],  # [N, 3] m, at the time of the picture
    velocities: NDArray[np.floating],  # [N, 3] m/s
    window: Window,
    full_speed: float,
    boxes: Boxes | None = None,
    frame: int | None = None,
) -> Image.Image:
    """Draw points from above: grey when still, coloured by direction and speed with arrows when moving.

    Args:
        means: Points at one time.
        velocities: Their velocities.
        window: What is drawn.
        full_speed: Speed of full saturation, m/s.
        boxes: Ground-truth cuboids, outlined (dark when they move).
        frame: Frame whose boxes are drawn.
    """
    width, height = window.size
    canvas = np.full((height, width, 3), 255, np.uint8)
    speed = np.hypot(velocities[:, 0], velocities[:, 1])
    moving = speed >= MOVING_MPS
    colours = velocity_colours(velocities, full_speed)
    grey = np.tile(np.array(_STATIC_RGB, np.uint8), (int((~moving).sum()), 1))
    _dots(canvas, window.pixel(means[~moving, :2]), grey, 1)
    _dots(canvas, window.pixel(means[moving, :2]), colours[moving], 2)
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    if boxes is not None and frame is not None:
        _boxes(draw, window, boxes, frame)
    _arrows(draw, window, means[moving, :2], velocities[moving, :2])
    _scale_bar(draw, window)
    return image


def _dots(canvas: NDArray[np.uint8], pixel: NDArray[np.float64], colours: NDArray[np.uint8], size: int) -> None:
    height, width = canvas.shape[:2]
    corner = np.floor(pixel).astype(np.int64)
    for row in range(size):
        for column in range(size):
            x, y = corner[:, 0] + column, corner[:, 1] + row
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            canvas[y[inside], x[inside]] = colours[inside]


def _boxes(draw: ImageDraw.ImageDraw, window: Window, boxes: Boxes, frame: int) -> None:
    for row in np.flatnonzero(boxes.frame == frame):
        half = boxes.size[row, :2] / 2
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        box2ego0 = boxes.box2ego0[row]
        ground = corners @ box2ego0[:2, :2].T + box2ego0[:2, 3]
        nose = box2ego0[:2, 3] + box2ego0[:2, 1] * half[1]  # heading is +y of the box
        polygon = [tuple(p) for p in window.pixel(ground)]
        colour, thick = (_BOX_RGB, 2) if boxes.moving[row] else (_STATIC_BOX_RGB, 1)
        draw.line([*polygon, polygon[0]], fill=colour, width=thick)
        if boxes.moving[row]:
            draw.line([tuple(p) for p in window.pixel(np.stack([box2ego0[:2, 3], nose]))], fill=colour, width=thick)


def _arrows(
    draw: ImageDraw.ImageDraw, window: Window, xy: NDArray[np.floating], velocity: NDArray[np.floating]
) -> None:
    """One arrow for each ground cell that holds moving points: their mean motion over half a second."""
    if not len(xy):
        return
    cells, group, count = np.unique(
        np.floor(xy / _ARROW_CELL_M).astype(np.int64), axis=0, return_inverse=True, return_counts=True
    )
    mean = np.zeros((len(cells), 4))
    np.add.at(mean, group.reshape(-1), np.concatenate([xy, velocity], axis=1))
    mean /= count[:, None]
    tails, tips = window.pixel(mean[:, :2]), window.pixel(mean[:, :2] + mean[:, 2:] * _ARROW_S)
    for tail, tip in zip(tails, tips, strict=True):
        draw.line([tuple(tail), tuple(tip)], fill=_BOX_RGB, width=1)
        along = (tip - tail) / (np.hypot(*(tip - tail)) + 1e-9)
        across = np.array([-along[1], along[0]])
        head = [tip, tip - 5 * along + 2.5 * across, tip - 5 * along - 2.5 * across]
        draw.polygon([tuple(p) for p in head], fill=_BOX_RGB)


def _scale_bar(draw: ImageDraw.ImageDraw, window: Window) -> None:
    height = window.size[1]
    length = 10 * window.pixels_per_m
    draw.line([(12, height - 12), (12 + length, height - 12)], fill=_BOX_RGB, width=3)
    draw.text((12, height - 38), "10 m", fill=_BOX_RGB, font=ImageFont.load_default(size=20))
