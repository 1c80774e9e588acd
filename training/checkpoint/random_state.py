"""States of torch's random generators, of the CPU and of the network's GPU."""

from __future__ import annotations

import torch
from torch import Tensor


def states(device: torch.device) -> dict[str, Tensor]:
    """What `restore` takes: "cpu" and, on a card, "cuda", uint8 [bytes] each."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def differences(kept: dict[str, Tensor], device: torch.device) -> list[str]:
    """A line for every state that this version of torch cannot take."""
    return [
        f"random state of {name}: checkpoint {len(kept[name])} bytes, this version of torch {len(own)}"
        for name, own in states(device).items()
        if name in kept and kept[name].shape != own.shape
    ]


def restore(kept: dict[str, Tensor], device: torch.device) -> None:
    """Put the generators back; a run that moved to a card goes on with the state that the card has."""
    torch.set_rng_state(kept["cpu"])
    if device.type == "cuda" and "cuda" in kept:
        torch.cuda.set_rng_state(kept["cuda"], device)
