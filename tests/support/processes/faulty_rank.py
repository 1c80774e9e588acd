"""Runs ``flux4d-train`` as one of several processes, of which rank 1 meets a fault at its third step.

Called as ``python -m tests.support.processes.faulty_rank FAULT ARGUMENTS...`` with torchrun's environment.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import torch

import training.loop
from store_schema.version.dataset import Dataset
from store_schema.version.shards import CorruptShardError
from training.command import run
from training.monitor.early_evaluation import EarlyEvaluation

AT = 3


def killed(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def out_of_memory(*_: Any) -> None:
    torch.empty(10**15, dtype=torch.uint8)


def broken_view(*_: Any) -> None:
    raise ValueError("a LiDAR pixel outside the image")


def damaged(*_: Any) -> None:
    raise CorruptShardError("shard all.tar, clip of rank 1: as the test wants it")


def in_step(fault: Any) -> None:
    losses, calls = training.loop.clip_losses, [0]

    def faulty(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == AT:
            fault()
        return losses(*arguments, **options)

    training.loop.clip_losses = faulty


def in_evaluation() -> None:
    read, running = Dataset.read, EarlyEvaluation.run
    active = [False]

    def run_it(*arguments: Any) -> Any:
        active[0] = True
        return running(*arguments)

    def faulty(self: Dataset, *arguments: Any) -> Any:
        return damaged() if active[0] else read(self, *arguments)

    EarlyEvaluation.run, Dataset.read = run_it, faulty  # type: ignore[method-assign]


if __name__ == "__main__":
    kind, arguments = sys.argv[1], sys.argv[2:]
    if os.environ["RANK"] == "1":
        if kind == "evaluation":
            in_evaluation()
        else:
            in_step({"killed": killed, "memory": out_of_memory, "view": broken_view, "damaged": damaged}[kind])
    sys.exit(run(arguments))
