"""The global order of samples: pure, complete, and blind to how many processes share it."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.sampler import ClipSampler, rank_numbers

VERSIONS = st.text("0123456789abcdef", min_size=8, max_size=8)
CLIPS = st.dictionaries(st.text("abcdef-0123", min_size=1, max_size=6), st.integers(1, 10), min_size=1, max_size=12)


@given(VERSIONS, st.integers(0, 2**31), CLIPS, st.integers(1, 4), st.integers(0, 5))
def test_every_clip_comes_once_per_epoch(version: str, seed: int, views: dict[str, int], take: int, epoch: int) -> None:
    order = ClipSampler(version, seed, views, take)
    places = [order.place(number) for number in range(epoch * len(order), (epoch + 1) * len(order))]
    assert sorted(place.clip_id for place in places) == sorted(views)
    assert {place.epoch for place in places} == {epoch}


@given(VERSIONS, st.integers(0, 2**31), CLIPS, st.integers(1, 4), st.data())
def test_the_order_depends_on_nothing_but_its_arguments(
    version: str, seed: int, views: dict[str, int], take: int, data: st.DataObject
) -> None:
    """Another object, clips named in another order, places asked for in another order: the same places."""
    order = ClipSampler(version, seed, views, take)
    shuffled = dict(data.draw(st.permutations(list(views.items()))))
    other = ClipSampler(version, seed, shuffled, take)
    numbers = data.draw(st.lists(st.integers(0, 60), max_size=20))
    there = {number: other.place(number) for number in reversed(numbers)}
    assert all(order.place(number) == there[number] for number in numbers)
    assert order.identity == other.identity


def test_the_order_is_that_of_other_machines_and_other_days() -> None:
    """Written down once: a change of this order would change what every resumed run sees."""
    order = ClipSampler("f0", 3, {"a": 4, "b": 4, "c": 4}, 2)
    assert [(place.clip_id, place.views) for place in map(order.place, range(6))] == [
        ("a", (0, 1)),
        ("b", (3, 0)),
        ("c", (2, 3)),
        ("b", (2, 1)),
        ("a", (3, 2)),
        ("c", (0, 1)),
    ]


@pytest.mark.parametrize("change", ["version", "seed"])
def test_version_and_seed_change_the_order(change: str) -> None:
    views = {f"clip{number}": 5 for number in range(20)}
    one = ClipSampler("aa", 0, views, 1)
    other = ClipSampler("ab" if change == "version" else "aa", 1 if change == "seed" else 0, views, 1)
    assert [one.place(n).clip_id for n in range(20)] != [other.place(n).clip_id for n in range(20)]
    assert one.identity != other.identity
    assert [one.place(n).clip_id for n in range(20)] != [one.place(n).clip_id for n in range(20, 40)]


@given(CLIPS, st.integers(1, 4), st.integers(1, 6))
def test_views_come_in_turn(views: dict[str, int], take: int, rounds: int) -> None:
    """Over as many epochs as a clip has views, each is drawn as often as any other."""
    order = ClipSampler("v", 0, views, take)
    for clip_id, count in views.items():
        drawn: Counter[int] = Counter()
        doubled = 0
        for epoch in range(rounds * count):
            place = next(p for n in range(len(order)) if (p := order.place(epoch * len(order) + n)).clip_id == clip_id)
            assert len(set(place.views)) == len(place.views)
            drawn.update(place.views)
            doubled += min(take, count) - len(place.views)
        each = rounds * min(take, count)
        assert set(drawn) == set(range(count))
        assert sum(drawn.values()) + doubled == each * count
        assert all(0 <= each - times <= doubled for times in drawn.values())


@given(CLIPS, st.integers(1, 9), st.integers(0, 40), st.integers(1, 9))
def test_ranks_share_the_global_order(views: dict[str, int], world_size: int, start: int, other_size: int) -> None:
    """The union of all ranks is the global order from `start` on, for any world size, also after a change of it."""
    steps = 4
    numbers = [list(islice(rank_numbers(start, rank, world_size), steps)) for rank in range(world_size)]
    assert sorted(n for each in numbers for n in each) == list(range(start, start + steps * world_size))
    assert all(n % world_size == rank for rank, each in enumerate(numbers) for n in each)
    onward = start + steps * world_size
    then = sorted(n for rank in range(other_size) for n in islice(rank_numbers(onward, rank, other_size), 2))
    assert then == list(range(onward, onward + 2 * other_size))


def test_nothing_to_order_is_said() -> None:
    with pytest.raises(ValueError, match="no clip to put in order"):
        ClipSampler("v", 0, {}, 1)
    with pytest.raises(ValueError, match=r"\['b'\] have no target view"):
        ClipSampler("v", 0, {"a": 1, "b": 0}, 1)
