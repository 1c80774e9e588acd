"""Exponential moving average (EMA) of a network's weights: steadier than any one step, so it is what is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Exponential mean of a network's parameters, with a copy of its buffers.

    Args:
        network: Whose weights; the mean begins with them, on their device.
        decay: Share of the mean that stays in each step, in (0, 1).

    Raises:
        ValueError: decay is outside.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"ema decay={decay}: use a value between 0 and 1, for instance 0.999")
        self.decay = decay
        self.state: dict[str, Tensor] = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        """Mean of every parameter and value of every buffer, by the names of `state_dict`."""

    def decay_at(self, step: int) -> float:
        """Decay of the update after `step` (0-based): small at first, so that the initial weights are soon forgotten.

        ``min(decay, (1 + step) / (10 + step))``, as TensorFlow's ExponentialMovingAverage with `num_updates`.
        """
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step` (0-based)."""
        share = 1.0 - self.decay_at(step)
        parameters = {name for name, _ in network.named_parameters()}
        for name, tensor in network.state_dict().items():
            if name in parameters:
                self.state[name].lerp_(tensor, share)
            else:
                self.state[name].copy_(tensor)

    @contextmanager
    def copy_to(self, network: nn.Module) -> Iterator[None]:
        """Within, the network has the mean weights; after it, bit for bit its own again, also after an error."""
        own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        _fill(network, self.state)
        try:
            yield
        finally:
            _fill(network, own)


@torch.no_grad()
def _fill(network: nn.Module, values: dict[str, Tensor]) -> None:
    for name, tensor in network.state_dict().items():
        tensor.copy_(values[name])
