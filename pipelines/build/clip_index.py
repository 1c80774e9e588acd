"""Which frames make which clip: the clip protocol applied to one log.

By the paper's protocol (Flux4D, arXiv 2512.03210, experimental setup) a training log gives 11-frame interpolation
clips and 16-frame future clips, each sharing five frames with the next; a test log gives one 16-frame evaluation clip
every 20 frames.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from store_schema.clip import ClipRecord, Split
from store_schema.protocol import LOG_ID, PAPER_PROTOCOL, ClipProtocol


@dataclass(frozen=True, slots=True)
class ClipIndex:
    """The clips of one log, ordered by setting, then first frame."""

    records: tuple[ClipRecord, ...]
    left_out: tuple[tuple[str, int], ...]
    """Clips that touch a missing frame: (clip id, the log's first missing frame in it)."""


def clip_records(
    log_id: str, num_frames: int, missing: Collection[int], *, test: bool, protocol: ClipProtocol = PAPER_PROTOCOL
) -> ClipIndex:
    """All clips of one log. A function of its arguments alone.

    Args:
        log_id: letters, digits, ``_`` and ``-``.
        num_frames: frames the log declares, missing ones included; a shorter log than a clip gives no clip.
        missing: frames of the log, 0..num_frames-1, that cannot be used. A clip that spans one is left
            out even where it would not use that frame: scene flow and ego motion need the sweeps between.
        test: the log is in the test split (evaluation clips) or trains (training clips).
        protocol: frames and strides; its test logs do not matter here.

    Raises:
        ValueError: the log id cannot be part of a clip id, or a missing frame is outside the log.
    """
    if not LOG_ID.fullmatch(log_id):
        raise ValueError(f"log id {log_id!r} cannot be part of a clip id: use only letters, digits, - and _")
    if outside := sorted(frame for frame in missing if not 0 <= frame < num_frames):
        raise ValueError(f"log {log_id} has frames 0..{num_frames - 1}, missing frames {outside[:5]} are outside")
    records, left_out = [], []
    absent = frozenset(missing)
    for record in _candidates(log_id, num_frames, test, protocol):
        gap = next((frame for frame in record.log_frames if frame in absent), None)
        if gap is None:
            records.append(record)
        else:
            left_out.append((record.clip_id, gap))
    return ClipIndex(tuple(records), tuple(left_out))


def _candidates(log_id: str, num_frames: int, test: bool, protocol: ClipProtocol) -> Iterator[ClipRecord]:
    """Every clip that fits into the log, whatever is missing."""
    split: Split = "test" if test else "train"
    for setting in protocol.settings(split):
        length = protocol.num_frames(setting)
        for first in range(0, num_frames - length + 1, protocol.stride(setting)):
            yield ClipRecord(
                clip_id=f"{log_id}-{setting}-s{first:03d}",
                log_id=log_id,
                split=split,
                setting=setting,
                first_frame=first,
                num_frames=length,
                input_frames=protocol.inputs,
                interpolation_frames=protocol.interpolation,
                future_frames=protocol.future_of(setting),
            )
