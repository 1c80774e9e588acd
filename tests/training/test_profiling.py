"""The profiler of a few steps: what it writes, what it counts, what it leaves alone."""

from __future__ import annotations

import io
import json
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch
from rich.console import Console
from rich.table import Table

from evaluation.run_folder.files import PROFILE
from training.optimisation.profiling import ACTIVE_STEPS, OPERATORS, TRACE, WARMUP_STEPS, StepProfiler

CPU = torch.device("cpu")
WINDOW = WARMUP_STEPS + ACTIVE_STEPS


def rows(table: Table | None) -> dict[str, tuple[float, str]]:
    """Name to ms and share."""
    assert table is not None
    columns = [list(column.cells) for column in table.columns]
    return {name: (float(ms.replace(",", "")), share) for name, ms, share in zip(*columns, strict=True)}  # type: ignore[union-attr]


def one_step(profiler: StepProfiler) -> bool:
    with profiler.phase("data"):
        time.sleep(0.002)
    with profiler.phase("network"):
        torch.ones(64, 64) @ torch.ones(64, 64)
    return profiler.step_done()


def test_the_window_is_traced_and_tabulated(tmp_path: Path) -> None:
    with closing(StepProfiler(tmp_path, True, CPU)) as profiler:
        ended = []
        for step in range(WINDOW + 3):
            assert profiler.table() is None or step > WARMUP_STEPS
            ended.append(one_step(profiler))
    assert ended == [False] * (WINDOW - 1) + [True] + [False] * 3
    trace = json.loads((tmp_path / PROFILE / TRACE).read_text())
    names = [event.get("name") for event in trace["traceEvents"] if event.get("cat") == "user_annotation"]
    assert names.count("data") == names.count("network") == ACTIVE_STEPS
    assert "aten::mm" in (tmp_path / PROFILE / OPERATORS).read_text()
    table = rows(profiler.table())
    assert list(table) == ["data", "network", "other", "step"]
    assert table["data"][0] >= 2.0
    assert table["step"][1] == "100.0%"
    assert sum(ms for name, (ms, _) in table.items() if name != "step") == pytest.approx(table["step"][0], abs=0.2)


def test_off_it_writes_and_counts_nothing(tmp_path: Path) -> None:
    with closing(StepProfiler(tmp_path, False, CPU)) as profiler:
        for _ in range(WINDOW + 1):
            assert profiler.phase("data") is profiler.phase("network")
            assert not one_step(profiler)
    assert profiler.table() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")
def test_off_it_never_waits_for_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    cuda = torch.device("cuda", 0)
    with closing(StepProfiler(tmp_path, False, cuda)) as profiler:
        one_step(profiler)
    assert waits == []
    with closing(StepProfiler(tmp_path, True, cuda)) as profiler:
        for _ in range(WARMUP_STEPS):
            one_step(profiler)
        before = len(waits)
        with profiler.phase("data"):
            assert len(waits) == before + 1
        assert len(waits) == before + 2


def test_a_run_that_ends_within_the_window_keeps_what_there_is(tmp_path: Path) -> None:
    with closing(StepProfiler(tmp_path, True, CPU)) as profiler:
        for _ in range(WARMUP_STEPS + 2):
            one_step(profiler)
    assert (tmp_path / PROFILE / TRACE).is_file()
    table = profiler.table()
    assert table is not None
    assert "mean of 2" in str(table.title)


def test_a_run_that_ends_before_it_has_no_table(tmp_path: Path) -> None:
    with closing(StepProfiler(tmp_path, True, CPU)) as profiler:
        one_step(profiler)
    assert profiler.table() is None


def test_nested_phases_are_not_counted_twice_and_other_threads_stand_beside(tmp_path: Path) -> None:
    def load(profiler: StepProfiler) -> None:
        with profiler.phase("lift"):
            time.sleep(0.01)

    with closing(StepProfiler(tmp_path, True, CPU)) as profiler:
        for _ in range(WINDOW):
            thread = threading.Thread(target=load, args=(profiler,))
            thread.start()
            with profiler.phase("data"), profiler.phase("lift"):
                time.sleep(0.01)
            thread.join()
            profiler.step_done()
    table = rows(profiler.table())
    assert list(table) == ["lift", "data", "other", "step", "lift, in other threads"]
    assert table["lift"][0] >= 10.0
    assert table["lift, in other threads"][1] == "beside"
    assert table["lift, in other threads"][0] >= 10.0
    # Time in the inner phase is not time in the outer one.
    assert table["data"][0] + table["lift"][0] <= table["step"][0] + 0.2


def test_the_table_prints(tmp_path: Path) -> None:
    with closing(StepProfiler(tmp_path, True, CPU)) as profiler:
        for _ in range(WINDOW):
            one_step(profiler)
    console = Console(file=io.StringIO(), width=80)
    console.print(profiler.table())
    assert isinstance(console.file, io.StringIO)
    assert "where a step's time goes, mean of 5" in console.file.getvalue()
