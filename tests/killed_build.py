"""Runs ``flux4d-build`` and kills itself, kill -9, before the N-th operation that changes the file system.

Called as ``python -m tests.killed_build N ARGUMENTS...``.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pipelines.build  # noqa: F401 - so that numba's look at its cache folders, a mkdir a kernel, is not counted
from pipelines.__main__ import main

OPERATIONS = ("fsync", "link", "mkdir", "rename", "replace", "rmdir", "unlink")


def kill_before(point: int) -> None:
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


if __name__ == "__main__":
    kill_before(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
