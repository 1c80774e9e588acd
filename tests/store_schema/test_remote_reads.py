"""Reading a remote version: through the cache, by few requests, and over a connection that fails."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp
import botocore.exceptions
import fsspec
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from pipelines.__main__ import main
from store_schema.cache.local_cache import LocalCache
from store_schema.files import retry
from store_schema.files.paths import _single_attempts, files_below, filesystem, read_bytes, read_range
from store_schema.files.paths import location as plain_location
from store_schema.files.patient_path import patience
from store_schema.files.retry import ConnectionLostError, RetryPolicy, is_transient, with_retries
from store_schema.version import dataset as dataset_module
from store_schema.version import members
from store_schema.version.reader import ClipReader
from store_schema.version.shards import CorruptShardError, Member
from store_schema.version.verify import verify_version
from tests.support.processes.s3 import S3, SPOILT, s3_server
from tests.support.stores.small_version import same, write_small_version

SLOW_DOWN = ("503 Slow Down", "SlowDown")
DENIED = ("403 Forbidden", "AccessDenied")
CUT, SHORTENED, RIGHT, FLIPPED = (("", how) for how in SPOILT)
FAST = RetryPolicy(attempts=5, first_delay=0.001, max_delay=0.001)
"""Readers that wait a millisecond."""
open_dataset = partial(dataset_module.open_dataset, retry=FAST)
location = partial(plain_location, retry=FAST)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_version(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def server(local: Path) -> Iterator[S3]:
    with s3_server() as running:
        fsspec.filesystem("s3").put(f"{local.parent.parent}/", running.url("store/"), recursive=True)
        yield running


@pytest.fixture
def s3(server: S3) -> Iterator[S3]:
    """The server without memory of earlier tests."""
    server.requests.clear()
    server.faults.clear()
    yield server
    assert server.faults == []


def all_members(folder: Path) -> set[str]:
    dataset = open_dataset(folder.parent.parent)
    return {member.blake3 for held in dataset.members.values() for member in held.values()}


def retries(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "store_schema.files.retry"]


# --- the cache ---


def test_each_member_is_downloaded_once(s3: S3, local: Path, tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 100_000_000)
    dataset, here = open_dataset(s3.url("store"), cache=cache), open_dataset(local.parent.parent)
    for record in dataset.records:
        assert same(dataset.read(record.clip_id), here.read(record.clip_id))
    assert len(s3.gets(".tar")) == len(dataset.records)
    assert cache.counts.misses == len(all_members(local))
    s3.requests.clear()
    later = LocalCache(tmp_path, 100_000_000)
    for kept in (cache, later):
        dataset = open_dataset(s3.url("store"), cache=kept)
        for record in dataset.records:
            assert same(dataset.read(record.clip_id), here.read(record.clip_id))
    assert s3.gets(".tar") == []
    assert later.counts.misses == 0


def test_only_missing_members_travel(s3: S3, local: Path, tmp_path: Path) -> None:
    dataset = open_dataset(s3.url("store"), cache=LocalCache(tmp_path, 100_000_000))
    clip_id = dataset.records[0].clip_id
    # Images of this clip that are equal count once.
    names = sorted({place.blake3: name for name, place in dataset.members[clip_id].items()}.values())
    dataset.read_members(clip_id, names[:2])
    s3.requests.clear()
    found = dataset.read_members(clip_id, names[::-1])
    assert found == open_dataset(local.parent.parent).read_members(clip_id, names)
    assert len(s3.gets(".tar")) == 1
    assert dataset.cache is not None
    assert (dataset.cache.counts.hits, dataset.cache.counts.misses) == (2, len(names))


def test_a_damaged_cache_file_is_downloaded_again(s3: S3, local: Path, tmp_path: Path) -> None:
    dataset = open_dataset(s3.url("store"), cache=LocalCache(tmp_path, 100_000_000))
    clip_id = dataset.records[0].clip_id
    member = dataset.members[clip_id]["points.arrow"]
    right = dataset.read_member(clip_id, "points.arrow")
    path = tmp_path / member.blake3[:2] / member.blake3
    data = bytearray(path.read_bytes())
    data[member.size // 2] ^= 1
    path.write_bytes(data)
    s3.requests.clear()
    for _ in range(2):
        assert dataset.read_member(clip_id, "points.arrow") == right
    assert len(s3.gets(".tar")) == 1
    assert dataset.cache is not None
    assert dataset.cache.counts.damaged == 1


def test_a_forged_cache_file_is_downloaded_again(s3: S3, local: Path, tmp_path: Path) -> None:
    """Its own hash is right, its content is not what the member hashes to."""
    cache = LocalCache(tmp_path, 100_000_000)
    dataset = open_dataset(s3.url("store"), cache=cache)
    clip_id = dataset.records[0].clip_id
    cache.get(dataset.members[clip_id]["points.arrow"].blake3, lambda: b"of somebody else")
    right = open_dataset(local.parent.parent).read_member(clip_id, "points.arrow")
    assert dataset.read_member(clip_id, "points.arrow") == right
    assert cache.counts.damaged == 1


def test_damage_at_the_source_never_enters_the_cache(s3: S3, local: Path, tmp_path: Path) -> None:
    folder = location(s3.url("store")) / "versions" / local.name
    dataset = open_dataset(s3.url("store"), cache=LocalCache(tmp_path, 100_000_000))
    clip_id = dataset.records[0].clip_id
    member = dataset.members[clip_id]["points.arrow"]
    shard = folder / "shards" / member.shard
    right = shard.read_bytes()
    damaged = bytearray(right)
    damaged[member.offset + 5] ^= 64
    shard.write_bytes(damaged)
    try:
        with pytest.raises(CorruptShardError, match=f"shard {member.shard}, clip {clip_id}, member points.arrow"):
            dataset.read(clip_id)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
        reader = ClipReader(dataset, on_corrupt="skip")
        assert reader.read(clip_id) is None
        assert list(reader.skipped) == [clip_id]
    finally:
        shard.write_bytes(right)
    assert same(dataset.read(clip_id), open_dataset(local.parent.parent).read(clip_id))


def test_a_local_store_does_not_use_the_cache(local: Path, tmp_path: Path) -> None:
    dataset = open_dataset(local.parent.parent, cache=LocalCache(tmp_path, 100_000_000))
    dataset.read(dataset.records[0].clip_id)
    assert list(tmp_path.iterdir()) == []


# --- requests ---


def test_neighbours_come_by_one_request_and_distant_ones_do_not(
    s3: S3, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(s3.url("store"))
    clip_id = dataset.records[0].clip_id
    names = list(dataset.members[clip_id])
    right = open_dataset(local.parent.parent).read_members(clip_id, names)
    for gap, count in ((members.JOIN_GAP, 1), (0, len(names))):
        monkeypatch.setattr(members, "JOIN_GAP", gap)
        s3.requests.clear()
        assert dataset.read_members(clip_id, names) == right
        assert len(s3.gets(".tar")) == count


@given(st.lists(st.tuples(st.integers(0, 700_000), st.integers(0, 300_000)), min_size=1, max_size=20))
def test_runs_hold_all_members_in_order_and_no_wide_gap(steps: list[tuple[int, int]]) -> None:
    offset, wanted = 0, []
    for gap, size in steps:
        offset += gap
        wanted.append(Member("clip", f"m{len(wanted)}", "shard", offset, size, ""))
        offset += size
    runs = list(members._runs(wanted))
    assert [member for run in runs for member in run] == wanted
    for run in runs:
        assert all(b.offset - a.offset - a.size <= members.JOIN_GAP for a, b in pairwise(run))
    for before, after in pairwise(runs):
        assert after[0].offset - before[-1].offset - before[-1].size > members.JOIN_GAP


def test_cameras_that_are_not_asked_for_do_not_travel(s3: S3, local: Path) -> None:
    dataset = open_dataset(s3.url("store"))
    clip_id = dataset.records[0].clip_id
    for cameras in ([], ["front_camera"], ["elsewhere"]):
        clip, right = dataset.read(clip_id, cameras), open_dataset(local.parent.parent).read(clip_id, cameras)
        assert same(clip, right)
        assert bool(clip.views) == (cameras == ["front_camera"])


# --- a connection that fails ---


@pytest.mark.parametrize("fault", [SLOW_DOWN, ("500 Internal Server Error", "InternalError"), CUT, SHORTENED])
def test_a_read_goes_on_when_the_server_recovers(
    s3: S3, local: Path, caplog: pytest.LogCaptureFixture, fault: tuple[str, str]
) -> None:
    dataset = open_dataset(s3.url("store"))
    clip_id = dataset.records[0].clip_id
    s3.requests.clear()
    s3.faults += [fault] * 4
    with caplog.at_level(logging.WARNING, "store_schema.files.retry"):
        clip = dataset.read(clip_id)
    assert same(clip, open_dataset(local.parent.parent).read(clip_id))
    assert len(s3.gets(".tar")) == 5
    told = retries(caplog)
    assert len(told) == 4
    assert "attempt 4 of 5 failed" in told[-1]
    assert ".tar" in told[-1]


def test_a_read_gives_up_after_its_attempts(s3: S3, tmp_path: Path) -> None:
    dataset = open_dataset(s3.url("store"), cache=LocalCache(tmp_path, 1_000_000))
    member = dataset.members[dataset.records[0].clip_id]["clip.json"]
    s3.requests.clear()
    s3.faults += [SLOW_DOWN] * 5
    with pytest.raises(ConnectionLostError, match=r"5 attempts failed.*check the network") as caught:
        dataset.read_member(member.clip_id, "clip.json")
    assert f"s3://drives/store/versions/{dataset.version}/shards/{member.shard}" in str(caught.value)
    assert "as the test wants it" in str(caught.value)
    assert len(s3.gets(".tar")) == 5
    # It is no damage: the rule to skip damaged clips does not drop a clip for it.
    s3.faults += [SLOW_DOWN] * 5
    with pytest.raises(ConnectionLostError):
        ClipReader(dataset, on_corrupt="skip").read(member.clip_id)
    assert dataset.read_member(member.clip_id, "clip.json")


def test_a_member_that_came_damaged_is_read_once_more(s3: S3, local: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = open_dataset(s3.url("store"))
    clip_id = dataset.records[0].clip_id
    right = open_dataset(local.parent.parent).read_members(clip_id, ["clip.json", "points.arrow"])
    s3.requests.clear()
    s3.faults.append(FLIPPED)
    assert dataset.read_members(clip_id, ["clip.json", "points.arrow"]) == right
    assert len(s3.gets(".tar")) == 2
    assert f"clip {clip_id}" in caplog.text
    s3.faults += [FLIPPED] * 2
    with pytest.raises(CorruptShardError, match=r"clip\.json: the content's hash"):
        dataset.read_member(clip_id, "clip.json")
    assert len(s3.gets(".tar")) == 4


def test_the_verbs_that_read_have_one_rule_of_attempts(s3: S3, capsys: pytest.CaptureFixture[str]) -> None:
    """S3's client would have tried 25 times within each of ours, and hidden these faults."""
    for verb in ("ls", "verify"):
        s3.requests.clear()
        s3.faults += [SLOW_DOWN] * 2
        assert main([verb, s3.url("store"), "--retry-minutes", "0.001"]) == 1
        assert len(s3.requests) == 2
        assert "2 attempts failed" in " ".join(capsys.readouterr().err.split())
        assert main([verb, s3.url("store")]) == 0


