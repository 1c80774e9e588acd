"""Logs read from and a store written to a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from pipelines.__main__ import main
from pipelines.build.plan import BuildConfig
from pipelines.build.run import BuildResult, build
from store_schema.files.paths import files_below, location, read_range
from store_schema.protocol import ClipProtocol
from store_schema.version.dataset import open_dataset
from store_schema.version.reader import ClipReader
from store_schema.version.shards import CorruptShardError
from store_schema.version.verify import verify_version
from tests.support.logs.fake_log import write_logs
from tests.support.processes.s3 import S3, s3_server


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_logs(tmp_path_factory.mktemp("logs"), 2)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


def config(root: Path | str, out: Path | str, workers: int = 0) -> BuildConfig:
    return BuildConfig(
        root=root, out=out, workers=workers, protocol=ClipProtocol(test_logs=("log1",)), clips_per_shard=1
    )


@pytest.fixture(scope="module")
def local(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    return build(config(logs, tmp_path_factory.mktemp("local")))


@pytest.fixture(scope="module")
def remote(logs: Path, s3: S3) -> BuildResult:
    fsspec.filesystem("s3").put(f"{logs}/", s3.url("logs/"), recursive=True)
    return build(config(s3.url("logs"), s3.url("store")))


def test_a_build_from_and_to_s3_has_the_local_version(s3: S3, remote: BuildResult, local: BuildResult) -> None:
    assert remote.version == local.version
    assert list(verify_version(remote.folder)) == []
    dataset = open_dataset(s3.url("store"))
    here = open_dataset(local.folder.parent.parent)
    for record in here.records:
        clip, expected = dataset.read(record.clip_id), here.read(record.clip_id)
        np.testing.assert_array_equal(clip.points.means, expected.points.means)
        assert [view.image for view in clip.views] == [view.image for view in expected.views]
    assert not files_below(location(s3.url("store/staging")))


def test_members_are_read_by_range_request(s3: S3, remote: BuildResult) -> None:
    dataset = open_dataset(s3.url("store"))
    clip_id = dataset.records[0].clip_id
    member = dataset.members[clip_id]["points.arrow"]
    s3.requests.clear()
    assert len(dataset.read_member(clip_id, "points.arrow")) == member.size
    assert [line for line in s3.requests if "GET" in line and member.shard in line and " 206 " in line]
    assert not [line for line in s3.requests if "GET" in line and member.shard in line and " 200 " in line]


def test_a_second_build_finds_the_first(s3: S3, remote: BuildResult) -> None:
    again = build(config(s3.url("logs"), s3.url("store")))
    assert again.was_finished
    assert again.version == remote.version


def test_dask_workers_write_to_s3(logs: Path, s3: S3, local: BuildResult) -> None:
    result = build(config(logs, s3.url("by-workers"), workers=2))
    assert result.version == local.version
    assert result.frames_made == 32


def test_damage_in_s3_is_found_and_repaired(s3: S3, logs: Path, local: BuildResult) -> None:
    store = location(s3.url("damaged"))
    build(config(logs, s3.url("damaged")))
    path = store / "versions" / local.version / "shards" / "test-evaluation-00000.tar"
    data = bytearray(path.read_bytes())
    data[2000] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptShardError, match="clip log1-evaluation-s000"):
        open_dataset(store).read("log1-evaluation-s000")
    reader = ClipReader(open_dataset(store), on_corrupt="skip")
    assert {clip.record.log_id for clip in reader.read_all()} == {"log0"}
    assert set(reader.skipped) == {"log1-evaluation-s000"}
    assert [problem.clips for problem in verify_version(store / "versions" / local.version)] == [
        ("log1-evaluation-s000",)
    ]
    repaired = build(config(logs, s3.url("damaged")))
    assert (repaired.version, repaired.frames_made, repaired.was_finished) == (local.version, 0, False)
    assert list(verify_version(repaired.folder)) == []


def test_the_verbs_take_urls(s3: S3, remote: BuildResult, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", s3.url("store")]) == 0
    assert main(["ls", s3.url("store")]) == 0
    assert remote.version in capsys.readouterr().out
    assert main(["verify", s3.url("nothing")]) == 1
    assert "flux4d-build build" in " ".join(capsys.readouterr().err.split())


def test_a_store_that_does_not_answer_ends_in_a_message(
    s3: S3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nowhere")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert main(["ls", s3.url("store")]) == 1
    assert "check its address and credentials" in " ".join(capsys.readouterr().err.split())
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_short_object_ends_the_read_not_the_reader(s3: S3) -> None:
    path = location(s3.url("short"))
    path.write_bytes(b"12345")
    assert read_range(path, 3, 10) == b"45"
    assert read_range(path, 10, 3) == b""


def test_unknown_places_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="no file system for nowhere://"):
        location("nowhere://bucket/x")
    assert location("file:///tmp/x") == Path("/tmp/x")
    assert location("plain/path") == Path("plain/path")


def test_any_fsspec_file_system_works(logs: Path, local: BuildResult) -> None:
    result = build(config(logs, "memory://store"))
    assert result.version == local.version
    assert list(verify_version(result.folder)) == []
