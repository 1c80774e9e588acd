"""Several processes of one run: the weights of one process, the same stop for all, no hang when one is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evaluation.scoring.validation import validation_share
from store_schema.version.dataset import open_dataset
from tests.support.processes.training_runs import command, finish, metrics, same_weights, start, write_clips
from training.distributed import Ranks

MORE = ("--clips-per-step", "2", "--steps", "5", "--checkpoint.every", "2")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("store"))


def test_two_processes_give_the_weights_of_one_with_twice_the_accumulation(store: Path, tmp_path: Path) -> None:
    """Five clips, two a step: ranks cross the end of the epoch in the middle of a step."""
    options = (*MORE, "--ema-decay", "0.9", "--evaluation.every", "3", "--evaluation.pictures", "0")
    runs = {ranks: start(command(store, tmp_path / str(ranks), *options), ranks) for ranks in (1, 2)}
    for ranks in (1, 2):
        for status, _, errors in finish(runs[ranks]):
            assert status == 0, errors
    one, two = tmp_path / "1", tmp_path / "2"
    assert metrics(one) == metrics(two)
    for name in ("weights.safetensors", "checkpoints/step-00000005/optimizer.safetensors"):
        assert same_weights(one, two, name)
    assert (one / "evaluations.jsonl").read_text() == (two / "evaluations.jsonl").read_text()
    assert json.loads((two / "run.json").read_text())["world_size"] == 2


def test_torchrun_starts_it_and_a_signal_stops_all_after_one_step(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = command(store, run, "--clips-per-step", "2", "--steps", "100000", "--checkpoint.every", "100000")
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "training", *arguments]
    process = subprocess.Popen(
        [sys.executable, "-m", *launcher], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics_file = run / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics_file.exists() and metrics_file.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    steps = len(metrics(run))
    assert f"stopped by SIGTERM after step {steps}: continue it with --resume" in errors
    [folder] = (run / "checkpoints").iterdir()
    assert folder.name == f"step-{steps:08d}"


def test_steps_that_processes_cannot_share_are_refused(store: Path, tmp_path: Path) -> None:
    results = finish(start(command(store, tmp_path / "run", "--clips-per-step", "3"), ranks=2))
    for status, _, errors in results:
        assert status == 1
        assert "clips_per_step=3 cannot be shared by 2 processes" in " ".join(errors.split())
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_all_processes(store: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    wild = ("--optimizer.lr", "1e30", "--optimizer.warmup-steps", "0", "--clips-per-step", "2", "--steps", "50")
    results = finish(start(command(store, run, *wild), ranks=2), timeout=120)
    for rank, (status, _, errors) in enumerate(results):
        assert status == 1
        assert f"rank {rank}: the loss of step 2 is not finite" in errors
    assert list((run / "dumps").glob("step-*-rank*/*/sample.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "rank", "said"),
    [
        ("killed", 0, "flux4d-train: rank 0:"),
        ("memory", 1, "--stream.width"),
        ("damaged", 1, "shard all.tar, clip of rank 1"),
        ("view", 1, "a LiDAR pixel outside the image"),
        ("evaluation", 0, "early evaluation of step 2: shard all.tar, clip of rank 1"),
    ],
)
def test_no_process_hangs_when_another_fails(store: Path, tmp_path: Path, fault: str, rank: int, said: str) -> None:
    """Rank 1 meets the fault; both end soon, and it is said by the process that can."""
    options = ("--clips-per-step", "2", "--steps", "1000", "--checkpoint.every", "2", "--evaluation.every", "2")
    clips = ("--evaluation.clips", "toy5-evaluation-s000", "toy0-train_future-s000", "--evaluation.pictures", "0")
    arguments = command(store, tmp_path / "run", *options, *clips)
    processes = start(arguments, ranks=2, module="tests.support.processes.faulty_rank", extra=[fault])
    results = finish(processes, timeout=60)
    assert all(status != 0 for status, _, _ in results)
    assert said in " ".join(results[rank][2].split())
    assert not any("Traceback" in errors for _, _, errors in results)


@pytest.mark.slow
def test_processes_that_would_begin_from_different_states_are_refused(store: Path, tmp_path: Path) -> None:
    """Two run folders where one is meant: only the first process finds a checkpoint."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    assert [status for status, _, _ in finish(start(command(store, mine, *MORE)))] == [0]
    more = ("--clips-per-step", "2", "--steps", "8", "--resume")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank, folder in enumerate((mine, other)):
        place = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1"}
        environment = {**os.environ, **place, "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        line = [sys.executable, "-m", "training", *command(store, folder, *more)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(line, env=environment, **pipes))
    for status, _, errors in finish(processes, timeout=60):
        assert status == 1
        assert "do not agree on its step: {0: '5', 1: '0'} by rank" in " ".join(errors.split())


def test_half_of_torchruns_environment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="only a part of what torchrun sets"):
        Ranks.from_environment()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert Ranks.from_environment() == Ranks(0, 2, 0)


def test_every_evaluation_clip_is_scored_once(store: Path) -> None:
    records = open_dataset(store).records
    for world_size in range(1, 9):
        shares = [validation_share(records, rank, world_size) for rank in range(world_size)]
        assert sorted(r.clip_id for share in shares for r in share) == [r.clip_id for r in records]
