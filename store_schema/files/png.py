"""Whether a PNG file is whole and of a kind that this project takes, told without decoding it.

Source: the PNG specification (ISO/IEC 15948), sections 5 and 11.2.2.
"""

from __future__ import annotations

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
_TAKEN = (0, 2, 4, 6)


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height of an 8-bit grey or RGB image, with or without alpha; the checksum of every chunk is compared.

    A decoder may fill what is cut off or damaged and say nothing, or cut 16 bits to 8.

    Raises:
        ValueError: no PNG, truncated, a chunk is damaged, or another kind of image.
    """
    if not data.startswith(_SIGNATURE):
        raise ValueError("not a PNG: it does not begin as one")
    place, kinds = len(_SIGNATURE), []
    while place < len(data) and b"IEND" not in kinds:
        if place + 12 > len(data):
            raise ValueError("the PNG is truncated")
        length, kind = struct.unpack_from(">I4s", data, place)
        if place + 12 + length > len(data):
            raise ValueError("the PNG is truncated")
        (expected,) = struct.unpack_from(">I", data, place + 8 + length)
        if zlib.crc32(memoryview(data)[place + 4 : place + 8 + length]) != expected:
            raise ValueError(f"the PNG is damaged: the checksum of its chunk {kind!r} differs")
        kinds.append(kind)
        place += 12 + length
    if kinds[:1] != [b"IHDR"] or b"IEND" not in kinds:
        raise ValueError("the PNG is truncated: it has no header or no end mark")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, len(_SIGNATURE) + 8)
    if bits != 8 or colour not in _TAKEN:
        what = f"{bits}-bit {_COLOURS.get(colour, colour)}"
        raise ValueError(f"the PNG is {what}; taken are 8-bit grey and RGB, with or without alpha: convert it")
    if not width or not height:
        raise ValueError(f"the PNG has {width} x {height} pixels")
    return width, height
