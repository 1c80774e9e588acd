"""Which clips count as seen in training: those that share a frame with what the run recorded."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.run_folder.seen_frames import NOTHING_SEEN, SeenFrames, seen_frames
from store_schema.clip import ClipRecord


def record(log_id: str, first: int, length: int, setting: str = "evaluation") -> ClipRecord:
    clip_id = f"{log_id}-{setting}-s{first:03d}"
    return ClipRecord(clip_id, log_id, "test", setting, first, length, (0,), (), (length - 1,))  # type: ignore[arg-type]


spans = st.tuples(st.sampled_from(["a", "b-1"]), st.integers(0, 60), st.integers(1, 20))


@given(st.lists(spans, max_size=12), spans)
def test_seen_means_a_shared_frame(trained: list[tuple[str, int, int]], scored: tuple[str, int, int]) -> None:
    clips = [record(*span) for span in trained]
    frames = {(clip.log_id, frame) for clip in clips for frame in clip.log_frames}
    seen = SeenFrames.of_clips(clips)
    assert set(seen) == frames
    clip = record(*scored)
    assert seen.has_seen(clip) == bool(frames & {(clip.log_id, frame) for frame in clip.log_frames})
    again = seen_frames(json.loads(json.dumps({"clips_seen": ["any"], "frames_seen": seen.to_json()})))
    assert again == seen


def test_stretches_are_joined_where_nothing_lies_between_them() -> None:
    clips = [record("a", 6, 5), record("a", 0, 6), record("a", 20, 1), record("a", 12, 2)]
    assert SeenFrames.of_clips(clips).to_json() == {"a": [[0, 10], [12, 13], [20, 20]]}


@pytest.mark.parametrize(
    ("clip_id", "first", "expected"),
    [
        ("open-evaluation-s000", 15, True),
        ("open-evaluation-s000", 16, False),
        ("open-train_interpolation-s005", 15, True),
        ("open-train_interpolation-s005", 16, False),
        ("open-train_future-s011", 26, True),
        ("open-train_future-s011", 27, False),
        ("other-evaluation-s000", 0, False),
    ],
)
def test_a_run_of_before_frames_were_recorded_has_the_papers_lengths(clip_id: str, first: int, expected: bool) -> None:
    assert seen_frames({"clips_seen": [clip_id]}).has_seen(record("open", first, 3)) is expected


def test_ids_of_logs_with_dashes_and_foreign_ids() -> None:
    old = seen_frames({"clips_seen": ["street-7-train_future-s011"]})
    assert old.frames_seen == {"street-7": ((11, 26),)}
    with pytest.raises(ValueError, match=r"clip '002_11' spans: its id does not read"):
        seen_frames({"clips_seen": ["002_11"]})
    # What is recorded needs no name.
    assert seen_frames({"clips_seen": ["002_11"], "frames_seen": {"002": [[11, 13]]}}).has_seen(record("002", 13, 2))


def test_without_a_run_nothing_is_seen() -> None:
    assert seen_frames({}) == NOTHING_SEEN
    assert not NOTHING_SEEN.has_seen(record("a", 0, 5))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ({"a": [[3, 2]]}, "frames of log a must be stretches"),
        ({"a": [[0, 5], [5, 6]]}, "frames of log a must be stretches"),
        ({"a": []}, "frames of log a must be stretches"),
        ({"a": [[-1, 2]]}, "frames of log a must be stretches"),
        ({"a": [[0, 1.5]]}, r"frames_seen\.a\[0\]\[1\] must be an integer"),
        ({"a": [[0]]}, r"frames_seen\.a\[0\] must be a list of 2"),
        ([1], "frames_seen must be an object"),
    ],
)
def test_a_damaged_record_is_refused(frames: object, message: str) -> None:
    with pytest.raises(ValueError, match=rf"run\.json: {message}"):
        seen_frames({"frames_seen": frames})
