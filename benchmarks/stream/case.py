"""All sides of the streaming benchmark on samples of one size."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from benchmarks.logs import REPOSITORY
from benchmarks.stream.rounds import FirstEpoch, Timed, ratios, run_rounds, second_epoch
from benchmarks.stream.sample import Ready
from benchmarks.stream.sides.side import Side
from benchmarks.stream.verify import check_sides
from store_schema.version.dataset import Dataset

PEERS_PYTHON = REPOSITORY / ".venv-peers/bin/python"
FIRST = "ours_first"
VIEWS = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    clips: int
    rounds: int
    first_rounds: int
    seconds: float
    """Of a window."""
    peers: tuple[str, ...]
    our_workers: tuple[int, ...]
    """Settings tried; the fastest is kept."""
    peer_workers: tuple[int, ...]


def start_sides(peers: Sequence[str], folder: Path) -> dict[str, Side]:
    """A process for each side; what they print goes to files in `folder`."""
    here = Path(sys.executable)
    commands = {
        "ours": (here, ["benchmarks.stream.sides.ours"]),
        FIRST: (here, ["benchmarks.stream.sides.ours"]),
        "floor": (here, ["benchmarks.stream.sides.floor"]),
        **{name: (PEERS_PYTHON, ["benchmarks.stream.sides.peers", name]) for name in peers},
    }
    return {name: Side(name, *command, folder / f"{name}.log") for name, command in commands.items()}


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured together."""

    sides: Mapping[str, Side]
    plan: Plan
    dataset: Dataset
    ready: Ready
    folder: Path
    """Holds the ready samples, and will hold the formats and the caches."""

    def measure(self, progress: Progress) -> dict[str, Any]:
        """Everything but memory."""
        plan, ready = self.plan, self.ready
        task = progress.add_task(f"{ready.width} pixels", total=2 + plan.first_rounds)
        size = {"store": str(self.dataset.folder.parents[1]), "width": ready.width, "views": VIEWS}
        first = FirstEpoch(self.sides[FIRST], {**size, "workers": plan.our_workers[0]}, plan.clips)
        with formats_written(self.folder, plan.peers):
            # Compiles, imports, and makes what the later epochs of `ours` find: nothing here is timed.
            first.fill(self.folder / "cache")
        ours = Timed(self.sides["ours"], plan.our_workers, {**size, "cache": str(self.folder / "cache")})
        second = second_epoch(ours, plan.clips, -(-ready.views // VIEWS))
        ours.tune(plan.seconds)
        flat = {"folder": str(self.folder), "views": VIEWS}
        timed = {
            "ours": ours,
            **{name: Timed(self.sides[name], plan.peer_workers, flat) for name in plan.peers},
            "floor": Timed(self.sides["floor"], (ours.best,), flat),
        }
        for name, side in timed.items():
            if name != "ours":
                side.tune(plan.seconds)
        progress.advance(task)
        checked = check_sides(timed, ready, self.dataset)
        run_rounds(timed, plan.rounds, plan.seconds)
        progress.advance(task)
        for number in range(plan.first_rounds):
            first.window(self.folder / f"first{number}")
            progress.advance(task)
        return {
            **{name: side.result() for name, side in timed.items()},
            FIRST: first.result(),
            "ours_second_epoch": second,
            "ratios": ratios(timed, plan.peers),
            "checked": checked,
            "width": ready.width,
            "height": ready.height,
            "views": VIEWS,
        }


@contextmanager
def formats_written(folder: Path, peers: Sequence[str]) -> Iterator[None]:
    """The ready samples in the peers' formats, written in their environment while the inside runs.

    Raises:
        SystemExit: one could not be written; with the end of what was printed.
    """
    commands = {name: [str(PEERS_PYTHON), "-m", "benchmarks.stream.sides.formats", str(folder), name] for name in peers}
    options: Any = {"cwd": REPOSITORY, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    writers = {name: subprocess.Popen(command, **options) for name, command in commands.items()}
    try:
        yield
    finally:
        said = {name: writer.communicate()[1] for name, writer in writers.items()}
    for name, writer in writers.items():
        if writer.returncode:
            raise SystemExit(f"writing the samples for {name} failed:\n{said[name][-3000:]}")