def test_options_of_the_users_own_stay(s3: S3, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"max_pool_connections": 3, "retries": {"mode": "standard", "max_attempts": 9}}
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": own, "requester_pays": True})
    path = location(s3.url("store/LATEST"))
    s3.faults += [SLOW_DOWN] * 4
    assert read_range(path, 60, 10) == local.name[60:].encode()
    assert len(s3.gets("LATEST")) == 5
    used = _single_attempts(filesystem(path))
    assert used.requester_pays
    config = used.s3.meta.config
    assert (config.max_pool_connections, config.retries) == (3, {"mode": "standard", "total_max_attempts": 1})
    assert own == {"max_pool_connections": 3, "retries": {"mode": "standard", "max_attempts": 9}}
    assert filesystem(path).retries > 1


# --- plain web servers ---


class _Files(SimpleHTTPRequestHandler):
    """Python's own server of files, which knows no ranges."""

    def log_message(self, *_: object) -> None:
        pass


class _Ranges(_Files):
    def do_GET(self) -> None:
        content = Path(self.translate_path(self.path)).read_bytes()
        start, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        part = content[start : end + 1]
        self.send_response(206 if part else 416)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@contextmanager
def web(folder: Path, handler: type[SimpleHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("offset", "size"), [(0, 4), (3, 4), (3, 7), (3, 100), (20, 4)])
def test_a_server_without_ranges_is_told_from_damage(tmp_path: Path, offset: int, size: int) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with web(tmp_path, _Files) as url, pytest.raises(ValueError, match=f"{url}/file.*does not serve parts of files"):
        read_range(location(f"{url}/file"), offset, size)


@pytest.mark.parametrize(("offset", "size"), [(0, 4), (3, 4), (3, 7), (3, 100), (20, 4), (10, 1)])
def test_a_server_with_ranges_gives_what_a_disk_gives(tmp_path: Path, offset: int, size: int) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with web(tmp_path, _Ranges) as url:
        assert read_range(location(f"{url}/file"), offset, size) == b"0123456789"[offset : offset + size]


class _RestartAtWarning(logging.Handler):
    def __init__(self, server: S3, number: int) -> None:
        super().__init__()
        self.server, self.left = server, number

    def emit(self, record: logging.LogRecord) -> None:
        self.left -= 1
        if self.left == 0:
            self.server.start()


def test_a_server_that_goes_away_and_comes_back(s3: S3, local: Path) -> None:
    dataset = open_dataset(s3.url("store"))
    first, second = (record.clip_id for record in dataset.records[:2])
    dataset.read(first)
    log = logging.getLogger("store_schema.files.retry")
    restart = _RestartAtWarning(s3, 3)
    s3.stop()
    log.addHandler(restart)
    try:
        clip = dataset.read(second)
    finally:
        log.removeHandler(restart)
        if restart.left > 0:
            s3.start()
    assert restart.left == 0
    assert same(clip, open_dataset(local.parent.parent).read(second))


def test_a_server_that_stays_away_ends_in_an_error_that_says_so(s3: S3) -> None:
    dataset = open_dataset(s3.url("store"))
    s3.stop()
    try:
        with pytest.raises(ConnectionLostError, match="5 attempts failed"):
            dataset.read(dataset.records[0].clip_id)
        with pytest.raises(ConnectionLostError, match=r"store.*5 attempts failed"):
            open_dataset(s3.url("store"))
    finally:
        s3.start()


@pytest.mark.parametrize("place", range(8))
def test_opening_a_store_outlasts_a_fault_at_any_request(s3: S3, local: Path, place: int) -> None:
    """Nothing that the opening asks for is taken for absent because the server was busy."""
    asked: list[Any] = []

    class Faults(list):
        def __bool__(self) -> bool:
            asked.append(0)
            return len(asked) == place + 1 or len(asked) == place + 2

        def pop(self, index: int = -1) -> tuple[str, str]:
            return SLOW_DOWN

    s3.faults = Faults()
    try:
        assert open_dataset(s3.url("store")).version == local.name
    finally:
        s3.faults = []
    # Opening takes at least so many requests that every place is met.
    assert len(asked) > place + 2


def test_an_unreachable_store_is_not_an_empty_one(s3: S3) -> None:
    s3.faults += [SLOW_DOWN] * 5
    with pytest.raises(ConnectionLostError, match="versions"):
        open_dataset(s3.url("store"))
    with pytest.raises(FileNotFoundError, match="holds no dataset version"):
        open_dataset(s3.url("nothing-here"))


def test_refusals_are_final(s3: S3, local: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = open_dataset(s3.url("store"))
    clip_id = dataset.records[0].clip_id
    s3.requests.clear()
    s3.faults.append(DENIED)
    with caplog.at_level(logging.WARNING, "store_schema.files.retry"), pytest.raises(PermissionError):
        dataset.read(clip_id)
    assert len(s3.requests) == 1
    s3.requests.clear()
    with caplog.at_level(logging.WARNING, "store_schema.files.retry"), pytest.raises(FileNotFoundError):
        read_range(dataset.folder / "shards" / "none.tar", 0, 10)
    assert len(s3.gets("none.tar")) == 1
    with pytest.raises(FileNotFoundError):
        read_bytes(dataset.folder / "none.json")
    assert retries(caplog) == []


def test_a_missing_shard_names_clip_and_member(s3: S3, local: Path) -> None:
    dataset = open_dataset(s3.url("store"))
    clip_id = dataset.records[0].clip_id
    shard = dataset.folder / "shards" / dataset.members[clip_id]["clip.json"].shard
    content = shard.read_bytes()
    shard.unlink()
    try:
        with pytest.raises(CorruptShardError, match=f"is missing: clip {clip_id}, member boxes.arrow"):
            dataset.read(clip_id)
    finally:
        shard.write_bytes(content)
    assert list(verify_version(dataset.folder)) == []


# --- what is tried again ---


def requests_error(status: int) -> Exception:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("m", response=response)


def answered(status: int, code: str) -> OSError:
    """As s3fs raises it: an OSError with botocore's error as its cause."""
    response = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = OSError(errno.EIO, "m")
    error.__cause__ = botocore.exceptions.ClientError(response, "GetObject")  # type: ignore[arg-type]
    return error


def http_error(status: int) -> Exception:
    return aiohttp.ClientResponseError(None, (), status=status)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        ConnectionRefusedError(),
        TimeoutError(),
        OSError("no errno"),
        OSError(errno.EBUSY, "slow down"),
        OSError(errno.ENETUNREACH, "no route"),
        socket.gaierror(socket.EAI_AGAIN, "name service"),
        requests.ConnectionError("gone"),
        requests.ConnectTimeout("slow"),
        requests.exceptions.ChunkedEncodingError("cut"),
        requests_error(503),
        requests_error(429),
        answered(500, "InternalError"),
        answered(503, "SlowDown"),
        answered(429, "TooManyRequests"),
        http_error(502),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError(),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"),
        botocore.exceptions.ConnectTimeoutError(endpoint_url="http://x"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://x"),
        botocore.exceptions.ConnectionClosedError(endpoint_url="http://x"),
        botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ],
    ids=repr,
)
def test_what_a_lost_connection_raises_is_tried_again(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(),
        PermissionError(),
        IsADirectoryError(),
        OSError(errno.EINVAL, "bad request"),
        OSError(errno.ENOSPC, "disk full"),
        OSError(errno.EMFILE, "too many open files"),
        OSError(),
        requests_error(403),
        requests_error(404),
        requests.exceptions.InvalidURL("no host"),
        requests.TooManyRedirects("30"),
        ssl.SSLCertVerificationError("expired"),
        answered(400, "InvalidRequest"),
        answered(404, "NoSuchKey"),
        http_error(403),
        http_error(416),
        botocore.exceptions.NoCredentialsError(),
        botocore.exceptions.PartialCredentialsError(provider="env", cred_var="x"),
        botocore.exceptions.ParamValidationError(report="x"),
        ConnectionLostError("tried often enough"),
        ValueError("of our own"),
        KeyError("x"),
    ],
    ids=repr,
)
def test_answers_and_defects_are_final(error: Exception) -> None:
    assert not is_transient(error)
    calls: list[int] = []

    def read() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)) as caught:
        with_retries(read, "place", RetryPolicy(first_delay=0.0))
    assert caught.value is error
    assert len(calls) == 1


