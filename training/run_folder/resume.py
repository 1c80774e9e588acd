"""Check that a resumed run has the settings it began with; the evaluator takes them for those of every step."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluation.run_folder.files import CONFIG
from evaluation.run_folder.settings import said_once
from flux4d.lift.scene import BEFORE
from flux4d.supervision.losses.total import TERMS
from store_schema.json_dataclass import JsonError, UnknownFieldError, from_json, to_json
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
"""Settings of older versions, dotted, that never changed what was trained."""


def require_same_settings(config: TrainConfig) -> list[str]:
    """Compare a run's recorded settings with those it is to be continued with.

    Returns:
        A line for every difference that is allowed and changes the run; differences in where and how fast it is run
        (store, device, loader, checkpoints, boards) change nothing and are not told. Empty for a run that has neither
        settings nor a checkpoint: it begins.

    Raises:
        ValueError: settings differ that may not, with both values of each; or ``config.json`` is missing or torn, or
            of another version.
    """
    path = config.out / CONFIG
    settings = _recorded(path)
    if settings is None:
        return []
    recorded, asked = to_json(_read(path, settings)), to_json(config)
    changed = [line for name in FIXED for line in _differences(name, recorded[name], asked[name])]
    if changed:
        raise ValueError(
            f"{config.out} cannot be continued with other settings ({'; '.join(changed)}): give its own, or start a "
            "new --out"
        )
    return [line for name in NOTED for line in _differences(name, recorded[name], asked[name])]


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


def _read(path: Path, settings: Mapping[str, Any]) -> TrainConfig:
    """The recorded settings. What they do not name is younger than the run, which did as is the default.

    Where the default is not what was done before, `BEFORE` says what was. A loss term that a run does not name was
    not there yet: its weight was 0.
    """
    named = _without(settings, FORMER)
    for section, then in (("scene", BEFORE), ("loss", dict.fromkeys(TERMS, 0.0))):
        if isinstance(recorded := named.get(section, {}), dict):
            named[section] = {**then, **recorded}
    try:
        return from_json(TrainConfig, named)
    except UnknownFieldError as error:
        raise ValueError(
            f"{path} has settings that this version does not know ({', '.join(error.paths)}): continue the run with "
            "the version of this package that wrote it"
        ) from error
    except JsonError as error:
        raise ValueError(
            f"{path} holds a setting that this version does not take ({error}): put the file back as it was written, "
            "or continue the run with the version of this package that wrote it"
        ) from error


def _without(settings: Mapping[str, Any], dotted: Iterable[str]) -> dict[str, Any]:
    kept = {name: dict(value) if isinstance(value, dict) else value for name, value in settings.items()}
    for path in dotted:
        section, _, name = path.rpartition(".")
        place = kept.get(section, {}) if section else kept
        if isinstance(place, dict):
            place.pop(name, None)
    return kept


def _differences(name: str, recorded: Any, asked: Any) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for key in asked:
            yield from _differences(f"{name}.{key}", recorded[key], asked[key])
    elif recorded != asked:
        yield f"{name} was {recorded!r}, is {asked!r}"
