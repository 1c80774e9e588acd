"""The units of work a worker runs. Each is idempotent, returns a small record and never raises on bad input."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.assemble import assemble_clip
from pipelines.frame_features import FeatureConfig, compute_frame
from pipelines.plan import ShardPlan
from pipelines.sources.base import LogError
from pipelines.sources.pandaset import PandaSetLog
from store_schema.atomic import write_atomic
from store_schema.frame_store import stored_input_hash, write_frame
from store_schema.hashing import hash_file
from store_schema.shards import Member, Shard, write_shard


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


def log_group(frames_folder: Path, log_id: str) -> Path:
    """Zarr group of one log."""
    return frames_folder / f"{log_id}.zarr"


def hash_inputs(log_path: Path) -> tuple[str, dict[str, str] | LogError]:
    """Id of a log, and blake3 of its every raw file by path relative to the log's parent."""
    try:
        files = PandaSetLog(log_path).input_files()
        return log_path.name, {str(file.relative_to(log_path.parent)): hash_file(file) for file in files}
    except LogError as error:
        return log_path.name, error
    except OSError as error:
        return log_path.name, LogError(log_path.name, str(error), file=error.filename)


def build_frames(
    log_path: Path, frames: tuple[int, ...], config: FeatureConfig, input_hash: str, frames_folder: Path
) -> FramesDone:
    """Make the frames that are not stored yet or come from other raw bytes."""
    reader = PandaSetLog(log_path)
    group = log_group(frames_folder, reader.log_id)
    made = kept = 0
    try:
        for frame in frames:
            if stored_input_hash(group, frame) == input_hash:
                kept += 1
                continue
            write_frame(group, compute_frame(reader, frame, config), input_hash)
            made += 1
    except LogError as error:
        return FramesDone(reader.log_id, made, kept, error)
    return FramesDone(reader.log_id, made, kept)


def build_shard(plan: ShardPlan, roots: dict[str, Path], frames_folder: Path, staging: Path) -> ShardDone:
    """Write one shard, or take the one a killed run finished."""
    path = staging / "shards" / plan.name
    sidecar = staging / f"{plan.name}.json"
    if sidecar.is_file() and path.is_file():
        record = _from_json(sidecar)
        if hash_file(path) == record.shard.blake3:
            return record
    rows: list[dict[str, Any]] = []

    def samples() -> Any:
        for clip in plan.records:
            reader = PandaSetLog(roots[clip.log_id])
            done = assemble_clip(clip, reader, log_group(frames_folder, clip.log_id))
            counts = {name: getattr(done, name) for name in ("num_points", "num_coloured", "num_views")}
            rows.append({**asdict(clip), "shard": plan.name, **counts})
            yield clip.clip_id, done.members

    shard = write_shard(path, samples())
    result = ShardDone(shard, tuple(rows))
    write_atomic(sidecar, json.dumps({"shard": asdict(shard), "clips": rows}).encode())
    return result


def _from_json(path: Path) -> ShardDone:
    raw = json.loads(path.read_bytes())
    members = tuple(Member(**member) for member in raw["shard"].pop("members"))
    return ShardDone(Shard(**raw["shard"], members=members), tuple(raw["clips"]))
