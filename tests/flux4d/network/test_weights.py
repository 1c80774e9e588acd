"""Weights files: round trip, refusal of everything that does not fit, and atomic writing."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from flux4d.gaussians import ScaleBounds
from flux4d.network.model import Flux4D, NetworkConfig
from flux4d.network.voxelize import VoxelConfig
from flux4d.network.weights import load_network, load_weights, save_weights

CONFIG = NetworkConfig(channels=(4, 6), blocks=1, head_width=8, conv_backend="torch", voxels=VoxelConfig(size=0.5))


def about(metadata: dict[str, str], **changes: Any) -> None:
    metadata["flux4d_weights"] = json.dumps({**json.loads(metadata["flux4d_weights"]), **changes})


def rewrite(path: Path, change: Any) -> None:
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    tensors = load_file(path)
    change(tensors, metadata)
    save_file(tensors, path, metadata)


def test_round_trip_with_config(tmp_path: Path) -> None:
    network = Flux4D(replace(CONFIG, norm="batch", seed=5))
    for buffer in network.buffers():
        buffer.fill_(3)
    save_weights(tmp_path / "deep/w.safetensors", network)
    again = load_network(tmp_path / "deep/w.safetensors")
    assert again.config == network.config
    assert not again.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["w.safetensors"]


def test_same_network_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_weights(tmp_path / name, Flux4D(CONFIG))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("velocity_head.out.bias"), r"missing velocity_head\.out\.bias \(3,\)"),
        (lambda t, m: t.update(extra=torch.zeros(2)), r"unexpected extra \(2,\)"),
        (lambda t, m: t.update({"velocity_head.out.bias": torch.zeros(6)}), r"bias: file \(6,\).*network \(3,\)"),
        (
            lambda t, m: t.update({"velocity_head.out.bias": torch.zeros(3).double()}),
            r"float64, network \(3,\) torch.float32",
        ),
        (lambda t, m: m.clear(), "no weights of Flux4D"),
        (lambda t, m: about(m, format_version=99), "weights format 99, this version reads 1"),
        (lambda t, m: about(m, network_config={"width": 2}), "does not fit this version"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "w.safetensors"
    network = Flux4D(CONFIG)
    save_weights(path, network)
    rewrite(path, change)
    other = Flux4D(replace(CONFIG, seed=9))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_weights(path, other)
    for name, tensor in other.state_dict().items():
        assert torch.equal(before[name], tensor), name


def test_same_shapes_with_another_meaning_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", Flux4D(CONFIG))
    with pytest.raises(ValueError, match=r"config velocity_unit: file 3\.0, network 5\.0"):
        load_weights(tmp_path / "w", Flux4D(replace(CONFIG, velocity_unit=5.0)))


def test_scale_bounds_travel_with_the_weights_and_must_agree(tmp_path: Path) -> None:
    bounds = ScaleBounds(0.01, 0.5)
    save_weights(tmp_path / "w", Flux4D(CONFIG, scale_bounds=bounds))
    assert load_network(tmp_path / "w").scale_bounds == bounds
    with pytest.raises(ValueError, match=r"config max_scale: file 0\.5, network 1\.0"):
        load_weights(tmp_path / "w", Flux4D(CONFIG))
    with pytest.raises(ValueError, match="0 < min_scale < max_scale"):
        ScaleBounds(1.0, 0.5)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_weights(path, Flux4D(CONFIG))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load_weights(path, Flux4D(CONFIG))
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "none", Flux4D(CONFIG))


def test_interrupted_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w"
    save_weights(path, Flux4D(CONFIG))
    old = path.read_bytes()

    def fail(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights(path, Flux4D(replace(CONFIG, seed=1)))
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["w"]
