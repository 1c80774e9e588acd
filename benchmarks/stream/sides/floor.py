"""Floor of the streaming benchmark: the bytes a sample needs, read and decoded, and nothing else.

No shuffling, no hash, no check: `os.pread` of the scene, of n JPEGs and of n depth objects from one flat file, and the
decoding, by as many threads of one process as our loader has.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stream.sample import (
    Range,
    Ready,
    ReadySample,
    Task,
    delivered,
    depth_name,
    fingerprint,
    jpeg_name,
    read_ready,
)
from benchmarks.stream.sides.side import serve

PREFETCH = 4


class FloorSamples:
    """Samples of the flat file in its order, made ahead by threads; 0 workers makes each when it is asked for."""

    def __init__(self, ready: Ready, views: int, workers: int) -> None:
        self._ready, self._task = ready, Task(ready.width, ready.height, views, ready.views)
        self._file = os.open(ready.path, os.O_RDONLY)
        self._pool = ThreadPoolExecutor(workers) if workers else None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._pool is None:
            for number in count():
                yield self._load(number)
        assert self._pool is not None
        ahead: deque[Future[dict[str, Any]]] = deque(self._pool.submit(self._load, n) for n in range(PREFETCH))
        for number in count(PREFETCH):
            yield ahead.popleft().result()
            ahead.append(self._pool.submit(self._load, number))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        os.close(self._file)

    def _load(self, number: int) -> dict[str, Any]:
        sample = self._ready.samples[number % len(self._ready.samples)]
        places = self._places(sample)
        views = self._task.choose(np.random.default_rng(number))

        def read(name: str) -> bytes:
            offset, size = places[name]
            return os.pread(self._file, size, offset)

        return delivered(self._task, sample.clip, views, read)

    @staticmethod
    def _places(sample: ReadySample) -> dict[str, Range]:
        return {
            "scene": sample.scene,
            **{jpeg_name(view): place for view, place in enumerate(sample.jpegs)},
            **{depth_name(view): place for view, place in enumerate(sample.depths)},
        }


def open_floor(folder: str, views: int, workers: int) -> FloorSamples:
    return FloorSamples(read_ready(Path(folder) / "ready"), views, workers)


if __name__ == "__main__":
    serve(open_floor, fingerprint)
