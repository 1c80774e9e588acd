"""Samples in an order that is a pure function of (dataset version, seed, step): a restart sees the same ones."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from flux4d.gaussians import Gaussians
from flux4d.reconstruct import clip_duration
from flux4d.scene import SceneConfig, lift_clip
from flux4d.target import Target, make_target
from store_schema.clip import Clip, ClipRecord
from store_schema.dataset import Dataset
from training.config import StreamConfig


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What one training step needs."""

    clip_id: str
    duration: float  # s
    gaussians: Gaussians
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    clip: Clip
    gaussians: Gaussians


class ClipStream:
    """Samples by step number; the next clip is loaded while the current one is trained on.

    Args:
        dataset: an open dataset version.
        config: which clips and views.
        scene: how clips become Gaussians.
        seed: seed of the order.
        device: where tensors go.

    Raises:
        ValueError: no clip matches.
    """

    def __init__(
        self, dataset: Dataset, config: StreamConfig, scene: SceneConfig, seed: int, device: torch.device
    ) -> None:
        self.records = select_clips(dataset, config)
        self._dataset, self._config, self._scene = dataset, config, scene
        self._seed, self._device = seed, device
        self._cache: OrderedDict[str, Future[_Loaded]] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="clip-loader")

    def place(self, step: int) -> tuple[ClipRecord, tuple[int, ...]]:
        """Clip and indices of its target views for a step.

        Every clip comes once per epoch; a clip's targets are gone through in a shuffled order over the epochs.
        """
        epoch, position = divmod(step, len(self.records))
        record = self.records[self._permutation(len(self.records), 0, epoch)[position]]
        targets = len(record.target_frames) * self._view_count
        order = [
            self._permutation(targets, 1, slot // targets)[slot % targets]
            for slot in range(epoch * self._config.views_per_step, (epoch + 1) * self._config.views_per_step)
        ]
        return record, tuple(dict.fromkeys(order))

    def sample(self, step: int) -> Sample:
        """The sample of a step.

        Raises:
            CorruptShardError: stored bytes are not what was written.
            ValueError: a view cannot be decoded, or the shutter asks for motion that the clip's views do not tell.
        """
        record, indices = self.place(step)
        loaded = self._load(record).result()
        self._load(self.place(step + 1)[0])
        views = loaded.clip.views_of("interpolation", "future")
        width, shutter = self._config.width, self._config.shutter
        try:
            targets = tuple(
                make_target(views[index], width, self._device, path=loaded.clip.views, shutter=shutter)
                for index in indices
            )
        except ValueError as error:
            raise ValueError(f"clip {record.clip_id}: {error}") from error
        duration = clip_duration(loaded.clip)
        return Sample(record.clip_id, duration, loaded.gaussians, targets)

    def close(self) -> None:
        """Stop the loader."""
        self._pool.shutdown(cancel_futures=True)

    @property
    def _view_count(self) -> int:
        return len(self._dataset.manifest.config["features"]["view_cameras"])

    def _permutation(self, size: int, purpose: int, epoch: int) -> np.ndarray:
        return np.random.default_rng(np.random.SeedSequence([self._seed, purpose, epoch])).permutation(size)

    def _load(self, record: ClipRecord) -> Future[_Loaded]:
        """The clip, from memory or on its way; the oldest one leaves."""
        if record.clip_id in self._cache:
            self._cache.move_to_end(record.clip_id)
        else:
            self._cache[record.clip_id] = self._pool.submit(self._read, record.clip_id)
            # The current clip and the next are in use at the same time.
            while len(self._cache) > max(2, self._config.cached_clips):
                self._cache.popitem(last=False)
        return self._cache[record.clip_id]

    def _read(self, clip_id: str) -> _Loaded:
        clip = self._dataset.read(clip_id)
        return _Loaded(clip, lift_clip(clip, self._scene, self._device))


def select_clips(dataset: Dataset, config: StreamConfig) -> tuple[ClipRecord, ...]:
    """The clips to train on.

    Raises:
        ValueError: none, or a named clip is not among them; says what there is.
    """
    records = [r for r in dataset.records if r.split == config.split and r.setting in config.settings]
    if config.clips is not None:
        known = {record.clip_id for record in dataset.records}
        unknown = sorted(set(config.clips) - known)
        if unknown:
            raise ValueError(f"clips {unknown} are not in dataset version {dataset.version[:12]}")
        records = [record for record in dataset.records if record.clip_id in config.clips]
    if not records:
        raise ValueError(
            f"dataset version {dataset.version[:12]} has no clip with split {config.split} and settings "
            f"{list(config.settings)}; it has {dict(dataset.manifest.counts)}"
        )
    return tuple(records)
