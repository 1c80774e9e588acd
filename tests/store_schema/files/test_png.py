"""PNG files: which are taken, and that no damage passes."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flux4d.cameras import decode
from pipelines.features import images
from store_schema.files.png import png_size

RGB = np.random.default_rng(0).integers(0, 256, (18, 32, 3), np.uint8)


@cache
def png(mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_grey_and_rgb_with_or_without_alpha_are_decoded_alike_on_both_sides(mode: str) -> None:
    assert png_size(png(mode)) == decode.image_size(png(mode), "png") == images.image_size(png(mode), "png") == (32, 18)
    expected = RGB if mode.startswith("RGB") else np.asarray(Image.fromarray(RGB).convert("L").convert("RGB"))
    for pixels in (decode.decode_image(png(mode), "png"), images.decode_image(png(mode), "png")):
        np.testing.assert_array_equal(pixels, expected)
        assert pixels.flags.writeable


def test_a_shrunk_png_is_the_mean_of_whole_blocks() -> None:
    pixels = decode.decode_image(png(), "png", (10, 6))
    blocks = RGB.reshape(6, 3, 32, 3)[:, :, :30].reshape(6, 3, 10, 3, 3).astype(float).mean(axis=(1, 3))
    assert pixels.shape == (6, 11, 3)
    np.testing.assert_allclose(pixels[:, :10], blocks, atol=1)
    np.testing.assert_array_equal(decode.decode_image(png(), "png", (40, 40)), RGB)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.fromarray(RGB).convert("P"), "8-bit palette; taken are 8-bit grey and RGB"),
        (Image.fromarray(RGB).convert("1"), "1-bit grey; taken"),
        (Image.fromarray(np.zeros((4, 4), np.uint16)), "16-bit grey; taken"),
    ],
    ids=["palette", "one bit", "sixteen bits"],
)
def test_other_kinds_are_refused_with_what_to_do(image: Image.Image, reason: str) -> None:
    file = io.BytesIO()
    image.save(file, "PNG")
    with pytest.raises(ValueError, match=reason):
        png_size(file.getvalue())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(png()) - 1), st.integers(0, 7))
def test_no_flipped_bit_passes(place: int, bit: int) -> None:
    data = bytearray(png())
    data[place] ^= 1 << bit
    with pytest.raises(ValueError, match="PNG"):
        images.decode_image(bytes(data), "png")


@given(st.integers(0, len(png()) - 1))
def test_no_cut_passes(length: int) -> None:
    with pytest.raises(ValueError, match="PNG"):
        png_size(png()[:length])


def test_what_follows_the_end_does_not_matter() -> None:
    np.testing.assert_array_equal(images.decode_image(png() + b"\0\0", "png"), RGB)


def test_a_tiny_file_that_declares_a_huge_image_is_not_decoded() -> None:
    file = io.BytesIO()
    Image.new("L", (9000, 9000)).save(file, "PNG")
    with pytest.raises(ValueError, match="9000 x 9000 pixels, expected at most"):
        images.image_size(file.getvalue(), "png")
