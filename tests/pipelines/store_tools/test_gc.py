from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from rich.console import Console

from pipelines.store_tools import gc
from pipelines.store_tools.commands import Gc, run_gc
from store_schema.files.paths import files_below, location, relative_name
from store_schema.frame_store import frames_key
from store_schema.version.dataset import open_dataset, resolve_version
from store_schema.version.verify import verify_version
from tests.support.stores.many_versions import CONFIG, tiny_clip, write_shards
from tests.support.stores.toy_store import write_store


def version(store: Path, log_id: str, built_at: str, latest: bool = True) -> str:
    return write_shards(
        store, {"all.tar": [tiny_clip(log_id)]}, provenance={"built_at": f"{built_at}T00:00:00+00:00"}, latest=latest
    )


def put(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    version(tmp_path, "001", "2026-01-02")
    put(tmp_path / "frames" / frames_key(CONFIG) / "001" / "f0000.zarr.zip", 1000)
    put(tmp_path / "frames" / "0123456789abcdef" / "001" / "f0000.zarr.zip", 300)
    return tmp_path


def add_unfinished(store: Path) -> int:
    """Litter of every kind; returns its size."""
    put(store / "staging" / "aaaa" / "version" / "shards" / "x.tar", 500)
    put(store / "staging" / "aaaa" / ".tmp-1-x.tar", 20)
    put(store / "frames" / "0123456789abcdef" / "001" / ".tmp-2-f0001.zarr.zip", 3)
    put(store / "versions" / ("f" * 64) / "shards" / "x.tar", 40)
    put(store / "versions" / ".tmp-3-old" / "manifest.json", 5)
    put(store / "build.json", 7)
    put(store / ".tmp-4-LATEST", 1)
    return 576


def tree(store: Path) -> dict[str, bytes]:
    return {relative_name(path, store): path.read_bytes() for path in files_below(store)}


def run(capsys: pytest.CaptureFixture[str], store: Path, **options: Any) -> str:
    assert run_gc(Gc(str(store), **options), Console(stderr=True)) == 0
    return capsys.readouterr().out


def test_nothing_without_a_scope(store: Path) -> None:
    before = tree(store)
    with pytest.raises(ValueError, match="--unfinished, --frames, --versions or --keep-latest"):
        run_gc(Gc(str(store)), Console(stderr=True))
    with pytest.raises(ValueError, match="at least 1"):
        gc.Scopes(keep_latest=0)
    with pytest.raises(ValueError, match="contradict"):
        gc.Scopes(keep_latest=1, versions=("a",))
    with pytest.raises(FileNotFoundError, match="no store"):
        run_gc(Gc(str(store / "elsewhere"), unfinished=True), Console(stderr=True))
    assert tree(store) == before


def test_unfinished_work_goes_and_nothing_else(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(store)
    size = add_unfinished(store)
    littered = tree(store)
    text = run(capsys, store, unfinished=True, dry_run=True)
    assert tree(store) == littered
    assert f"would remove 6 entries, {size} B ({size} bytes)" in text
    assert "version without manifest  versions/ffff" in text
    assert "520 B  unfinished build  staging/aaaa" in text
    text = run(capsys, store, unfinished=True)
    assert f"removed 6 entries, freed {size} B ({size} bytes)" in text
    (store / "build.lock").unlink(missing_ok=True)
    assert tree(store) == before
    assert list(verify_version(open_dataset(store).folder)) == []
    assert "removed 0 entries" in run(capsys, store, unfinished=True)


def test_frames_of_other_configs_or_all(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_unfinished(store)
    text = run(capsys, store, frames="old")
    assert "removed 1 entry, freed 303 B" in text
    assert [path.name for path in (store / "frames").iterdir()] == [frames_key(CONFIG)]
    assert "freed 1.0 kB (1,000 bytes)" in run(capsys, store, frames="all")
    assert list((store / "frames").iterdir()) == []
    assert (store / "staging" / "aaaa").is_dir()


def test_old_frames_need_a_config_that_names_its_features(tmp_path: Path) -> None:
    write_store(tmp_path, [tiny_clip("001")])
    put(tmp_path / "frames" / "0123456789abcdef" / "001" / "f0000.zarr.zip", 300)
    with pytest.raises(ValueError, match="--frames all"):
        gc.collect(tmp_path, gc.Scopes(frames="old"), remove=False)


def test_the_version_that_latest_names_stays_unless_forced(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = resolve_version(store)
    second = version(store, "002", "2026-01-03")
    with pytest.raises(ValueError, match="give --force"):
        run_gc(Gc(str(store), versions=(first[:10], second[:10])), Console(stderr=True))
    assert resolve_version(store, first) == first
    with pytest.raises(FileNotFoundError, match="matches 0"):
        run_gc(Gc(str(store), versions=("zz",)), Console(stderr=True))
    run(capsys, store, versions=(first[:10],))
    assert open_dataset(store).version == second
    with pytest.raises(FileNotFoundError):
        resolve_version(store, first)
    third = version(store, "003", "2026-01-04", latest=False)
    run(capsys, store, versions=(second,), force=True)
    assert open_dataset(store, third).version == third
    with pytest.raises(FileNotFoundError, match="LATEST is missing"):
        resolve_version(store)
    assert not (store / "versions" / second).exists()


def test_the_newest_stay_and_latest_with_them(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latest = resolve_version(store)
    ages = {day: version(store, log, day, latest=False) for log, day in (("a", "2026-03-01"), ("b", "2026-02-01"))}
    oldest = version(store, "c", "2025-01-01", latest=False)
    text = run(capsys, store, keep_latest=1)
    assert "removed 2 entries" in text
    left = {path.name for path in (store / "versions").iterdir()}
    assert left == {latest, ages["2026-03-01"]}
    assert oldest not in left
    assert "removed 0 entries" in run(capsys, store, keep_latest=2)


def test_versions_of_unknown_age_are_not_guessed_about(store: Path) -> None:
    write_shards(store, {"all.tar": [tiny_clip("x")]}, provenance={"built_at": "once"}, latest=False)
    with pytest.raises(ValueError, match="cannot be told"):
        run_gc(Gc(str(store), keep_latest=1), Console(stderr=True))
    assert len(list((store / "versions").iterdir())) == 2


def test_never_beside_a_build(store: Path) -> None:
    add_unfinished(store)
    before = tree(store)
    with (
        FileLock(store / "build.lock").acquire(timeout=0),
        pytest.raises(RuntimeError, match="a build is writing"),
    ):
        run_gc(Gc(str(store), unfinished=True), Console(stderr=True))
    assert {name: data for name, data in tree(store).items() if name != "build.lock"} == before


@pytest.mark.parametrize("kill", ["fsync_directory", "_aside", "remove_tree"])
def test_killed_in_the_middle_no_version_looks_complete(
    store: Path, kill: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = resolve_version(store)
    second = version(store, "002", "2026-01-03")
    with monkeypatch.context() as patch:

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(gc, kill, die)
        with pytest.raises(KeyboardInterrupt):
            run_gc(Gc(str(store), versions=(first,)), Console(stderr=True))
    assert [path.parent.name for path in (store / "versions").glob("*/manifest.json")] == [second]
    assert any(path.is_file() for path in (store / "versions").rglob("*.tar") if second not in path.parts)
    run(capsys, store, unfinished=True)
    assert [path.name for path in (store / "versions").iterdir()] == [second]
    assert list(verify_version(store / "versions" / second)) == []


def test_bytes_that_another_name_still_holds_are_not_counted_as_freed(tmp_path: Path) -> None:
    put(tmp_path / "going" / "a", 100)
    os.link(tmp_path / "going" / "a", tmp_path / "stays")
    put(tmp_path / "going" / "b", 10)
    os.link(tmp_path / "going" / "b", tmp_path / "going" / "c")
    assert gc.size_of(tmp_path / "going") == 10
    assert gc.size_of(tmp_path / "stays") == 0


def test_a_store_in_an_object_store(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = resolve_version(store)
    second = version(store, "002", "2026-01-03")
    add_unfinished(store)
    remote = location("memory://gc-test")
    for name, data in tree(store).items():
        if ".tmp-" not in name:
            (remote / name).parent.mkdir(parents=True, exist_ok=True)
            (remote / name).write_bytes(data)
    versions = sum(len(data) for name, data in tree(store).items() if first in name)
    command = Gc("memory://gc-test", unfinished=True, versions=(first,), frames="old")
    assert run_gc(command, Console(stderr=True)) == 0
    captured = capsys.readouterr()
    assert f"({versions + 500 + 40 + 7 + 300:,} bytes)" in captured.out
    assert "has no lock" in captured.err
    assert open_dataset(remote).version == second
    left = {relative_name(path, remote).split("/")[0] for path in files_below(remote)}
    assert left == {"LATEST", "versions", "frames"}
    assert list(verify_version(remote / "versions" / second)) == []
