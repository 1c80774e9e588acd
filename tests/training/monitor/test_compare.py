"""Two run folders side by side."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.training.monitor.test_display import report
from training.config import StreamConfig, TrainConfig, presets
from training.monitor.compare import compare_runs, first_difference, read_run

RECORD = {
    "dataset_version": "a" * 64,
    "clips_seen": ["one", "two"],
    "started_at": "2025-01-01T00:00:00+00:00",
    "code_commit": "c0ffee",
    "world_size": 1,
    "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
    "hardware": {"device": "cpu", "gpu": None},
}


def make_run(
    folder: Path,
    steps: int,
    loss: Callable[[int], float] = lambda step: 1 / step,
    config: TrainConfig | None = None,
    evaluations: dict[int, float | None] | None = None,
    record: dict[str, object] | None = None,
    **changes: object,
) -> Path:
    folder.mkdir()
    settings = asdict(replace(config or presets()["cpu"][1], out=folder))
    (folder / "config.json").write_text(json.dumps(settings, default=str, sort_keys=True))
    (folder / "run.json").write_text(json.dumps(RECORD | (record or {})))
    reports = [report(step, loss=loss(step), **changes).row() for step in range(1, steps + 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in reports))
    if evaluations is not None:
        lines = [
            {"step": step, "weights": "ema", "metrics": {"interpolation/psnr": psnr}, "counts": {}, "clips": ["one"]}
            for step, psnr in evaluations.items()
        ]
        (folder / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def text(a: Path, b: Path) -> str:
    console = Console(file=io.StringIO(), width=120)
    compare_runs(a, b, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def cells(printed: str, name: str) -> list[list[str]]:
    return [line.split()[len(name.split()) :] for line in printed.splitlines() if line.strip().startswith(name)]


def test_equal_runs_are_said_to_be_equal(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a", 60), make_run(tmp_path / "b", 60, record={"started_at": "later"})
    printed = text(a, b)
    assert "settings: the same" in printed
    assert "origin: the same" in printed
    assert "the loss is identical over 60 common steps" in printed
    assert "no early evaluations" in printed


def test_what_differs_is_named_with_both_values(tmp_path: Path) -> None:
    other = replace(presets()["cpu"][1], seed=3, stream=StreamConfig(width=96), resume=True)
    record = {
        "code_commit": "beef",
        "packages": {"torch": "2.4.0", "gsplat": "1.5.3", "numpy": "2.4.6"},
        "hardware": {"device": "cuda", "gpu": "H"},
        "clips_seen": ["two", "three", "four"],
        "resumed": [{"step": 1500}],
    }
    printed = text(make_run(tmp_path / "a", 3), make_run(tmp_path / "b", 3, config=other, record=record))
    assert cells(printed, "seed") == [["0", "3"]]
    assert cells(printed, "stream.width") == [["null", "96"]]
    assert cells(printed, "packages.torch") == [["2.13.0", "2.4.0"]]
    assert cells(printed, "packages.gsplat") == [["-", "1.5.3"]]
    assert cells(printed, "hardware.gpu") == [["null", "H"]]
    assert cells(printed, "code_commit") == [["c0ffee", "beef"]]
    assert cells(printed, "resumed at") == [["-", "1,500"]]
    assert "2, 1 only here" in printed
    assert "3, 2 only here" in printed
    for same in ("resume ", "out ", "packages.numpy", "dataset_version", "started_at"):
        assert cells(printed, same) == []


def test_clips_of_one_name_that_span_other_frames_are_a_difference(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", 3, record={"frames_seen": {"x": [[0, 10]]}})
    b = make_run(tmp_path / "b", 3, record={"frames_seen": {"x": [[0, 6]], "y": [[0, 0]]}})
    older = make_run(tmp_path / "older", 3)
    row = next(line for line in text(a, b).splitlines() if "frames trained on" in line)
    assert row.split() == ["frames", "trained", "on", "11,", "4", "only", "here", "8,", "1", "only", "here"]
    assert "origin: the same" in text(a, older)  # it does not say


def test_metrics_at_the_last_common_step_over_the_last_fifty_and_at_the_ends(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", 60, lambda step: float(step), seconds=1.0, data_seconds=0.25, samples_per_second=4.0)
    b = make_run(tmp_path / "b", 80, lambda step: step + 0.5, seconds=2.0, data_seconds=0.1, samples_per_second=1.5)
    printed = text(a, b)
    assert "step 60, the last of both" in printed
    assert "mean of 50 common steps, 11 to 60" in printed
    assert "at the end, step 60 and 80" in printed
    assert cells(printed, "loss") == [["60", "60.5", "+0.5"], ["35.5", "36", "+0.5"], ["60", "80.5", "+20.5"]]
    assert cells(printed, "data wait %") == [["25.0", "5.0", "-20.0"]] * 3
    assert cells(printed, "samples/s") == [["4.000", "1.500", "-2.500"]] * 3


def test_the_first_other_bit_is_found(tmp_path: Path) -> None:
    near = 0.1 + 0.2
    a = read_run(make_run(tmp_path / "a", 9, lambda step: 0.3))
    b = read_run(make_run(tmp_path / "b", 9, lambda step: near if step in (5, 8) else 0.3))
    assert first_difference(a, b) == "the loss first differs at step 5: A 0.3, B 0.30000000000000004"
    c = read_run(make_run(tmp_path / "c", 9, lambda step: near if step == 5 else 0.3, clips=("other",)))
    assert first_difference(a, c).endswith("; A trained on ['toy-s000'], B on ['other']")
    d = read_run(make_run(tmp_path / "d", 0))
    assert first_difference(a, d) == "the runs have no step in common"
    nothing = read_run(make_run(tmp_path / "e", 9, lambda step: float("nan")))
    assert "identical" in first_difference(nothing, nothing)


def test_best_and_last_evaluation_side_by_side(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", 3, evaluations={1: 20.0, 2: 22.0, 3: 21.0})
    b = make_run(tmp_path / "b", 3, evaluations={1: None})
    printed = text(a, b)
    assert cells(printed, "interpolation/psnr") == [["22.00", "21.00", "n/a", "n/a"]]
    assert cells(printed, "step")[-1] == ["2", "3", "n/a", "1"]
    assert "not all of the same clips" not in printed


def test_a_run_without_evaluations_or_steps_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", 3, evaluations={2: 20.0})
    printed = text(a, make_run(tmp_path / "b", 0))
    assert cells(printed, "interpolation/psnr") == [["20.00", "20.00", "n/a", "n/a"]]
    assert "no step in common" in printed
    assert cells(printed, "PSNR dB") == [["20.000", "n/a", "n/a"]]


def test_a_torn_last_line_is_left_out_and_said(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a", 5), make_run(tmp_path / "b", 5)
    whole = (b / "metrics.jsonl").read_text()
    (b / "metrics.jsonl").write_text(whole[:-20])
    printed = text(a, b)
    assert "the last line of metrics.jsonl is cut off" in printed
    assert "identical over 4 common steps" in printed
    lines = whole.splitlines()
    (b / "metrics.jsonl").write_text("\n".join([lines[0][:-20], *lines[1:]]))
    with pytest.raises(ValueError, match=r"b/metrics\.jsonl, line 1: not JSON"):
        text(a, b)


@pytest.mark.parametrize("name", ["run.json", "config.json", "metrics.jsonl"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    a, b = make_run(tmp_path / "a", 2), make_run(tmp_path / "b", 2)
    (b / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"b/{name} is missing"):
        text(a, b)


def test_lines_of_another_version_are_refused(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a", 2), make_run(tmp_path / "b", 2)
    (b / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "psnr": 20.0, "seconds": 1.0, "data_seconds": 0.0}\n')
    with pytest.raises(ValueError, match=r"line 1: samples_per_second missing"):
        text(a, b)
