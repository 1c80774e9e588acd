"""Build tasks of a worker: make frames, make a shard. Each can be repeated; bad input is returned as an error."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.build.assemble import assemble_clip
from pipelines.build.plan import BuildConfig, LogPlan, ShardPlan
from pipelines.features.config import FeatureConfig
from pipelines.features.frame_features import FrameComputer
from pipelines.sources.base import CameraModelError, LogError
from pipelines.sources.registry import get_source
from store_schema.clip import ClipRecord
from store_schema.codec import flow_class_counts
from store_schema.files.atomic import write_atomic
from store_schema.files.paths import file_hash, read_bytes
from store_schema.frame_store import CorruptFrameError, StoredFrame, read_frame, stored_input_hash, write_frame
from store_schema.json_dataclass import from_json, to_json
from store_schema.units import FLOW
from store_schema.version.shards import Shard, write_shard


@dataclass(frozen=True, slots=True)
class FrameSource:
    """Where a log's frames come from: the frame store, or the raw log where that has none."""

    path: Path
    """The raw log."""
    folder: Path
    """The log's folder in the frame store."""
    input_hash: str
    """Hash of the raw bytes the stored frames must be made from."""
    features: FeatureConfig
    source: str
    """Name of the source the log is of."""

    @classmethod
    def of(cls, plan: LogPlan, config: BuildConfig) -> FrameSource:
        """Where the frames of a planned log come from."""
        return cls(plan.path, config.frames_folder / plan.log_id, plan.digest, config.features, config.source)


_OPENED = threading.local()


def _computer(source: FrameSource) -> FrameComputer:
    """The log of a source, opened. A thread holds its last one: the next task is most likely of the same log.

    Raises:
        LogError: the log cannot be opened any more.
    """
    if getattr(_OPENED, "source", None) != source:
        kind = get_source(source.source)
        _OPENED.computer = FrameComputer(kind.open_log(source.path), source.features, kind.buckets)
        _OPENED.source = source
    computer: FrameComputer = _OPENED.computer
    return computer


@dataclass(frozen=True, slots=True)
class FramesDone:
    """Result of `build_frames`."""

    log_id: str
    made: int
    kept: int
    error: LogError | None = None


@dataclass(frozen=True, slots=True)
class ShardDone:
    """Result of `build_shard`: the shard and the clip-index rows of its clips."""

    shard: Shard
    clips: tuple[dict[str, Any], ...]
    healed: int = 0
    """Frames that were lost or damaged in the frame store and made again."""


def build_frames(source: FrameSource, frames: tuple[int, ...]) -> FramesDone:
    """Make the frames that are not stored yet or come from other raw bytes."""
    made = kept = 0
    try:
        computer = _computer(source)
        for frame in frames:
            if stored_input_hash(source.folder, frame) == source.input_hash:
                kept += 1
                continue
            _make(computer, source, frame)
            made += 1
    except LogError as error:
        return FramesDone(source.path.name, made, kept, error)
    return FramesDone(source.path.name, made, kept)


def _make(computer: FrameComputer, source: FrameSource, frame: int) -> None:
    try:
        stored = computer.compute(frame)
        # Clips turn the flow into their own frame: what is too long for the grid must be found here.
        for flow in (stored.arrays.flow, stored.arrays.smooth_flow):
            FLOW.encode(np.linalg.norm(flow, axis=1))
    except CameraModelError as error:
        raise LogError(source.path.name, str(error), frame=frame, file=source.path) from error
    except ValueError as error:
        reason = f"no features can be made: {error}; fetch the frame's files again, or leave the log out"
        raise LogError(source.path.name, reason, frame=frame, file=source.path) from error
    write_frame(source.folder, stored, source.input_hash)


def build_shard(plan: ShardPlan, sources: Mapping[str, FrameSource], staging: Path) -> ShardDone:
    """Write one shard, or take the one a killed run finished.

    Args:
        plan: the clips.
        sources: frames of every log the clips are of.
        staging: folder of this build; the shard goes to its ``version/shards``.

    Raises:
        RuntimeError: a log changed since its frames were made.
    """
    path, sidecar = staging / "version" / "shards" / plan.name, staging / "done" / f"{plan.name}.json"
    if (kept := _finished(plan, path, sidecar)) is not None:
        return kept
    rows: list[dict[str, Any]] = []
    healed = 0

    def samples() -> Iterator[tuple[str, dict[str, bytes]]]:
        nonlocal healed
        for clip in plan.records:
            frames = _Frames(sources[clip.log_id])
            done = assemble_clip(clip, frames.reader, frames.read)
            healed += frames.healed
            rows.append(_clip_row(clip, plan.name, done.num_coloured, done.num_views, done.flow_class, done.members))
            yield clip.clip_id, done.members

    try:
        shard = write_shard(path, samples())
    except LogError as error:
        raise RuntimeError(f"{error}. The log changed while it was being built: run the build again") from error
    result = ShardDone(shard, tuple(rows), healed)
    write_sidecar(sidecar, result)
    return result


class _Frames:
    """Frames of one log; a damaged one is made again."""

    def __init__(self, source: FrameSource) -> None:
        self.healed = 0
        self._computer = _computer(source)
        self.reader = self._computer.reader
        self._source = source

    def read(self, frame: int, arrays: Collection[str]) -> StoredFrame:
        try:
            return read_frame(self._source.folder, frame, arrays)
        except (CorruptFrameError, FileNotFoundError):
            _make(self._computer, self._source, frame)
            self.healed += 1
            return read_frame(self._source.folder, frame, arrays)


def _clip_row(
    clip: ClipRecord, shard: str, num_coloured: int, num_views: int, flow_class: Any, members: Mapping[str, bytes]
) -> dict[str, Any]:
    return {
        **asdict(clip),
        "shard": shard,
        "num_points": len(flow_class),
        "num_coloured": num_coloured,
        "num_views": num_views,
        **flow_class_counts(flow_class),
        "num_bytes": sum(len(data) for data in members.values()),
    }


def write_sidecar(path: Path, done: ShardDone) -> None:
    """Say beside a build's shards that one is finished, and what is in it."""
    write_atomic(path, json.dumps({"shard": to_json(done.shard), "clips": done.clips}).encode())


def _finished(plan: ShardPlan, path: Path, sidecar: Path) -> ShardDone | None:
    """The shard as an earlier run left it, if it is whole and holds the planned clips."""
    if not (sidecar.is_file() and path.is_file()):
        return None
    raw = json.loads(read_bytes(sidecar))
    done = ShardDone(from_json(Shard, raw["shard"]), tuple(raw["clips"]))
    same_clips = [row["clip_id"] for row in done.clips] == [record.clip_id for record in plan.records]
    return done if same_clips and file_hash(path) == done.shard.blake3 else None
