"""Early evaluation: the evaluator's own scores of held-out clips while the training runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.validation import Validation, validate, validation_share
from evaluation.validation_pictures import ViewSheets
from flux4d.network import Flux4D
from store_schema.clip import Clip, ClipRecord
from store_schema.dataset import Dataset
from training.config import TrainConfig
from training.distributed import Ranks

Images = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, eq=False)
class EarlyScores:
    """What an early evaluation gave; pictures are those of this rank's clips."""

    validation: Validation
    images: Images


class EarlyEvaluation:
    """Scores a network on the clips that the configuration names, dealt to the ranks.

    Raises:
        ValueError: there is no clip to score.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig, ranks: Ranks, device: torch.device) -> None:
        self._dataset, self._config, self._ranks, self._device = dataset, config, ranks, device
        self.records = _records(dataset, config)

    def run(self, step: int, network: Flux4D) -> EarlyScores:
        """Score; every rank gets the same numbers."""
        config = self._config
        folder = config.out / "pictures" if config.evaluation.pictures else None
        sheets = ViewSheets(folder, config.evaluation.pictures, prefix=f"step-{step:08d}")
        validation = validate(
            self._clips(),
            network,
            config.scene,
            width=config.evaluation.width or config.stream.width,
            shutter=config.stream.shutter,
            device=self._device,
            gather=lambda own: self._ranks.gather(own, self._device),
            observer=sheets,
        )
        return EarlyScores(validation, sheets.images)

    def _clips(self) -> Iterator[Clip]:
        # Each clip once over the ranks, without padding: they meet only at the end, where the scores are pooled.
        for record in validation_share(self.records, self._ranks.rank, self._ranks.world_size):
            yield self._dataset.read(record.clip_id)


def _records(dataset: Dataset, config: TrainConfig) -> list[ClipRecord]:
    wanted = config.evaluation
    if wanted.clips is not None:
        known = {record.clip_id: record for record in dataset.records}
        if unknown := sorted(set(wanted.clips) - set(known)):
            raise ValueError(f"evaluation clips {unknown} are not in dataset version {dataset.version[:12]}")
        return [known[clip_id] for clip_id in wanted.clips][: wanted.max_clips]
    found = dataset.select(wanted.split, "evaluation")
    if not found:
        raise ValueError(
            f"dataset version {dataset.version[:12]} has no evaluation clip of split {wanted.split}: name clips by "
            "--evaluation.clips, or leave out --evaluation.every"
        )
    return list(found[: wanted.max_clips])
