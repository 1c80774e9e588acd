"""Runs ``flux4d-train`` and kills itself, kill -9, at the N-th event: an operation that changes the file system, the
begin of a step, or a sample asked for.

Called as ``python -m tests.killed_training N ARGUMENTS...``.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import training.command  # so that what imports do to the file system is not counted
from training.loop import Trainer
from training.stream import ClipStream

OPERATIONS = ("fsync", "mkdir", "rename", "replace", "rmdir", "unlink")


def kill_at(point: int) -> None:
    done = 0

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            done += 1
            if done == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments, **options)

        return call

    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))
    Trainer.train_step = counted(Trainer.train_step)  # type: ignore[method-assign]
    ClipStream.__next__ = counted(ClipStream.__next__)  # type: ignore[method-assign]


if __name__ == "__main__":
    kill_at(int(sys.argv[1]))
    sys.exit(training.command.run(sys.argv[2:]))
