"""What a new metric and a new loss cost: a file and an entry, in a copy of the repository that gets nothing else."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from store_schema.version.dataset import open_dataset
from tests.support.processes.training_runs import OPTIONS, write_clips

REPOSITORY = Path(__file__).parents[2]
EXTENDED = ("flux4d", "evaluation")

LOSS_FILE = '''"""Mean opacity."""

from flux4d.supervision.losses.term import LossTerm

OPACITY = LossTerm(
    value=lambda view: view.gaussians.opacities.mean(),
    weight=0.001,
    label="opacity",
    title="Mean opacity",
    unit="of 1",
    digits=3,
)
'''
LOSS_ENTRY = '''    opacity: float = weight_of(OPACITY)
    """Weight of the mean opacity."""
'''
METRIC_FILE = '''"""Mean absolute colour error."""

import numpy as np


def mean_absolute_error(region):
    return float(np.abs(region.rgb - region.truth.rgb)[region.mask].mean())
'''
METRIC_ROW = """    Metric(
        key="mae",
        kind="image",
        symbol="MAE",
        unit="of 255",
        digits=4,
        better="lower",
        formula="Mean absolute colour error.",
        source="a test",
        places=at(IMAGE_SPOTS, "summary", "tables", "early", "screen", "history", "charts"),
        measure=mean_absolute_error,
    ),
"""
FLOW_ROW = """    Metric(
        key="share_fd",
        kind="flow",
        symbol="FD share",
        better="higher",
        formula="Share of the scored points that move.",
        source="a test",
        places=at(_FLOW, "tables", "early", "screen", "charts"),
        take=lambda flow: flow.points_fd / flow.points,
    ),
