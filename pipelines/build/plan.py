"""Plan of a build: its options, and the logs, clips, frames and shards, decided before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from pipelines.build.clip_index import clip_records
from pipelines.features.config import FEATURES_VERSION, FeatureConfig, check_cameras
from pipelines.sources.base import LogError
from pipelines.sources.registry import AUTO, GROUP, get_source, is_of_this_process, resolve_source
from store_schema.clip import ClipRecord
from store_schema.command_line.options import RETRY_MINUTES, RetryMinutes, lasting
from store_schema.files.paths import Place, file_hash, location, relative_name
from store_schema.frame_store import FRAME_SCHEMA_VERSION, frames_key
from store_schema.hashing import hash_json
from store_schema.protocol import ClipProtocol, FlowRules
from store_schema.tables import SCHEMA_VERSION

GPS_DECIMALS = 8
"""About a millimetre."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """Build a dataset version from raw logs. What is there is kept, what is missing made, what is damaged repaired.

    The version hash is printed as the last line. Of the options, only root, source, camera, logs, clips-per-shard,
    protocol.*, flow.* and camera-time-shift determine it.
    """

    root: Place
    """Folder or URL (s3://bucket/logs) that holds one folder per log."""
    out: Annotated[
        Place,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="STORE", help="The store: folder or URL; --store STORE and --out STORE say the same."),
    ]
    source: str = AUTO
    """Which kind of logs they are; auto: the one source that knows the folders under root."""
    workers: int = 2
    """Dask worker processes; 0 runs everything in this process."""
    scheduler: str | None = None
    """Address of an existing Dask scheduler, tcp://host:8786; `workers` is then ignored."""
    camera: tuple[str, ...] = ("front_camera",)
    """Cameras whose images are trained on and scored (colours always come from all cameras of the log); in a log of
    several agents camera@agent."""
    logs: tuple[str, ...] | None = None
    """Only these logs; None takes every log under root."""
    clips_per_shard: int = 4
    """Clips in one tar."""
    protocol: ClipProtocol = field(default_factory=ClipProtocol)
    """Which frames make a clip, and which logs test; the defaults are the paper's."""
    flow: FlowRules = field(default_factory=FlowRules)
    """Ground truth of the scene flow; the defaults are the protocol's."""
    camera_time_shift: dict[str, float] = field(default_factory=dict)
    """Cameras that expose later than their stamps say (negative: earlier), each followed by the seconds:
    ``front_camera -0.012``. Their poses move along the camera's own path; docs/time.md says how to find the shift."""

    retry_minutes: RetryMinutes = RETRY_MINUTES

    def __post_init__(self) -> None:
        _ = lasting(self.retry_minutes)
        if self.clips_per_shard < 1:
            raise ValueError(f"clips_per_shard must be at least 1, got {self.clips_per_shard}")
        if self.workers < 0:
            raise ValueError(f"workers must be 0 (this process) or more, got {self.workers}")
        _ = self.features  # refuses what is wrong before anything is read

    @property
    def logs_root(self) -> Path:
        """Where the logs are."""
        return location(self.root, listings_cache=True, retry=lasting(self.retry_minutes))

    @property
    def store(self) -> Path:
        """Where the store is."""
        return location(self.out, retry=lasting(self.retry_minutes))

    @property
    def features(self) -> FeatureConfig:
        """The part that determines a frame's features."""
        shifts = tuple(sorted((name, float(shift)) for name, shift in self.camera_time_shift.items() if shift))
        return FeatureConfig(view_cameras=self.camera, flow=self.flow, camera_time_shift=shifts)

    def resolved(self) -> BuildConfig:
        """The same request with the source by its name.

        Raises:
            ValueError: there is no such source, no source or several know what lies under root, or the source is known
                to this process alone and workers are asked for.
        """
        source = resolve_source(self.source, self.logs_root, self.logs)
        if is_of_this_process(source.name) and (self.workers or self.scheduler):
            raise ValueError(
                f"source {source.name!r} was registered in this process, and workers do not know it: build with "
                f"workers=0, or let its package bring it as an entry point of group {GROUP}"
            )
        return replace(self, source=source.name)

    def content(self) -> dict[str, Any]:
        """The part that determines the dataset's content, for the manifest; of a request that is `resolved`.

        Raises:
            ValueError: there is no such source; "auto" is none.
        """
        return {
            "features": asdict(self.features),
            "features_version": FEATURES_VERSION,
            "clips_per_shard": self.clips_per_shard,
            "protocol": asdict(self.protocol),
            "source": self.source,
            "source_version": get_source(self.source).version,
        }

    @property
    def frames_folder(self) -> Path:
        """Frame store of this feature config: another config never reads these frames."""
        return self.store / "frames" / frames_key(self.content())


@dataclass(frozen=True, slots=True)
class LogPlan:
    """One log's share of the build."""

    log_id: str
    path: Path
    records: tuple[ClipRecord, ...]
    left_out: Mapping[str, str]
    """Clips that touch a missing frame, with the reason."""
    inputs: Mapping[str, str]
    """blake3 of every raw file, by path relative to the log's parent."""
    row: Mapping[str, Any]
    """The log's row of ``logs.parquet``."""

    @property
    def digest(self) -> str:
        """Hash of all raw files."""
        return hash_json(dict(self.inputs))

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames some clip needs, in order."""
        return tuple(sorted({frame for record in self.records for frame in record.log_frames}))


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One shard: its file name and the clips in it, in order."""

    name: str
    records: tuple[ClipRecord, ...]


def inspect_log(path: Path, config: BuildConfig) -> LogPlan | LogError:
    """Open one log, hash its files and decide its clips; what is wrong with it is returned."""
    try:
        return _inspect(path, config)
    except LogError as error:
        return error
    except OSError as error:
        return LogError(path.name, f"cannot be read: {error}; fetch it again", file=error.filename)


def _inspect(path: Path, config: BuildConfig) -> LogPlan:
    reader = get_source(config.source).open_log(path)
    check_cameras(reader, config.features)
    missing = reader.missing_frames()
    split = config.protocol.split(reader.log_id)
    index = clip_records(reader.log_id, reader.num_frames, set(missing), test=split == "test", protocol=config.protocol)
    gps = reader.gps()
    row = {
        "log_id": reader.log_id,
        "split": split,
        "num_frames": reader.num_frames,
        "missing_frames": sorted(missing),
        "cameras": list(reader.cameras),
        "agents": list(reader.agents),
        "start": round(reader.epoch, 6),
        "latitude": None if gps is None else gps[:, 0].round(GPS_DECIMALS).tolist(),
        "longitude": None if gps is None else gps[:, 1].round(GPS_DECIMALS).tolist(),
    }
    return LogPlan(
        log_id=reader.log_id,
        path=path,
        records=index.records,
        left_out={clip_id: f"frame {frame} of log {reader.log_id} is missing" for clip_id, frame in index.left_out},
        inputs={relative_name(file, path.parent): file_hash(file) for file in reader.input_files()},
        row=row,
    )


def plan_shards(records: Sequence[ClipRecord], clips_per_shard: int) -> list[ShardPlan]:
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


def request_key(config: BuildConfig, plans: Sequence[LogPlan]) -> str:
    """What is asked for: config, raw bytes and clips. The same request has the same answer, so it is done once."""
    logs = {plan.log_id: [plan.digest, [asdict(record) for record in plan.records]] for plan in plans}
    return hash_json([config.content(), SCHEMA_VERSION, FRAME_SCHEMA_VERSION, logs])
