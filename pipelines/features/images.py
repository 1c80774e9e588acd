"""Encoded images of a frame: read and measured at once, decoded one after another into the same memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pipelines.sources.base import CameraFrame, LogError


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImage:
    """A camera's JPEG and the size its header declares."""

    log_id: str
    camera: CameraFrame
    jpeg: bytes
    width: int
    height: int

    @classmethod
    def read(cls, log_id: str, camera: CameraFrame) -> EncodedImage:
        """Read a camera's file.

        Raises:
            LogError: it cannot be read, or does not begin as a JPEG.
        """
        try:
            jpeg = camera.jpeg()
            height, width = simplejpeg.decode_jpeg_header(jpeg)[:2]
        except (ValueError, OSError) as error:
            raise _unreadable(log_id, camera, error) from error
        return cls(log_id, camera, jpeg, width, height)


class ImageDecoder:
    """Decodes images without new memory for each: six of 1920x1080 would take 37 MB."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._pixels = np.empty(0, np.uint8)

    def decode(self, image: EncodedImage) -> NDArray[np.uint8]:
        """An image's pixels [H, W, 3], RGB; the next image overwrites them.

        Raises:
            LogError: a damaged JPEG.
        """
        size = image.height * image.width * 3
        if len(self._pixels) < size:
            self._pixels = np.empty(size, np.uint8)
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(image.jpeg, colorspace="RGB", buffer=self._pixels[:size])
        except ValueError as error:
            raise _unreadable(image.log_id, image.camera, error) from error
        return pixels


def _unreadable(log_id: str, camera: CameraFrame, error: Exception) -> LogError:
    return LogError(
        log_id, f"not a readable JPEG: {error}; fetch the image again", frame=camera.frame, file=camera.path
    )
