"""Read clips one after the other, with a policy for damaged ones: stop, or skip and count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from store_schema.clip import Clip
from store_schema.version.dataset import Dataset
from store_schema.version.shards import CorruptShardError

OnCorrupt = Literal["error", "skip"]


class ClipReader:
    """Reads clips of a dataset.

    ``on_corrupt="skip"`` drops a clip whose bytes are not those that were written, and nothing else; `skipped` says
    which and why. A damaged manifest or index stops in any case: without them nothing can be trusted.
    """

    def __init__(
        self, dataset: Dataset, *, on_corrupt: OnCorrupt = "error", cameras: Sequence[str] | None = None
    ) -> None:
        """Set the rule.

        Args:
            dataset: an opened version.
            on_corrupt: ``error`` raises on a damaged clip, ``skip`` drops and counts it.
            cameras: images of these cameras only; None is all.

        Raises:
            ValueError: an unknown rule.
        """
        if on_corrupt not in ("error", "skip"):
            raise ValueError(f"on_corrupt must be 'error' or 'skip', got {on_corrupt!r}")
        self.dataset = dataset
        self.on_corrupt = on_corrupt
        self.cameras = cameras
        self.skipped: dict[str, str] = {}
        """Clip id to reason of every clip dropped so far."""

    def read(self, clip_id: str) -> Clip | None:
        """One clip; None when it is damaged and the rule is to skip.

        Raises:
            NotHeldError: no such clip.
            CorruptShardError: damaged, and the rule is to stop.
        """
        try:
            return self.dataset.read(clip_id, self.cameras)
        except CorruptShardError as error:
            if self.on_corrupt == "error":
                raise
            self.skipped[clip_id] = str(error)
            return None

    def read_all(self, clip_ids: Iterable[str] | None = None) -> Iterator[Clip]:
        """The clips of `clip_ids` (None: all, by id) that can be read, in order.

        Raises:
            NotHeldError: no such clip.
            CorruptShardError: damaged, and the rule is to stop.
        """
        ids = [record.clip_id for record in self.dataset.records] if clip_ids is None else clip_ids
        for clip_id in ids:
            clip = self.read(clip_id)
            if clip is not None:
                yield clip
