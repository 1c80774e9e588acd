"""Processes of a distributed run: rank, world size, and what they send each other.

Gradients travel in one buffer and one sum a step, not by hooks in the backward pass: the network has few million
parameters, and so a process whose clip was left out, or that is asked to stop, still takes its part in the step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from store_schema.hashing import hash_bytes, hash_json

TIMEOUT = timedelta(minutes=30)
"""Longest that a process waits for the others: an early evaluation of full-size clips takes minutes."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Place of this process among those of the run; ``torchrun`` sets the environment it is read from."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> Ranks:
        """As ``torchrun`` says; a single process without it.

        Raises:
            ValueError: some of its variables are set and others are not.
        """
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        found = [os.environ.get(name) for name in names]
        if found[:2] == [None, None]:
            return cls()
        if None in found:
            raise ValueError(
                f"{dict(zip(names, found, strict=True))} is only a part of what torchrun sets: start with "
                "`torchrun --nproc-per-node N -m training ...`, or unset them"
            )
        return cls(*(int(value) for value in found if value is not None))

    @property
    def is_main(self) -> bool:
        """Does this process write the run folder?"""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """The card of this process where `device` is CUDA without a number; it becomes the current one.

        Raises:
            ValueError: there is no such card, or several processes are given the same one.
        """
        if device.type != "cuda":
            return device
        if device.index is not None and self.world_size > 1:
            raise ValueError(f"--device {device} would put {self.world_size} processes on one card: use --device cuda")
        index = self.local_rank if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise ValueError(
                f"local rank or device {index}, but this process sees {torch.cuda.device_count()} cards: start as many "
                "processes a node as it has cards, and let each see all of them"
            )
        torch.cuda.set_device(index)
        return torch.device("cuda", index)

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Joined with the other processes: NCCL between cards, gloo between CPUs.

        After an error the group is left as it is: to destroy it waits for the others, who wait for this process.
        """
        if self.world_size == 1:
            yield
            return
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, rank=self.rank, world_size=self.world_size, timeout=TIMEOUT)
        yield
        distributed.destroy_process_group()

    def sum_gradients(self, parameters: Sequence[Tensor], extras: Tensor) -> Tensor:
        """Sum gradients over the ranks in place, and with them the vector `extras`, which is returned summed."""
        if self.world_size == 1:
            return extras
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        assert len(grads) == len(parameters), "every process must have a gradient for every parameter"
        flat = torch.cat([*(grad.flatten() for grad in grads), extras])
        distributed.all_reduce(flat)
        *parts, summed = torch.split(flat, [*(grad.numel() for grad in grads), len(extras)])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        return extras.copy_(summed)

    def largest(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Elementwise maximum over the ranks."""
        if self.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
        return [float(value) for value in tensor.tolist()]

    def gather(self, own: bytes, device: torch.device) -> list[bytes]:
        """Every rank's bytes, in the order of ranks, on every rank."""
        if self.world_size == 1:
            return [own]
        length = torch.tensor([len(own)], device=device)
        lengths = [torch.zeros_like(length) for _ in range(self.world_size)]
        distributed.all_gather(lengths, length)
        sizes = [int(each) for each in lengths]
        padded = torch.zeros(max(1, *sizes), dtype=torch.uint8, device=device)
        padded[: len(own)] = torch.frombuffer(bytearray(own), dtype=torch.uint8) if own else padded[:0]
        received = [torch.zeros_like(padded) for _ in sizes]
        distributed.all_gather(received, padded)
        return [bytes(each[:size].cpu().numpy()) for each, size in zip(received, sizes, strict=True)]

    def require_same(self, state: dict[str, Any], device: torch.device) -> None:
        """Check that all processes are to begin from one state: JSON values, and tensors by name.

        Raises:
            ValueError: they differ; says in what.
        """
        if self.world_size == 1:
            return
        own = {name: _fingerprint(value) for name, value in state.items()}
        all_states = [json.loads(each) for each in self.gather(json.dumps(own).encode(), device)]
        for name in own:
            values = [each[name] for each in all_states]
            if len(set(values)) > 1:
                raise ValueError(
                    f"the processes of this run do not agree on its {name}: {dict(enumerate(values))} by rank; --out "
                    "and --store must be the same for all, on a file system they share"
                )

    def barrier(self, device: torch.device) -> None:
        """Wait until every rank is here."""
        self.gather(b"", device)


def _fingerprint(value: Any) -> str:
    if isinstance(value, dict) and any(isinstance(item, Tensor) for item in value.values()):
        return hash_json({name: hash_bytes(item.cpu().numpy().tobytes()) for name, item in value.items()})
    return json.dumps(value, sort_keys=True)
