"""Checkpoints: written whole or not at all, never unpickled without restriction."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from flux4d.network import Flux4D
from flux4d.weights import load_weights, save_weights
from store_schema.atomic import atomic_directory, write_atomic

_STEP = "step-"
WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"


def checkpoint_folders(run: Path) -> list[Path]:
    """Finished checkpoints of a run, oldest first."""
    return sorted((run / "checkpoints").glob(f"{_STEP}*"))


def save_checkpoint(run: Path, step: int, network: Flux4D, optimizer: torch.optim.Adam, keep: int) -> Path:
    """Write a checkpoint after `step` finished steps, then drop the oldest beyond `keep`."""
    folder = run / "checkpoints" / f"{_STEP}{step:08d}"
    tensors, scalars = _flatten(optimizer.state_dict())
    with atomic_directory(folder) as temporary:
        save_weights(temporary / WEIGHTS, network)
        save_file(tensors, temporary / OPTIMIZER)
        (temporary / STATE).write_text(json.dumps({"step": step, "optimizer": scalars}))
    # A copy of the newest weights where the evaluator looks for them.
    write_atomic(run / WEIGHTS, (folder / WEIGHTS).read_bytes())
    for old in checkpoint_folders(run)[:-keep]:
        shutil.rmtree(old)
    return folder


def load_checkpoint(run: Path, network: Flux4D, optimizer: torch.optim.Adam) -> int:
    """Restore the newest checkpoint; returns how many steps are done.

    Raises:
        FileNotFoundError: the run has none.
        ValueError: weights or optimiser state are not those of this network; the difference is in the message.
    """
    folders = checkpoint_folders(run)
    if not folders:
        raise FileNotFoundError(f"{run} holds no checkpoint to resume from: start it without --resume")
    folder = folders[-1]
    load_weights(folder / WEIGHTS, network)
    state = json.loads((folder / STATE).read_text())
    optimizer.load_state_dict(_unflatten(load_file(folder / OPTIMIZER), state["optimizer"]))
    return int(state["step"])


def _flatten(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors = {
        f"{index}.{name}": value.contiguous()
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, {"param_groups": state["param_groups"]}


def _unflatten(tensors: dict[str, Tensor], scalars: dict[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": scalars["param_groups"]}
