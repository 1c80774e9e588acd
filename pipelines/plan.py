"""What a build will do: logs, clips, frames and shards, all decided before any work starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.clip_index import TEST_LOGS, clip_records
from pipelines.frame_features import FEATURES_VERSION, FeatureConfig, check_cameras
from pipelines.sources.base import LogError
from pipelines.sources.pandaset import PandaSetLog, open_logs
from store_schema.clip import ClipRecord
from store_schema.frame_store import FRAME_SCHEMA_VERSION
from store_schema.hashing import hash_json
from store_schema.tables import SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """What to build. Only `camera`, `test_logs`, `logs` and `clips_per_shard` determine the content."""

    root: Path
    """Folder that holds one folder per log, in PandaSet layout."""
    out: Path
    """The store."""
    workers: int = 2
    """Dask worker processes; 0 runs everything in this process."""
    scheduler: str | None = None
    """Address of an existing Dask scheduler, tcp://host:8786; `workers` is then ignored."""
    camera: tuple[str, ...] = ("front_camera",)
    """Cameras whose images are trained on and scored (colours always come from all cameras of the log)."""
    logs: tuple[str, ...] | None = None
    """Only these logs; None takes every log under root."""
    test_logs: tuple[str, ...] = TEST_LOGS
    """Logs of the test split; the default is the paper's ten."""
    clips_per_shard: int = 4
    """Clips in one tar."""

    def __post_init__(self) -> None:
        if self.clips_per_shard < 1:
            raise ValueError(f"clips_per_shard must be at least 1, got {self.clips_per_shard}")
        if self.workers < 0:
            raise ValueError(f"workers must be 0 (this process) or more, got {self.workers}")

    @property
    def features(self) -> FeatureConfig:
        """The part that determines a frame's features."""
        return FeatureConfig(view_cameras=self.camera)

    def content(self) -> dict[str, Any]:
        """The part that determines the dataset's content, for the manifest."""
        return {
            "features": asdict(self.features),
            "features_version": FEATURES_VERSION,
            "clips_per_shard": self.clips_per_shard,
            "source": "pandaset",
        }

    @property
    def frames_folder(self) -> Path:
        """Frame store of this feature config: another config never reads these frames."""
        key = hash_json([self.content()["features"], FEATURES_VERSION, FRAME_SCHEMA_VERSION])[:16]
        return self.out / "frames" / key


@dataclass(frozen=True, slots=True)
class LogPlan:
    """One log's share of the build."""

    log_id: str
    path: Path
    records: tuple[ClipRecord, ...]
    left_out: Mapping[str, str]
    """Clips that touch a missing frame, with the reason."""

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames some clip needs, in order."""
        return tuple(sorted({frame for record in self.records for frame in record.log_frames}))


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One shard: its file name and the clips in it, in order."""

    name: str
    records: tuple[ClipRecord, ...]


def plan_log(path: Path, config: BuildConfig) -> LogPlan:
    """Clips and frames of one log.

    Raises:
        LogError: the log cannot be opened.
    """
    reader = PandaSetLog(path)
    check_cameras(reader, config.features)
    missing = reader.missing_frames()
    index = clip_records(reader.log_id, reader.num_frames, set(missing), test=reader.log_id in config.test_logs)
    left_out = {clip_id: f"frame {frame} of log {reader.log_id} is missing" for clip_id, frame in index.left_out}
    return LogPlan(reader.log_id, path, index.records, left_out)


def plan_logs(config: BuildConfig) -> tuple[list[LogPlan], list[LogError]]:
    """Plans of all logs that can be opened, and the errors of those that cannot.

    Raises:
        ValueError: no logs under the root, or a named log is not there.
    """
    plans, errors = [], []
    for path in open_logs(config.root, config.logs):
        try:
            plans.append(plan_log(path, config))
        except LogError as error:
            errors.append(error)
    return plans, errors


def plan_shards(records: list[ClipRecord], clips_per_shard: int) -> list[ShardPlan]:
    """Shards by (split, setting), clips in order of their ids: a function of the set of clips alone."""
    shards = []
    for split, setting in sorted({(record.split, record.setting) for record in records}):
        group = sorted(
            (record for record in records if (record.split, record.setting) == (split, setting)),
            key=lambda record: record.clip_id,
        )
        for number, start in enumerate(range(0, len(group), clips_per_shard)):
            name = f"{split}-{setting}-{number:05d}.tar".replace("_", "-")
            shards.append(ShardPlan(name, tuple(group[start : start + clips_per_shard])))
    return shards


def staging_key(config: BuildConfig, shards: list[ShardPlan], inputs: Mapping[str, str]) -> str:
    """Name of the folder where finished shards of this very build wait for the rest, across restarts."""
    plan = [[shard.name, [asdict(record) for record in shard.records]] for shard in shards]
    return hash_json([config.content(), SCHEMA_VERSION, plan, dict(inputs)])[:16]
