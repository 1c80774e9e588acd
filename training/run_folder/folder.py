"""The run folder: taken by one run, filled when it begins, made ready when it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from filelock import FileLock, Timeout

from evaluation.run_folder.files import CONFIG, EVALUATIONS, LOCK, METRICS, PICTURES, RECORD, RunFiles
from evaluation.run_folder.seen_frames import CLIPS_SEEN, FRAMES_SEEN
from evaluation.scoring.validation import Validation
from store_schema.clip import ClipRecord
from store_schema.files.atomic import remove_litter, write_atomic
from store_schema.json_dataclass import to_json
from training.checkpoint.checkpoint import checkpoint_folders
from training.checkpoint.files import explaining_full_disk, prune
from training.config import TrainConfig
from training.distributed import Ranks
from training.run_folder.metrics_log import JsonLines, truncate_after
from training.run_folder.provenance import run_record
from training.run_folder.resume import require_same_settings

_OF_DATA = ("dataset_version", CLIPS_SEEN, FRAMES_SEEN)
"""Of the record: the same whenever the run goes on."""


class RunFolder:
    """The folder of one run. The process that writes it holds its lock until `close`.

    Args:
        config: The run.
        ranks: Which of its processes this is.
        note: Is told what differs from the settings the run was begun with.

    Raises:
        ValueError: it holds another run, this one when it is not to be continued, or one that is being written.
    """

    def __init__(self, config: TrainConfig, ranks: Ranks, note: Callable[[str], None]) -> None:
        self.path, self._config, self._ranks = config.out, config, ranks
        self._lock: FileLock | None = None
        self._steps: JsonLines | None = None
        _require_mine(config, note)

    def begin(self, step: int, evaluated: int, version: str, clips: Sequence[ClipRecord], device: torch.device) -> None:
        """Write settings and origin, drop from the logs what is going to be done again, and lock the folder.

        Args:
            step: Steps done.
            evaluated: Step of the last early evaluation.
            version: Of the dataset.
            clips: Those trained on.
            device: Of this process.
        """
        if not self._ranks.is_main:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        self._take()
        # Checkpoints set aside have been recovered by now: what is left is of killed writers.
        remove_litter(self.path)
        if step:
            prune(self.path, step, self._config.checkpoint.keep)
        for picture in self.path.glob(f"{PICTURES}/step-*"):
            if int(picture.name.split("_")[0].removeprefix("step-")) > evaluated:
                picture.unlink()
        truncate_after(self.path / METRICS, step)
        truncate_after(self.path / EVALUATIONS, evaluated)
        self._write_record(step, run_record(version, clips, device, self._ranks.world_size))
        settings = json.dumps(to_json(self._config), indent=1, sort_keys=True)
        write_atomic(self.path / CONFIG, settings.encode())
        self._steps = JsonLines(self.path / METRICS)

    def log_step(self, step: int, row: dict[str, Any]) -> None:
        """Append to the log of steps.

        Raises:
            CheckpointError: no space left.
        """
        if self._steps is not None:
            with explaining_full_disk(self.path, step, "the log of steps"):
                self._steps.append(row)

    def log_evaluation(self, step: int, validation: Validation, weights: str) -> None:
        """Append to the log of early evaluations; `weights` are those of the "network" or their mean, "ema".

        Raises:
            CheckpointError: no space left.
        """
        row = {"step": step, "weights": weights, **asdict(validation)}
        with explaining_full_disk(self.path, step, "the log of early evaluations"):
            log = JsonLines(self.path / EVALUATIONS)
            log.append(row)
            log.sync()
            log.close()

    def sync(self) -> None:
        """Bring the log of steps to the disk: a checkpoint must not outlive the rows before it."""
        if self._steps is not None:
            self._steps.sync()

    def close(self) -> None:
        """Give the folder back."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _take(self) -> None:
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ValueError(
                f"{self.path} is being written by another process: wait for it, stop it, or choose another --out "
                "(several processes of one run are started with torchrun)"
            ) from None
        self._lock = lock

    def _write_record(self, step: int, record: dict[str, Any]) -> None:
        before = RunFiles(self.path).json_object(RECORD) if step > 0 else None
        if before is not None:
            again = {name: record[name] for name in record if name not in _OF_DATA}
            record = {**before, "resumed": [*before.get("resumed", []), {"step": step, **again}]}
        write_atomic(self.path / RECORD, json.dumps(record, indent=1, sort_keys=True).encode())


def _require_mine(config: TrainConfig, note: Callable[[str], None]) -> None:
    if not config.resume:
        if (config.out / CONFIG).exists() or (config.out / METRICS).exists() or checkpoint_folders(config.out):
            raise ValueError(f"{config.out} already holds a run: continue it with --resume or choose another --out")
        return
    for difference in require_same_settings(config):
        note(difference)
