"""A version of six small clips in three shards, with cuboids and GPS, and what tests of damage need to know of it."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path

import numpy as np

from store_schema import tables
from store_schema.clip import Clip
from store_schema.codec import flow_class_counts
from store_schema.files.atomic import write_atomic
from store_schema.version.dataset import LATEST
from store_schema.version.shards import write_shard
from store_schema.version.write import write_version
from tests.support.scenes.toy import make_clip
from tests.support.stores.toy_store import encode, toy_log_row

SHARDS = ("test-evaluation-00000.tar", "train-train-future-00000.tar", "train-train-interpolation-00000.tar")
CLIPS_PER_SHARD = 2


def small_clips() -> dict[str, list[Clip]]:
    """Clips by shard."""
    clips = {}
    for number, (name, setting) in enumerate(
        zip(SHARDS, ("evaluation", "train_future", "train_interpolation"), strict=True)
    ):
        clips[name] = []
        for seed in range(CLIPS_PER_SHARD):
            clip = make_clip(width=32, height=18, per_frame=12, seed=10 * number + seed, setting=setting)
            clip_id = f"{clip.record.split}-{setting}-s{seed:03d}"
            record = replace(clip.record, clip_id=clip_id, log_id=clip.record.split, first_frame=seed)
            clips[name].append(replace(clip, record=record))
    return clips


def write_small_version(store: Path) -> Path:
    """Write the version and make it the newest; returns its folder."""
    staging = store / "staging"
    shards, rows = [], []
    for name, clips in small_clips().items():
        members = {clip.record.clip_id: {**encode(clip), "boxes.arrow": box_table(clip)} for clip in clips}
        shards.append(write_shard(staging / "shards" / name, members.items()))
        for clip in clips:
            counts = {"num_points": len(clip.points), "num_coloured": len(clip.points), "num_views": len(clip.views)}
            size = sum(map(len, members[clip.record.clip_id].values()))
            classes = flow_class_counts(clip.points.flow_class)
            rows.append({**asdict(clip.record), "shard": name, **counts, **classes, "num_bytes": size})
    degrees = np.round(37.5 + np.arange(16) * 1.3e-5, 8).tolist()
    manifest = write_version(
        staging,
        config={"features": {"view_cameras": ["front_camera"]}},
        shards=shards,
        clips=rows,
        logs=[
            toy_log_row("test", "test"),
            {**toy_log_row("train", "train"), "latitude": degrees, "longitude": degrees},
        ],
        left_out={"train-train_future-s099": "frame 3 of log train is missing"},
        provenance={"built_at": "2026-01-01", "inputs": {"train": {"lidar/00.pkl.gz": "0" * 64}}},
    )
    folder = store / "versions" / manifest.version
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging.rename(folder)
    write_atomic(store / LATEST, manifest.version.encode())
    return folder


def box_table(clip: Clip) -> bytes:
    """``boxes.arrow`` of a toy clip: its boxes are not turned."""
    assert clip.boxes is not None
    boxes, count = clip.boxes, len(clip.boxes.frame)
    millimetres = np.rint(np.concatenate([boxes.box2ego0[:, :3, 3], boxes.size], axis=1) * 1000).astype(np.int32)
    turn = {"qw": 10**6, "qx": 0, "qy": 0, "qz": 0}
    return tables.to_ipc(
        tables.BOXES,
        {
            "frame": boxes.frame,
            "track": list(boxes.track),
            "label": list(boxes.label),
            **{name: millimetres[:, i] for i, name in enumerate(("x", "y", "z", "width", "length", "height"))},
            **{name: np.full(count, value, np.int32) for name, value in turn.items()},
            "sensor": boxes.sensor,
            "moving": boxes.moving.astype(np.uint8),
        },
    )


def same(a: object, b: object) -> bool:
    """Whether two clips, or parts of them, are equal to the last bit."""
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b
