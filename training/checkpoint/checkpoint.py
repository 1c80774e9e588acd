"""Checkpoints: all that a run is made of after a step, written whole or not at all, hashed, without pickle.

A run is a pure function of this state, so going back to an older checkpoint only repeats steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from evaluation.run_folder.files import WEIGHTS
from flux4d.network.model import Flux4D
from flux4d.network.weights import load_weights, read_weights, save_weights
from store_schema.files.atomic import atomic_directory, write_atomic
from store_schema.hashing import hash_file
from training.checkpoint import optimizer_state, random_state
from training.checkpoint.ema import Ema
from training.checkpoint.files import (
    BEST,
    CheckpointError,
    DamagedError,
    checkpoint_folders,
    checkpoints,
    explaining_full_disk,
    open_sealed,
    prune,
    recover,
    seal,
    step_folder,
    tidy,
)

__all__ = [
    "CheckpointError",
    "Learner",
    "Progress",
    "checkpoint_folders",
    "load_checkpoint",
    "load_initial",
    "save_best",
    "save_checkpoint",
]

EMA = "ema.safetensors"
OPTIMIZER = "optimizer.safetensors"
RNG = "rng.safetensors"


@dataclass(slots=True)
class Learner:
    """What a checkpoint restores, in place."""

    network: Flux4D
    optimizer: torch.optim.Adam
    ema: Ema | None
    scaler: torch.amp.GradScaler | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is."""

    step: int
    """Steps done."""
    stream: dict[str, Any]
    """Where the samples stand, JSON."""
    dataset_version: str
    best: dict[str, Any] | None
    """``{"step": int, "metric": str, "value": float}`` of the best early evaluation so far."""
    evaluated: int = 0
    """Step of the last early evaluation; 0 before the first."""


def save_checkpoint(run: Path, learner: Learner, progress: Progress, keep: int) -> Path:
    """Write the checkpoint after `progress.step` steps, then drop the oldest beyond `keep`.

    Then ``weights.safetensors`` of the run folder becomes a copy of the weights to evaluate. A kill at any moment
    leaves a run that `load_checkpoint` continues from this checkpoint or from the one before.

    Args:
        run: Run folder.
        learner: What to write.
        progress: How far it is.
        keep: Checkpoints kept, this one included.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError: no space left; what was there stays.
    """
    folder = step_folder(run, progress.step)
    with explaining_full_disk(run, progress.step, "the checkpoint"):
        tidy(run, WEIGHTS)
        with atomic_directory(folder) as temporary:
            _write(temporary, learner, progress)
        write_atomic(run / WEIGHTS, (folder / _evaluated(learner)).read_bytes())
        prune(run, progress.step, keep)
    return folder


def save_best(run: Path, learner: Learner, progress: Progress) -> Path:
    """Write the weights to evaluate to ``checkpoints/best``, in place of those that were there.

    To be called before `save_checkpoint` of the same step, whose `progress.best` then never names weights that are
    not there.

    Raises:
        CheckpointError: no space left; the best so far stays.
    """
    folder = checkpoints(run) / BEST
    weights = "network" if learner.ema is None else "ema"
    with explaining_full_disk(run, progress.step, "the best weights"):
        tidy(run, WEIGHTS)
        with atomic_directory(folder) as temporary:
            save_weights(temporary / WEIGHTS, learner.network, None if learner.ema is None else learner.ema.state)
            seal(temporary, {**asdict(progress), "weights": weights})
    return folder


def load_checkpoint(run: Path, learner: Learner, warn: Callable[[str], None]) -> Progress | None:
    """Restore the newest whole checkpoint of a run, all of it or nothing.

    The run folder's ``weights.safetensors`` is put right where a kill left it behind the checkpoint.

    Args:
        run: Run folder.
        learner: Filled in place; untouched if anything does not fit.
        warn: Told of every damaged checkpoint that is passed over.

    Returns:
        How far the run is; None when it has no checkpoint yet.

    Raises:
        ValueError: every checkpoint is damaged; or one is of another network, optimiser or version of this package,
            with all differences in the message.
        CheckpointError: no space left to put the run folder's weights right.
    """
    recover(run)
    damaged: list[str] = []
    for folder in reversed(checkpoint_folders(run)):
        try:
            state = open_sealed(folder)
        except DamagedError as error:
            damaged.append(f"{folder}: {error}")
            continue
        for line in damaged:
            warn(f"damaged checkpoint {line}; going on from {folder.name}, which repeats the steps since")
        _restore(folder, state, learner)
        _put_weights_right(run, folder, state, learner)
        return Progress(**{field.name: state[field.name] for field in fields(Progress)})
    if damaged:
        raise ValueError(
            f"no checkpoint of {run} is whole; begin a new --out, with --init-from {run / WEIGHTS} if that file is:"
            + "".join(f"\n  {line}" for line in damaged)
        )
    return None