"""
SESSION = """
import json, sys
from training.command import run
from evaluation.__main__ import main
training, report, evaluation, compare = json.loads(sys.argv[1])
assert run(training) == 0
main(report), main(evaluation)
assert run(compare) == 0
"""


def insert(path: Path, after: str, text: str) -> None:
    """Put lines behind the first place that ends with `after`."""
    head, found, tail = path.read_text().partition(after)
    assert found, f"{path} has no {after!r}"
    path.write_text(f"{head}{found}{text}{tail}")


def extend(root: Path) -> None:
    """A copy of the repository with a loss, a metric of images and one of scene flow."""
    for entry in REPOSITORY.iterdir():
        if entry.name in EXTENDED:
            shutil.copytree(entry, root / entry.name)  # keeps file times, so compiled kernels stay valid
        elif entry.name in ("training", "store_schema", "tests"):
            (root / entry.name).symlink_to(entry)
    losses, metrics = root / "flux4d" / "supervision" / "losses", root / "evaluation" / "metrics"
    (losses / "opacity.py").write_text(LOSS_FILE)
    annotations = "from __future__ import annotations\n"
    insert(losses / "total.py", annotations, "from flux4d.supervision.losses.opacity import OPACITY\n")
    insert(losses / "total.py", '"""Weight of the mean speed in m/s of the Gaussians that may move."""\n', LOSS_ENTRY)
    (metrics / "mae.py").write_text(METRIC_FILE)
    insert(metrics / "table.py", annotations, "from evaluation.metrics.mae import mean_absolute_error\n")
    insert(metrics / "table.py", "METRICS: tuple[Metric, ...] = (\n", METRIC_ROW + FLOW_ROW)


@dataclass(frozen=True, kw_only=True)
class Session:
    """A run of the extended copy, its evaluation, and what was printed."""

    run: Path
    evaluated: Path
    screen: str
    printed: str


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    root = tmp_path_factory.mktemp("extended")
    extend(root)
    store, run, evaluated = write_clips(root / "store"), root / "run", root / "evaluated"
    (clip,) = (record.clip_id for record in open_dataset(store).select("test", "evaluation"))
    options = [option for option in OPTIONS if option != "--no-tensorboard"]
    early = ["--evaluation.every", "2", "--evaluation.clips", clip, "--loss.opacity", "0.25"]
    commands = [
        ["cpu", "--store", str(store), "--out", str(run), "--steps", "4", *options, *early],
        ["report", str(run)],
        ["run", "--store", str(store), "--run", str(run), "--out", str(evaluated), "--width", "48"],
        ["compare", str(run), str(run)],
    ]
    done = subprocess.run(
        [sys.executable, "-c", SESSION, json.dumps(commands)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return Session(run=run, evaluated=evaluated, screen=done.stderr, printed=done.stdout)


def lines(path: Path) -> list[dict[str, dict[str, float]]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_new_loss_is_trained_on_logged_and_shown(session: Session) -> None:
    assert json.loads((session.run / "config.json").read_text())["loss"]["opacity"] == 0.25
    rows = lines(session.run / "metrics.jsonl")
    assert list(rows[0])[3:10] == ["loss", "l1", "ssim", "depth", "velocity", "opacity", "psnr"]
    first = rows[0]
    terms = (0.8 * first["l1"], 0.2 * first["ssim"], 0.01 * first["depth"], 0.005 * first["velocity"])
    assert first["loss"] == pytest.approx(sum(terms) + 0.25 * first["opacity"], rel=1e-5)
    (head,) = (line for line in session.screen.splitlines() if line.split()[:2] == ["step", "elapsed"])
    assert re.search(r"m/s +opacity of 1 +PSNR", head)
    assert len(scalars(session, "loss/opacity_of_1")) == len(rows) == 4
    assert "Mean opacity [of 1]" in html.unescape((session.run / "report.html").read_text())


def test_a_new_metric_is_measured_in_early_evaluations_and_shown_on_the_screen_board_and_charts(
    session: Session,
) -> None:
    rows = lines(session.run / "evaluations.jsonl")
    for row in rows:
        found = {name: value for name, value in row["metrics"].items() if "mae" in name}
        roles = ("interpolation", "future")
        assert list(found) == [f"{role}/mae{region}" for role in roles for region in ("", "_moving")]
        assert all(0.0 < value < 1.0 for value in found.values())
        assert 0.0 < row["metrics"]["flow/share_fd"] < 1.0
    value = rows[-1]["metrics"]["interpolation/mae"]
    (shown,) = (line for line in session.screen.splitlines() if line.startswith("evaluation at step 4"))
    assert f"MAE {value:.4f} of 255  moving MAE" in shown
    assert "future moving MAE" in shown
    assert f"FD share {rows[-1]['metrics']['flow/share_fd']:.3f}" in shown
    assert scalars(session, "evaluation/interpolation/mae")[-1] == pytest.approx(value, rel=1e-6)
    assert len(scalars(session, "evaluation/flow/share_fd")) == 2
    page = html.unescape((session.run / "report.html").read_text())
    assert "MAE of held-out views" in page
    assert "Scene flow, FD share" in page
    assert page.count("MAE\u00a0↓") == 4  # the table of early evaluations: two roles, full and moving
    assert f"{value:.4f}" in page
    (compared,) = (line for line in session.printed.splitlines() if line.startswith("interpolation/mae "))
    assert f"{value:.4f}" in compared


def test_a_new_metric_is_in_every_table_of_an_evaluation_and_explained(session: Session) -> None:
    evaluation = json.loads((session.evaluated / "evaluation.json").read_text())
    last = evaluation["summaries"][-1]["interpolation"]
    assert set(last["full"]["measured"]) == {"mae"}
    table = (session.evaluated / "table.md").read_text()
    assert f"{last['full']['measured']['mae']:.4f}" in table
    heads = [line for line in table.splitlines() if line.startswith("| method")]
    assert heads[0].count("MAE ↓ [of 255]") == 4  # the summary: two roles, full and moving
    assert [head.count("MAE ↓ [of 255]") for head in heads[1:3]] == [2, 2]  # full image, moving regions
    assert "FD share ↑" in heads[3]
    page = html.unescape((session.evaluated / "report.html").read_text())
    assert "<dt>MAE [of 255]</dt><dd>Mean absolute colour error. Source: a test.</dd>" in page
    assert "<dt>FD share</dt><dd>Share of the scored points that move. Source: a test.</dd>" in page
    assert "MAE" in session.printed  # the summary in the terminal


def scalars(session: Session, tag: str) -> list[float]:
    events = EventAccumulator(str(session.run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return [event.value for event in events.Scalars(tag)]
