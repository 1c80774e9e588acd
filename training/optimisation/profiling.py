"""Profile a training: a trace of a few steps, and the mean time of each phase."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from rich.table import Table
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from evaluation.run_folder.files import PROFILE

WARMUP_STEPS = 3
"""Steps before the window: compilation, first allocations and the profiler's own start."""
ACTIVE_STEPS = 5
"""Steps that are traced."""
TRACE, OPERATORS = "trace.json", "operators.txt"
_ROWS = 40
_OFF = nullcontext()


class StepProfiler:
    """Traces a window of steps; when it is not enabled it does nothing, at no cost.

    Writes ``profile/trace.json`` (for chrome://tracing or ui.perfetto.dev) and ``profile/operators.txt`` (time by
    operator). A run that ends within the window writes what there is (`close`).

    Args:
        run: run folder.
        enabled: whether anything is measured.
        device: where the steps work. On CUDA every phase of the window waits for the device before and after, so that
            its time is its own; steps get slower by that.
    """

    def __init__(self, run: Path, enabled: bool, device: torch.device) -> None:
        self._folder, self._device = run / PROFILE, device
        self._profile = self._make() if enabled else None
        self._started = False
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._inner = threading.local()
        self._phases: dict[tuple[str, bool], float] = {}
        self._active = False
        self._ended = 0
        self._began = self._seconds = 0.0

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A named part of a step. A phase within another counts for itself only."""
        return self._measured(name) if self._active else _OFF

    def step_done(self) -> bool:
        """To be called after every step; True when this one ended the window, and the table can be printed."""
        if self._profile is None:
            return False
        self._synchronise()
        now = time.perf_counter()
        if self._active:
            self._seconds += now - self._began
        self._ended += 1
        if self._ended == WARMUP_STEPS + ACTIVE_STEPS:
            self.close()
            return True
        if self._started:
            self._profile.step()
        else:
            self._profile.start()
            self._started = True
        self._active = self._ended >= WARMUP_STEPS
        self._began = time.perf_counter()
        return False

    def table(self) -> Table | None:
        """Mean time of each phase and its share of a step; None when no step of the window has ended."""
        steps = self._ended - WARMUP_STEPS
        if steps < 1:
            return None
        own = {name: seconds for (name, main), seconds in self._phases.items() if main}
        beside = {name: seconds for (name, main), seconds in self._phases.items() if not main}
        title = f"where a step's time goes, mean of {steps}"
        table = Table(title=title, title_justify="left", title_style="bold", box=None, min_width=len(title))
        table.add_column("phase")
        for head in ("ms", "share"):
            table.add_column(head, justify="right")
        rest = self._seconds - sum(own.values())
        for name, seconds in [*own.items(), ("other", rest), ("step", self._seconds)]:
            style = "bold" if name == "step" else "dim" if name == "other" else ""
            table.add_row(name, f"{1000 * seconds / steps:,.1f}", f"{seconds / self._seconds:.1%}", style=style)
        for name, seconds in beside.items():
            table.add_row(f"{name}, in other threads", f"{1000 * seconds / steps:,.1f}", "beside", style="dim")
        return table

    def close(self) -> None:
        """End the trace, within the window too; to be called at the end of the run, whichever way it ends."""
        self._active = False
        if self._profile is not None and self._started:
            self._profile.stop()
        self._profile = None

    def _make(self) -> profile:
        activities = [ProfilerActivity.CPU]
        if self._device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        return profile(
            activities=activities,
            # The first step is over when it starts.
            schedule=schedule(wait=0, warmup=WARMUP_STEPS - 1, active=ACTIVE_STEPS, repeat=1),
            on_trace_ready=self._write,
        )

    def _write(self, finished: profile) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        finished.export_chrome_trace(str(self._folder / TRACE))
        by = "self_device_time_total" if self._device.type == "cuda" else "self_cpu_time_total"
        (self._folder / OPERATORS).write_text(finished.key_averages().table(sort_by=by, row_limit=_ROWS) + "\n")

    @contextmanager
    def _measured(self, name: str) -> Iterator[None]:
        outer = getattr(self._inner, "seconds", 0.0)
        self._inner.seconds = 0.0
        self._synchronise()
        began = time.perf_counter()
        try:
            with record_function(name):
                yield
                self._synchronise()
        finally:
            seconds = time.perf_counter() - began
            key = (name, threading.get_ident() == self._thread)
            with self._lock:
                self._phases[key] = self._phases.get(key, 0.0) + seconds - self._inner.seconds
            self._inner.seconds = outer + seconds

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
