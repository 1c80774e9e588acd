"""Find the clip that made the loss not finite, and dump what reproduces it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from evaluation.run_folder.files import DUMPS
from flux4d.network.model import Flux4D
from flux4d.supervision.losses.total import LossConfig
from store_schema.json_dataclass import JsonError, to_json
from training.config import TrainConfig
from training.data.clip_stream import ClipStream
from training.data.sample import Damaged, Sample
from training.faults.dump import ABOUT, flatten, load_dump, save_dump, unflatten
from training.optimisation.step import clip_losses, mean_total


def broken_by(network: Flux4D, sample: Sample, config: TrainConfig) -> str | None:
    """Why a clip cannot be trained on; None when it can. Leaves gradients of the clip behind."""
    network.zero_grad(set_to_none=True)
    try:
        losses, _, _ = clip_losses(network, sample, config.loss, precision=config.precision)
    except ValueError as error:  # what the network made cannot be rendered
        return str(error)
    total = mean_total(losses)
    if not bool(torch.isfinite(total)):
        return f"its loss is {float(total)}"
    total.backward()
    finite = all(bool(torch.isfinite(p.grad).all()) for p in network.parameters() if p.grad is not None)
    return None if finite else "its gradient is not finite"


def dump_nonfinite(
    run: Path, step: int, rank: int, network: Flux4D, stream: ClipStream, numbers: Sequence[int], config: TrainConfig
) -> list[tuple[str, str, Path]]:
    """Train on a step's samples again, one by one, and dump those that break it; (clip, reason, folder) of each."""
    found = []
    for number in numbers:
        sample = stream.reload(number)
        reason = None if isinstance(sample, Damaged) else broken_by(network, sample, config)
        if isinstance(sample, Damaged) or reason is None:
            continue
        tensors, form = flatten(sample)
        about: dict[str, Any] = {
            "step": step,
            "number": number,
            "clip": sample.clip_id,
            "reason": reason,
            "sample": form,
            "loss": to_json(config.loss),
            "precision": config.precision,
        }
        folder = run / DUMPS / f"step-{step:08d}-rank{rank}" / sample.clip_id
        save_dump(folder, network=network, sample_tensors=tensors, about=about)
        found.append((sample.clip_id, reason, folder))
    return found


def replay(folder: Path, device: torch.device) -> dict[str, Any]:
    """Train on a dumped sample with the dumped weights: its losses and which of its tensors are not finite.

    Raises:
        FileNotFoundError: no dump there.
        ValueError: the dump is damaged or of another version.
    """
    network, tensors, about = load_dump(folder, device)
    sample: Sample = unflatten(tensors, about["sample"])
    try:
        loss = LossConfig.as_recorded(about["loss"])
    except JsonError as error:
        raise ValueError(
            f"{folder / ABOUT}: the loss does not fit this version of the package ({error}); replay it with the one "
            "that wrote it"
        ) from error
    found: dict[str, Any] = {"clip": about["clip"], "step": about["step"], "losses": [], "error": None}
    try:
        losses, _, _ = clip_losses(network, sample, loss, precision=about["precision"])
        mean_total(losses).backward()
        found["losses"] = [loss.detach() for loss in losses]
    except ValueError as error:
        found["error"] = str(error)
    names = {f"sample {name}": tensor for name, tensor in tensors.items()}
    names |= {f"weight {name}": tensor for name, tensor in network.named_parameters()}
    names |= {f"gradient {n}": p.grad for n, p in network.named_parameters() if p.grad is not None}
    broken = [n for n, t in names.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    return {**found, "not_finite": broken}
