"""The run folder: what is written into it when a run begins, and made ready when it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from store_schema.atomic import write_atomic
from training.checkpoint import checkpoint_folders
from training.config import TrainConfig
from training.distributed import Ranks
from training.metrics_log import truncate_after
from training.provenance import run_record
from training.resume import require_same_settings

METRICS, EVALUATIONS = "metrics.jsonl", "evaluations.jsonl"
CONFIG, RECORD = "config.json", "run.json"


def check_folder(config: TrainConfig, note: Callable[[str], None]) -> None:
    """Refuse a folder that holds another run, or this one when it is not to be continued.

    Raises:
        ValueError: with what to do.
    """
    if not config.resume:
        if (config.out / CONFIG).exists() or (config.out / METRICS).exists() or checkpoint_folders(config.out):
            raise ValueError(f"{config.out} already holds a run: continue it with --resume or choose another --out")
        return
    for difference in require_same_settings(config):
        note(difference)


def write_folder(
    config: TrainConfig, step: int, version: str, clips: list[str], ranks: Ranks, device: torch.device
) -> None:
    """Write settings and origin, and drop from the logs what is going to be done again."""
    run = config.out
    run.mkdir(parents=True, exist_ok=True)
    for name in (METRICS, EVALUATIONS):
        truncate_after(run / name, step)
    record = run_record(version, clips, device, ranks.world_size)
    path = run / RECORD
    if path.exists():
        before: dict[str, Any] = json.loads(path.read_text())
        again = {key: record[key] for key in ("started_at", "code_commit", "packages", "hardware", "world_size")}
        record = {**before, "resumed": [*before.get("resumed", []), {"step": step, **again}]}
    write_atomic(path, json.dumps(record, indent=1, sort_keys=True).encode())
    settings = json.dumps(asdict(config), indent=1, default=str, sort_keys=True)
    write_atomic(run / CONFIG, settings.encode())
