"""What goes wrong during a training, caused for real: it stops and says what to do, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import training.data.prepared
import training.faults.nonfinite
import training.optimisation.step
from flux4d.lift.packed import PackedScene
from flux4d.lift.scene import pack_clip
from flux4d.network.weights import load_network
from store_schema.cache.local_cache import Content
from tests.support.processes.training_runs import command, metrics, same_weights, small, write_clips
from training.checkpoint.checkpoint import checkpoint_folders
from training.command import run
from training.config import CheckpointConfig, TrainConfig
from training.faults.errors import TrainingStoppedError
from training.faults.memory import OutOfMemory
from training.faults.nonfinite import replay
from training.loop import Trainer
from training.monitor.callbacks import Silent
from training.optimisation.step_report import StepReport

IMPOSSIBLE = 10**15
"""Bytes that no machine has."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("store"))


def test_a_loss_that_is_not_finite_stops_with_the_clip_and_a_dump(store: Path, tmp_path: Path) -> None:
    trainer = Trainer(small(store, tmp_path / "run", clips_per_step=2, checkpoint=CheckpointConfig(every=1)))
    trainer.train_step()
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    good = trainer.stream._clips._make
    culprit = trainer.stream.order.place(3).clip_id
    trainer.stream._clips._scenes._values.clear()
    trainer.stream._clips._made._values.clear()

    def poisoned(clip_id: str) -> dict[str, Content]:
        made = good(clip_id)
        if clip_id == culprit:
            key = trainer.stream._clips._scene_key(clip_id)
            scene = PackedScene.from_bytes(made[key])
            spreads = scene.spreads.copy()
            spreads[5] = np.nan
            made[key] = replace(scene, spreads=spreads).to_bytes()
        return made

    trainer.stream._clips._make = poisoned  # type: ignore[method-assign]
    trainer.stream.load_state_dict(trainer.stream.state_dict())
    folder = tmp_path / "run" / "dumps" / "step-00000002-rank0" / culprit
    with pytest.raises(TrainingStoppedError, match=culprit) as error:
        trainer.run()
    assert str(folder) in str(error.value)
    assert "--resume" in str(error.value)
    stored = load_network(folder / "weights.safetensors").state_dict()
    assert all(torch.equal(stored[name], before[name]) for name in before)
    found = replay(folder, torch.device("cpu"))
    assert found["clip"] == culprit
    assert "Gaussians is not finite, first row 5" in found["error"]
    assert "sample gaussians.scales" in found["not_finite"]
    assert run(["replay", str(folder), "--device", "cpu"]) == 0


def test_weights_that_are_not_finite_are_told_from_the_sample(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = Trainer(small(store, tmp_path / "run"))
    with torch.no_grad():
        trainer.network.residual_head.out.bias.fill_(float("nan"))
    with pytest.raises(TrainingStoppedError, match="the loss of step 1 is not finite"):
        trainer.run()
    [folder] = (tmp_path / "run" / "dumps").glob("*/*")
    assert run(["replay", str(folder), "--device", "cpu"]) == 0
    assert "not finite: weight residual_head.out.bias" in capsys.readouterr().out
    about = json.loads((folder / "about.json").read_text())
    about["loss"]["glare"] = 1.0
    (folder / "about.json").write_text(json.dumps(about))
    with pytest.raises(
        ValueError, match=r"about\.json: the loss does not fit .*no field glare.* the one that wrote it"
    ):
        replay(folder, torch.device("cpu"))
    assert checkpoint_folders(tmp_path / "run") == []


def test_memory_that_runs_out_in_a_step_says_what_to_lower(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*arguments: object, **options: object) -> None:
        torch.empty(IMPOSSIBLE, dtype=torch.uint8)

    monkeypatch.setattr("training.loop.clip_losses", greedy)
    with pytest.raises(
        OutOfMemory,
        match=r"(?s)step 1, at clip toy\d.* with [\d,]+ Gaussians.*--stream\.width.*--stream\.views-per-step",
    ):
        Trainer(small(store, tmp_path / "run")).run()


def test_memory_that_runs_out_in_a_loader_thread_says_what_to_lower(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.data.prepared, "pack_clip", lambda clip, scene: np.zeros(IMPOSSIBLE) or pack_clip)
    with pytest.raises(OutOfMemory, match=r"(?s)step 1.*--stream\.width.*--loader\.prefetch"):
        Trainer(small(store, tmp_path / "run")).run()


def test_memory_of_a_card_that_runs_out_says_what_to_lower(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8")

    monkeypatch.setattr("training.loop.clip_losses", greedy)
    with pytest.raises(OutOfMemory, match=r"(?s)GPU.*20.00 GiB.*--stream\.width") as error:
        Trainer(small(store, tmp_path / "run")).run()
    assert "--loader" not in str(error.value)


def test_a_full_disk_leaves_the_last_checkpoint(store: Path, tmp_path: Path) -> None:
    """No file may grow beyond 32 KB: the weights do not fit any more, the lines of the log do."""
    folder = tmp_path / "run"
    assert run(command(store, folder, "--steps", "3", "--checkpoint.every", "3")) == 0
    [before] = checkpoint_folders(folder)
    kept = {path.name: path.read_bytes() for path in before.iterdir()}
    program = (
        "import resource, sys; from training.command import run; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (32768, 32768)); sys.exit(run(sys.argv[1:]))"
    )
    again = command(store, folder, "--steps", "6", "--checkpoint.every", "3", "--resume")
    done = subprocess.run([sys.executable, "-c", program, *again], capture_output=True, text=True)
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "no space left while writing the checkpoint of step 6" in said
    assert "the last whole one is step 3" in said
    assert checkpoint_folders(folder) == [before]
    assert {path.name: path.read_bytes() for path in before.iterdir()} == kept
    assert not list(folder.rglob(".tmp-*"))
    assert run(again) == 0
    assert len(metrics(folder)) == 6


class _Signalled(Silent):
    def step(self, report: StepReport, speeds: torch.Tensor | None) -> None:
        if report.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_ends_the_step_writes_a_checkpoint_and_loses_nothing(store: Path, tmp_path: Path) -> None:
    def config(name: str, **changes: object) -> TrainConfig:
        return small(store, tmp_path / name, checkpoint=CheckpointConfig(every=100), **changes)

    assert Trainer(config("whole")).run() is None
    handler = signal.getsignal(signal.SIGTERM)
    assert Trainer(config("parts"), callback=_Signalled()).run() == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) == handler
    assert [folder.name for folder in checkpoint_folders(tmp_path / "parts")] == ["step-00000003"]
    assert Trainer(config("parts", resume=True)).run() is None
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")


def test_a_log_torn_by_a_kill_is_mended_and_a_broken_one_is_named(store: Path, tmp_path: Path) -> None:
    config = small(store, tmp_path / "run", steps=4, checkpoint=CheckpointConfig(every=2))
    Trainer(config).run()
    log = tmp_path / "run" / "metrics.jsonl"
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines) + '\n{"step": 5, "loss')
    Trainer(replace(config, steps=5, resume=True)).run()
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2, 3, 4, 5]
    log.write_text("\n".join([lines[0], "no json", *lines[1:]]) + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2"):
        Trainer(replace(config, steps=6, resume=True))
