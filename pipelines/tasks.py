"""The units of work a worker runs. Each is idempotent, returns a small record and never raises on bad input."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.assemble import assemble_clip
from pipelines.frame_features import FeatureConfig, compute_frame
from pipelines.plan import ShardPlan
from pipelines.sources.base import LogError
from pipelines.sources.pandaset import PandaSetLog
from store_schema import tables
from store_schema.atomic import write_atomic
from store_schema.codec import ClipHeader
from store_schema.frame_store import stored_input_hash, write_frame
from store_schema.hashing import hash_file, hash_json
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


def hash_inputs(log_path: Path) -> dict[str, str] | LogError:
    """blake3 of every raw file of a log, by path relative to the log's parent."""
    try:
        files = PandaSetLog(log_path).input_files()
        return {str(file.relative_to(log_path.parent)): hash_file(file) for file in files}
    except LogError as error:
        return error
    except OSError as error:
        return LogError(log_path.name, str(error), file=error.filename)


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
    done = staging / f"{plan.name}.json"
    if done.is_file() and path.is_file():
        record = _from_json(done)
        if hash_file(path) == record.shard.blake3:
            return record
    rows: list[dict[str, Any]] = []

    def samples() -> Any:
        for clip in plan.records:
            reader = PandaSetLog(roots[clip.log_id])
            members = assemble_clip(clip, reader, log_group(frames_folder, clip.log_id))
            rows.append(_clip_row(ClipHeader.from_json(members["clip.json"]), members, plan.name))
            yield clip.clip_id, members

    shard = write_shard(path, samples())
    result = ShardDone(shard, tuple(rows))
    write_atomic(done, json.dumps({"shard": asdict(shard), "clips": rows}).encode())
    return result


def _from_json(path: Path) -> ShardDone:
    raw = json.loads(path.read_bytes())
    members = tuple(Member(**member) for member in raw["shard"].pop("members"))
    return ShardDone(Shard(**raw["shard"], members=members), tuple(raw["clips"]))


def _clip_row(header: ClipHeader, members: dict[str, bytes], shard: str) -> dict[str, Any]:
    points = tables.from_ipc(tables.POINTS, members["points.arrow"])
    row = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(header.record).items()}
    return {
        **row,
        "shard": shard,
        "num_points": len(points["x"]),
        "num_coloured": int(np.count_nonzero(points["camera"] >= 0)),
        "num_views": len(header.views),
    }


def combined_hash(inputs: dict[str, str]) -> str:
    """One hash for all raw files of a log."""
    return hash_json(inputs)
