"""Encoded images of a frame: read and measured at once, decoded one after another into the same memory.

Whoever decodes an image on the CPU side does it here, by its format.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from pipelines.sources.base import CameraFrame, LogError
from store_schema.clip import ImageFormat
from store_schema.files.png import png_size

MAX_PIXELS = 1 << 26
"""Bound of an image: a small file can declare 65,535 x 65,535 pixels, which take 12 GB."""


def image_size(data: bytes, image_format: ImageFormat) -> tuple[int, int]:
    """(width, height) in pixels that an image's header declares; a PNG is checked as `png_size` says.

    Raises:
        ValueError: not an image of that format, or too large.
    """
    if image_format == "png":
        width, height = png_size(data)
    else:
        height, width = simplejpeg.decode_jpeg_header(data)[:2]
    if width * height > MAX_PIXELS:
        raise ValueError(f"the image has {width} x {height} pixels, expected at most {MAX_PIXELS} in all")
    return width, height


def decode_image(
    data: bytes, image_format: ImageFormat, min_width: int = 0, buffer: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Pixels [H, W, 3] of an image, RGB; grey becomes three equal channels, alpha is left out.

    Args:
        data: the file.
        image_format: what it is.
        min_width: a JPEG may be decoded to a smaller size of at least this width, which costs less; 0 is the full size.
        buffer: memory for the pixels of a JPEG.

    Raises:
        ValueError: damaged, or of another format.
    """
    if image_format == "jpeg":
        least = {"min_width": min_width, "min_height": 1} if min_width else {}
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=buffer, **least)
        return pixels
    png_size(data)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return np.array(image.convert("RGB"))
    # Pillow tells damage by errors of many classes.
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"the PNG cannot be decoded: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImage:
    """A camera's image file and the size its header declares."""

    log_id: str
    camera: CameraFrame
    data: bytes
    width: int
    height: int

    @classmethod
    def read(cls, log_id: str, camera: CameraFrame) -> EncodedImage:
        """Read a camera's file.

        Raises:
            LogError: it cannot be read, or does not begin as an image of the camera's format; a PNG: is not whole.
        """
        try:
            data = camera.image()
            width, height = image_size(data, camera.image_format)
        except (ValueError, OSError) as error:
            raise _unreadable(log_id, camera, error) from error
        return cls(log_id, camera, data, width, height)


class ImageDecoder:
    """Decodes images without new memory for each: six of 1920x1080 would take 37 MB."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._pixels = np.empty(0, np.uint8)

    def decode(self, image: EncodedImage) -> NDArray[np.uint8]:
        """An image's pixels [H, W, 3], RGB; the next image overwrites them.

        Raises:
            LogError: a damaged image.
        """
        size = image.height * image.width * 3
        if len(self._pixels) < size:
            self._pixels = np.empty(size, np.uint8)
        try:
            return decode_image(image.data, image.camera.image_format, buffer=self._pixels[:size])
        except ValueError as error:
            raise _unreadable(image.log_id, image.camera, error) from error


def _unreadable(log_id: str, camera: CameraFrame, error: Exception) -> LogError:
    reason = f"not a readable {camera.image_format.upper()}: {error}; fetch the image again"
    return LogError(log_id, reason, frame=camera.frame, file=camera.path)
