"""Clips of another protocol than the paper's, from raw logs to a score: 7 frames with the inputs 0, 3 and 6."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from evaluation.__main__ import main
from evaluation.lidar.results import LidarEvaluation
from evaluation.run_folder.seen_frames import seen_frames
from evaluation.scoring.results import Evaluation
from pipelines.build.plan import BuildConfig
from pipelines.build.run import build
from store_schema.json_dataclass import load_json
from store_schema.protocol import ClipProtocol
from store_schema.version.dataset import open_dataset
from tests.support.processes.training_runs import small
from training.config import EvaluationConfig
from training.loop import Trainer

SEVEN = ClipProtocol(
    inputs=(0, 3, 6),
    interpolation=(1, 2, 4, 5),
    future=(),
    train_interpolation_stride=4,
    evaluation_stride=5,
    test_logs=("tiny0",),
)
CLIP = "tiny0-evaluation-s{:03d}"
TRAINED, SHARING, APART = (CLIP.format(first) for first in (0, 5, 10))
"""Frames 0..6, 5..11 and 10..16 of the log."""


@pytest.fixture(scope="module")
def folder(tiny_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the protocol and a run that saw the first clip."""
    folder = tmp_path_factory.mktemp("seven")
    build(BuildConfig(root=tiny_logs, out=folder / "store", workers=0, protocol=SEVEN), Console(quiet=True))
    early = EvaluationConfig(every=1, clips=(APART,))
    Trainer(small(folder / "store", folder / "run", steps=1, overfit=TRAINED, evaluation=early)).run()
    return folder


def test_the_run_records_the_frames_it_saw(folder: Path) -> None:
    record = json.loads((folder / "run" / "run.json").read_text())
    assert (record["clips_seen"], record["frames_seen"]) == ([TRAINED], {"tiny0": [[0, 6]]})


def test_training_takes_every_clip_of_the_protocol(folder: Path) -> None:
    trainer = Trainer(small(folder / "store", folder / "all", steps=1))
    trainer.close()
    record = json.loads((folder / "all" / "run.json").read_text())
    assert record["clips_seen"] == [f"tiny1-train_interpolation-s{first:03d}" for first in (0, 4, 8)]
    assert record["frames_seen"] == {"tiny1": [[0, 14]]}


@pytest.mark.parametrize("recorded", [True, False])
def test_seen_is_what_shares_a_frame(folder: Path, tmp_path: Path, recorded: bool) -> None:
    """Names alone, of which runs of before the frames were recorded have no more, say 16 frames: they would call the
    last clip seen."""
    run = folder / "run"
    record = json.loads((run / "run.json").read_text())
    if not recorded:
        del record["frames_seen"]
    seen = seen_frames(record)
    clips = {clip.clip_id: seen.has_seen(clip) for clip in open_dataset(folder / "store").select(setting="evaluation")}
    assert clips == {TRAINED: True, SHARING: True, APART: not recorded}


def test_the_clips_are_scored_by_their_own_frames(folder: Path, tmp_path: Path) -> None:
    arguments = ["--store", str(folder / "store"), "--run", str(folder / "run"), "--device", "cpu"]
    main(["run", *arguments, "--out", str(tmp_path), "--width", "48"])
    evaluation = Evaluation.load(tmp_path / "evaluation.json")
    seen = {row.clip_id: row.seen for row in evaluation.clips if row.method == "flux4d"}
    assert seen == {TRAINED: True, SHARING: True, APART: False}
    frames = {(row.frame, row.role) for row in evaluation.frames}
    assert frames == {(frame, "interpolation") for frame in (1, 2, 4, 5)}
    assert "3 input frames (0, 3, 6)" in evaluation.protocol
    assert "(1, 2, 4, 5) score interpolation, the frames after them (none)" in evaluation.protocol
    assert evaluation.dataset_options == (
        "protocol.inputs 0 3 6; protocol.interpolation 1 2 4 5; protocol.future none; "
        "protocol.train_interpolation_stride 4; protocol.evaluation_stride 5"
    )
    assert evaluation.dataset_options in (tmp_path / "table.md").read_text()
    assert "n/a" in (tmp_path / "table.md").read_text()


def test_sweeps_are_scored_by_their_own_frames(folder: Path, tmp_path: Path) -> None:
    arguments = ["--store", str(folder / "store"), "--run", str(folder / "run"), "--device", "cpu"]
    main(["lidar", *arguments, "--out", str(tmp_path), "--every", "2"])
    evaluation = load_json(tmp_path / "lidar.json", LidarEvaluation)
    assert {row.clip_id: row.seen for row in evaluation.sweeps} == {TRAINED: True, SHARING: True, APART: False}
    assert {row.frame for row in evaluation.sweeps} <= {1, 2, 4, 5}
