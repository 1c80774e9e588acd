"""What a training shows while it runs."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from evaluation.scoring.validation import BEST_METRIC, BEST_WITHOUT_INTERPOLATION
from training.monitor.display import KEPT_LINES, TrainingDisplay
from training.monitor.readable import HEADLINE, means
from training.optimisation.step_report import StepReport

TERM_VALUES = {"l1": 0.05, "ssim": 0.2, "depth": 1.5, "velocity": 0.4}


def report(step: int, **changes: object) -> StepReport:
    values: dict[str, object] = {
        "step": step,
        "epoch": step // 10,
        "clips": ("toy-s000",),
        "loss": 0.25,
        "psnr": 20.0,
        "lr": 1e-3,
        "grad_norm": 0.5,
        "gaussians": 1234,
        "left_out": 0,
        "seconds": 0.5,
        "data_seconds": 0.05,
        "samples_per_second": 2.0,
        "max_rss_mb": 3200.0,
        "gpu_mb": None,
    }
    terms = {**TERM_VALUES, **{name: changes.pop(name) for name in list(changes) if name in TERM_VALUES}}
    return StepReport(terms=terms, **(values | changes))  # type: ignore[arg-type]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lines_of(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def rows(lines: list[str]) -> list[int]:
    return [int(line.split()[0].replace(",", "")) for line in lines if line[:8].strip().replace(",", "").isdigit()]


@pytest.fixture
def log() -> Console:
    return Console(file=io.StringIO(), width=80)


def test_a_log_gets_a_line_every_tenth_and_no_control_codes(log: Console) -> None:
    with TrainingDisplay(log, 2000, clock=Clock()) as display:
        for step in range(1, 2001):
            display.step(report(step))
    lines = lines_of(log)
    assert rows(lines) == [1, *range(200, 2001, 200)]
    assert "\x1b" not in "".join(lines)
    assert lines[0].split()[:4] == ["step", "elapsed", "loss", "l1"]
    assert all(len(line) == len(lines[0]) for line in lines)


def test_a_log_of_slow_steps_is_not_silent(log: Console) -> None:
    clock = Clock()
    with TrainingDisplay(log, 30_000, clock=clock) as display:
        for step in range(1, 11):
            clock.now += 25
            display.step(report(step))
    assert rows(lines_of(log)) == [1, 4, 7, 10]


def test_a_terminal_keeps_the_tenths_only() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    clock = Clock()
    with TrainingDisplay(console, 40, clock=clock) as display:
        for step in range(1, 41):
            clock.now += 100
            display.step(report(step))
        display.note("clip toy-s000 [left] out")
    text = re.sub(r"\r|\x1b\[[?0-9;]*[A-Za-z]", "", "\n".join(lines_of(console)))
    assert rows(text.splitlines()) == list(range(4, 41, 40 // KEPT_LINES))
    assert "clip toy-s000 [left] out" in text
    # The last frame of the live display.
    frame = text[text.rindex("train ") :]
    assert "40/40" in frame
    assert "loss    0.2500   l1 0.0500   1-ssim 0.2000   depth 1.50 m   speed 0.40 m/s   PSNR 20.00 dB" in frame
    assert "2.00 samples/s   0.50 s/step   data wait 10%   lr 1.00e-03" in frame
    assert "RSS 3.2 GB, GPU n/a" in frame


def test_means_are_over_the_last_twenty_and_by_time(log: Console) -> None:
    with TrainingDisplay(log, 40, clock=Clock()) as display:
        for step in range(1, 21):
            display.step(report(step, loss=100.0))
        for step in range(21, 41):
            slow = step == 40
            display.step(report(step, loss=float(step % 2), seconds=10.0 if slow else 0.5, data_seconds=9.0 * slow))
    last = lines_of(log)[-1].split()
    assert last[2] == "0.5000"
    # 9 s of 19 * 0.5 + 10 s, not the mean of one 90% and nineteen 0%.
    assert last[9] == "46%"


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 1), st.integers(0, 8)), min_size=1, max_size=30))
def test_rates_are_ratios_of_sums(steps: list[tuple[float, float, int]]) -> None:
    mean = means(
        [
            report(n, seconds=seconds, data_seconds=share * seconds, samples_per_second=clips / seconds)
            for n, (seconds, share, clips) in enumerate(steps)
        ]
    )
    total = sum(seconds for seconds, _, _ in steps)
    assert mean.samples_per_second == pytest.approx(sum(clips for _, _, clips in steps) / total)
    assert mean.data_wait == pytest.approx(sum(share * seconds for seconds, share, _ in steps) / total)
    assert mean.seconds == pytest.approx(total / len(steps))


def test_what_is_missing_is_not_counted_as_zero(log: Console) -> None:
    assert means([report(1, depth=2.0), report(2, depth=None)]).terms["depth"] == 2.0
    assert means([report(1, depth=None)]).terms["depth"] is None
    assert means([]).data_wait is None
    with TrainingDisplay(log, 1, clock=Clock()) as display:
        display.step(report(1, depth=None, velocity=None))
        display.evaluation(1, {"interpolation/psnr": 20.126, "flow/epe3d": None, "flow/acc5": 0.5}, best=False)
    row, evaluation = lines_of(log)[1:]
    assert row.split()[5:7] == ["n/a", "n/a"]
    assert evaluation == "evaluation at step 1: PSNR 20.13 dB  EPE3D n/a"


def test_what_decides_is_shown() -> None:
    assert {BEST_METRIC, BEST_WITHOUT_INTERPOLATION} <= set(HEADLINE)


def test_time_left_counts_what_happens_between_steps(log: Console) -> None:
    clock = Clock()
    with TrainingDisplay(log, 10, start=4, clock=clock) as display:
        clock.now = 500.0  # the first step compiles
        display.step(report(5, seconds=500.0))
        clock.now = 530.0  # an evaluation in between
        display.step(report(6, seconds=1.0))
    # Four steps of 30 s.
    assert lines_of(log)[-1].split()[10] == "0:02:00"


def test_the_summary_is_of_the_whole_run(log: Console) -> None:
    clock = Clock()
    with TrainingDisplay(log, 300, start=100, clock=clock) as display:
        for step in range(101, 201):
            clock.now += 1
            display.step(report(step, left_out=int(step == 150), psnr=10.0 if step <= 180 else 22.0, gpu_mb=12400.0))
        display.evaluation(150, {"interpolation/psnr": 21.0}, best=True)
        display.evaluation(200, {"interpolation/psnr": 20.0}, best=False)
    display.summary(Path("runs/my run"), "s3://bucket/store")
    text = "\n".join(lines_of(log))
    for part in (
        "200 of 300, 100 of them now",
        "0:01:40",
        "22.00 dB",
        "step 150: PSNR 21.00 dB",
        "RSS 3.2 GB, GPU 12.4 GB",
        "--resume",
        "flux4d-eval run --store s3://bucket/store --run 'runs/my run' --out 'runs/my run/report'",
        "flux4d-eval report 'runs/my run'",
    ):
        assert part in text
    (left_out,) = (line for line in text.splitlines() if "clips left out" in line)
    assert left_out.split()[-1] == "1"


def test_a_run_without_a_step_has_a_summary(log: Console) -> None:
    with TrainingDisplay(log, 10, start=10, clock=Clock()) as display:
        pass
    display.summary(Path("run"), "store")
    text = "\n".join(lines_of(log))
    assert "n/a" in text
    assert "--resume" not in text


def test_the_live_display_draws_while_steps_come_from_another_thread() -> None:
    """On a pseudo terminal, drawn by its own thread: an error there would be printed."""
    code = (
        "import time; from rich.console import Console; from tests.training.monitor.test_display import report;"
        "from training.monitor.display import TrainingDisplay\n"
        "with TrainingDisplay(Console(force_terminal=True, width=100), 400) as display:\n"
        "  for step in range(1, 401):\n"
        "    display.step(report(step)); time.sleep(0.003)\n"
        "    if step == 200: display.evaluation(step, {'future/psnr': 20.0}, best=True)\n"
    )
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": os.getcwd()}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert run.returncode == 0
    assert "Traceback" not in run.stdout + run.stderr
    assert "400/400" in run.stdout
    assert "(best so far)" in run.stdout
