"""Early evaluation: score held-out clips with the evaluator's metrics while the training runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.report.validation_pictures import ViewSheets
from evaluation.run_folder.files import PICTURES
from evaluation.scoring.validation import Validation, validate, validation_share
from flux4d.network.model import Flux4D
from store_schema.clip import Clip, ClipRecord
from store_schema.version.dataset import Dataset
from training.config import TrainConfig
from training.distributed import Ranks
from training.faults.memory import out_of_memory

_FINE, _FAILED = b"+", b"-"
_LOWER = "memory ran out: lower --evaluation.width, which is that of the training when it is not given"
Images = Mapping[str, NDArray[np.uint8]]


class EarlyEvaluationError(RuntimeError):
    """An early evaluation failed; the message says which and why."""


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

    def check(self) -> None:
        """Read every clip once, so that damage ends a run before it begins, not at its first evaluation.

        Raises:
            EarlyEvaluationError: some process cannot read one of its clips.
        """
        with self._together("before the first early evaluation") as gather:
            for clip in self._clips():
                del clip
            gather(b"")

    def run(self, step: int, network: Flux4D) -> EarlyScores:
        """Score; every rank gets the same numbers.

        Raises:
            EarlyEvaluationError: it failed on some rank; on all of them, so that none waits for another.
        """
        config = self._config
        folder = config.out / PICTURES if config.evaluation.pictures else None
        sheets = ViewSheets(folder, config.evaluation.pictures, prefix=f"step-{step:08d}")
        with self._together(f"early evaluation of step {step}") as gather:
            validation = validate(
                self._clips(),
                network,
                config.scene,
                width=config.evaluation.width or config.stream.width,
                shutter=config.stream.shutter,
                device=self._device,
                gather=gather,
                observer=sheets,
            )
        return EarlyScores(validation, sheets.images)

    @contextmanager
    def _together(self, what: str) -> Iterator[Callable[[bytes], list[bytes]]]:
        """A `gather` to be called once; an error before that is told to the other ranks in its place."""
        met = False

        def gather(own: bytes) -> list[bytes]:
            nonlocal met
            met = True
            answers = self._ranks.gather(_FINE + own, self._device)
            if failed := [answer[1:].decode() for answer in answers if not answer.startswith(_FINE)]:
                raise EarlyEvaluationError(f"{what}: {failed[0]}")
            return [answer[1:] for answer in answers]

        try:
            yield gather
        except EarlyEvaluationError:
            raise
        except Exception as error:
            reason = f"{_LOWER} ({error})" if out_of_memory(error) else str(error)
            if not met:
                self._ranks.gather(_FAILED + reason.encode(), self._device)
            raise EarlyEvaluationError(f"{what}: {reason}") from error

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
        return [known[clip_id] for clip_id in wanted.clips]
    found = dataset.select("test", "evaluation")
    if not found:
        raise ValueError(
            f"dataset version {dataset.version[:12]} has no evaluation clip of the test split: name clips by "
            "--evaluation.clips, or leave out --evaluation.every"
        )
    return list(found[: wanted.max_clips])
