"""One cache folder under two users of a machine: what one may not delete does not stop the other."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store_schema.cache.local_cache import LocalCache
from store_schema.cache.space import BLOCK, LOCK

NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder in which everybody may write; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def as_nobody(what: Callable[[], None]) -> None:
    """Run `what` in a child process of another user."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            what()
            status = 0
        except BaseException:
            logging.exception("as nobody")
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def never() -> bytes:
    raise AssertionError("made although it is there")


def test_another_users_files_end_neither_writing_nor_eviction(shared: Path) -> None:
    first = LocalCache(shared, 4 * BLOCK)
    for key in ("abc1", "abc2"):
        first.get(key, lambda: b"first")
        os.utime(shared / "ab" / key, (0, 0))
    unfinished = shared / "ab" / ".tmp-old"
    unfinished.touch()
    os.utime(unfinished, (0, 0))

    def second_user() -> None:
        cache = LocalCache(shared, 4 * BLOCK)
        for number in range(5):
            cache.get(f"cd{number}", lambda: b"second")
            cache.get(f"cd{number}", never)
        assert cache.get("abc1", never) == b"first"
        assert cache.counts.not_stored == 0
        assert cache.counts.evicted == sum(not (shared / "cd" / f"cd{number}").exists() for number in range(5))

    as_nobody(second_user)
    assert (shared / "ab" / "abc2").exists()
    assert len([path for path in shared.rglob("??*") if path.is_file() and path.name != LOCK]) <= 5


def test_a_file_that_alone_cannot_be_deleted_is_passed_over(shared: Path) -> None:
    """In a folder with the sticky bit, as /tmp, only the owner of a file may delete it."""
    (shared / "ab").mkdir()
    (shared / "ab").chmod(0o1777)
    first = LocalCache(shared, 4 * BLOCK)
    first.get("abc0", lambda: b"first")
    os.utime(shared / "ab" / "abc0", (0, 0))

    def second_user() -> None:
        cache = LocalCache(shared, 4 * BLOCK)
        for number in range(1, 8):
            cache.get(f"abc{number}", lambda: b"second")
        assert cache.counts.not_stored == 0
        assert cache.counts.evicted == 4

    as_nobody(second_user)
    assert (shared / "ab" / "abc0").exists()


def test_a_folder_that_is_closed_to_others_stops_nothing(shared: Path) -> None:
    first = LocalCache(shared, 4 * BLOCK)
    first.get("abc1", lambda: b"first")
    (shared / "ab").chmod(0o700)

    def second_user() -> None:
        cache = LocalCache(shared, 4 * BLOCK)
        cache.get("cd", lambda: b"second")
        cache.get("cd", never)
        assert cache.get_many(["abc1"], lambda _: {"abc1": b"made", "abc2": b"by the way"}) == {"abc1": b"made"}

    as_nobody(second_user)
    assert first.get("abc1", never) == b"first"


def test_own_entries_stay_where_another_users_leave_no_room(shared: Path) -> None:
    first = LocalCache(shared, 4 * BLOCK)
    for number in range(3):
        first.get(f"abc{number}", lambda: b"first")

    def second_user() -> None:
        cache = LocalCache(shared, 4 * BLOCK)
        cache.get("cd", lambda: b"second")
        assert cache.get("ef", lambda: bytes(BLOCK)) == bytes(BLOCK)
        cache.get("cd", never)
        assert (cache.counts.not_stored, cache.counts.evicted) == (1, 0)

    as_nobody(second_user)
    for number in range(3):
        first.get(f"abc{number}", never)
