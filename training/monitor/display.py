"""Progress of a training on the screen: a live display on a terminal, plain lines in a log file."""

from __future__ import annotations

import shlex
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from training.monitor.readable import MISSING, duration, means, metrics_text, shown, term_cells, terms_text
from training.optimisation.step_report import StepReport

AVERAGED_STEPS = 20
"""Reports that the shown means are over."""
KEPT_LINES = 10
"""Lines of a run that stay on screen."""
LOG_SECONDS = 60.0
"""Where there is no live bar, the longest time between two lines, s."""
_HEADER_EVERY = 20


class TrainingDisplay:
    """Shows a training while it runs; a context manager.

    Args:
        console: where to. A terminal gets a live display, anything else lines only.
        steps: steps of the whole run.
        start: steps done before, by the run that is continued.
        clock: seconds that only rise.
    """

    def __init__(
        self, console: Console, steps: int, start: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._steps, self._start, self._clock = console, steps, start, clock
        self._recent: deque[StepReport] = deque(maxlen=AVERAGED_STEPS)
        self._done = start
        self._began = self._first = self._printed = clock()
        self._lines = self._left_out = 0
        self._seconds = self._waited = self._samples = 0.0
        self._last: tuple[int, str] | None = None
        self._best: tuple[int, str] | None = None
        self._status: RenderableType = Text("waiting for the first step", style="dim")
        self._progress = Progress(
            TextColumn("train"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]} left"),
            console=console,
            expand=True,
            get_time=clock,
        )
        self._task = self._progress.add_task("train", total=steps, completed=start, left=duration(None))
        live = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(get_renderable=self._render, console=console) if live else None

    def __enter__(self) -> TrainingDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, report: StepReport) -> None:
        """Show a finished step."""
        now = self._clock()
        if not self._recent:
            self._first = now
        self._recent.append(report)
        self._done = report.step
        self._left_out += report.left_out
        self._seconds += report.seconds
        self._waited += report.data_seconds
        self._samples += report.samples_per_second * report.seconds
        left = self._seconds_left(now)
        # Made here, whole: the live display draws from a thread of its own.
        self._status = self._status_table(report)
        self._progress.update(self._task, completed=report.step, left=duration(left))
        tenth = report.step % max(1, self._steps // KEPT_LINES) == 0 or report.step == self._steps
        if tenth or (self._live is None and (self._lines == 0 or now - self._printed >= LOG_SECONDS)):
            self._line(report, now, left)

    def evaluation(self, step: int, metrics: Mapping[str, float | None], best: bool) -> None:
        """Show an early evaluation after `step` steps; `best` when none before it was better."""
        self._last = (step, metrics_text(metrics))
        if best:
            self._best = self._last
        mark = "  (best so far)" if best else ""
        self._print(Text(f"evaluation at step {step:,}: {self._last[1]}{mark}", style="cyan"))
        if self._recent:
            self._status = self._status_table(self._recent[-1])

    def note(self, text: str) -> None:
        """A warning or an event; it stays on screen."""
        self._print(Text(text, style="yellow"))

    def summary(self, out: Path, store: str) -> None:
        """What was done, how fast, how well, where it is, and what comes next.

        Args:
            out: run folder.
            store: store it was trained on.
        """
        table = Table(title="training", title_justify="left", title_style="bold", box=None, show_header=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in self._summary_rows().items():
            table.add_row(name, Text(value))
        table.add_row("run folder", Text(str(out)))
        self._print(table)
        run, report = shlex.quote(str(out)), shlex.quote(str(out / "report"))
        self._print(Text("\nnext", style="bold"))
        if self._done < self._steps:
            self._print(Text("  the same command with --resume continues this run"))
        self._print(Text(f"  flux4d-eval report {run}"))
        self._print(Text(f"  flux4d-eval run --store {shlex.quote(store)} --run {run} --out {report}"))

    def _summary_rows(self) -> dict[str, str]:
        span = f"{self._done:,}" if self._done >= self._steps else f"{self._done:,} of {self._steps:,}"
        recent = means(self._recent)
        last = self._recent[-1] if self._recent else None
        return {
            "steps": span + (f", {self._done - self._start:,} of them now" if self._start else ""),
            "wall time": duration(self._clock() - self._began),
            "samples/s": shown(self._samples / self._seconds if self._seconds else None, ".2f"),
            "data wait": shown(self._waited / self._seconds if self._seconds else None, ".1%"),
            f"loss, last {len(self._recent)} steps": shown(recent.loss, ".4f"),
            f"PSNR, last {len(self._recent)} steps": shown(recent.psnr, ".2f", " dB"),
            "best evaluation": _evaluation_text(self._best),
            "clips left out": f"{self._left_out:,}",
            "peak memory": _memory_text(last),
        }

    def _seconds_left(self, now: float) -> float | None:
        """By wall time since the first step ended, so that evaluations and checkpoints count and compiling does not."""
        remaining = max(0, self._steps - self._done)
        if len(self._recent) < 2:
            return remaining * self._recent[-1].seconds if self._recent else None
        done = self._done - self._start - 1
        return remaining * (now - self._first) / max(1, done)

    def _render(self) -> RenderableType:
        return Group(self._progress, self._status)

    def _status_table(self, report: StepReport) -> Table:
        mean = means(self._recent)
        rows = {
            "loss": (
                f"[bold]{shown(mean.loss, '.4f')}[/bold]   {terms_text(mean.terms)}"
                f"   [bold]PSNR {shown(mean.psnr, '.2f', ' dB')}[/bold]"
            ),
            "pace": (
                f"[bold]{shown(mean.samples_per_second, '.2f')} samples/s[/bold]   {shown(mean.seconds, '.2f')} s/step"
                f"   data wait {_alarming(shown(mean.data_wait, '.0%'), (mean.data_wait or 0) > 0.1)}"
                f"   lr {report.lr:.2e}   gradient {report.grad_norm:.3g}"
            ),
            "memory": (
                f"{_memory_text(report)}   epoch {report.epoch:,}   {report.gaussians:,} Gaussians"
                f"   left out {_alarming(f'{self._left_out:,}', self._left_out > 0)}"
            ),
        }
        if self._last is not None:
            rows |= {"early": escape(_evaluation_text(self._last)), "best": escape(_evaluation_text(self._best))}
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        for name, text in rows.items():
            table.add_row(name, text)
        return table

    def _line(self, report: StepReport, now: float, left: float | None) -> None:
        mean = means(self._recent)
        cells = [
            ("step", 8, f"{report.step:,}"),
            ("elapsed", 9, duration(now - self._began)),
            ("loss", 8, shown(mean.loss, ".4f")),
            *term_cells(mean.terms),
            ("PSNR", 7, shown(mean.psnr, ".2f")),
            ("samples/s", 11, shown(mean.samples_per_second, ".2f")),
            ("wait", 6, shown(mean.data_wait, ".0%")),
        ]
        more = [
            ("left", 10, duration(left)),
            ("lr", 10, f"{report.lr:.2e}"),
            ("RSS GB", 8, f"{report.max_rss_mb / 1000:.1f}"),
            ("GPU GB", 8, shown(None if report.gpu_mb is None else report.gpu_mb / 1000, ".1f")),
            ("left out", 10, f"{self._left_out:,}"),
        ]
        if self._live is None or self._console.width >= sum(width for _, width, _ in [*cells, *more]):
            cells += more
        if self._lines % _HEADER_EVERY == 0:
            self._print(Text("".join(f"{name:>{width}}" for name, width, _ in cells), style="dim"))
        self._print(Text("".join(f"{text:>{width}}" for _, width, text in cells)))
        self._lines += 1
        self._printed = now

    def _print(self, content: RenderableType) -> None:
        self._console.print(content, highlight=False, soft_wrap=isinstance(content, Text))


def _alarming(text: str, alarm: bool) -> str:
    return f"[red]{text}[/red]" if alarm else text


def _evaluation_text(evaluation: tuple[int, str] | None) -> str:
    return MISSING if evaluation is None else f"step {evaluation[0]:,}: {evaluation[1]}"


def _memory_text(report: StepReport | None) -> str:
    if report is None:
        return MISSING
    gpu = None if report.gpu_mb is None else report.gpu_mb / 1000
    return f"RSS {report.max_rss_mb / 1000:.1f} GB, GPU {shown(gpu, '.1f', '' if gpu is None else ' GB')}"
