"""One cache folder under several processes that evict from each other, and are killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

from store_schema.cache.local_cache import LocalCache
from store_schema.cache.space import BLOCK, LOCK
from store_schema.hashing import hash_bytes

PROCESSES = 4
MAX_BYTES = 400_000
LARGEST = 2 * BLOCK


def content_of(number: int) -> bytes:
    return random.Random(number).randbytes(500 + number * 37 % 7400)


def hammer(folder: Path, seed: int, gets: int, results: multiprocessing.SimpleQueue) -> None:
    """Random gets; damages an entry now and then; reports counts or what went wrong."""
    chance = random.Random(seed)
    cache = LocalCache(folder, MAX_BYTES)
    wrong = 0
    for _ in range(gets):
        number = min(chance.randrange(150), chance.randrange(150))
        key = hash_bytes(b"%d" % number)
        wrong += cache.get(key, lambda number=number: content_of(number)) != content_of(number)
        if chance.random() < 0.01:
            try:
                with (folder / key[:2] / key).open("rb+") as file:
                    file.seek(100)
                    file.write(b"damage")
            except FileNotFoundError:
                pass
    counts = cache.counts
    results.put((wrong, counts.hits, counts.misses, counts.evicted, counts.damaged))


def total(folder: Path) -> int:
    found = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            if name != LOCK:
                try:
                    found += 512 * os.stat(os.path.join(directory, name)).st_blocks
                except FileNotFoundError:
                    pass
    return found


def test_processes_that_evict_from_each_other_get_right_bytes_within_the_bound(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    workers = [context.Process(target=hammer, args=(tmp_path, seed, 1500, results)) for seed in range(PROCESSES)]
    victim = context.Process(target=hammer, args=(tmp_path, 99, 10**9, results))
    for worker in (*workers, victim):
        worker.start()
    # Files seen by a walk were not all there at one time, so the walk may see more than there ever was: an entry of
    # the beginning that left and one of the end that came. A process replaces at most a few in one walk.
    bound = MAX_BYTES + (PROCESSES + 1) * (MAX_BYTES // 64 + 2 * LARGEST)
    most = 0
    deadline = time.monotonic() + 120
    while any(worker.is_alive() for worker in workers) and time.monotonic() < deadline:
        most = max(most, total(tmp_path))
        if victim.is_alive() and most > MAX_BYTES // 2:
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
        time.sleep(0.002)
    victim.join(10)
    for worker in workers:
        worker.join(10)
        assert worker.exitcode == 0
    answers = [results.get() for _ in workers]
    assert [wrong for wrong, *_ in answers] == [0] * PROCESSES
    assert all(hits > 0 and misses > 0 for _, hits, misses, *_ in answers)
    assert sum(evicted for *_, evicted, _ in answers) > 50
    assert sum(damaged for *_, damaged in answers) > 5
    assert MAX_BYTES // 2 < most <= bound
    assert total(tmp_path) <= bound
    # Unfinished files are the killed one's at most.
    assert len(list(tmp_path.rglob(".tmp-*"))) <= 1


def read_once(folder: Path, results: multiprocessing.SimpleQueue) -> None:
    cache = LocalCache(folder, 10 * MAX_BYTES)
    for number in range(20):
        assert cache.get(hash_bytes(b"%d" % number), lambda number=number: content_of(number)) == content_of(number)
    results.put(cache.counts.misses)


def test_a_later_process_finds_what_an_earlier_one_made(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    misses = []
    for _ in range(2):
        process = context.Process(target=read_once, args=(tmp_path, results))
        process.start()
        process.join(60)
        assert process.exitcode == 0
        misses.append(results.get())
    assert misses == [20, 0]
