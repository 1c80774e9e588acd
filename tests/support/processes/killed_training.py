"""Runs ``flux4d-train`` and kills itself, kill -9, at the N-th event: an operation that changes the file system, the
begin of a step, or a sample asked for.

Called as ``python -m tests.support.processes.killed_training N ARGUMENTS...``.
"""

from __future__ import annotations

import sys

import training.command  # so that what imports do to the file system is not counted
from tests.support.processes.kill_at import Killer
from training.data.clip_stream import ClipStream
from training.loop import Trainer

if __name__ == "__main__":
    killer = Killer(int(sys.argv[1]))
    killer.count_file_operations()
    Trainer.train_step = killer.counted(Trainer.train_step)  # type: ignore[method-assign]
    ClipStream.__next__ = killer.counted(ClipStream.__next__)  # type: ignore[method-assign]
    sys.exit(training.command.run(sys.argv[2:]))
