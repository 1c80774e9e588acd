"""The local cache within one process: right bytes whatever happens to its files, and never more than it may hold."""

from __future__ import annotations

import errno
import logging
import os
import resource
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store_schema.cache import entry as cache_entry
from store_schema.cache import litter as cache_litter
from store_schema.cache import local_cache as cache_module
from store_schema.cache import space as cache_space
from store_schema.cache.entry import DIGEST_BYTES
from store_schema.cache.local_cache import LocalCache
from store_schema.cache.space import BLOCK, LOCK
from store_schema.hashing import hash_bytes


def key_of(number: int) -> str:
    return hash_bytes(b"%d" % number)


def content_of(number: int) -> bytes:
    return b"%d," % number * (17 * number)


def entry(cache: LocalCache, key: str) -> Path:
    return cache.folder / key[:2] / key


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != LOCK)


def taken(path: Path) -> int:
    """Bytes that files take on the disk."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file() and file.name != LOCK]
    return sum(512 * file.stat().st_blocks for file in files)


def never() -> bytes:
    raise AssertionError("made although it is there")


def fail_with(error: Exception) -> Callable[..., bytes]:
    def make(*_: object, **__: object) -> bytes:
        raise error

    return make


def flip(path: Path) -> None:
    with path.open("rb+") as file:  # in place: the file may be huge by now
        middle = path.stat().st_size // 2
        file.seek(middle)
        value = file.read(1)
        file.seek(middle)
        file.write(bytes([(value or b"\0")[0] ^ 16]))


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def make_foreign(path: Path) -> None:
    path.write_bytes(b"someone else's")


def make_huge(path: Path) -> None:
    os.truncate(path, 1 << 36)


DAMAGES = (flip, shorten, empty, lengthen, make_foreign, make_huge)
STEPS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(("get", "get", "get", "get", "remove", *DAMAGES))), max_size=60
)


@settings(deadline=None, max_examples=60)
@given(steps=STEPS, max_bytes=st.integers(BLOCK, 40_000))
def test_any_course_of_gets_and_damage_gives_right_bytes_within_the_bound(
    tmp_path_factory: pytest.TempPathFactory, steps: list, max_bytes: int
) -> None:
    cache = LocalCache(tmp_path_factory.mktemp("cache"), max_bytes)
    intact: set[int] = set()
    for number, step in steps:
        path = entry(cache, key_of(number))
        if step == "get":
            made: list[int] = []
            content = 40 * content_of(number)
            assert cache.get(key_of(number), lambda made=made, content=content: made.append(1) or content) == content
            assert (not made) == (number in intact)
            intact = {number for number in intact | {number} if entry(cache, key_of(number)).exists()}
            # Files that damage made larger are not the cache's doing.
            assert sum(taken(entry(cache, key_of(number))) for number in intact) <= max_bytes
        elif path.exists():
            path.unlink() if step == "remove" else step(path)
            intact.discard(number)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_counted_and_made_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    cache = LocalCache(tmp_path, 10_000)
    assert cache.get("abcd", lambda: b"right") == b"right"
    damage(entry(cache, "abcd"))
    assert cache.get("abcd", lambda: b"right") == b"right"
    assert cache.get("abcd", never) == b"right"
    counts = cache.counts
    assert (counts.damaged, counts.misses, counts.hits, counts.bytes_read) == (1, 2, 1, 5)


def test_an_entry_under_another_key_is_foreign(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 10_000)
    cache.get("ab-one", lambda: b"one")
    os.rename(entry(cache, "ab-one"), entry(cache, "ab-two"))
    assert cache.get("ab-two", lambda: b"two") == b"two"
    assert cache.counts.damaged == 1


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 10_000)
    cache.get("abcd", lambda: b"content")
    path = entry(cache, "abcd")
    good = path.read_bytes()
    assert len(good) == 7 + DIGEST_BYTES
    for bit in range(8 * len(good)):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert cache.get("abcd", lambda: b"content") == b"content"
    assert cache.counts.damaged == 8 * len(good)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOMEM])
def test_an_entry_that_cannot_be_read_just_now_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    cache = LocalCache(tmp_path, 10_000)
    cache.get("abcd", lambda: b"right")
    monkeypatch.setattr(cache_module, "read_entry", fail_with(OSError(number, os.strerror(number))))
    with pytest.raises(RuntimeError, match="offline"):
        cache.get("abcd", fail_with(RuntimeError("offline")))
    monkeypatch.undo()
    assert cache.get("abcd", never) == b"right"
    assert cache.counts.damaged == 0


def test_a_process_without_a_descriptor_left_loses_no_entry(tmp_path: Path) -> None:
    """The system itself refuses to open another file."""
    cache = LocalCache(tmp_path, 10_000)
    cache.get("abcd", lambda: b"right")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        content = cache.get("abcd", lambda: b"made")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert content == b"made"
    assert cache.get("abcd", never) == b"right"
    assert (cache.counts.damaged, cache.counts.not_stored) == (0, 1)


def test_what_a_check_refuses_is_made_anew(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 10_000)
    cache.get("abcd", lambda: b"wrong")
    for _ in range(2):
        found = cache.get_many(["abcd"], lambda keys: dict.fromkeys(keys, b"right"), lambda _, data: data == b"right")
        assert found == {"abcd": b"right"}
    assert (cache.counts.damaged, cache.counts.misses, cache.counts.hits) == (1, 2, 1)


def test_the_least_recently_used_leave_first(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 10 * BLOCK)
    now = time.time()
    for number in range(10):
        cache.get(key_of(number), lambda: bytes(100))
        os.utime(entry(cache, key_of(number)), (now, now - 1000 + number))
    assert cache.get(key_of(0), never) == bytes(100)  # used now
    cache.get(key_of(10), lambda: bytes(100))
    there = [number for number in range(11) if entry(cache, key_of(number)).exists()]
    assert there == [0, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert cache.counts.evicted == 1


def test_use_is_noted_at_most_once_a_minute(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 10_000)
    cache.get("abcd", lambda: b"x")
    path = entry(cache, "abcd")
    now = time.time()
    for age, noted in ((30.0, False), (90.0, True), (-90.0, True)):
        os.utime(path, (now, now - age))
        cache.get("abcd", never)
        assert (abs(path.stat().st_mtime - now) < 20) == noted


def test_litter_of_killed_writers_goes_and_foreign_files_stay(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 2 * BLOCK)
    cache.get("abcd", lambda: bytes(100))
    old, fresh, foreign = (tmp_path / "ab" / name for name in (".tmp-old", ".tmp-new", "photo.jpg"))
    deep = tmp_path / "holiday" / "photo.jpg"
    deep.parent.mkdir()
    for path in (old, fresh, foreign, deep):
        path.write_bytes(bytes(40))
        os.utime(path, (0, 0))
    os.utime(fresh)
    cache.get("abce", lambda: bytes(100))
    assert not old.exists()
    assert fresh.exists()
    assert foreign.exists()
    assert deep.exists()
    assert not entry(cache, "abcd").exists()


def leave_unfinished(folder: Path, blocks: int) -> str:
    """As a writer that was killed: its file, its process gone."""
    (folder / "ab").mkdir(exist_ok=True)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        name = cache_litter.unfinished_name("abcdef01")
        (folder / "ab" / name).write_bytes(bytes(blocks * BLOCK))
        os.write(writer, name.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        return answer.read()


def test_what_a_dead_process_left_goes_at_once_and_costs_no_entry(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 6 * BLOCK)
    for key in ("abc1", "abc2"):
        cache.get(key, lambda: b"x")
    litter = tmp_path / "ab" / leave_unfinished(tmp_path, 4)
    assert litter.exists()
    cache.get("abc3", lambda: b"x")
    assert not litter.exists()
    for key in ("abc1", "abc2", "abc3"):
        cache.get(key, never)
    assert cache.counts.evicted == 0


def test_what_a_living_process_or_another_machine_writes_stays(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 3 * BLOCK)
    dead = leave_unfinished(tmp_path, 1)
    (tmp_path / "ab" / dead).unlink()
    machine = dead.removeprefix(".tmp-").partition("-")[0]
    names = [cache_litter.unfinished_name("abcdef02"), dead.replace(machine, "0123456789ab")]
    for name in names:
        (tmp_path / "ab" / name).write_bytes(b"x")
    cache.get("abc1", lambda: b"x")
    cache.get("abc2", lambda: b"x")
    assert all((tmp_path / "ab" / name).exists() for name in names)
    assert taken(tmp_path) == 3 * BLOCK


def test_nothing_is_let_go_where_that_makes_no_room(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 6 * BLOCK)
    cache.get("abc1", lambda: b"x")
    (tmp_path / "ab" / ".tmp-of another machine").write_bytes(bytes(5 * BLOCK))
    cache.get("abc2", lambda: bytes(BLOCK))
    assert cache.get("abc1", never) == b"x"
    assert (cache.counts.evicted, cache.counts.not_stored) == (0, 1)


def test_a_running_write_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = LocalCache(tmp_path, 3 * BLOCK)
    cache.get("first", lambda: b"x")
    begun, go_on = threading.Event(), threading.Event()
    replace = os.replace

    def wait(source: Path, target: Path) -> None:
        if target.name == "second":
            begun.set()
            go_on.wait(10)
        replace(source, target)

    monkeypatch.setattr(cache_entry.os, "replace", wait)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(cache.get, "second", lambda: b"x")
        begun.wait(10)
        cache.get("third", lambda: b"x")
        go_on.set()
        second.result(10)
    for key in ("first", "second", "third"):
        cache.get(key, never)
    assert cache.counts.evicted == 0


def test_an_object_larger_than_the_cache_is_given_not_kept(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, BLOCK)
    largest = BLOCK - DIGEST_BYTES
    cache.get("small", lambda: b"s")
    assert cache.get("large", lambda: bytes(largest + 1)) == bytes(largest + 1)
    assert cache.get("small", never) == b"s"
    assert cache.counts.not_stored == 1
    assert cache.get("fits", lambda: bytes(largest)) == bytes(largest)
    assert cache.get("fits", never) == bytes(largest)


def test_many_tiny_objects_stay_within_the_bound_on_the_disk(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 40 * BLOCK)
    for number in range(200):
        cache.get(key_of(number), lambda: b"tiny")
    assert 30 * BLOCK <= taken(tmp_path) <= 40 * BLOCK


@pytest.mark.parametrize("key", ["", "a", "../etc", "a/b", "..", ".tmp-x", "a.b", "ab\n", "ä" * 4, "a" * 201])
def test_keys_that_name_no_file_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="cannot be a cache key"):
        LocalCache(tmp_path, 10_000).get(key, never)


def test_bad_bounds_and_folders_are_refused(tmp_path: Path) -> None:
    for max_bytes in (0, BLOCK - 1):
        with pytest.raises(ValueError, match=f"max_bytes = {max_bytes}"):
            LocalCache(tmp_path, max_bytes)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        LocalCache(tmp_path / "file", 10_000)


def test_threads_that_miss_one_key_make_it_once(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 1_000_000)
    made: list[int] = []
    barrier = threading.Barrier(8)

    def make(number: int) -> bytes:
        made.append(number)
        time.sleep(0.005)
        return content_of(number)

    def go(_: int) -> None:
        barrier.wait()
        for number in range(12):
            assert cache.get(key_of(number), lambda number=number: make(number)) == content_of(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(go, range(8)))
    assert sorted(made) == list(range(12))
    counts = cache.counts
    assert (counts.misses, counts.hits, counts.not_stored) == (12, 8 * 12 - 12, 0)


def test_threads_that_want_overlapping_keys_do_not_wait_in_a_circle(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 1_000_000)

    def go(turn: int) -> None:
        numbers = [(turn * 7 + step) % 20 for step in range(10)][:: 1 if turn % 2 else -1]
        expected = {key_of(number): content_of(number) for number in numbers}
        assert cache.get_many(expected, lambda keys: {key: expected[key] for key in keys}) == expected

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(go, range(200), timeout=60))
    assert cache.counts.misses == 20


def test_threads_evicting_at_once_stay_within_the_bound(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 6 * BLOCK)

    def go(turn: int) -> None:
        number = turn * 13 % 10
        assert cache.get(key_of(number), lambda: content_of(number)) == content_of(number)

    for start in range(0, 1000, 100):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(go, range(start, start + 100)))
        assert taken(tmp_path) <= 6 * BLOCK
    counts = cache.counts
    assert counts.evicted > 100
    assert counts.hits + counts.misses == 1000


def test_what_make_raises_is_raised_and_waiters_make_it_themselves(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 10_000)
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> bytes:
        begun.set()
        go_on.wait(10)
        raise RuntimeError("of the first")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, "abcd", fail)
        begun.wait(10)
        second = pool.submit(cache.get, "abcd", lambda: b"mine")
        time.sleep(0.01)
        go_on.set()
        with pytest.raises(RuntimeError, match="of the first"):
            first.result(10)
        assert second.result(10) == b"mine"
    assert cache.get("abcd", never) == b"mine"


def test_after_a_failure_one_of_those_that_wait_makes_it(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 10_000)
    begun, go_on = threading.Event(), threading.Event()
    made: list[int] = []

    def fail() -> bytes:
        begun.set()
        go_on.wait(10)
        raise RuntimeError("of the first")

    def make(number: int) -> bytes:
        made.append(number)
        time.sleep(0.01)
        return b"made"

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(cache.get, "abcd", fail)
        begun.wait(10)
        others = [pool.submit(cache.get, "abcd", lambda number=number: make(number)) for number in range(7)]
        time.sleep(0.05)
        go_on.set()
        with pytest.raises(RuntimeError, match="of the first"):
            first.result(10)
        assert [other.result(10) for other in others] == [b"made"] * 7
    assert len(made) == 1


def test_each_thread_gets_the_error_of_its_own_attempt_and_attempts_do_not_overlap(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 10_000)
    barrier, lock = threading.Barrier(8), threading.Lock()
    running = most = 0

    def fail(number: int) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        raise RuntimeError(f"clip {number}")

    def go(number: int) -> str:
        barrier.wait()
        with pytest.raises(RuntimeError) as caught:
            cache.get("abcd", lambda: fail(number))
        return str(caught.value)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(go, range(8))) == [f"clip {number}" for number in range(8)]
    assert most == 1


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 100_000)
    cache.get("key-1", lambda: b"1")
    asked: list[Sequence[str]] = []

    def make(keys: Sequence[str]) -> dict[str, bytes]:
        asked.append(tuple(keys))
        return {key: key[-1:].encode() for key in keys}

    expected = {"key-0": b"0", "key-1": b"1", "key-2": b"2"}
    assert cache.get_many(("key-0", "key-1", "key-2", "key-0"), make) == expected
    assert cache.get_many(expected, make) == expected
    assert asked == [("key-0", "key-2")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    cache = LocalCache(tmp_path, 10_000)
    cache.get("there", lambda: b"x")
    monkeypatch.setattr(cache_entry.os, "replace", fail_with(OSError(number, os.strerror(number))))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert cache.get("abcd", lambda: b"made") == b"made"
    assert len(caplog.records) == 1
    assert os.strerror(number) in caplog.text
    assert cache.get("there", never) == b"x"
    assert cache.counts.not_stored == 3
    assert [path.name for path in tmp_path.rglob("*") if path.name.startswith(".tmp-")] == []
    monkeypatch.undo()
    cache.get("abcd", lambda: b"made")
    assert cache.get("abcd", never) == b"made"


def test_a_write_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """The system itself refuses more than 50,000 bytes in a file."""
    cache = LocalCache(tmp_path, 1_000_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        content = cache.get("abcd", lambda: bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert content == bytes(100_000)
    assert cache.counts.not_stored == 1
    assert held(tmp_path) == 0


def test_a_folder_that_cannot_be_locked_or_listed_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FileLock", "_list_folder"):
        cache = LocalCache(tmp_path / name, 10_000)
        monkeypatch.setattr(cache_space, name, fail_with(PermissionError("no")))
        assert cache.get("abcd", lambda: b"made") == b"made"
        assert cache.counts.not_stored == 1
        monkeypatch.undo()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_still_read(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 10_000)
    cache.get("abcd", lambda: b"x")
    flipped = LocalCache(tmp_path, 10_000)
    flipped.get("abce", lambda: b"y")
    flip(entry(cache, "abce"))
    (tmp_path / "ab").chmod(0o500)
    tmp_path.chmod(0o500)
    try:
        again = LocalCache(tmp_path, 10_000)
        assert again.get("abcd", never) == b"x"
        assert again.get("abce", lambda: b"y") == b"y"
        assert again.get("abcf", lambda: b"z") == b"z"
    finally:
        tmp_path.chmod(0o700)
        (tmp_path / "ab").chmod(0o700)


def test_things_in_the_way_of_entries_stop_nothing(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 10_000)
    (tmp_path / "ab" / "abcd").mkdir(parents=True)
    (tmp_path / "cd").touch()
    for key in ("abcd", "cdef"):
        for _ in range(2):
            assert cache.get(key, lambda: b"made") == b"made"


def test_a_folder_deleted_meanwhile_comes_again(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path / "cache", 10_000)
    cache.get("abcd", lambda: b"x")
    shutil.rmtree(tmp_path / "cache")
    assert cache.get("abcd", lambda: b"x") == b"x"
    assert cache.get("abcd", never) == b"x"


def test_a_second_cache_object_sees_the_same_entries(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 10_000)
    cache.get("abcd", lambda: b"x")
    other = LocalCache(tmp_path, 10_000)
    assert other.get("abcd", never) == b"x"
    assert (other.counts.hits, other.counts.misses) == (1, 0)


def test_a_folder_is_listed_once_a_share_not_at_each_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    listing = cache_space._list_folder
    monkeypatch.setattr(cache_space, "_list_folder", lambda *given: looks.append(1) or listing(*given))
    cache = LocalCache(tmp_path, 128 * 10 * BLOCK)
    for number in range(500):
        cache.get(key_of(number), lambda: bytes(1000 - DIGEST_BYTES))
    assert held(tmp_path) == 500_000
    assert len(looks) == 50
