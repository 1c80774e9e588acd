"""Drawing on pixel arrays: smaller images, depth as colours, dots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PICTURE_WIDTH = 960
"""Pixels across the pictures of the page; smaller images stay as they are."""
NEAREST_M, FARTHEST_M = 2.0, 120.0
"""Ends of the depth scale; what is beyond has the colour of the end."""
HIDDEN_RGB = (255, 0, 255)
"""Returns that the camera does not see."""
_SCALE = np.array(  # from near to far, even steps of the logarithm of depth
    [(255, 244, 120), (255, 166, 40), (240, 76, 50), (140, 200, 70), (40, 190, 190), (70, 120, 255), (150, 90, 230)]
)


def reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:  # [H, W, 3] -> [h, w, 3]
    """An image at most `PICTURE_WIDTH` wide, as a copy that may be painted on."""
    height, width = image.shape[:2]
    if width <= PICTURE_WIDTH:
        return image.copy()
    size = (PICTURE_WIDTH, max(1, round(height * PICTURE_WIDTH / width)))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def depth_rgb(depth: NDArray[np.float64]) -> NDArray[np.uint8]:  # [D] m -> [D, 3]
    """Colour of each depth, on a logarithmic scale."""
    share = np.log(np.clip(depth, NEAREST_M, FARTHEST_M) / NEAREST_M) / np.log(FARTHEST_M / NEAREST_M)
    place, stops = share * (len(_SCALE) - 1), np.arange(len(_SCALE))
    return np.stack([np.interp(place, stops, _SCALE[:, channel]) for channel in range(3)], axis=1).astype(np.uint8)


def depth_place(depth: float) -> float:
    """Where a depth stands on the colour scale, 0 near to 1 far."""
    return float(np.log(depth / NEAREST_M) / np.log(FARTHEST_M / NEAREST_M))


def put_dots(
    picture: NDArray[np.uint8],  # [h, w, 3] changed in place
    at: NDArray[np.float64],  # [D, 2] pixels of the picture
    rgb: NDArray[np.uint8],  # [D, 3]
    size: int,
) -> None:
    """Paint square dots, later ones over earlier ones; what reaches over the border is cut off."""
    height, width = picture.shape[:2]
    corner = np.floor(at - (size - 1) / 2).astype(np.int64)
    for down in range(size):
        for right in range(size):
            column, row = (corner + np.array([right, down])).T
            inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
            picture[row[inside], column[inside]] = rgb[inside]
