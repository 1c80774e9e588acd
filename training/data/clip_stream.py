"""The stream of samples in the sampler's order, made ahead by threads; resumes mid-epoch at the very next one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch

from flux4d.lift.scene import SceneConfig
from store_schema.cache.local_cache import LocalCache
from store_schema.clip import ClipRecord
from store_schema.version.dataset import Dataset
from store_schema.version.shards import CorruptShardError
from training.config import LoaderConfig, StreamConfig, TrainConfig
from training.data.prepared import PreparedClips
from training.data.sample import Damaged, PackedSample, Sample
from training.data.sampler import ClipSampler, SamplePlace, rank_numbers
from training.data.upload import Uploader


class ClipStream:
    """A rank's samples, without end. Every clip comes once per epoch over all ranks.

    What comes is a function of (dataset version, settings, seed, position, rank, world size) alone: the number of
    threads, what is cached and how long anything took change nothing.

    Args:
        dataset: an open version.
        stream: which clips and views, at which size.
        loader: threads, memory and cache.
        scene: how clips are lifted.
        seed: seed of the order.
        device: where samples are wanted.
        rank: this process.
        world_size: processes of the run.
        fixed_target_frame: render this frame of every clip.

    Raises:
        ValueError: no clip matches, or one has no view to train on.
    """

    def __init__(
        self,
        dataset: Dataset,
        stream: StreamConfig,
        loader: LoaderConfig,
        scene: SceneConfig,
        *,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        fixed_target_frame: int | None = None,
    ) -> None:
        self.records = select_clips(dataset, stream)
        self._clips = PreparedClips(
            dataset,
            stream,
            scene,
            cache=dataset.cache or local_cache(loader),
            memory_clips=loader.memory_clips,
            fixed_target_frame=fixed_target_frame,
        )
        self.order = ClipSampler(
            dataset.version,
            seed,
            {record.clip_id: self._clips.num_targets(record.clip_id) for record in self.records},
            stream.views_per_step,
        )
        self._rank, self._world_size, self._prefetch = rank, world_size, loader.prefetch
        self._skip = stream.on_corrupt == "skip"
        self._pool = ThreadPoolExecutor(loader.workers, thread_name_prefix="clip-loader")
        self._uploader = Uploader(device)
        self._begin(0)

    def __iter__(self) -> Iterator[Sample | Damaged]:
        return self

    def __next__(self) -> Sample | Damaged:
        """The next sample, on the device, or what is known of one left out.

        Raises:
            CorruptShardError: stored bytes are not what was written, and `on_corrupt` is error.
            ConnectionLostError: a remote store does not answer any more.
            ValueError: a view cannot be decoded, or the shutter asks for motion that the clip's views do not tell.
        """
        if not self._uploader.has_one:
            found = self._next_packed()
            if isinstance(found, Damaged):
                self._delivered += 1
                return found
            self._uploader.begin(found)
        sample = self._uploader.finish()
        self._delivered += 1
        self._upload_next_if_ready()
        return sample

    def next_packed(self) -> PackedSample | Damaged:
        """The next sample as it is before it is uploaded.

        Raises:
            RuntimeError: a sample is being uploaded already: use one way of reading or the other.
        """
        if self._uploader.has_one:
            raise RuntimeError("next(stream) has begun to upload the next sample: use next_packed() alone, or not")
        self._delivered += 1
        return self._next_packed()

    def reload(self, number: int) -> Sample | Damaged:
        """The sample `number` again, whichever comes next."""
        found = self._load(self.order.place(number))
        return found if isinstance(found, Damaged) else found.to(self._uploader.device).unpack()

    @property
    def position(self) -> int:
        """Samples that all ranks together have been given, when all were given equally many."""
        return self._start + self._delivered * self._world_size

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands, as JSON; the same on every rank once all were given equally many samples."""
        return {"order": self.order.identity, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where another stream stood, of any world size and number of threads: the next sample is the same.

        Raises:
            ValueError: it was a stream of other data or in another order; both are printed.
        """
        if state["order"] != self.order.identity:
            ours, theirs = self.order.identity, state["order"]
            changed = [f"{name} was {theirs.get(name)!r}, is {ours[name]!r}" for name in ours]
            changed = [line for name, line in zip(ours, changed, strict=True) if theirs.get(name) != ours[name]]
            raise ValueError(f"the stream is another one than that of the checkpoint: {'; '.join(changed)}")
        self._drop()
        self._begin(int(state["position"]))

    def close(self) -> None:
        """Stop the threads."""
        self._drop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, start: int) -> None:
        self._start, self._delivered = start, 0
        self._numbers = rank_numbers(start, self._rank, self._world_size)
        # Nothing is read before the first sample is asked for: a state may be loaded first.
        self._ahead: deque[Future[PackedSample | Damaged]] = deque()

    def _drop(self) -> None:
        self._uploader.drop()
        for future in self._ahead:
            future.cancel()
        self._ahead.clear()

    def _fill(self) -> None:
        while len(self._ahead) < self._prefetch:
            self._ahead.append(self._pool.submit(self._load, self.order.place(next(self._numbers))))

    def _next_packed(self) -> PackedSample | Damaged:
        self._fill()
        found = self._ahead.popleft().result()
        self._fill()
        return found

    def _upload_next_if_ready(self) -> None:
        """Copy the next sample beside the computation, if it can be had without waiting."""
        if self._ahead[0].done() and self._ahead[0].exception() is None:
            if isinstance(found := self._ahead[0].result(), PackedSample):
                self._ahead.popleft()
                self._fill()
                self._uploader.begin(found)

    def _load(self, place: SamplePlace) -> PackedSample | Damaged:
        try:
            return self._uploader.prepare(self._clips.sample(place))
        except CorruptShardError as error:
            if not self._skip:
                raise
            return Damaged(place.number, place.epoch, place.clip_id, str(error))


def effective_stream(config: TrainConfig) -> StreamConfig:
    """The samples of a run: one clip with `overfit`."""
    return config.stream if config.overfit is None else replace(config.stream, clips=(config.overfit,))


def local_cache(loader: LoaderConfig) -> LocalCache | None:
    """The cache that a configuration asks for."""
    return None if loader.cache is None else LocalCache(loader.cache, round(loader.cache_gb * 1e9))


def select_clips(dataset: Dataset, config: StreamConfig) -> tuple[ClipRecord, ...]:
    """The clips to train on.

    Raises:
        ValueError: none, or a named clip is not among them; says what there is.
    """
    if config.clips is not None:
        known = {record.clip_id for record in dataset.records}
        if unknown := sorted(set(config.clips) - known):
            raise ValueError(f"clips {unknown} are not in dataset version {dataset.version[:12]}")
        return tuple(record for record in dataset.records if record.clip_id in config.clips)
    records = [r for r in dataset.records if r.split == "train" and r.setting in config.settings]
    if not records:
        raise ValueError(
            f"dataset version {dataset.version[:12]} has no clip with split train and settings "
            f"{list(config.settings)}; it has {dict(dataset.manifest.counts)}; a clip of another split can be trained "
            "on by --overfit CLIP"
        )
    return tuple(records)
