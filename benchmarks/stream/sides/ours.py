"""Our side of the streaming benchmark: `training.data.clip_stream.ClipStream`, every byte checked, nothing uploaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.stream.sample import digest
from benchmarks.stream.sides.side import serve
from flux4d.lift.scene import SceneConfig
from store_schema.version.dataset import open_dataset
from training.config import LoaderConfig, StreamConfig
from training.data.clip_stream import ClipStream


class OurSamples:
    """The trainer's samples in its default order; threads start with the first one asked for.

    Only the lifted clip in use is kept in memory: of few clips, more would be hits that a real dataset does not give.
    """

    def __init__(self, store: str, cache: str | None, width: int, views: int, workers: int) -> None:
        self._dataset = open_dataset(Path(store))
        self._config = StreamConfig(width=width, views_per_step=views)
        self._loader = LoaderConfig(
            workers=workers, prefetch=4, memory_clips=1, cache=None if cache is None else Path(cache)
        )
        self._stream: ClipStream | None = None

    def __iter__(self) -> Iterator[Any]:
        self._stream = ClipStream(
            self._dataset, self._config, self._loader, SceneConfig(), seed=0, device=torch.device("cpu")
        )
        while True:
            yield self._stream.next_packed()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


def fingerprint(sample: Any) -> dict[str, Any]:
    """Clip and, of each view, its frame, image and depth; the scene is in a form of its own."""
    return {
        "clip": sample.clip_id,
        "views": [target.view.frame for target in sample.targets],
        "images": [digest(target.pixels) for target in sample.targets],
        "depths": [digest((target.depth_pixel, target.depth)) for target in sample.targets],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(OurSamples, fingerprint)