@given(st.integers(1, 12), st.floats(0, 10), st.floats(0, 20))
def test_pauses_grow_and_are_bounded(attempts: int, first: float, longest: float) -> None:
    delays = list(RetryPolicy(attempts=attempts, first_delay=first, max_delay=longest).delays())
    assert len(delays) == attempts - 1
    for number, delay in enumerate(delays):
        nominal = min(first * 2**number, longest)
        assert 0.5 * nominal <= delay <= 1.5 * nominal


def test_the_default_pauses_are_about_fifteen_seconds() -> None:
    totals = [sum(RetryPolicy().delays()) for _ in range(200)]
    assert 7.5 <= min(totals) < max(totals) <= 22.5
    assert abs(sum(totals) / 200 - 15) < 1.5


@given(st.floats(0, 1000))
def test_a_policy_lasts_about_as_long_as_asked(seconds: float) -> None:
    policy = RetryPolicy.lasting(seconds)
    with mock.patch.object(retry.random, "uniform", return_value=1.0):
        pauses = list(policy.delays())
    total = sum(pauses)
    assert abs(total - seconds) <= 4
    assert max(pauses, default=0.0) <= 8
    assert seconds / 2 <= total <= 2 * seconds
    if seconds <= 1:
        assert total == seconds


def test_lasting_zero_is_one_attempt_and_fifteen_the_default() -> None:
    assert RetryPolicy.lasting(0).attempts == 1
    assert RetryPolicy.lasting(15) == RetryPolicy()
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="0 s or more"):
            RetryPolicy.lasting(wrong)


