"""A run folder is described at one place: names, readers, and what older versions recorded otherwise."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import evaluation
import training
from evaluation.run_folder import files
from evaluation.run_folder.files import CONFIG, METRICS, RECORD, RunFiles
from evaluation.run_folder.settings import said_once

NAMES = {value for name, value in vars(files).items() if name.isupper() and isinstance(value, str)}
OTHERS = {
    "evaluation/metrics/lpips_weights.py": {"checkpoints"},  # torch.hub's
    "evaluation/run_report/page.py": {"checkpoints"},  # a heading
    "training/run_folder/provenance.py": {"tensorboard"},  # the package
    "training/faults/checks.py": {"tensorboard"},  # the package
}
"""Where the same word means something else."""


def test_no_file_of_a_run_folder_is_named_a_second_time() -> None:
    root = Path(evaluation.__file__).parents[1]
    named = {}
    for package in (evaluation, training):
        for path in Path(package.__file__).parent.rglob("*.py"):
            texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            if path != Path(files.__file__) and (found := texts & NAMES):
                named[str(path.relative_to(root))] = found
    assert named == OTHERS


def test_what_is_read_of_a_folder(tmp_path: Path) -> None:
    run = RunFiles(tmp_path)
    assert (run.is_run, run.settings(), run.steps(), run.evaluations()) == (False, None, [], [])
    with pytest.raises(FileNotFoundError, match=rf"{RECORD} is missing: .* is not a run folder of flux4d-train"):
        run.record()
    (tmp_path / METRICS).write_text('{"step": 1}\n{"step": 2, "lo')
    assert run.is_run
    assert run.steps() == [{"step": 1}]
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(ValueError, match=rf"{RECORD}: not JSON"):
        run.record()
    (tmp_path / CONFIG).write_text("[]")
    with pytest.raises(ValueError, match=rf"{CONFIG}: not a JSON object"):
        run.settings()


def test_settings_that_were_recorded_twice_are_read_once(tmp_path: Path) -> None:
    former = {
        "steps": 3,
        "scene": {"motion_order": 1, "min_scale": 0.1, "max_scale": 2.0},
        "network": {"motion_order": 1, "min_scale": 0.1, "max_scale": 1.0},
    }
    text = json.dumps(former)
    (tmp_path / CONFIG).write_text(text)
    assert RunFiles(tmp_path).settings() == {
        "steps": 3,
        "scene": {"min_scale": 0.1, "max_scale": 2.0},
        "network": {"motion_order": 1, "max_scale": 1.0},  # contradicts the scene's: left for those who must refuse it
    }
    assert json.dumps(former) == text  # not edited in place
    assert said_once({"scene": {"motion_order": 2}, "network": {}}) == {"scene": {}, "network": {"motion_order": 2}}
    assert said_once({"scene": None}) == {"scene": None}
