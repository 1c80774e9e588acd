"""Read a run folder of flux4d-train as far as its files exist: the run may still be going on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.run_folder.files import CHECKPOINTS, CONFIG, DUMPS, EVALUATIONS, PICTURES, RECORD, RunFiles
from evaluation.run_folder.rows import Row, number_of
from store_schema.files.atomic import TEMPORARY_PREFIX

_PICTURE = re.compile(r"step-(?P<step>\d+)_(?P<name>.+)\.jpg")
_VIEW = re.compile(r"(?P<clip>.+-s\d+)_(?P<camera>.+)-(?P<frame>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """Content of a run folder."""

    folder: Path
    steps: tuple[Row, ...]
    """Rows of ``metrics.jsonl``, one an optimiser step, with the columns of the trainer that wrote them."""
    evaluations: tuple[Row, ...]
    """Rows of ``evaluations.jsonl``, one an early evaluation."""
    record: dict[str, Any] | None
    """``run.json``: where the run comes from; None when it is missing, as `config`."""
    config: dict[str, Any] | None
    """``config.json``: the resolved configuration."""
    pictures: tuple[Path, ...]
    """Of the newest early evaluation up to the last step that drew any, by name."""
    pictures_step: int | None
    dumps: tuple[Path, ...]
    """Folders that reproduce a loss that was not finite."""
    checkpoints: tuple[str, ...]
    """Names below ``checkpoints``."""


def read_training_run(folder: Path) -> TrainingRun:
    """Read a run folder.

    Raises:
        ValueError: a file of it is damaged; names the file and, in a log, the line.
    """
    files = RunFiles(folder)
    steps = tuple(_with_throughput(row) for row in files.steps())
    # A run that was continued from an earlier step may have left pictures of steps that it is yet to do again.
    step, pictures = _newest_pictures(folder / PICTURES, steps[-1]["step"] if steps else 0)
    return TrainingRun(
        folder=folder,
        steps=steps,
        evaluations=tuple(_checked(folder / EVALUATIONS, row) for row in files.evaluations()),
        record=files.json_object(RECORD),
        config=files.json_object(CONFIG),
        pictures=pictures,
        pictures_step=step,
        dumps=tuple(path for path in _listed(folder / DUMPS) if path.is_dir()),
        checkpoints=tuple(path.name for path in _listed(folder / CHECKPOINTS) if path.is_dir()),
    )


def picture_name(path: Path) -> str:
    """Clip and view of a picture, as its file name tells them."""
    match = _PICTURE.fullmatch(path.name)
    name = path.stem if match is None else match["name"]
    view = _VIEW.fullmatch(name)
    return name if view is None else f"{view['clip']}, {view['camera']}, frame {int(view['frame'])}"


def _with_throughput(row: Row) -> Row:
    """Trainers that recorded one `clip` a step did not record clips a second."""
    if "samples_per_second" not in row and "clip" in row and (seconds := number_of(row, "seconds")):
        return {**row, "samples_per_second": 1.0 / seconds}
    return row


def _checked(path: Path, row: Row) -> Row:
    for name in ("metrics", "counts"):
        if not isinstance(row.get(name), dict):
            raise ValueError(f"{path}, step {row['step']}: {name} is missing or no object")
    return row


def _newest_pictures(folder: Path, last: int) -> tuple[int | None, tuple[Path, ...]]:
    by_step: dict[int, list[Path]] = {}
    for path in _listed(folder):
        if (match := _PICTURE.fullmatch(path.name)) and int(match["step"]) <= last:
            by_step.setdefault(int(match["step"]), []).append(path)
    newest = max(by_step, default=None)
    return newest, () if newest is None else tuple(by_step[newest])


def _listed(folder: Path) -> list[Path]:
    """What is in a folder, without what is still being written."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(TEMPORARY_PREFIX))