def load_initial(path: Path, network: Flux4D) -> None:
    """Begin with the weights of another run.

    Args:
        path: A run folder, whose weights to evaluate are taken, or a weights file.
        network: Filled in place; untouched if anything does not fit.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: they are not of this network, or the file is damaged.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: --init-from wants a run folder with {WEIGHTS}, or a weights file")
    load_weights(file, network)


def _write(folder: Path, learner: Learner, progress: Progress) -> None:
    save_weights(folder / WEIGHTS, learner.network)
    if learner.ema is not None:
        save_weights(folder / EMA, learner.network, learner.ema.state)
    tensors, scalars = optimizer_state.pack(learner.optimizer, learner.network)
    (folder / OPTIMIZER).write_bytes(to_bytes(tensors))
    (folder / RNG).write_bytes(to_bytes(random_state.states(_device(learner))))
    scaler = None if learner.scaler is None else learner.scaler.state_dict()
    seal(folder, {**asdict(progress), "optimizer": scalars, "scaler": scaler})


def _restore(folder: Path, state: dict[str, Any], learner: Learner) -> None:
    """Compare everything, then fill everything."""
    weights, lines = read_weights(folder / WEIGHTS, learner.network)
    mean: dict[str, Tensor] = {}
    if (has_mean := EMA in state["files"]) != (learner.ema is not None):
        lines.append(_MEAN_ADVICE[has_mean])
    elif learner.ema is not None:
        mean, more = read_weights(folder / EMA, learner.network)
        lines += [f"running mean: {line}" for line in more]
    if bool(state["scaler"]) != (learner.scaler is not None):
        kept, wanted = ("a" if each else "no" for each in (state["scaler"], learner.scaler))
        lines.append(f"loss scale: the checkpoint has {kept} scale, this run wants {wanted}: give its --precision")
    tensors = load_file(folder / OPTIMIZER)
    lines += optimizer_state.differences(tensors, state["optimizer"], learner.optimizer, learner.network)
    random = load_file(folder / RNG)
    lines += random_state.differences(random, _device(learner))
    if lines:
        shown = "\n  ".join(lines)
        raise ValueError(
            f"{folder} does not fit this run, {len(lines)} differences:\n  {shown}\n"
            "Continue it with its own settings, or begin a new --out."
        )
    learner.network.load_state_dict(weights, strict=True)
    if learner.ema is not None:
        for name, tensor in mean.items():
            learner.ema.state[name].copy_(tensor)
    optimizer_state.unpack(tensors, state["optimizer"], learner.optimizer, learner.network)
    if learner.scaler is not None:
        learner.scaler.load_state_dict(state["scaler"])
    random_state.restore(random, _device(learner))


_MEAN_ADVICE = {
    True: "running mean: the checkpoint has one, this run keeps none: give its --ema-decay",
    False: "running mean: the checkpoint has none, this run keeps one: leave --ema-decay out",
}


def _put_weights_right(run: Path, folder: Path, state: dict[str, Any], learner: Learner) -> None:
    name = _evaluated(learner)
    if (run / WEIGHTS).is_file() and hash_file(run / WEIGHTS) == state["files"][name]["blake3"]:
        return
    with explaining_full_disk(run, state["step"], f"{run / WEIGHTS} anew from the checkpoint"):
        write_atomic(run / WEIGHTS, (folder / name).read_bytes())


def _evaluated(learner: Learner) -> str:
    return WEIGHTS if learner.ema is None else EMA


def _device(learner: Learner) -> torch.device:
    return next(learner.network.parameters()).device
