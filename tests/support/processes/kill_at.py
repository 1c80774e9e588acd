"""kill -9 of the own process at the N-th event that is counted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

FILE_OPERATIONS = ("fsync", "link", "mkdir", "rename", "replace", "rmdir", "unlink")


class Killer:
    """Counts calls, and kills this process instead of the call number `point`."""

    def __init__(self, point: int) -> None:
        self._point, self._done = point, 0

    def counted(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._done += 1
            if self._done == self._point:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments, **options)

        return call

    def count_file_operations(self) -> None:
        """Count every call of `os` that changes the file system."""
        for name in FILE_OPERATIONS:
            setattr(os, name, self.counted(getattr(os, name)))
