"""The sampler: which clip comes when, as a pure function of dataset version, seed and sample number.

Sample number g counts over the whole run. Epoch ``g // N`` goes once through the N clips, in an order drawn for it;
rank r of W takes the samples with ``g % W == r``, so the global order knows nothing of W, and a rank's loader threads
take its samples in turn. There is no padding and nothing is dropped: an epoch need not be a multiple of anything.

Orders are drawn by sorting hashes, not by a random generator: a clip's place depends on no library's stream of bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from store_schema.hashing import hash_bytes


@dataclass(frozen=True, slots=True)
class SamplePlace:
    """One sample of the global order."""

    number: int
    """g, over all epochs."""
    epoch: int
    clip_id: str
    views: tuple[int, ...]
    """Which of the clip's target views, as indices into them."""


class ClipSampler:
    """The global order of samples.

    Args:
        version: dataset version (hash).
        seed: seed of the order.
        views: clip id to its number of target views.
        views_per_clip: target views a sample takes, at most all of the clip's.

    Raises:
        ValueError: no clip, or a clip without a target view.
    """

    def __init__(self, version: str, seed: int, views: dict[str, int], views_per_clip: int) -> None:
        if not views:
            raise ValueError("there is no clip to put in order")
        if empty := sorted(clip_id for clip_id, count in views.items() if count < 1):
            raise ValueError(f"clips {empty} have no target view to train on")
        self.version, self.seed = version, seed
        self._views = {clip_id: views[clip_id] for clip_id in sorted(views)}
        self._views_per_clip = views_per_clip
        # One epoch is in use at a time; the next one is asked for ahead.
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def __len__(self) -> int:
        """Samples in an epoch: every clip once."""
        return len(self._views)

    def place(self, number: int) -> SamplePlace:
        """The sample `number` >= 0."""
        epoch, position = divmod(number, len(self))
        clip_id = self._epoch(epoch)[position]
        return SamplePlace(number, epoch, clip_id, self._views_of(clip_id, epoch))

    @property
    def identity(self) -> dict[str, object]:
        """What the order is a function of, as JSON: two orders with one identity are one order."""
        views = "\n".join(f"{clip_id} {count}" for clip_id, count in self._views.items())
        return {
            "version": self.version,
            "seed": self.seed,
            "clips": hash_bytes(views.encode()),
            "views_per_clip": self._views_per_clip,
        }

    def _draw_epoch(self, epoch: int) -> tuple[str, ...]:
        return tuple(sorted(self._views, key=lambda clip_id: (self._draw("clip", epoch, clip_id), clip_id)))

    def _views_of(self, clip_id: str, epoch: int) -> tuple[int, ...]:
        """A clip's views are gone through in a drawn order, all of them before one comes again.

        A sample that reaches from one round into the next may draw one view twice; it is then rendered once.
        """
        count = self._views[clip_id]
        take = min(self._views_per_clip, count)
        slots = (divmod(slot, count) for slot in range(epoch * take, (epoch + 1) * take))
        return tuple(dict.fromkeys(self._cycle(clip_id, cycle, count)[position] for cycle, position in slots))

    def _cycle(self, clip_id: str, cycle: int, count: int) -> list[int]:
        return sorted(range(count), key=lambda view: (self._draw("view", cycle, f"{clip_id} {view}"), view))

    def _draw(self, purpose: str, round_: int, name: str) -> str:
        return hash_bytes(f"{self.version} {self.seed} {purpose} {round_} {name}".encode())


def rank_numbers(start: int, rank: int, world_size: int) -> Iterator[int]:
    """Sample numbers >= `start` that are a rank's, ascending, without end."""
    number = start + (rank - start) % world_size
    while True:
        yield number
        number += world_size
