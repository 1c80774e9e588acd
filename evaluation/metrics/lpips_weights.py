"""Find LPIPS weights in files on this machine; nothing is downloaded."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Iterator, Sequence
from hashlib import file_digest
from pathlib import Path

import torch
from torch import Tensor

from evaluation.metrics.lpips import BACKBONES, Backbone, Lpips, Net, Unavailable


def load_lpips(
    net: Net = "alex", folder: Path | None = None, device: torch.device | str = "cpu"
) -> Lpips | Unavailable:
    """Find and read the weights.

    Args:
        net: Backbone.
        folder: Where the files lie; None looks into torch.hub's folder of checkpoints. The heads may also be those
            that an installed torchmetrics ships.
        device: Where images will be compared.

    Returns:
        The network, or the reason why there is none.

    Raises:
        FileNotFoundError: `folder` was given and the files are not there.
        ValueError: a file is damaged or holds something else.
    """
    backbone, heads_name = BACKBONES[net], f"{net}.pth"
    place = Path(torch.hub.get_dir()) / "checkpoints" if folder is None else folder
    features_file = _first(backbone.file, [place])
    heads_file = _first(heads_name, [place, *_shipped_heads()])
    if features_file is None or heads_file is None:
        found = {backbone.file: features_file, heads_name: heads_file}
        reason = (
            f"LPIPS is n/a: {place} has no {' and no '.join(name for name, file in found.items() if file is None)}. "
            f"Put torchvision's {backbone.title} weights ({backbone.file}) and the heads of LPIPS 0.1 ({heads_name}, "
            "which torchmetrics ships) into a folder and name it with --lpips-weights. Nothing is downloaded."
        )
        if folder is not None:
            raise FileNotFoundError(reason)
        return Unavailable(reason)
    features_digest = _checked_digest(features_file, backbone.file)
    return Lpips(
        backbone=backbone,
        features={name: tensor.to(device) for name, tensor in _features(backbone, features_file)},
        heads=tuple(tensor.to(device) for tensor in _heads(backbone, heads_file)),
        description=_description(backbone, features_file, features_digest, heads_file),
    )


def _description(backbone: Backbone, features_file: Path, features_digest: str, heads_file: Path) -> str:
    """Heads with other bytes are not refused: the same values saved by another PyTorch have another hash."""
    digest = _sha256(heads_file)
    heads = "version 0.1" if digest == backbone.heads_sha256 else "unknown heads"
    return (
        f"LPIPS: {heads} on {backbone.title}; weights {features_file.name} (SHA-256 {features_digest[:16]}), "
        f"heads {heads_file.name} (SHA-256 {digest[:16]})."
    )


def _features(backbone: Backbone, path: Path) -> Iterator[tuple[str, Tensor]]:
    state, inputs = _read(path), 3
    for stage in backbone.stages:
        for index, kernel, _, _ in stage.convolutions:
            shapes = {"weight": (stage.channels, inputs, kernel, kernel), "bias": (stage.channels,)}
            for part, shape in shapes.items():
                name = f"features.{index}.{part}"
                yield name, _tensor(state, name, shape, path)
            inputs = stage.channels


def _heads(backbone: Backbone, path: Path) -> Iterator[Tensor]:
    state = _read(path)
    for number, stage in enumerate(backbone.stages):
        yield _tensor(state, f"lin{number}.model.1.weight", (1, stage.channels, 1, 1), path)


def _checked_digest(path: Path, name: str) -> str:
    """SHA-256 of the backbone's file; torchvision's names end with its beginning: a cut or foreign file shows."""
    begins, digest = Path(name).stem.rsplit("-", 1)[-1], _sha256(path)
    if not digest.startswith(begins):
        raise ValueError(
            f"{path}: its SHA-256 begins with {digest[: len(begins)]}, not with {begins} as its name says; the file is "
            f"damaged or another one, get torchvision's {name} again"
        )
    return digest


def _first(name: str, places: Sequence[Path]) -> Path | None:
    return next((place / name for place in places if (place / name).is_file()), None)


def _shipped_heads() -> list[Path]:
    """Folder of the heads inside an installed torchmetrics, found without importing it."""
    spec = importlib.util.find_spec("torchmetrics")
    roots = spec.submodule_search_locations if spec is not None else None
    return [Path(root) / "functional/image/lpips_models" for root in roots or ()]


def _read(path: Path) -> dict[str, object]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a file of PyTorch weights ({type(error).__name__}: {error})") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}, not named weights (a state_dict)")
    return state


def _tensor(state: dict[str, object], name: str, shape: tuple[int, ...], path: Path) -> Tensor:
    value = state.get(name)
    if not isinstance(value, Tensor) or not value.is_floating_point() or tuple(value.shape) != shape:
        has = f"the file has {sorted(state)[:3]} ..."
        if isinstance(value, Tensor):
            has = f"it is {tuple(value.shape)} {value.dtype}"
        raise ValueError(f"{path}: {name} should be {shape} floats, {has}; is it the file of another network?")
    return value.detach().float()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
