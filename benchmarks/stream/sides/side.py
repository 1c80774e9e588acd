"""One side of the streaming benchmark as a process of its own: opened, run for a window, held while others run.

Needs psutil and numpy only: it runs in the environment of the peers too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol

import psutil

from benchmarks.stream.sample import touch

REPOSITORY = Path(__file__).resolve().parents[3]
_IDLE_S = 0.05
_IDLE_CPU_S = 0.005


class Samples(Protocol):
    """A loader: samples without end."""

    def __iter__(self) -> Iterator[Any]: ...

    def close(self) -> None: ...


class Tree:
    """CPU time of this process and what it has started so far."""

    def __init__(self) -> None:
        # Listing children reads all of /proc: once, not whenever the time is asked for.
        self._children = psutil.Process().children(recursive=True)

    def cpu_s(self) -> float:
        """Seconds, user and system."""
        total = 0.0
        for child in self._children:
            with suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                total += times.user + times.system
        return total + time.process_time()

    def settle(self) -> None:
        """Wait until the loader has made what it makes ahead: it must not work while another side is timed."""
        before = self.cpu_s()
        for _ in range(100):
            time.sleep(_IDLE_S)
            if (after := self.cpu_s()) - before < _IDLE_CPU_S:
                return
            before = after


def window(samples: Iterator[Any], warm: int, count: int) -> dict[str, float]:
    """Take `warm` samples untimed, so that what lies ready is used up, then `count` on the clock."""
    for _ in range(warm):
        touch(next(samples))
    tree = Tree()
    size, cpu, wall = 0, tree.cpu_s(), time.perf_counter()
    for _ in range(count):
        size += touch(next(samples))
    wall, cpu = time.perf_counter() - wall, tree.cpu_s() - cpu
    tree.settle()
    return {"count": count, "wall_s": wall, "cpu_s": cpu, "mb_per_sample": size / count / 1e6}


def memory(samples: Iterator[Any], count: int, every: int) -> dict[str, Any]:
    """Resident memory of this process, MB, every so many samples."""
    process, rows = psutil.Process(), []
    for number in range(count + 1):
        if number % every == 0:
            rows.append((number, process.memory_info().rss / 1e6))
        touch(next(samples))
    return {"rows": rows}


def serve(open_samples: Callable[..., Samples], name: Callable[[Any], Any]) -> None:
    """Answer the parent's commands, one JSON object a line, until it closes the pipe.

    Args:
        open_samples: a loader by the options of ``open``.
        name: clip and views of a sample and its arrays, for ``check``.
    """
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    samples: Samples | None = None
    try:
        for line in sys.stdin:
            command = json.loads(line)
            match command.pop("do"):
                case "open":
                    if samples is not None:
                        samples.close()
                    samples = open_samples(**command)
                    stream, answer = iter(samples), {}
                case "run":
                    answer = window(stream, **command)
                case "memory":
                    answer = memory(stream, **command)
                case "check":
                    answer = {"samples": [name(next(stream)) for _ in range(command["count"])]}
                case other:
                    raise ValueError(f"unknown command {other!r}")
            print(json.dumps(answer), file=answers, flush=True)
    finally:
        if samples is not None:
            samples.close()


class Side:
    """The parent's hold on a side's process."""

    def __init__(self, name: str, python: Path, arguments: list[str], log: Path) -> None:
        self.name, self._log = name, log
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [str(python), "-m", *arguments],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )

    def send(self, **command: Any) -> None:
        """Begin a command."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `receive` says what happened
            print(json.dumps(command), file=self._process.stdin, flush=True)

    def receive(self) -> dict[str, Any]:
        """The answer to the command begun last.

        Raises:
            SystemExit: the process has stopped; with the end of what it printed.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise SystemExit(f"{self.name} stopped ({self._process.returncode}):\n{self._log.read_text()[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **command: Any) -> dict[str, Any]:
        """One command and its answer."""
        self.send(**command)
        return self.receive()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def closing_all(sides: Mapping[str, Side]) -> closing:
    """All of them ended, whatever happens."""

    class _All:
        def close(self) -> None:
            for side in sides.values():
                side.close()

    return closing(_All())
