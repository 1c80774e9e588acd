"""The files of a training run by name, for the trainer that writes them and for all who read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.run_folder.rows import Row, parse_json, read_rows
from evaluation.run_folder.settings import said_once

CONFIG = "config.json"
"""The resolved configuration of the newest start."""
RECORD = "run.json"
"""Where the run comes from: data, code, packages, machine, clips seen."""
METRICS = "metrics.jsonl"
"""A row an optimiser step."""
EVALUATIONS = "evaluations.jsonl"
"""A row an early evaluation."""
WEIGHTS = "weights.safetensors"
"""The newest weights to score; also in checkpoints and dumps."""
REPORT = "report.html"
"""The report of the run."""
CHECKPOINTS, DUMPS, PICTURES, BOARD, PROFILE = "checkpoints", "dumps", "pictures", "tensorboard", "profile"
"""Folders: states to go on from, losses that were not finite, early evaluations, TensorBoard, traces of steps."""
LOCK = ".lock"
"""Held by the process that writes the folder."""


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run folder, as far as they are there."""

    folder: Path

    @property
    def is_run(self) -> bool:
        """Whether the folder looks like one of flux4d-train."""
        return (self.folder / METRICS).is_file() or (self.folder / RECORD).is_file()

    def steps(self) -> list[Row]:
        """Rows of the log of steps, oldest first, with the columns of the trainer that wrote them; none without one.

        Raises:
            ValueError: a line is damaged; names file and line.
        """
        return read_rows(self.folder / METRICS)

    def evaluations(self) -> list[Row]:
        """Rows of the log of early evaluations, oldest first; none without one.

        Raises:
            ValueError: a line is damaged; names file and line.
        """
        return read_rows(self.folder / EVALUATIONS)

    def record(self) -> dict[str, Any]:
        """Where the run comes from.

        Raises:
            FileNotFoundError: the folder is not a run.
            ValueError: the file is damaged.
        """
        record = self.json_object(RECORD)
        if record is None:
            raise FileNotFoundError(
                f"{self.folder / RECORD} is missing: {self.folder} is not a run folder of flux4d-train (or use "
                "--weights FILE)"
            )
        return record

    def settings(self) -> dict[str, Any] | None:
        """The configuration, under the names of this version as far as older ones said the same twice; None without.

        Raises:
            ValueError: the file is damaged.
        """
        config = self.json_object(CONFIG)
        return None if config is None else said_once(config)

    def json_object(self, name: str) -> dict[str, Any] | None:
        """Content of one of the JSON files; None when it is missing.

        Raises:
            ValueError: the file is damaged; names it.
        """
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            value = parse_json(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: not JSON ({error})") from error
        if not isinstance(value, dict):
            raise ValueError(f"{path}: not a JSON object")
        return value
