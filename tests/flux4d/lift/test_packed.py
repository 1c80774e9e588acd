"""Packed scenes: their bytes, what is made of them on a device, and which code a kept one depends on."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flux4d
from benchmarks.house import find_modules, imports_of
from flux4d.lift.packed import LIFT_FOLDERS, PackedScene, PackedTensors, lift_code_hash, unpack
from flux4d.lift.scene import SceneConfig, lift_clip, pack_clip
from flux4d.lift.sky import SkyConfig
from store_schema.units import POSITION, TIME
from tests.support.scenes.toy import make_clip

COLUMNS = ("positions", "spreads", "rgb", "times", "source", "sky_means", "sky_rgb")


def scene_of(lidar: int, sky: int, seed: int = 0, **changes: Any) -> PackedScene:
    rng = np.random.default_rng(seed)
    low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    values = {
        "positions": rng.integers(low, high, (lidar, 3), np.int32, endpoint=True),
        "spreads": rng.random(lidar, np.float32),
        "rgb": rng.integers(0, 65536, (lidar, 3)).astype(np.uint16),
        "times": rng.integers(low, high, lidar, np.int32, endpoint=True),
        "source": rng.permutation(lidar).astype(np.int32),
        "sky_means": rng.normal(size=(sky, 3)).astype(np.float32) * 400,
        "sky_rgb": rng.integers(0, 65536, (sky, 3)).astype(np.uint16),
    }
    numbers = {"opacity": 0.5, "sky_opacity": 0.99, "sky_scale": 1.1, "duration": 1.5}
    return PackedScene(**{**values, **numbers, **changes})


def same(a: PackedScene, b: PackedScene) -> bool:
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(PackedScene))


@given(lidar=st.integers(0, 40), sky=st.integers(0, 40), seed=st.integers(0, 9))
def test_bytes_give_the_scene_back_without_a_copy(lidar: int, sky: int, seed: int) -> None:
    scene = scene_of(lidar, sky, seed)
    data = scene.to_bytes()
    assert data == scene_of(lidar, sky, seed).to_bytes()
    raw = np.frombuffer(data, np.uint8)
    for given_as in (data, memoryview(data)):
        read = PackedScene.from_bytes(given_as)
        assert same(read, scene)
        for name in COLUMNS:
            column = getattr(read, name)
            if column.size:
                assert np.shares_memory(column, raw), name
                assert (column.ctypes.data - raw.ctypes.data) % 64 == 0, name
    assert 0 <= len(data) - scene.nbytes <= 1024


@given(cut=st.integers(0, 10_000), at=st.integers(0, 400), bit=st.integers(0, 7))
@settings(max_examples=300)
def test_damaged_bytes_raise_no_other_error(cut: int, at: int, bit: int) -> None:
    data = scene_of(20, 10).to_bytes()
    with pytest.raises(ValueError, match="packed scene"):
        PackedScene.from_bytes(data[: cut % len(data)])
    flipped = bytearray(data)
    flipped[at % len(data)] ^= 1 << bit
    # Damage to a value is found by the hash of what is kept, not here.
    with contextlib.suppress(ValueError):
        assert len(PackedScene.from_bytes(bytes(flipped)).to_bytes()) == len(data)


def test_what_does_not_fit_is_refused() -> None:
    data = scene_of(3, 2).to_bytes()
    with pytest.raises(ValueError, match="bytes, expected"):
        PackedScene.from_bytes(data + b"\0")
    with pytest.raises(ValueError, match="do not start as one"):
        PackedScene.from_bytes(b"x" + data)
    with pytest.raises(ValueError, match=r"format 1, this code reads 2.*: lift the clip again"):
        PackedScene.from_bytes(data.replace(b'"format": 2', b'"format": 1'))
    with pytest.raises(ValueError, match="cannot read the header"):
        PackedScene.from_bytes(data.replace(b'"lidar": 3', b'"lidas": 3'))
    with pytest.raises(ValueError, match="lidar='3'"):
        PackedScene.from_bytes(data.replace(b'"lidar": 3, ', b'"lidar":"3",'))
    with pytest.raises(ValueError, match="cannot read the header"):
        PackedScene.from_bytes(data.replace(b"0.99", b"NaN "))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": np.zeros((5, 3), np.int64)}, r"positions is int64 \[5, 3\], expected int32 \[5, 3\]"),
        ({"rgb": np.zeros((4, 3), np.uint16)}, r"rgb is uint16 \[4, 3\], expected uint16 \[5, 3\]"),
        ({"sky_rgb": np.zeros((2, 4), np.uint16)}, r"sky_rgb is uint16 \[2, 4\]"),
        ({"duration": float("nan")}, "duration=nan"),
        ({"sky_scale": -1.0}, "sky_scale=-1.0"),
        ({"sky_scale": 1e39}, "sky_scale=1e.39: expected float"),
        ({"duration": 0.0}, "duration=0.0 s: a clip must last"),
    ],
)
def test_columns_and_numbers_must_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scene_of(5, 2, **change)


def with_header(text: bytes) -> bytes:
    start = b"flux4d-scene" + len(text).to_bytes(4, "little") + text
    return start + bytes(-len(start) % 64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" * 4000, "cannot read the header"),
        (b"[" * 1_000_000, "1000000 bytes, at most 4096"),
        (b'{"format": 2, "lidar": ' + b"9" * 400 + b"}", "cannot read the header"),
        (b'{"format": ' + b"9" * 4080 + b"}", "format 99.*, this code reads 2"),
        (b"[]", "cannot read the header"),
        (b"\xff", "cannot read the header"),
        (b"", "cannot read the header"),
    ],
)
def test_a_header_of_another_kind_is_refused(text: bytes, message: str) -> None:
    for read in (PackedScene.from_bytes, PackedTensors.from_bytes):
        with pytest.raises(ValueError, match=rf"packed scene: .*{message}.*lift the clip again") as caught:
            read(with_header(text))
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eight_bit", "1000000000000"),
        ("eight_bit", "-1"),
        ("lidar", "1" + "0" * 400),
        ("sky", "2147483648"),
        ("duration", "0.0"),
        ("duration", "1e999"),
        ("opacity", "1e300"),
        ("opacity", "true"),
        ("eight_bit", "null"),
    ],
)
def test_a_number_of_a_header_that_cannot_be_is_refused(name: str, value: str) -> None:
    data = scene_of(3, 2).to_bytes()
    header = json.loads(data[16 : 16 + int.from_bytes(data[12:16], "little")])
    text = ", ".join(f'"{key}": {value if key == name else json.dumps(old)}' for key, old in header.items())
    for read in (PackedScene.from_bytes, PackedTensors.from_bytes):
        with pytest.raises(ValueError, match=f"cannot read the header .*{name}=") as caught:
            read(with_header(f"{{{text}}}".encode()))
        assert len(str(caught.value)) < 400


@given(lidar=st.integers(0, 200), sky=st.integers(0, 20), seed=st.integers(0, 1000))
def test_unpacking_is_what_the_store_decodes(lidar: int, sky: int, seed: int) -> None:
    scene = scene_of(lidar, sky, seed)
    found = unpack(scene)
    np.testing.assert_array_equal(found.means[:lidar], POSITION.decode(scene.positions))
    np.testing.assert_array_equal(found.means[lidar:], scene.sky_means)
    np.testing.assert_array_equal(found.times, np.r_[TIME.decode(scene.times), np.zeros(sky, np.float32)])
    np.testing.assert_array_equal(found.scales[:lidar], np.repeat(scene.spreads[:, None], 3, axis=1))
    np.testing.assert_array_equal(found.scales[lidar:], np.full((sky, 3), 1.1, np.float32))
    colours = np.concatenate([scene.rgb, scene.sky_rgb]).astype(np.float32) / np.float32(65535)
    np.testing.assert_array_equal(found.rgb, colours)
    np.testing.assert_array_equal(found.opacities, np.float32([0.5] * lidar + [0.99] * sky))
    np.testing.assert_array_equal(found.source, np.r_[scene.source, np.full(sky, -1)])
    np.testing.assert_array_equal(found.is_sky, np.arange(lidar + sky) >= lidar)
    assert found.quats.tolist() == [[1.0, 0.0, 0.0, 0.0]] * (lidar + sky)
    assert found.velocities.shape == (lidar + sky, 1, 3)
    assert not found.velocities.any()
    assert {name: column.dtype for name, column in found.columns().items()} == {
        **dict.fromkeys(found.columns(), torch.float32),
        "is_sky": torch.bool,
        "source": torch.int64,
    }


def test_eight_bit_colours_come_back_to_the_bit() -> None:
    values = np.arange(255, dtype=np.uint8).reshape(-1, 3)
    values[-1, -1] = 255
    scene = scene_of(len(values), 0, rgb=values * np.uint16(257))
    np.testing.assert_array_equal(unpack(scene).rgb, values.astype(np.float32) / np.float32(255))


@given(st.lists(st.integers(-2_000_000_000, 2_000_000_000), min_size=1))
def test_floats_decoded_from_a_grid_survive_being_packed(steps: list[int]) -> None:
    for grid in (POSITION, TIME):
        decoded = grid.decode(np.array(steps, np.int32))
        np.testing.assert_array_equal(grid.decode(grid.encode(decoded)), decoded)


def test_tensors_are_the_same_scene() -> None:
    scene = pack_clip(make_clip(), SceneConfig(sky=SkyConfig(spacing=0.03)))
    tensors = PackedTensors.of(PackedScene.from_bytes(scene.to_bytes())).to("cpu", non_blocking=True)
    assert tensors.header == scene.header
    for name in COLUMNS:
        column = getattr(scene, name)
        np.testing.assert_array_equal(tensors.column(name).numpy().view(column.dtype), column)
    lifted = lift_clip(make_clip(), SceneConfig(sky=SkyConfig(spacing=0.03)))
    for found in (unpack(tensors), unpack(tensors, "cpu"), unpack(scene)):
        assert all(torch.equal(getattr(found, name), column) for name, column in lifted.columns().items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_makes_the_same_bits() -> None:
    scene = scene_of(5000, 500)
    expected = unpack(scene)
    uploaded = PackedTensors.of(scene).pin_memory().to("cuda", non_blocking=True)
    assert PackedTensors.of(scene).pin_memory().buffer.is_pinned()
    for found in (unpack(scene, "cuda"), unpack(uploaded)):
        assert found.means.is_cuda
        assert all(torch.equal(getattr(found, name).cpu(), column) for name, column in expected.columns().items())


def test_no_file_that_lifting_uses_is_left_out_of_its_hash() -> None:
    repository = Path(flux4d.__file__).parents[1]
    modules = find_modules(repository)
    imports = imports_of(modules)
    waiting, used = ["flux4d.lift.scene", "flux4d.supervision.target"], set()
    while waiting:
        if (name := waiting.pop()) not in used and name.startswith("flux4d."):
            used.add(name)
            waiting += imports[name]
    assert {modules[name].parent for name in used} <= set(LIFT_FOLDERS)


def test_the_hash_is_that_of_the_code_that_was_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in LIFT_FOLDERS:
        inside = tmp_path / "flux4d" / folder.relative_to(LIFT_FOLDERS[0])
        shutil.copytree(folder, inside, dirs_exist_ok=True, ignore=shutil.ignore_patterns("rasterize", "__pycache__"))
    lift = tmp_path / "flux4d" / "lift"

    def loaded_hash_of(edit: str) -> str:
        spec = importlib.util.spec_from_file_location("packed_copy", lift / "packed.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "packed_copy", module)
        spec.loader.exec_module(module)
        with (lift / "sky.py").open("a") as file:
            file.write(edit)
        return str(module.lift_code_hash())

    assert loaded_hash_of("edited = True\n") == lift_code_hash()
    assert loaded_hash_of("") != lift_code_hash()


def test_the_header_is_readable() -> None:
    data = replace(scene_of(3, 2), duration=2.0).to_bytes()
    header = json.loads(data[16 : 16 + int.from_bytes(data[12:16], "little")])
    assert (header["lidar"], header["sky"], header["duration"]) == (3, 2, 2.0)
