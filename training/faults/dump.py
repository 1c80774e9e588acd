"""Dump and load the weights and the sample of a step whose loss is not finite, so that it can be repeated."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from evaluation.run_folder.files import WEIGHTS
from flux4d.cameras.cameras import Cameras
from flux4d.cameras.shutter import Shutter
from flux4d.gaussians import Gaussians
from flux4d.network.model import Flux4D
from flux4d.network.weights import load_network, save_weights
from flux4d.supervision.target import Target
from store_schema.camera_model import OpenCVDistortion, OpenCVFisheye, Pinhole
from store_schema.clip import View
from store_schema.codec import ViewHeader
from store_schema.files.atomic import atomic_directory
from training.data.sample import Sample

SAMPLE, ABOUT = "sample.safetensors", "about.json"
_LENSES = (Pinhole, OpenCVDistortion, OpenCVFisheye)
_SAMPLE_TYPES = (Cameras, Gaussians, Sample, Shutter, Target, View, ViewHeader, *_LENSES)
TYPES: Mapping[str, type] = {each.__name__: each for each in _SAMPLE_TYPES}
"""Dataclasses that may be in a sample: nothing else is ever made from what a file says."""


def save_dump(folder: Path, *, network: Flux4D, sample_tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Path:
    """Write the folder, whole or not at all; one of that name is replaced.

    Args:
        folder: For instance ``dumps/step-00000120-rank0``.
        network: As it was when it gave the loss.
        sample_tensors: Of `flatten`.
        about: JSON of `flatten` and what a reader wants to know: step, clips, losses.

    Returns:
        The folder.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sample_tensors.items()}
    with atomic_directory(folder) as temporary:
        save_weights(temporary / WEIGHTS, network)
        (temporary / SAMPLE).write_bytes(to_bytes(tensors))
        (temporary / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True))
    return folder


def load_dump(folder: Path, device: torch.device | str = "cpu") -> tuple[Flux4D, dict[str, Tensor], dict[str, Any]]:
    """Read a folder of `save_dump`.

    Returns:
        network: On the device, in training mode as it was.
        sample_tensors: On the device, for `unflatten`.
        about: What was written.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged.
    """
    for name in (WEIGHTS, SAMPLE, ABOUT):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: name a folder below RUN/dumps that holds it")
    try:
        tensors = {name: tensor.to(device) for name, tensor in load_file(folder / SAMPLE).items()}
        about = json.loads((folder / ABOUT).read_bytes())
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{folder} is damaged ({error}); copy it again") from error
    return load_network(folder / WEIGHTS, device).train(), tensors, about


def flatten(value: Any) -> tuple[dict[str, Tensor], Any]:
    """Tensors by their place, and JSON that tells `unflatten` what they belong to.

    Args:
        value: Tensors, arrays, bytes, numbers, texts, None, and dicts with text keys, tuples, lists and dataclasses
            of `TYPES` of them.

    Raises:
        TypeError: something else is in it; the message says where.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _described(value, "", tensors)


def unflatten(tensors: Mapping[str, Tensor], description: Any) -> Any:
    """Inverse of `flatten`; tensors stay on their device, arrays are made on the CPU.

    Raises:
        ValueError: the description is not one of `flatten`.
    """
    if description is None or isinstance(description, bool | int | float | str):
        return description
    if isinstance(description, dict) and len(description) == 1:
        kind, content = next(iter(description.items()))
        if kind in _LEAVES:
            return _LEAVES[kind](tensors, content)
        if kind in ("list", "tuple"):
            items = [unflatten(tensors, each) for each in content]
            return tuple(items) if kind == "tuple" else items
        if kind == "dict":
            return {key: unflatten(tensors, each) for key, each in content.items()}
        if kind in TYPES:
            return _made(TYPES[kind], {key: unflatten(tensors, each) for key, each in content.items()})
    raise ValueError(f"{description!r} is nothing that flatten writes")


def _made(kind: type, content: dict[str, Any]) -> Any:
    names = {field.name for field in fields(kind)}
    if strange := sorted(content.keys() ^ names):
        raise ValueError(f"{kind.__name__} of another version of this package (it differs in {', '.join(strange)})")
    return kind(**content)


_LEAVES: dict[str, Callable[[Mapping[str, Tensor], str], Any]] = {
    "float": lambda tensors, content: float(content),
    "tensor": lambda tensors, content: tensors[content],
    "array": lambda tensors, content: tensors[content].cpu().numpy(),
    "bytes": lambda tensors, content: tensors[content].cpu().numpy().tobytes(),
}


def _described(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if (tensor := _as_tensor(value)) is not None:
        kind, key = tensor[0], place
        while key in tensors:  # of a dict whose keys have dots
            key += "'"
        tensors[key] = tensor[1]
        return {kind: key}
    inner = f"{place}." if place else ""
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_described(each, f"{inner}{index}", tensors) for index, each in enumerate(value)]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _described(each, inner + key, tensors) for key, each in value.items()}}
    if is_dataclass(value) and TYPES.get(type(value).__name__) is type(value):
        content = {f.name: _described(getattr(value, f.name), inner + f.name, tensors) for f in fields(value)}
        return {type(value).__name__: content}
    raise TypeError(f"{place or 'the value'} is a {type(value).__name__}, which has no place in a dump")


def _as_tensor(value: Any) -> tuple[str, Tensor] | None:
    if isinstance(value, Tensor):
        return "tensor", value.detach()
    if isinstance(value, np.ndarray):
        return "array", torch.from_numpy(value.copy())
    if isinstance(value, bytes):
        return "bytes", torch.from_numpy(np.frombuffer(value, np.uint8).copy())
    return None
