"""The image files of views, decoded by their format: JPEG or PNG to 8-bit RGB."""

from __future__ import annotations

import io

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from store_schema.clip import ImageFormat
from store_schema.files.png import png_size


def image_size(data: bytes, image_format: ImageFormat) -> tuple[int, int]:
    """(width, height) in pixels that an image's header declares.

    Raises:
        ValueError: not an image of that format.
    """
    if image_format == "png":
        return png_size(data)
    height, width = simplejpeg.decode_jpeg_header(data)[:2]
    return int(width), int(height)


def decode_image(data: bytes, image_format: ImageFormat, least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Pixels of an image. [h, w, 3]

    Args:
        data: The file.
        image_format: What it is.
        least: Width and height down to which the image may be shrunk, which costs less and averages out pixels: a JPEG
            to n/8 of its size while it is decoded, a PNG to means of whole blocks. None is the full size.

    Raises:
        ValueError: damaged, or of another format.
    """
    if image_format == "jpeg":
        sizes = {} if least is None else {"min_width": least[0], "min_height": least[1]}
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", min_factor=1, **sizes)
        return pixels
    width, height = png_size(data)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            rgb = image.convert("RGB")
    # Pillow tells damage by errors of many classes.
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"the PNG cannot be decoded: {error}") from error
    factor = 1 if least is None else max(1, min(width // max(least[0], 1), height // max(least[1], 1)))
    return np.array(rgb if factor == 1 else rgb.reduce(factor))
