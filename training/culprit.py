"""A loss that is not finite: which clip, and a folder that reproduces it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from flux4d.losses import LossConfig
from flux4d.network import Flux4D
from training.config import TrainConfig
from training.dump import flatten, load_dump, save_dump, unflatten
from training.sample import Damaged, Sample
from training.step import clip_losses
from training.stream import ClipStream


def is_broken(network: Flux4D, sample: Sample, config: TrainConfig) -> bool:
    """Is the loss of a clip, or a gradient of it, not finite? Leaves gradients of the clip behind."""
    network.zero_grad(set_to_none=True)
    try:
        losses, _, _ = clip_losses(network, sample, config.loss, precision=config.precision)
    except ValueError:  # what the network made cannot be rendered
        return True
    total = torch.stack([loss.total for loss in losses]).mean()
    if not bool(torch.isfinite(total)):
        return True
    total.backward()
    return not all(bool(torch.isfinite(p.grad).all()) for p in network.parameters() if p.grad is not None)


def dump_culprits(
    run: Path, step: int, rank: int, network: Flux4D, stream: ClipStream, numbers: Sequence[int], config: TrainConfig
) -> list[tuple[str, Path]]:
    """Train on a step's samples again, one by one, and dump those that break it; (clip, folder) of each."""
    found = []
    for number in numbers:
        sample = stream.reload(number)
        if isinstance(sample, Damaged) or not is_broken(network, sample, config):
            continue
        tensors, form = flatten(sample)
        about: dict[str, Any] = {
            "step": step,
            "number": number,
            "clip": sample.clip_id,
            "sample": form,
            "loss": asdict(config.loss),
            "precision": config.precision,
        }
        folder = run / "dumps" / f"step-{step:08d}-rank{rank}" / sample.clip_id
        found.append((sample.clip_id, save_dump(folder, network=network, sample_tensors=tensors, about=about)))
    return found


def replay(folder: Path, device: torch.device) -> dict[str, Any]:
    """Train on a dumped sample with the dumped weights: its losses and which of its tensors are not finite.

    Raises:
        FileNotFoundError: no dump there.
        ValueError: the dump is damaged or of another version.
    """
    network, tensors, about = load_dump(folder, device)
    sample: Sample = unflatten(tensors, about["sample"])
    found: dict[str, Any] = {"clip": about["clip"], "step": about["step"], "losses": [], "error": None}
    try:
        losses, _, _ = clip_losses(network, sample, LossConfig(**about["loss"]), precision=about["precision"])
        torch.stack([loss.total for loss in losses]).mean().backward()
        found["losses"] = [loss.detach() for loss in losses]
    except ValueError as error:
        found["error"] = str(error)
    names = {f"sample {name}": tensor for name, tensor in tensors.items()}
    names |= {f"weight {name}": tensor for name, tensor in network.named_parameters()}
    names |= {f"gradient {n}": p.grad for n, p in network.named_parameters() if p.grad is not None}
    broken = [n for n, t in names.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    return {**found, "not_finite": broken}
