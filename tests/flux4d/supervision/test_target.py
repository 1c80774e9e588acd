"""Targets: the packed path against the plain one, decoding at smaller sizes, and depth at another size."""

from __future__ import annotations

import math
import warnings
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from flux4d.cameras.cameras import Cameras
from flux4d.cameras.posed import rendered_size
from flux4d.cameras.shutter import Shutter
from flux4d.supervision.target import Target, decode_view, make_target, pack_target, scale_depth, unpack_target
from store_schema.clip import View
from store_schema.codec import ViewHeader
from tests.support.logs.real_slice import HEIGHT, WIDTH, camera
from tests.support.scenes.toy import make_clip

CPU = torch.device("cpu")


def textured(width: int, height: int) -> bytes:
    row, column = np.mgrid[:height, :width]
    waves = [np.sin(column / 9 + k) * np.cos(row / 7 - k) for k in range(3)]
    return simplejpeg.encode_jpeg((127 + 100 * np.stack(waves, axis=2)).astype(np.uint8), quality=95)


@pytest.fixture
def view() -> View:
    return replace(make_clip().views[3], image=textured(96, 54))


def header_of(view: View) -> ViewHeader:
    return ViewHeader(**{field.name: getattr(view, field.name) for field in fields(ViewHeader)})


def plain_depth(view: View, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    depth = view.depth[view.depth_visible]
    row, column = np.divmod(view.depth_pixel[view.depth_visible].astype(np.int64), view.width)
    pixel = (row * height // view.height) * width + column * width // view.width
    order = np.lexsort((depth, pixel))
    pixel, first = np.unique(pixel[order], return_index=True)
    return pixel, depth[order][first]


@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    wanted=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    count=st.integers(0, 200),
    seed=st.integers(0, 1000),
)
def test_depth_at_another_size_is_the_nearest_visible_return(
    size: tuple[int, int], wanted: tuple[int, int], count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixel = rng.integers(0, size[0] * size[1], count).astype(np.int32)
    view = replace(
        make_clip().views[0],
        width=size[0],
        height=size[1],
        depth_pixel=pixel,
        depth=rng.choice(np.float32([0.0, 1e-30, 0.001, 1.5, 80.25, 250.0]), count),
        depth_visible=rng.random(count) < 0.7,
    )
    for found, expected in zip(scale_depth(view, *wanted), plain_depth(view, *wanted), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


@pytest.mark.parametrize("width", [None, 96, 48, 40, 31, 120])
def test_a_target_is_the_whole_image_decoded_and_averaged(view: View, width: int | None) -> None:
    target = make_target(view, width, CPU)
    cameras = Cameras.from_views([view], width)
    rgb = torch.from_numpy(simplejpeg.decode_jpeg(view.image)).permute(2, 0, 1)[None].float() / 255.0
    if width not in (None, 96):
        rgb = interpolate(rgb, size=(cameras.height, cameras.width), mode="area")
    assert torch.equal(target.rgb, rgb[0].permute(1, 2, 0))
    assert (target.cameras.width, target.cameras.height) == rendered_size(view, width)
    pixel, depth = plain_depth(view, cameras.width, cameras.height)
    np.testing.assert_array_equal(target.depth_pixel, pixel)
    np.testing.assert_array_equal(target.depth, depth)
    assert (target.depth_pixel.dtype, target.depth.dtype) == (torch.int64, torch.float32)


def test_a_header_and_kept_depth_are_enough(view: View) -> None:
    clip, shutter = make_clip(), Shutter(0.03, -0.01)
    depth = tuple(np.frombuffer(part.tobytes(), part.dtype) for part in scale_depth(view, 48, 27))  # not writable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        packed = pack_target(
            header_of(view),
            48,
            role=view.role,
            image=view.image,
            depth=depth,
            path=[header_of(other) for other in clip.views],
            shutter=shutter,
        )
    found = unpack_target(packed.to("cpu", non_blocking=True))
    expected = make_target(view, 48, CPU, path=clip.views, shutter=shutter)
    for name in ("rgb", "depth_pixel", "depth"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    for name in ("viewmats", "Ks", "times", "twists"):
        assert torch.equal(getattr(found.cameras, name), getattr(expected.cameras, name)), name
    assert found.cameras.shutter == expected.cameras.shutter == shutter
    assert (found.role, found.view.frame) == (view.role, view.frame)
    assert (packed.pixels.dtype, packed.depth_pixel.dtype) == (torch.uint8, torch.int32)


def psnr(a: Target, b: Target) -> float:
    return -10.0 * math.log10(float((a.rgb - b.rgb).square().mean()))


@pytest.mark.parametrize(
    ("width", "decoded"),
    # Of 96: a half, a quarter, a sixth (by way of a half), a third (no n/8 is a multiple of it), all of it.
    [(48, (27, 48)), (24, (14, 24)), (16, (27, 48)), (32, (54, 96)), (None, (54, 96))],
)
def test_scaled_decoding_stops_at_a_multiple_of_the_wanted_size(
    view: View, width: int | None, decoded: tuple[int, int]
) -> None:
    size = rendered_size(view, width)
    packed = pack_target(view, width, role=view.role, image=view.image, depth=scale_depth(view, *size), scaled=True)
    assert tuple(packed.pixels.shape) == (*decoded, 3)
    target = unpack_target(packed)
    assert tuple(target.rgb.shape) == (size[1], size[0], 3)


@pytest.mark.parametrize("width", [960, 480])
def test_scaled_decoding_of_a_real_image_is_close(width: int) -> None:
    jpeg = camera("front", 1).path.read_bytes()
    size = (width, HEIGHT * width // WIDTH)
    shot = SimpleNamespace(frame=1, name="front_camera", image_format="jpeg", width=WIDTH, height=HEIGHT)
    scaled, full = (
        torch.from_numpy(decode_view(shot, jpeg, *size, choice)).float() / 255.0 for choice in (True, False)
    )
    assert tuple(scaled.shape) == (size[1], size[0], 3)
    exact = interpolate(full.permute(2, 0, 1)[None], size=size[::-1], mode="area")[0].permute(1, 2, 0)
    error = float((scaled - exact).square().mean())
    assert 45.0 < -10.0 * math.log10(error) < 70.0


def test_broken_and_foreign_images_are_named(view: View) -> None:
    with pytest.raises(ValueError, match="frame 3, front_camera: cannot decode the view"):
        make_target(replace(view, image=view.image[:40]), None, CPU)
    with pytest.raises(ValueError, match="frame 3, front_camera: the image is 64x54, the clip says 96x54: build"):
        make_target(replace(view, image=textured(64, 54)), None, CPU)


def test_an_image_of_another_size_is_not_decoded_and_a_header_is_read_once(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def watch(name: str) -> None:
        real = getattr(simplejpeg, name)
        monkeypatch.setattr(simplejpeg, name, lambda *given, **more: (calls.append(name), real(*given, **more))[1])

    watch("decode_jpeg_header")
    watch("decode_jpeg")
    pack_target(view, 48, role=view.role, image=view.image, depth=scale_depth(view, 48, 27), scaled=True)
    assert calls == ["decode_jpeg_header", "decode_jpeg"]
    calls.clear()
    with pytest.raises(ValueError, match="the image is 64x54"):
        pack_target(view, 48, role=view.role, image=textured(64, 54), depth=scale_depth(view, 48, 27), scaled=True)
    assert calls == ["decode_jpeg_header"]


@pytest.mark.parametrize(("width", "shape"), [(20, "20x0"), (0, "0x0"), (-96, "-96x-2")])
def test_a_size_without_pixels_is_refused(view: View, width: int, shape: str) -> None:
    flat = replace(view, height=2)
    message = f"frame 3, front_camera: a 96x2 image would be {shape} pixels: use a larger width"
    with pytest.raises(ValueError, match=message):
        rendered_size(flat, width)
    assert rendered_size(flat, 48) == (48, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_target_can_be_pinned_and_unpacked_on_a_device(view: View) -> None:
    clip, shutter = make_clip(), Shutter(0.03, -0.01)
    packed = pack_target(
        view,
        48,
        role=view.role,
        image=view.image,
        depth=scale_depth(view, 48, 27),
        path=clip.views,
        shutter=shutter,
    ).pin_memory()
    assert packed.pixels.is_pinned()
    assert packed.cameras.viewmats.is_pinned()
    found, expected = unpack_target(packed.to("cuda", non_blocking=True)), unpack_target(packed)
    assert found.rgb.is_cuda
    assert found.cameras.viewmats.is_cuda
    torch.testing.assert_close(found.rgb.cpu(), expected.rgb, atol=1e-6, rtol=0)
    assert torch.equal(found.depth_pixel.cpu(), expected.depth_pixel)
