"""Network weights as one safetensors file that also holds the network's configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from flux4d.gaussians import ScaleBounds
from flux4d.network.model import Flux4D, NetworkConfig
from store_schema.files.atomic import write_atomic
from store_schema.json_dataclass import JsonError, from_json, to_json

FORMAT_VERSION = 1
_KEY = "flux4d_weights"  # one key only: safetensors writes several in random order, and equal networks would differ


def save_weights(path: Path | str, network: Flux4D, tensors: Mapping[str, Tensor] | None = None) -> None:
    """Write weights, `NetworkConfig` and `ScaleBounds`; the file appears complete or not at all.

    Args:
        path: The safetensors file to write or replace.
        network: The network.
        tensors: Other weights of the same network, such as their running mean; None writes its own.
    """
    own = network.state_dict() if tensors is None else tensors
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in own.items()}
    about = {
        "format_version": FORMAT_VERSION,
        "network_config": to_json(network.config) | to_json(network.scale_bounds),
    }
    write_atomic(Path(path), to_bytes(tensors, {_KEY: json.dumps(about, sort_keys=True)}))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error}); copy it again") from error


def _config(path: Path, metadata: dict[str, str]) -> tuple[NetworkConfig, ScaleBounds]:
    if _KEY not in metadata:
        raise ValueError(f"{path}: no weights of Flux4D (its metadata has no {_KEY!r})")
    about: dict[str, Any] = json.loads(metadata[_KEY])
    if about["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{path}: weights format {about['format_version']}, this version reads {FORMAT_VERSION}: "
            "use the version of this package that wrote it"
        )
    try:
        values = dict(about["network_config"])
        bounds = {field.name: values.pop(field.name) for field in fields(ScaleBounds)}
        return from_json(NetworkConfig, values), from_json(ScaleBounds, bounds)
    except (KeyError, TypeError, JsonError) as error:
        raise ValueError(f"{path}: its network config does not fit this version of the package ({error})") from error


def tensor_differences(have: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> list[str]:
    """A line for every tensor of a file (`have`) that is missing, unexpected, or of another shape or type."""
    lines = [f"missing {name} {tuple(want[name].shape)}" for name in sorted(want.keys() - have.keys())]
    lines += [f"unexpected {name} {tuple(have[name].shape)}" for name in sorted(have.keys() - want.keys())]
    for name in sorted(want.keys() & have.keys()):
        a, b = have[name], want[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            lines.append(f"{name}: file {tuple(a.shape)} {a.dtype}, network {tuple(b.shape)} {b.dtype}")
    return lines


def read_weights(path: Path | str, network: Flux4D) -> tuple[dict[str, Tensor], list[str]]:
    """Weights of a file on the CPU, and a line for all in which they do not fit the network, which stays as it is.

    Args:
        path: A file of `save_weights`.
        network: The network they are wanted for.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or foreign.
    """
    path = Path(path)
    tensors, metadata = _read(path)
    config, bounds = _config(path, metadata)
    lines = tensor_differences(tensors, network.state_dict())
    # Sizes show in the tensors; the rest of the config changes what they mean.
    for name in ("motion_order", "norm", "velocity_unit", "max_offset", "voxels"):
        if (theirs := getattr(config, name)) != (ours := getattr(network.config, name)):
            lines.append(f"config {name}: file {theirs}, network {ours}")
    for field in fields(ScaleBounds):
        if (theirs := getattr(bounds, field.name)) != (ours := getattr(network.scale_bounds, field.name)):
            lines.append(f"config {field.name}: file {theirs}, network {ours}")
    return tensors, lines


def load_weights(path: Path | str, network: Flux4D) -> None:
    """Load weights into a network that must fit exactly.

    Args:
        path: A file of `save_weights`.
        network: Filled in place; untouched if anything does not fit.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or foreign, or any tensor is missing, unexpected or of another shape.
    """
    tensors, lines = read_weights(path, network)
    if lines:
        shown = "\n  ".join(lines[:20]) + (f"\n  and {len(lines) - 20} more" if len(lines) > 20 else "")
        raise ValueError(f"{path} does not fit the network, {len(lines)} differences:\n  {shown}")
    network.load_state_dict(tensors, strict=True)


def load_network(path: Path | str, device: torch.device | str = "cpu", **changes: Any) -> Flux4D:
    """Build the network that a weights file describes and fill it.

    Args:
        path: A file of `save_weights`.
        device: Where the network goes.
        **changes: Fields of `NetworkConfig` to replace, for instance conv_backend="torch".

    Raises:
        FileNotFoundError: no such file.
        ValueError: as `load_weights`.
    """
    path = Path(path)
    config, bounds = _config(path, _read(path)[1])
    network = Flux4D(replace(config, **changes), device, bounds)
    load_weights(path, network)
    return network.eval()
