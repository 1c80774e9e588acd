"""Run compiled kernels on a thread pool of our own: numba's threads would kill a forked DataLoader worker."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch

_PARTS_PER_THREAD = 4


def in_parts(kernel: Any, *args: Any) -> None:
    """Run ``kernel(part, parts, *args)`` for every part on as many threads as torch uses.

    The kernel must release the GIL and give the same result for any number of parts.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        kernel(0, 1, *args)
        return
    parts = _PARTS_PER_THREAD * threads
    list(_pool(os.getpid(), threads).map(lambda part: kernel(part, parts, *args), range(parts)))


@lru_cache(maxsize=4)
def _pool(pid: int, threads: int) -> ThreadPoolExecutor:
    """One pool a process: threads do not survive a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="rasterize")
