"""A run that goes on must go on as it began: the evaluator takes its settings for those of every step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from flux4d.scene import BEFORE
from flux4d.shutter import Shutter
from training.config import TrainConfig

FIXED = ("scene", "network", "loss", "stream", "seed")
"""What may not change; learning rate, number of steps and checkpoints may."""


def require_same_settings(config: TrainConfig) -> None:
    """Compare a run's recorded settings with those it is to be continued with.

    Raises:
        ValueError: some differ; the message names each with both values.
    """
    path = config.out / "config.json"
    if not path.is_file():
        return
    recorded = json.loads(path.read_text())
    recorded["scene"] = {**BEFORE, **recorded.get("scene", {})}
    recorded["stream"] = {"shutter": asdict(Shutter()), **recorded.get("stream", {})}
    asked = json.loads(json.dumps(asdict(config), default=str))
    changed = [line for name in FIXED for line in _differences(name, recorded.get(name), asked[name])]
    if changed:
        raise ValueError(
            f"{config.out} cannot be continued with other settings ({'; '.join(changed)}): give its own, or start a "
            "new --out"
        )


def _differences(name: str, recorded: Any, asked: Any) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        # A setting that the run does not know is younger than the run: `BEFORE` says what it meant, or nothing changed.
        for key in recorded:
            yield from _differences(f"{name}.{key}", recorded[key], asked.get(key))
    elif recorded != asked:
        yield f"{name} was {recorded!r}, is {asked!r}"
