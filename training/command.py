"""What ``flux4d-train`` does: read the command line, train and show how it goes, compare runs, replay a dump."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Union

import tyro
from rich.console import Console
from torch import Tensor

from flux4d.device import resolve_device
from store_schema.command_line.door import run_door
from store_schema.command_line.options import STORE, store_first
from store_schema.files.paths import filesystem, location
from training.config import TrainConfig, presets
from training.distributed import Ranks
from training.faults.checks import require_possible
from training.faults.nonfinite import replay
from training.loop import Trainer
from training.monitor.compare import compare_runs
from training.monitor.display import TrainingDisplay
from training.monitor.early_evaluation import EarlyScores
from training.monitor.tensorboard import Board
from training.optimisation.step_report import StepReport


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Print what two runs differ in: settings, data, code, machine and metrics."""

    a: Annotated[Path, tyro.conf.Positional]
    """Run folder."""
    b: Annotated[Path, tyro.conf.Positional]
    """Another one."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Train once more on a dumped sample whose loss was not finite, and say what in it is not."""

    dump: Annotated[Path, tyro.conf.Positional]
    """Folder below RUN/dumps."""
    device: str = "auto"
    """auto takes CUDA when there is one."""


def run(arguments: list[str] | None) -> int:
    """Do what the command line says; returns the exit status."""
    ranks = Ranks()

    def do(command: TrainConfig | Compare | Replay) -> int:
        nonlocal ranks
        ranks = Ranks.from_environment()
        if isinstance(command, Compare):
            compare_runs(command.a, command.b, Console())
        elif isinstance(command, Replay):
            _replay(command, Console())
        else:
            train(command, ranks, Console(stderr=True))
            if ranks.is_main:
                print(command.out)
        return 0

    def who() -> str:
        return f"rank {ranks.rank}: " if ranks.world_size > 1 else ""

    status = run_door("flux4d-train", parse, do, arguments, who=who)
    if status and ranks.world_size > 1:
        # Nothing of what a normal end does: it may wait for processes that wait for this one.
        sys.stderr.flush()
        os._exit(status)
    return status


def parse(arguments: list[str]) -> TrainConfig | Compare | Replay:
    """What the command line asks for; unknown options end the program with a message."""
    commands: list[Any] = [
        Annotated[TrainConfig, tyro.conf.subcommand(name, default=config, description=about)]
        for name, (about, config) in presets().items()
    ]
    commands += [Annotated[Compare, tyro.conf.subcommand("compare")], Annotated[Replay, tyro.conf.subcommand("replay")]]
    any_of: Any = Union[tuple(commands)]  # noqa: UP007 - made of a list
    parsed: TrainConfig | Compare | Replay = tyro.cli(
        any_of,
        args=store_first(arguments, dict.fromkeys(presets(), STORE)),
        prog="flux4d-train",
        description="Train on a dataset version, compare two runs, or replay a step whose loss was not finite. "
        "PRESET --help explains every option.",
        config=(tyro.conf.AvoidSubcommands,),
    )
    return parsed


def train(config: TrainConfig, ranks: Ranks, console: Console) -> None:
    """Run the training, shown by the process that writes the run folder."""
    device = ranks.device(resolve_device(config.device))
    # Before they meet: whoever is refused first would leave the others with a lost connection for a reason.
    require_possible(config, ranks, device)
    with ranks.joined(device):
        if not ranks.is_main:
            Trainer(config, ranks).run()
            return
        screen = _Screen(config, console)
        trainer = Trainer(config, ranks, screen)
        stopped = screen.follow(trainer)
        if stopped is not None:
            console.print(f"stopped by {stopped} after step {trainer.step}: continue it with --resume", highlight=False)


class _Screen:
    """Shows steps on the terminal and on the board."""

    def __init__(self, config: TrainConfig, console: Console) -> None:
        self._config, self._console = config, console
        self._display: TrainingDisplay | None = None
        self._board: Board | None = None

    def follow(self, trainer: Trainer) -> str | None:
        """Run the trainer and show it; returns the signal that stopped it."""
        config = self._config
        clips, ranks = len(trainer.stream.records), trainer.ranks
        self.note(
            f"dataset version {trainer.dataset.version[:12]}, {clips} clips, {ranks.world_size} x {trainer.device}, "
            f"{config.clips_per_step} clips a step"
        )
        remote = filesystem(location(config.store)) is not None
        if config.loader.cache is None and (remote or clips > config.loader.memory_clips):
            work = "downloaded and lifted" if remote else "lifted"
            self.note(f"no --loader.cache: every clip is {work} again in every epoch")
        if config.tensorboard:
            self._board = Board(config.out, trainer.step)
            self._board.config(json.dumps(asdict(config), indent=1, default=str, sort_keys=True))
        try:
            with TrainingDisplay(self._console, config.steps, trainer.step) as self._display:
                stopped = trainer.run()
            self._display.summary(config.out, config.store)
            if (table := trainer.profiler.table()) is not None:
                self._console.print(table)
        finally:
            self._display = None
            if self._board is not None:
                self._board.close()
        return stopped

    def step(self, report: StepReport, speeds: Tensor | None) -> None:
        """Show a step."""
        if self._display is not None:
            self._display.step(report)
        if self._board is not None:
            self._board.step(report)
            if speeds is not None:
                self._board.speeds(report.step, speeds)

    def evaluation(self, step: int, scores: EarlyScores, best: bool) -> None:
        """Show an early evaluation."""
        if self._display is not None:
            self._display.evaluation(step, scores.validation.metrics, best)
        if self._board is not None:
            self._board.evaluation(step, scores.validation.metrics)
            self._board.images(step, scores.images)

    def checkpoint(self, step: int) -> None:
        """A resumed run does not show again what was before it."""
        if self._board is not None:
            self._board.flush()

    def note(self, text: str) -> None:
        """Show a line that stays."""
        if self._display is not None:
            self._display.note(text)
        else:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _replay(command: Replay, console: Console) -> None:
    found = replay(command.dump, Ranks().device(resolve_device(command.device)))
    console.print(f"clip {found['clip']}, step {found['step']}", highlight=False)
    for view, losses in enumerate(found["losses"]):
        console.print(
            f"view {view}: " + ", ".join(f"{name} {value}" for name, value in losses.items()), highlight=False
        )
    if found["error"] is not None:
        console.print(found["error"], highlight=False, markup=False)
    for name in found["not_finite"]:
        console.print(f"not finite: {name}", highlight=False)
