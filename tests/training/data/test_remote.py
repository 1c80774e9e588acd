"""Training from a real S3 server: the same weights, each byte travels once, a lost connection is waited for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
import torch

from store_schema.version.dataset import open_dataset
from tests.support.processes.s3 import S3, s3_server
from tests.support.processes.training_runs import command, metrics, same_weights, small, write_clips
from training.command import run
from training.config import LoaderConfig
from training.loop import Trainer
from training.monitor.callbacks import Silent
from training.optimisation.step_report import StepReport

CLIPS = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("store"), CLIPS)


@pytest.fixture(scope="module")
def s3(store: Path) -> Iterator[S3]:
    with s3_server() as server:
        fsspec.filesystem("s3").put(f"{store}/", server.url("store/"), recursive=True)
        yield server


@pytest.fixture
def loader(tmp_path: Path) -> LoaderConfig:
    return LoaderConfig(workers=2, prefetch=2, memory_clips=1, cache=tmp_path / "cache", cache_gb=1.0)


def test_training_from_s3_gives_the_weights_of_training_from_a_folder(
    s3: S3, store: Path, tmp_path: Path, loader: LoaderConfig
) -> None:
    steps = 3 * CLIPS
    Trainer(small(store, tmp_path / "local", steps=steps)).run()
    remote = replace(small(store, tmp_path / "remote", steps=steps, loader=loader), store=s3.url("store"))
    s3.requests.clear()
    Trainer(remote).run()
    assert same_weights(tmp_path / "local", tmp_path / "remote")
    assert metrics(tmp_path / "local") == metrics(tmp_path / "remote")
    ranges = Counter(s3.gets("all.tar"))
    assert ranges
    # Everything a clip needs travels once: later epochs come from the cache, whatever else is read.
    before = len(s3.gets("all.tar"))
    Trainer(replace(remote, out=tmp_path / "again")).run()
    assert len(s3.gets("all.tar")) == before
    assert same_weights(tmp_path / "local", tmp_path / "again")


def test_damage_in_the_cache_is_found_and_fetched_again(
    s3: S3, store: Path, tmp_path: Path, loader: LoaderConfig
) -> None:
    remote = replace(small(store, tmp_path / "first", loader=loader), store=s3.url("store"))
    Trainer(remote).run()
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_file() and path.stat().st_size > 64:
            data = bytearray(path.read_bytes())
            data[len(data) // 3] ^= 16
            path.write_bytes(bytes(data))
    s3.requests.clear()
    Trainer(replace(remote, out=tmp_path / "second")).run()
    assert same_weights(tmp_path / "first", tmp_path / "second")
    assert s3.gets("all.tar")


class _Disconnects(Silent):
    """Stops the server after a step, and starts it again a moment later."""

    def __init__(self, s3: S3, back_after: float | None) -> None:
        self.s3, self.back_after = s3, back_after

    def step(self, report: StepReport, speeds: torch.Tensor | None) -> None:
        if report.step == 2:
            self.s3.stop()
            if self.back_after is not None:
                threading.Timer(self.back_after, self.s3.start).start()


def test_a_lost_connection_is_waited_for(s3: S3, store: Path, tmp_path: Path) -> None:
    loader = LoaderConfig(workers=1, prefetch=1, memory_clips=1, retry_minutes=1.0)
    config = small(store, tmp_path / "remote", loader=loader)
    Trainer(replace(config, store=s3.url("store")), callback=_Disconnects(s3, 0.5)).run()
    Trainer(small(store, tmp_path / "local")).run()
    assert same_weights(tmp_path / "local", tmp_path / "remote")


def test_a_connection_that_stays_lost_ends_with_what_to_do(s3: S3, store: Path, tmp_path: Path) -> None:
    loader = LoaderConfig(workers=1, prefetch=1, memory_clips=1, retry_minutes=0.02)
    config = small(store, tmp_path / "remote", loader=loader)
    try:
        with pytest.raises(OSError, match=r"(?s)all\.tar.*attempts"):
            Trainer(replace(config, store=s3.url("store")), callback=_Disconnects(s3, None)).run()
    finally:
        s3.start()


def test_the_command_line_trains_from_a_url(
    s3: S3, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(s3.url("store"), tmp_path / "run", "--steps", "1")) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "no --loader.cache: every clip is downloaded and lifted again in every epoch" in said
    assert open_dataset(s3.url("store")).version[:12] in said
