"""Toy clips as a dataset version on disk."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from store_schema.clip import Clip
from store_schema.codec import ClipHeader, ClipTables, ViewHeader, encode_clip, flow_class_counts, mask_runs
from store_schema.files.atomic import write_atomic
from store_schema.units import DEPTH, FLOW, POSITION, SCALE, TIME
from store_schema.version.dataset import LATEST
from store_schema.version.shards import write_shard
from store_schema.version.write import write_version


def encode(clip: Clip) -> dict[str, bytes]:
    points = clip.points
    assert points.smooth_flow is not None
    means, flow, smooth = POSITION.encode(points.means), FLOW.encode(points.flow), FLOW.encode(points.smooth_flow)
    runs = [mask_runs(view.moving_mask) for view in clip.views if view.moving_mask is not None]
    stored = ClipTables(
        points={
            **{name: means[:, axis] for axis, name in enumerate("xyz")},
            **{f"flow_{name}": flow[:, axis] for axis, name in enumerate("xyz")},
            **{f"smooth_{name}": smooth[:, axis] for axis, name in enumerate("xyz")},
            **{name: points.rgb[:, channel] for channel, name in enumerate("rgb")},
            "scale": SCALE.encode(points.scales),
            "time": TIME.encode(points.times),
            "in_view": points.in_view.astype(np.uint8),
            **{
                n: getattr(points, n)
                for n in ("camera", "frame", "sensor", "agent", "intensity", "flow_class", "bucket")
            },
        },
        depth={
            "view": np.concatenate([np.full(len(v.depth), i, np.int16) for i, v in enumerate(clip.views)]),
            "pixel": np.concatenate([v.depth_pixel for v in clip.views]),
            "depth": DEPTH.encode(np.concatenate([v.depth for v in clip.views])),
            "visible": np.concatenate([v.depth_visible for v in clip.views]).astype(np.uint8),
        },
        moving={
            "view": np.concatenate([np.full(len(run[0]), i, np.int16) for i, run in enumerate(runs)]),
            "start": np.concatenate([run[0] for run in runs]),
            "length": np.concatenate([run[1] for run in runs]),
        },
        boxes=None,
    )
    header = ClipHeader(
        record=clip.record,
        rig_cameras=clip.rig_cameras,
        view_cameras=clip.view_cameras,
        sweep_times=clip.sweep_times,
        ego2ego0=clip.ego2ego0,
        views=tuple(
            ViewHeader(v.frame, v.camera, v.time, v.cam2ego0, v.K, v.width, v.height, v.image_format, v.agent, v.model)
            for v in clip.views
        ),
        agents=clip.agents,
    )
    return encode_clip(header, stored, [view.image for view in clip.views])


def write_store(store: Path, clips: list[Clip]) -> str:
    """Write `clips` as one shard of a version; returns the version."""
    staging = store / "staging"
    members = {clip.record.clip_id: encode(clip) for clip in clips}
    shard = write_shard(staging / "shards" / "all.tar", members.items())
    rows = [
        {
            **asdict(clip.record),
            "shard": shard.name,
            "num_points": len(clip.points),
            "num_coloured": len(clip.points),
            "num_views": len(clip.views),
            **flow_class_counts(clip.points.flow_class),
            "num_bytes": sum(len(data) for data in members[clip.record.clip_id].values()),
        }
        for clip in clips
    ]
    config = {"features": {"view_cameras": list(clips[0].view_cameras)}}
    logs = [toy_log_row(log_id, split) for log_id, split in sorted({(c.record.log_id, c.record.split) for c in clips})]
    manifest = write_version(
        staging, config=config, shards=[shard], clips=rows, logs=logs, left_out={}, provenance={"built_at": "once"}
    )
    (store / "versions").mkdir(parents=True, exist_ok=True)
    staging.rename(store / "versions" / manifest.version)
    write_atomic(store / LATEST, manifest.version.encode())
    return manifest.version


def toy_log_row(log_id: str, split: str) -> dict[str, object]:
    return {
        "log_id": log_id,
        "split": split,
        "num_frames": 16,
        "missing_frames": [],
        "cameras": ["front_camera"],
        "agents": [""],
        "start": 1.5,
        "latitude": None,
        "longitude": None,
    }
