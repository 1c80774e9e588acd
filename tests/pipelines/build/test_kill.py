"""kill -9 of the builder and of its workers: a rerun does only what is missing and ends at the same version."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipelines.build.plan import BuildConfig
from pipelines.build.run import build
from store_schema.protocol import ClipProtocol
from store_schema.version.dataset import open_dataset
from store_schema.version.verify import verify_version
from tests.support.logs.fake_log import write_logs

TEST_LOGS = ("log3",)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_logs(tmp_path_factory.mktemp("logs"), 4)


@pytest.fixture(scope="module")
def version(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("reference")
    return build(
        BuildConfig(root=logs, out=out, workers=0, protocol=ClipProtocol(test_logs=TEST_LOGS), clips_per_shard=1)
    ).version


def arguments(logs: Path, store: Path, workers: int) -> list[str]:
    options = ["--workers", str(workers), "--clips-per-shard", "1", "--protocol.test-logs", *TEST_LOGS]
    return ["build", "--root", str(logs), "--out", str(store), *options]


def finished_files(store: Path) -> dict[Path, int]:
    """Every frame and every shard that is written down as done, with its inode."""
    shards = [
        done.parent.parent / "version" / "shards" / done.name.removesuffix(".json")
        for done in store.glob("staging/*/done/*.json")
    ]
    return {path: path.stat().st_ino for path in [*store.glob("frames/*/*/f*.zip"), *shards] if path.exists()}


def check_nothing_partial(store: Path, version: str) -> None:
    for folder in (store / "versions").glob("[!.]*"):
        assert folder.name == version
        assert list(verify_version(folder)) == []


def check_end(store: Path, version: str) -> None:
    dataset = open_dataset(store)
    assert dataset.version == version
    assert list(verify_version(dataset.folder)) == []
    assert sorted(path.name for path in store.iterdir()) == ["LATEST", "build.lock", "frames", "staging", "versions"]
    assert list((store / "staging").iterdir()) == []
    assert not list(store.rglob(".tmp-*"))


@pytest.mark.slow
def test_killed_before_any_operation_it_continues(logs: Path, version: str, tmp_path: Path) -> None:
    rng = random.Random(0)
    kills = chains = 0
    while kills < 50 or chains < 2:
        store = tmp_path / f"store{chains}"
        for _ in range(60):
            before = finished_files(store)
            command = [
                sys.executable,
                "-m",
                "tests.support.processes.killed_build",
                str(rng.randint(1, 90)),
                *arguments(logs, store, 0),
            ]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode == 0:
                break
            assert result.returncode == -signal.SIGKILL, result.stderr
            kills += 1
            check_nothing_partial(store, version)
            # Nothing finished is made again; in the end the version takes the shards.
            assert before.items() <= finished_files(store).items() or (store / "versions").exists()
        assert result.stdout.splitlines()[-1] == version
        check_end(store, version)
        chains += 1
    assert kills >= 50


@pytest.mark.slow
def test_killed_workers_and_schedulers_leave_the_same_version(logs: Path, version: str, tmp_path: Path) -> None:
    rng = random.Random(1)
    worker_kills = scheduler_kills = 0
    for attempt in range(12):
        store = tmp_path / f"store{attempt}"
        command = [sys.executable, "-m", "pipelines", *arguments(logs, store, 2)]
        kill_scheduler = attempt % 3 == 2
        while True:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(rng.uniform(2.0, 6.0))
            workers = [] if process.poll() is not None else psutil.Process(process.pid).children(recursive=True)
            if kill_scheduler and process.poll() is None:
                process.kill()
                scheduler_kills += 1
            elif workers:
                rng.choice(workers).kill()
                worker_kills += 1
            output, errors = process.communicate()
            kill_scheduler = False
            if process.returncode == 0:
                break
            check_nothing_partial(store, version)
            assert process.returncode in (1, -signal.SIGKILL), errors
        assert output.splitlines()[-1] == version
        check_end(store, version)
    assert worker_kills >= 5
    assert scheduler_kills >= 2


def test_two_builds_at_once_end_with_one_version_or_a_refusal(logs: Path, version: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines", *arguments(logs, tmp_path, 0)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        output, errors = process.communicate()
        if process.returncode == 0:
            assert output.splitlines()[-1] == version
        else:
            assert process.returncode == 1
            assert "another build is writing" in " ".join(errors.split())
    assert any(process.returncode == 0 for process in both)
    check_end(tmp_path, version)