def test_pauses_of_a_day_of_attempts_are_numbers() -> None:
    assert sum(1 for _ in RetryPolicy.lasting(86_400).delays()) == 10_802


def test_a_policy_goes_wherever_its_path_goes() -> None:
    store = location("memory://patient/store")
    file = store / "versions" / "a"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"1")
    made = [file, file.parent, file.with_name("b"), file.absolute(), *store.rglob("*"), *file.parent.iterdir()]
    assert {patience(path) for path in made} == {FAST}
    sent = pickle.loads(pickle.dumps(file))
    assert (patience(sent), sent, sent.read_bytes()) == (FAST, file, b"1")
    other = RetryPolicy(attempts=2)
    assert patience(plain_location(file, retry=other) / "c") == other
    assert patience(plain_location(file)) == FAST
    assert plain_location(Path("here"), retry=other) == Path("here")
    assert patience(Path("here")) == patience(plain_location("memory://patient")) == RetryPolicy()


def test_two_readers_of_one_url_keep_their_own_policies(s3: S3) -> None:
    patient = open_dataset(s3.url("store"))
    hasty = dataset_module.open_dataset(s3.url("store"), retry=RetryPolicy(attempts=1))
    clip_id = patient.records[0].clip_id
    s3.faults.append(SLOW_DOWN)
    with pytest.raises(ConnectionLostError, match="1 attempts failed"):
        hasty.read(clip_id)
    s3.faults.extend([SLOW_DOWN] * 4)
    assert patient.read(clip_id).record.clip_id == clip_id


