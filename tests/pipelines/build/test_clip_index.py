"""The clip index: the paper's protocol to the frame."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.build.clip_index import ClipIndex, clip_records
from store_schema.protocol import TEST_LOGS, Protocol

INPUTS, BETWEEN, AFTER = (0, 2, 4, 6, 8, 10), (1, 3, 5, 7, 9), (11, 12, 13, 14, 15)
EXPECTED = {  # setting -> frames, stride, future
    "train_interpolation": (11, 6, ()),
    "train_future": (16, 11, AFTER),
    "evaluation": (16, 20, AFTER),
}


def starts(index: ClipIndex, setting: str) -> list[int]:
    return [record.first_frame for record in index.records if record.setting == setting]


def test_slice_of_36_frames() -> None:
    train = clip_records("002", 36, (), test=False)
    assert starts(train, "train_interpolation") == [0, 6, 12, 18, 24]
    assert starts(train, "train_future") == [0, 11]
    assert starts(train, "evaluation") == []
    test = clip_records("002", 36, (), test=True)
    assert [record.clip_id for record in test.records] == ["002-evaluation-s000", "002-evaluation-s020"]
    assert not train.left_out + test.left_out


def test_full_log_of_80_frames() -> None:
    assert starts(clip_records("001", 80, (), test=True), "evaluation") == [0, 20, 40, 60]
    train = clip_records("003", 80, (), test=False)
    assert starts(train, "train_interpolation") == list(range(0, 67, 6))
    assert starts(train, "train_future") == [0, 11, 22, 33, 44, 55]
    assert len(train.records) == 18


def test_test_logs_are_the_papers() -> None:
    assert sorted(TEST_LOGS) == ["001", "011", "016", "065", "084", "090", "106", "115", "123", "158"]


def test_missing_frame_leaves_out_exactly_the_clips_that_span_it() -> None:
    index = clip_records("002", 36, {13, 12}, test=False)
    assert starts(index, "train_interpolation") == [0, 18, 24]
    assert index.left_out == (
        ("002-train_interpolation-s006", 12),
        ("002-train_interpolation-s012", 12),
        ("002-train_future-s000", 12),
        ("002-train_future-s011", 12),
    )


@pytest.mark.parametrize("frames", [0, 1, 10])
def test_log_shorter_than_a_clip_gives_none(frames: int) -> None:
    assert clip_records("002", frames, (), test=False) == ClipIndex((), ())


@given(
    frames=st.integers(0, 120),
    gaps=st.sets(st.integers(0, 119), max_size=6),
    test=st.booleans(),
)
def test_every_clip_follows_the_protocol(frames: int, gaps: set[int], test: bool) -> None:
    missing = {gap for gap in gaps if gap < frames}
    index = clip_records("log_7-b", frames, missing, test=test)
    for record in index.records:
        length, stride, future = EXPECTED[record.setting]
        assert record.first_frame % stride == 0
        assert record.num_frames == length
        assert 0 <= record.first_frame
        assert record.log_frames[-1] < frames
        assert not missing & set(record.log_frames)
        assert (record.input_frames, record.interpolation_frames, record.future_frames) == (INPUTS, BETWEEN, future)
        assert sorted(record.input_frames + record.target_frames) == list(range(length))
        assert record.clip_id == f"log_7-b-{record.setting}-s{record.first_frame:03d}"
        assert record.split == ("test" if test else "train")
        assert (record.setting == "evaluation") == test
    # Nothing is lost: kept and left out together are every start that fits.
    ids = [record.clip_id for record in index.records] + [clip_id for clip_id, _ in index.left_out]
    assert len(set(ids)) == len(ids)
    fit = sum(
        len(range(0, frames - length + 1, stride))
        for setting, (length, stride, _) in EXPECTED.items()
        if (setting == "evaluation") == test
    )
    assert len(ids) == fit
    for clip_id, frame in index.left_out:
        setting, first = clip_id.removeprefix("log_7-b-").rsplit("-s", 1)
        assert frame == min(gap for gap in missing if int(first) <= gap < int(first) + EXPECTED[setting][0])
    assert index == clip_records("log_7-b", frames, sorted(missing, reverse=True), test=test)


@given(frames=st.integers(16, 120))
def test_splits_are_disjoint(frames: int) -> None:
    ids = [{r.clip_id for r in clip_records("a", frames, (), test=test).records} for test in (False, True)]
    assert ids[0]
    assert ids[1]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize("log_id", ["", "0.2", "a/b", "ü", "a b", "002\n"])
def test_refuses_log_ids_that_cannot_be_part_of_a_clip_id(log_id: str) -> None:
    with pytest.raises(ValueError, match="log id"):
        clip_records(log_id, 36, (), test=False)


@pytest.mark.parametrize("missing", [{36}, {-1}])
def test_refuses_missing_frames_outside_the_log(missing: set[int]) -> None:
    with pytest.raises(ValueError, match="outside"):
        clip_records("002", 36, missing, test=False)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"inputs": ()}, "at least one"),
        ({"inputs": (0, 4, 2)}, "ascending"),
        ({"inputs": (0, 2, 2)}, "ascending"),
        ({"inputs": (2, 4, 10)}, "start at frame 0"),
        ({"interpolation": (1, 2)}, "both"),
        ({"interpolation": (1, 13)}, "after the last input"),
        ({"interpolation": (-1, 3)}, "ascending"),
        ({"future": (9, 11)}, "not after"),
        ({"future": (10, 11)}, "not after"),
        ({"evaluation_stride": 0}, "at least 1"),
        ({"train_future_stride": -3}, "at least 1"),
    ],
)
def test_protocol_refuses_what_makes_no_clip(fields: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Protocol(**fields)


def test_another_protocol() -> None:
    short = Protocol(inputs=(0, 2), interpolation=(1,), future=(3,), train_interpolation_stride=3)
    index = clip_records("002", 7, (), test=False, protocol=short)
    assert starts(index, "train_interpolation") == [0, 3]
    assert [record.num_frames for record in index.records] == [3, 3, 4]
