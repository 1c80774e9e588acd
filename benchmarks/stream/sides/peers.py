"""WebDataset, LitData and Mosaic Streaming, each through its own dataset and loader, at the settings that were fastest.

Runs in the environment of the peers. All deliver the same: the scene as one buffer (its columns are slices of it), the
chosen views decoded, their depth. Tensors, because a PyTorch loader hands those over in shared memory while it pickles
arrays through a pipe. Every dataset is made to last for thousands of epochs, so that none is timed on starting one.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.stream.sample import Task, delivered, fingerprint, read_ready
from benchmarks.stream.sides.side import serve

AHEAD = 4
"""Samples made ahead, over all workers: what our loader has."""
SHUFFLE_BUFFER = 8
"""Samples of WebDataset's shuffle buffer: two shards. A larger one costs memory and nothing else."""
LONG = 1_000_000
SEED = 0


def tensors(sample: Mapping[str, Any]) -> dict[str, Any]:
    """The same sample with tensors for arrays, over the same memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nobody writes to them
        return {
            **sample,
            "scene": torch.from_numpy(sample["scene"]),
            "images": [torch.from_numpy(image) for image in sample["images"]],
            "depths": [tuple(map(torch.from_numpy, pair)) for pair in sample["depths"]],
        }


class Make:
    """Columns of a sample to what is delivered. Each process draws views of its own."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._rng: np.random.Generator | None = None

    def __call__(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        return self.of(columns["clip"], self.choose(), columns.__getitem__)

    def choose(self) -> tuple[int, ...]:
        if self._rng is None:
            info = torch.utils.data.get_worker_info()
            self._rng = np.random.default_rng([SEED, 0 if info is None else info.id])
        return self._task.choose(self._rng)

    def of(self, clip: str, views: tuple[int, ...], get: Callable[[str], bytes]) -> dict[str, Any]:
        return tensors(delivered(self._task, clip, views, get))


def _first(batch: list[Any]) -> Any:
    return batch[0]


def _loader_options(workers: int) -> dict[str, Any]:
    if not workers:
        return {"num_workers": 0}
    return {"num_workers": workers, "prefetch_factor": max(1, AHEAD // workers), "persistent_workers": True}


class _Selection:
    """Which members of a tar are read: the scene and the views drawn when a sample begins. WebDataset's own hook."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._key: str | None = None
        self.views: tuple[int, ...] = ()

    def __call__(self, member: str) -> bool:
        key, name = member.split(".")[:2]
        if name == "depth00" or key != self._key:  # members are sorted by name: depth00 is a sample's first
            self._key, self.views = key, self._make.choose()
        return name == "scene" or int(name[-2:]) in self.views


def _of_tar(make: Make, sample: Mapping[str, Any]) -> dict[str, Any]:
    views = tuple(int(name[4:6]) for name in sample if name.startswith("jpeg"))
    return make.of(sample["__key__"], views, lambda name: sample[f"{name}.bin"])


def webdataset(folder: Path, task: Task, workers: int) -> Any:
    """Shards in drawn order and a buffer of samples, views drawn before they are read."""
    import webdataset as wds

    make = Make(task)
    urls = sorted(map(str, folder.glob("*.tar")))
    dataset = wds.WebDataset(
        urls, shardshuffle=len(urls), detshuffle=True, seed=SEED, select_files=_Selection(make), empty_check=False
    )
    dataset = dataset.repeat().shuffle(SHUFFLE_BUFFER, initial=SHUFFLE_BUFFER, seed=SEED).map(partial(_of_tar, make))
    return wds.WebLoader(dataset, batch_size=None, **_loader_options(workers))


def litdata(folder: Path, task: Task, workers: int) -> Any:
    """Chunks mapped to memory: what LitData does with a local folder by itself."""
    from litdata import StreamingDataLoader, StreamingDataset

    dataset = StreamingDataset(str(folder), shuffle=True, seed=SEED, transform=Make(task), subsample=400.0)
    return StreamingDataLoader(dataset, batch_size=1, collate_fn=_first, **_loader_options(workers))


def mosaic(folder: Path, task: Task, workers: int) -> Any:
    """Local shards: their hashes would be checked at a download, never when they are read."""
    from benchmarks.stream.sides.mosaic import StreamingDataset

    class Clips(StreamingDataset):
        make = Make(task)

        def __getitem__(self, at: int) -> Any:
            return self.make(super().__getitem__(at))

    dataset = Clips(
        local=str(folder), shuffle=True, shuffle_seed=SEED, batch_size=1, epoch_size=10_000, num_canonical_nodes=1
    )
    return DataLoader(dataset, batch_size=None, **_loader_options(workers))


PEERS: Mapping[str, Callable[[Path, Task, int], Any]] = {
    "webdataset": webdataset,
    "litdata": litdata,
    "mosaic": mosaic,
}


MODULES = {"webdataset": "webdataset", "litdata": "litdata", "mosaic": "benchmarks.stream.sides.mosaic"}


class PeerSamples:
    """A peer's loader, over and over."""

    def __init__(self, peer: str, folder: str, views: int, workers: int) -> None:
        ready = read_ready(Path(folder) / "ready")
        task = Task(ready.width, ready.height, views, ready.views)
        self._loader: Any = PEERS[peer](Path(folder) / peer, task, workers)

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from self._loader

    def close(self) -> None:
        self._loader = None


if __name__ == "__main__":
    torch.set_num_threads(1)
    import_module(MODULES[sys.argv[1]])  # now: later it would be within what is timed
    serve(partial(PeerSamples, sys.argv[1]), fingerprint)