def test_verify_never_takes_a_server_that_fails_for_a_store_that_lacks_files(s3: S3) -> None:
    folder = plain_location(open_dataset(s3.url("store")).folder, retry=RetryPolicy(attempts=1))
    s3.requests.clear()
    assert list(verify_version(folder)) == []
    lost = 0
    for place in range(len(s3.gets(""))):
        s3.faults += [RIGHT] * place + [SLOW_DOWN]
        try:
            assert list(verify_version(folder)) == []
        except ConnectionLostError:
            lost += 1
        s3.faults.clear()
    assert lost > 0


def test_files_below_a_remote_folder_are_those_below_a_local_one(s3: S3, local: Path) -> None:
    found = files_below(location(s3.url("store")))
    assert [str(path).removeprefix(s3.url("store/")) for path in found] == [
        str(path.relative_to(local.parent.parent)) for path in files_below(local.parent.parent)
    ]
    assert files_below(location(s3.url("store/nothing"))) == []
    s3.faults += [SLOW_DOWN] * FAST.attempts
    with pytest.raises(ConnectionLostError):
        files_below(location(s3.url("store")))


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first_delay": -1.0}, {"max_delay": -1.0}])
def test_policies_without_meaning_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="attempts must be 1 or more"):
        RetryPolicy(**wrong)


def test_a_single_attempt_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda _: os.abort())

    def read() -> None:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionLostError, match=r"1 attempts failed, the last with ConnectionResetError: gone"):
        with_retries(read, "place", RetryPolicy(attempts=1))
