"""The clip index: the paper's protocol to the frame."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipelines.build.clip_index import ClipIndex, clip_records
from store_schema.protocol import LAST_FRAME, TEST_LOGS, ClipProtocol

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
        ({"inputs": ()}, "start at frame 0"),
        ({"interpolation": (), "future": ()}, "both empty"),
        ({"future": (11, LAST_FRAME + 1)}, "frames 0..32767"),
        ({"test_logs": ("001", "a.b")}, r"test_logs \['a.b'\] cannot be ids"),
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
        ClipProtocol(**fields)


def test_another_protocol() -> None:
    short = ClipProtocol(inputs=(0, 2), interpolation=(1,), future=(3,), train_interpolation_stride=3)
    index = clip_records("002", 7, (), test=False, protocol=short)
    assert starts(index, "train_interpolation") == [0, 3]
    assert [record.num_frames for record in index.records] == [3, 3, 4]


@st.composite
def protocols(draw: st.DrawFn) -> ClipProtocol:
    """Any protocol with clips of up to 40 frames."""
    inputs = draw(st.sets(st.integers(1, 25), max_size=6)) | {0}
    between = draw(st.sets(st.integers(1, max(1, max(inputs))), max_size=6)) - inputs
    between = {frame for frame in between if frame < max(inputs)}
    after = draw(st.sets(st.integers(1, 14).map(lambda step: step + max(inputs)), max_size=5))
    assume(between or after)
    strides = {f"{name}_stride": draw(st.integers(1, 30)) for name in EXPECTED}
    logs = tuple(draw(st.lists(st.sampled_from(["a", "b", "c"]))))
    frames = {"inputs": inputs, "interpolation": between, "future": after}
    return ClipProtocol(**{name: tuple(sorted(each)) for name, each in frames.items()}, **strides, test_logs=logs)


@given(protocol=protocols(), frames=st.integers(0, 90), gaps=st.sets(st.integers(0, 89), max_size=4))
def test_by_any_protocol_clips_lie_in_the_log_and_none_is_lost(
    protocol: ClipProtocol, frames: int, gaps: set[int]
) -> None:
    missing = {gap for gap in gaps if gap < frames}
    test = protocol.split("a") == "test"
    assert test == ("a" in protocol.test_logs)
    index = clip_records("a", frames, missing, test=test, protocol=protocol)
    planned = {record.clip_id: record.log_frames for record in index.records}
    for record in index.records:
        assert record.target_frames
        assert 0 <= record.first_frame
        assert record.log_frames[-1] < frames
        assert not missing & set(record.log_frames)
        used = record.input_frames + record.target_frames
        assert len(set(used)) == len(used)
        assert 0 <= min(used)
        assert set(used) <= set(range(record.num_frames))
        assert record.num_frames - 1 in {*used, max(record.input_frames)}
        assert record.first_frame % protocol.stride(record.setting) == 0
    # Counted without the code: every start of every setting is a clip or was left out for a frame that is missing.
    lengths = {
        "train_interpolation": max(protocol.inputs) + 1,
        "train_future": max(protocol.inputs + protocol.future) + 1,
        "evaluation": max(protocol.inputs + protocol.future) + 1,
    }
    wanted = {"evaluation"} if test else set()
    if not test and protocol.interpolation:
        wanted.add("train_interpolation")
    if not test and protocol.future:
        wanted.add("train_future")
    expected = {
        f"a-{setting}-s{first:03d}": range(first, first + lengths[setting])
        for setting in wanted
        for first in range(frames)
        if first % getattr(protocol, f"{setting}_stride") == 0 and first + lengths[setting] <= frames
    }
    assert planned.keys() | dict(index.left_out).keys() == expected.keys()
    assert not planned.keys() & dict(index.left_out).keys()
    for clip_id, frame in index.left_out:
        assert frame == min(missing & set(expected[clip_id]))


def test_the_order_of_the_test_logs_does_not_matter() -> None:
    assert ClipProtocol(test_logs=("b", "a", "b")) == ClipProtocol(test_logs=("a", "b"))
    assert hash(ClipProtocol(test_logs=("b", "a"))) == hash(ClipProtocol(test_logs=("a", "b")))


def test_without_targets_of_a_kind_there_are_no_clips_to_train_it() -> None:
    between = clip_records("a", 30, (), test=False, protocol=ClipProtocol(future=()))
    assert {record.setting for record in between.records} == {"train_interpolation"}
    after = clip_records("a", 30, (), test=False, protocol=ClipProtocol(interpolation=()))
    assert {record.setting for record in after.records} == {"train_future"}
    test = clip_records("a", 30, (), test=True, protocol=ClipProtocol(future=()))
    assert [(record.num_frames, record.future_frames) for record in test.records] == [(11, ())]
