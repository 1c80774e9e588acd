"""Pictures inside a page, as data URIs: the only way a picture gets there."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

_FILES = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as the macro ``img`` of ``kit.html`` takes it."""

    uri: str
    width: int  # pixels
    height: int  # pixels


def encoded(
    pixels: NDArray[np.uint8],  # [H, W, 3]
    kind: Literal["png", "jpeg", "webp"] = "png",
    *,
    colours: int | None = None,
    quality: int = 80,
) -> Picture:
    """A picture made of pixels.

    Args:
        pixels: RGB.
        kind: png for flat colours, jpeg for photographs and dots, webp for many small ones.
        colours: of a png, at most 256; None keeps all.
        quality: of a jpeg or webp, up to 100.
    """
    height, width = pixels.shape[:2]
    if kind == "jpeg":
        import simplejpeg

        # Full colour resolution: dots of one pixel would lose their colour to their neighbours.
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality, colorsubsampling="444")
        return Picture(_uri(data, kind), width, height)
    from PIL import Image

    image, sink = Image.fromarray(pixels), io.BytesIO()
    if kind == "webp":
        image.save(sink, "WEBP", quality=quality, method=2)
    else:
        (image if colours is None else image.quantize(colours)).save(sink, "PNG", optimize=True)
    return Picture(_uri(sink.getvalue(), kind), width, height)


def picture_of_file(path: Path) -> Picture:
    """A picture file, byte by byte, once it was decoded to its end.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no whole PNG, JPEG or WebP file.
    """
    from PIL import Image

    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=_FILES) as image:
            image.load()  # to the end: it may be cut off
            return Picture(_uri(data, _kind(image)), image.width, image.height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: no whole PNG, JPEG or WebP picture ({error}); draw it again") from error


def picture_inside(folder: Path, name: str) -> Picture:
    """A picture file that an index names, which must lie in the index's own folder.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: the name leads out of the folder, or the file is no picture.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{folder}: its index names the picture {name!r}, which is not in this folder; draw it again")
    return picture_of_file(path)


def _kind(image: Image) -> str:
    return str(image.format).lower()


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
