"""Check that a resumed run has the settings it began with; the evaluator takes them for those of every step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation.run_folder.files import CONFIG
from evaluation.run_folder.settings import said_once
from flux4d.cameras.shutter import Shutter
from flux4d.lift.scene import BEFORE
from flux4d.supervision.losses.total import LossConfig
from training.checkpoint.files import checkpoint_folders
from training.config import TrainConfig

FIXED = (
    "scene",
    "network",
    "loss",
    "stream",
    "seed",
    "clips_per_step",
    "precision",
    "ema_decay",
    "overfit",
    "fixed_target_frame",
)
"""What may not change."""
NOTED = ("optimizer", "steps", "evaluation", "init_from")
"""What may, but then it is no longer the run that it would have been, or its best weights were scored otherwise."""
FORMER = ("checkpoint_every", "keep_checkpoints", "stream.cached_clips", "stream.split")
"""Settings of older versions that never changed what was trained."""


def require_same_settings(config: TrainConfig) -> list[str]:
    """Compare a run's recorded settings with those it is to be continued with.

    Returns:
        A line for every difference that is allowed and changes the run; differences in where and how fast it is run
        (store, device, loader, checkpoints, boards) change nothing and are not told. Empty for a run that has neither
        settings nor a checkpoint: it begins.

    Raises:
        ValueError: settings differ that may not, with both values of each; or ``config.json`` is missing or torn, or
            of a newer version.
    """
    path = config.out / CONFIG
    recorded = _recorded(path)
    if recorded is None:
        return []
    asked = json.loads(json.dumps(asdict(config), default=str))
    unknown = [name for name in _unknown(recorded, asked) if name not in FORMER]
    if unknown:
        raise ValueError(
            f"{path} has settings that this version does not know ({', '.join(unknown)}): continue the run with the "
            "version of this package that wrote it"
        )
    known = _filled(recorded, _when_not_named())
    changed = [line for name in FIXED for line in _differences(name, known[name], asked[name])]
    if changed:
        raise ValueError(
            f"{config.out} cannot be continued with other settings ({'; '.join(changed)}): give its own, or start a "
            "new --out"
        )
    return [line for name in NOTED for line in _differences(name, known[name], asked[name])]


def _recorded(path: Path) -> dict[str, Any] | None:
    """Settings of a run; None when there are none and nothing to continue."""
    reason = ""
    try:
        recorded = json.loads(path.read_bytes())
        if isinstance(recorded, dict):
            return said_once(recorded)
        reason = "is no JSON object"
    except FileNotFoundError:
        reason = "is missing"
    except ValueError as error:
        reason = f"is torn ({error})"
    if not checkpoint_folders(path.parent):
        return None
    raise ValueError(
        f"{path} {reason}, so nothing says how the run's checkpoints were trained: put the file back, or start a new "
        f"--out with --init-from {path.parent}"
    )


def _when_not_named() -> dict[str, Any]:
    """What settings mean to a run that does not name them: they are younger than it, and it did as is the default.

    Where the default is not what was done before, `BEFORE` says what was. A loss term that a run does not name was
    not there yet: its weight was 0.
    """
    defaults: dict[str, Any] = json.loads(json.dumps(asdict(TrainConfig()), default=str))
    defaults["scene"].update(BEFORE)
    defaults["stream"]["shutter"] = asdict(Shutter())
    defaults["loss"] = asdict(LossConfig.as_recorded({}))
    return defaults


def _filled(recorded: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    filled = {**defaults, **recorded}
    for name, default in defaults.items():
        if isinstance(default, dict) and isinstance(filled[name], dict):
            filled[name] = _filled(filled[name], default)
    return filled


def _unknown(recorded: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in recorded.items():
        if name not in asked:
            yield prefix + name
        elif isinstance(value, dict) and isinstance(asked[name], dict):
            yield from _unknown(value, asked[name], f"{prefix}{name}.")


def _differences(name: str, recorded: Any, asked: Any) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for key in asked:
            yield from _differences(f"{name}.{key}", recorded[key], asked[key])
    elif recorded != asked:
        yield f"{name} was {recorded!r}, is {asked!r}"
