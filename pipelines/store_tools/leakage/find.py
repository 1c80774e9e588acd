"""Find leakage between splits: shared logs or frames, and logs of different splits at one place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product

import numpy as np
from numpy.typing import NDArray

from pipelines.geometry.geodesy import earth_centred
from pipelines.store_tools.leakage.nearest_approach import nearest_approach
from store_schema.clip import ClipRecord

THRESHOLD_M = 5.0
"""Tracks of different splits that come closer than this are reported.

The distance of arXiv 2312.06420, which finds over 80 % of nuScenes' and 40 % of Argoverse 2's validation and test
samples less than 5 m from a training sample; with the same distance, figures can be compared. A lane is about 3.5 m
wide, so it means: the same lane or the next, and some metres of GPS error. It does not mean that farther is unseen:
LiDAR and cameras reach 50 m and more, so pass 50 or 100 to learn which logs share a view.
"""


@dataclass(frozen=True, slots=True, eq=False)
class LogTrack:
    """A log, where it stands and where it drove."""

    log_id: str
    splits: tuple[str, ...]
    """Every split that a clip of the log is in, at least one."""
    gps: NDArray[np.float64] | None  # [F, 2] latitude, longitude, degrees WGS84, a row a frame; None is unknown

    def __post_init__(self) -> None:
        if not self.splits:
            raise ValueError(f"log {self.log_id} is in no split; leave out logs without clips")
        if self.gps is not None:
            _check_gps(self.log_id, self.gps)


@dataclass(frozen=True, slots=True)
class SharedFrames:
    """Frames of one log that clips of more than one split use."""

    log_id: str
    splits: tuple[str, ...]
    frames: tuple[int, ...]
    """Frames of the log, as input or target."""
    targets: tuple[int, ...]
    """Those that are a target in more than one split."""


@dataclass(frozen=True, slots=True)
class ClosePair:
    """Two logs of different splits whose tracks come close; log_a sorts before log_b."""

    log_a: str
    log_b: str
    splits_a: tuple[str, ...]
    splits_b: tuple[str, ...]
    frame_a: int
    """Frame of log_a nearest to the place of least distance."""
    frame_b: int
    distance_m: float
    """Between the tracks, not the frames; rounded to 1 mm."""


@dataclass(frozen=True, slots=True)
class LeakageReport:
    """What was found, and how much could be looked at."""

    shared_logs: tuple[tuple[str, tuple[str, ...]], ...]
    """Logs in more than one split: log, its splits."""
    shared_frames: tuple[SharedFrames, ...] | None
    """None when no clip index was given: not checked."""
    close_pairs: tuple[ClosePair, ...]
    """Nearest first."""
    without_gps: tuple[str, ...]
    """Logs whose place is unknown: n/a, not clean."""
    num_logs: int
    num_pairs: int
    """Pairs of logs of different splits."""
    num_pairs_checked: int
    """Those of them where both logs have GPS."""
    threshold_m: float

    @property
    def leaks(self) -> bool:
        """Whether anything was found. False does not mean clean: see `num_pairs_checked`."""
        return bool(self.shared_logs or self.shared_frames or self.close_pairs)


def log_tracks(records: Sequence[ClipRecord], gps: Mapping[str, NDArray[np.float64] | None]) -> tuple[LogTrack, ...]:
    """One track for each log that has clips, in order of their ids.

    Raises:
        ValueError: a log is not in `gps` (give None where the place is unknown), or its GPS is unusable.
    """
    splits: dict[str, set[str]] = defaultdict(set)
    for record in records:
        splits[record.log_id].add(record.split)
    if absent := sorted(splits.keys() - gps.keys()):
        raise ValueError(f"no GPS entry for logs {', '.join(absent[:5])}; give None for a log without GPS")
    return tuple(LogTrack(log, tuple(sorted(splits[log])), gps[log]) for log in sorted(splits))


def find_leakage(
    tracks: Sequence[LogTrack], threshold_m: float = THRESHOLD_M, records: Sequence[ClipRecord] | None = None
) -> LeakageReport:
    """Logs and frames in more than one split, and pairs of logs of different splits that come close.

    A function of the set of tracks, not of their order.

    Args:
        tracks: one for each log, see `log_tracks`.
        threshold_m: metres; closer than this is reported.
        records: the clip index; without it frames are not checked.

    Raises:
        ValueError: the threshold is not positive, a log stands twice in `tracks`, or a clip's log and split do not
            stand in `tracks`.
    """
    if not (threshold_m > 0 and np.isfinite(threshold_m)):
        raise ValueError(f"threshold_m must be metres above 0, got {threshold_m}")
    tracks = sorted(tracks, key=lambda track: track.log_id)
    for first, second in pairwise(tracks):
        if first.log_id == second.log_id:
            raise ValueError(f"log {first.log_id} stands twice; give one track with all of its splits")
    pairs = [pair for pair in combinations(tracks, 2) if _differ(*pair)]
    known = [(a, b) for a, b in pairs if a.gps is not None and b.gps is not None]
    return LeakageReport(
        shared_logs=tuple((t.log_id, tuple(sorted(set(t.splits)))) for t in tracks if len(set(t.splits)) > 1),
        shared_frames=None if records is None else _shared_frames(tracks, records),
        close_pairs=tuple(sorted(_close_pairs(known, threshold_m), key=lambda p: (p.distance_m, p.log_a, p.log_b))),
        without_gps=tuple(t.log_id for t in tracks if t.gps is None),
        num_logs=len(tracks),
        num_pairs=len(pairs),
        num_pairs_checked=len(known),
        threshold_m=float(threshold_m),
    )


def _check_gps(log_id: str, gps: NDArray[np.float64]) -> None:
    """Refuse what is no track on Earth: a wrong place would be called clean."""
    if gps.ndim != 2 or gps.shape[1] != 2 or not len(gps):
        raise ValueError(f"log {log_id}: GPS has shape {gps.shape}, needs [F, 2] with F >= 1, or None if it has none")
    ok = np.isfinite(gps).all(axis=1) & (np.abs(gps) <= (90.0, 180.0)).all(axis=1)
    # What receivers write before they have a fix; two such logs would be called neighbours.
    ok &= gps.any(axis=1)
    if not ok.all():
        frame = int(np.argmin(ok))
        raise ValueError(
            f"log {log_id}, frame {frame}: {gps[frame, 0]}, {gps[frame, 1]} is no GPS fix (latitude -90..90, longitude "
            "-180..180, degrees, not both 0); correct it, or give None for the log"
        )


def _differ(a: LogTrack, b: LogTrack) -> bool:
    """Whether a split of one log is not the split of the other: both in train and test differ too."""
    return any(s != t for s, t in product(a.splits, b.splits))


def _close_pairs(pairs: Sequence[tuple[LogTrack, LogTrack]], threshold_m: float) -> Iterator[ClosePair]:
    boxes = {}
    for track in {t.log_id: t for pair in pairs for t in pair}.values():
        assert track.gps is not None
        points = earth_centred(track.gps)
        boxes[track.log_id] = points.min(axis=0), points.max(axis=0)
    for a, b in pairs:
        assert a.gps is not None
        assert b.gps is not None
        (low_a, high_a), (low_b, high_b) = boxes[a.log_id], boxes[b.log_id]
        # No two points of the boxes are closer than the gap between them.
        if np.linalg.norm(np.maximum(0.0, np.maximum(low_a - high_b, low_b - high_a))) > threshold_m:
            continue
        found = nearest_approach(a.gps, b.gps)
        distance = round(found.distance_m, 3)
        if distance < threshold_m:
            yield ClosePair(a.log_id, b.log_id, a.splits, b.splits, found.frame_a, found.frame_b, distance)


def _shared_frames(tracks: Sequence[LogTrack], records: Sequence[ClipRecord]) -> tuple[SharedFrames, ...]:
    splits = {track.log_id: track.splits for track in tracks}
    used: dict[tuple[str, int], set[str]] = defaultdict(set)
    target: dict[tuple[str, int], set[str]] = defaultdict(set)
    for record in records:
        if record.split not in splits.get(record.log_id, ()):
            raise ValueError(f"clip {record.clip_id}: the tracks have no log {record.log_id} in {record.split}")
        for frame in (*record.input_frames, *record.target_frames):
            used[record.log_id, record.first_frame + frame].add(record.split)
        for frame in record.target_frames:
            target[record.log_id, record.first_frame + frame].add(record.split)
    frames: dict[str, list[int]] = defaultdict(list)
    for (log, frame), names in sorted(used.items()):
        if len(names) > 1:
            frames[log].append(frame)
    return tuple(
        SharedFrames(
            log,
            tuple(sorted(set().union(*(used[log, frame] for frame in shared)))),
            tuple(shared),
            tuple(frame for frame in shared if len(target[log, frame]) > 1),
        )
        for log, shared in frames.items()
    )
