"""Callbacks: what is told how a training goes (a screen, TensorBoard, a test)."""

from __future__ import annotations

import sys
from typing import Protocol

from torch import Tensor

from training.monitor.early_evaluation import EarlyScores
from training.optimisation.step_report import StepReport


class Callback(Protocol):
    """Is told how the training goes, on the process that writes the run folder."""

    def step(self, report: StepReport, speeds: Tensor | None) -> None:
        """A step is done; `speeds` [N] m/s of what may move, of one clip, now and then."""

    def evaluation(self, step: int, scores: EarlyScores, best: bool) -> None:
        """An early evaluation is done."""

    def checkpoint(self, step: int) -> None:
        """A checkpoint is about to be written: a run that is continued will not show steps before it again."""

    def note(self, text: str) -> None:
        """Something happened that the user should know."""


class Silent:
    """Nobody watches."""

    def step(self, report: StepReport, speeds: Tensor | None) -> None:
        """Nothing."""

    def evaluation(self, step: int, scores: EarlyScores, best: bool) -> None:
        """Nothing."""

    def checkpoint(self, step: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class OtherRank(Silent):
    """Watches a process that does not write the run folder: what only it knows goes to its standard error."""

    def __init__(self, rank: int) -> None:
        self._rank = rank

    def note(self, text: str) -> None:
        """Print it with the rank."""
        print(f"rank {self._rank}: {text}", file=sys.stderr, flush=True)
