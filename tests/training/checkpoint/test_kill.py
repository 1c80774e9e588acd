"""kill -9 of the trainer at random moments: the loss curve and the weights are those of a run nobody killed."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest

from tests.support.processes.training_runs import command, finish, metrics, same_weights, start, write_clips

STEPS = 12
OPTIONS = ("--steps", str(STEPS), "--checkpoint.every", "2", "--evaluation.every", "4", "--evaluation.max-clips", "1")
MORE = ("--ema-decay", "0.9", "--clips-per-step", "2")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def whole(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was left alone."""
    run = tmp_path_factory.mktemp("whole") / "run"
    [(status, _, errors)] = finish(start(command(store, run, *OPTIONS, *MORE)))
    assert status == 0, errors
    return run


def check_end(run: Path, whole: Path) -> None:
    assert metrics(run) == metrics(whole)
    assert same_weights(run, whole)
    evaluations = [(path / "evaluations.jsonl").read_text() for path in (run, whole)]
    assert evaluations[0] == evaluations[1]
    for checkpoint in ("best", f"step-{STEPS:08d}"):
        assert same_weights(run / "checkpoints" / checkpoint, whole / "checkpoints" / checkpoint)
    final = f"checkpoints/step-{STEPS:08d}"
    for name in ("optimizer.safetensors", "ema.safetensors", "rng.safetensors"):
        assert (run / final / name).read_bytes() == (whole / final / name).read_bytes()
    pictures = [sorted(path.name for path in (folder / "pictures").iterdir()) for folder in (run, whole)]
    assert pictures[0] == pictures[1]
    assert not list(run.rglob(".tmp-*"))
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert names == sorted(path.name for path in (whole / "checkpoints").iterdir())


@pytest.mark.slow
def test_killed_at_any_event_it_goes_on_to_the_same_bits(store: Path, whole: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    kills = chains = 0
    while kills < 20:
        run = tmp_path / f"run{chains}"
        arguments = command(store, run, *OPTIONS, *MORE, "--resume")
        for _ in range(60):
            point = str(rng.randint(1, 160))
            [(status, _, errors)] = finish(
                start(arguments, module="tests.support.processes.killed_training", extra=[point])
            )
            if status == 0:
                break
            assert status == -signal.SIGKILL, errors
            kills += 1
        assert status == 0
        check_end(run, whole)
        chains += 1


@pytest.mark.slow
def test_two_processes_killed_at_random_times_go_on_with_one_or_two(store: Path, whole: Path, tmp_path: Path) -> None:
    rng = random.Random(1)
    run, kills, sizes = tmp_path / "run", 0, set[int]()
    arguments = command(store, run, *OPTIONS, *MORE, "--resume")
    for attempt in range(40):
        ranks = 2 if attempt % 3 < 2 else 1
        processes = start(arguments, ranks=ranks)
        deadline = time.monotonic() + 120
        # Let it get somewhere: after what was done so far, a little further.
        steps_before, further = _steps(run), rng.randint(0, 2)
        while _steps(run) <= steps_before + further and time.monotonic() < deadline:
            if all(process.poll() is not None for process in processes):
                break
            time.sleep(0.01)
        victims = [process for process in processes if process.poll() is None]
        if victims:
            rng.choice(victims).kill()
            kills += 1
            sizes.add(ranks)
            time.sleep(0.2)
            for process in victims:
                process.kill()
        results = finish(processes)
        if all(status == 0 for status, _, _ in results):
            break
        assert all(status in (0, 1, -signal.SIGKILL) for status, _, _ in results), results
    assert kills >= 3
    assert sizes == {1, 2}
    check_end(run, whole)


def _steps(run: Path) -> int:
    path = run / "metrics.jsonl"
    if not path.exists():
        return 0
    lines = path.read_text().splitlines()
    return int(json.loads(lines[-1])["step"]) if lines and lines[-1].endswith("}") else len(lines)
