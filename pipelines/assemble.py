"""Frames to clips: change of frame to ego0, quantisation, and the members of one sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pipelines.projection import invert_rigid, transform_points
from pipelines.sources.base import LogReader
from store_schema.clip import ClipRecord
from store_schema.codec import QUATERNION_STEP, ClipHeader, ClipTables, ViewHeader, encode_clip
from store_schema.frame_store import StoredFrame, read_frame
from store_schema.units import DEPTH, FLOW, POSITION, SCALE, TIME

MIN_SCALE_M = 1e-3
"""Points measured twice have neighbours at no distance; a Gaussian needs some extent."""


@dataclass(frozen=True, slots=True)
class AssembledClip:
    """The members of one sample and what the clip index says of it."""

    members: dict[str, bytes]
    num_points: int
    num_coloured: int
    num_views: int


def assemble_clip(record: ClipRecord, reader: LogReader, log_group: Path) -> AssembledClip:
    """One clip from its stored frames and the log's own JPEG files.

    Raises:
        FileNotFoundError, CorruptFrameError: a stored frame is missing or damaged.
        LogError: an image cannot be read.
    """
    frames = [read_frame(log_group, frame) for frame in record.log_frames]
    world2ego0 = invert_rigid(np.array(frames[0].attributes["ego2world"]))
    start = float(frames[0].attributes["time"])
    header = _header(record, reader.cameras, frames, world2ego0, start)
    has_cuboids = all(frame.attributes["has_cuboids"] for frame in frames)
    stored = ClipTables(
        points=_points(record, frames, world2ego0, start),
        depth=_depth(header, frames),
        moving=_moving(header, frames) if has_cuboids else None,
        boxes=_boxes(frames, world2ego0) if has_cuboids else None,
    )
    jpegs = [reader.camera(view.camera, record.first_frame + view.frame).jpeg() for view in header.views]
    return AssembledClip(
        members=encode_clip(header, stored, jpegs),
        num_points=len(stored.points["camera"]),
        num_coloured=int(np.count_nonzero(stored.points["camera"] >= 0)),
        num_views=len(header.views),
    )


def compose(a2b: NDArray[np.float64], b2c: NDArray[np.float64]) -> NDArray[np.float64]:  # [4, 4]
    """a2c, by plain sums: BLAS may fuse multiply-adds differently from CPU to CPU."""
    product: NDArray[np.float64] = (b2c[:, :, None] * a2b[None, :, :]).sum(axis=1)
    return product


def _header(
    record: ClipRecord,
    rig_cameras: tuple[str, ...],
    frames: list[StoredFrame],
    world2ego0: NDArray[np.float64],
    start: float,
) -> ClipHeader:
    used = sorted(record.input_frames + record.target_frames)
    views = [
        ViewHeader(
            frame=frame,
            camera=view["camera"],
            time=view["time"] - start,
            cam2ego0=compose(np.array(view["cam2world"]), world2ego0),
            K=np.array(view["K"]),
            width=view["width"],
            height=view["height"],
        )
        for frame in used
        for view in frames[frame].attributes["views"]
    ]
    return ClipHeader(
        record=record,
        rig_cameras=rig_cameras,
        view_cameras=tuple(view["camera"] for view in frames[0].attributes["views"]),
        sweep_times=np.array([frame.attributes["time"] - start for frame in frames]),
        ego2ego0=np.stack([compose(np.array(frame.attributes["ego2world"]), world2ego0) for frame in frames]),
        views=tuple(sorted(views, key=lambda view: (view.frame, view.camera))),
    )


def _points(
    record: ClipRecord, frames: list[StoredFrame], world2ego0: NDArray[np.float64], start: float
) -> dict[str, NDArray]:
    rotate = world2ego0.copy()
    rotate[:3, 3] = 0.0
    parts: list[dict[str, NDArray]] = []
    for number in record.input_frames:
        arrays = frames[number].arrays
        means = POSITION.encode(transform_points(world2ego0, arrays.points))
        flow = FLOW.encode(transform_points(rotate, arrays.flow.astype(np.float64)))
        parts.append(
            {
                **{name: means[:, axis] for axis, name in enumerate("xyz")},
                **{f"flow_{name}": flow[:, axis] for axis, name in enumerate("xyz")},
                **{name: arrays.rgb[:, channel] for channel, name in enumerate("rgb")},
                "scale": SCALE.encode(np.maximum(arrays.scale, MIN_SCALE_M)),
                "time": TIME.encode(arrays.times - start),
                "camera": arrays.camera,
                "frame": np.full(len(means), number, np.int16),
                "sensor": arrays.sensor,
                "intensity": arrays.intensity,
                "in_view": arrays.in_view.astype(np.uint8),
                "flow_class": arrays.flow_class,
                "bucket": arrays.bucket,
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _per_view(
    header: ClipHeader, frames: list[StoredFrame], view_column: str, columns: Mapping[str, str]
) -> dict[str, NDArray]:
    """Rows of a per-view table of all views of the clip, sorted by the view's place in the header."""
    out: dict[str, list[NDArray]] = {"view": [], **{name: [] for name in columns}}
    for index, view in enumerate(header.views):
        frame = frames[view.frame]
        number = [entry["camera"] for entry in frame.attributes["views"]].index(view.camera)
        rows = getattr(frame.arrays, view_column) == number
        out["view"].append(np.full(int(rows.sum()), index, np.int16))
        for name, source in columns.items():
            out[name].append(getattr(frame.arrays, source)[rows])
    return {name: np.concatenate(parts) for name, parts in out.items()}


def _depth(header: ClipHeader, frames: list[StoredFrame]) -> dict[str, NDArray]:
    table = _per_view(header, frames, "depth_view", {"pixel": "depth_pixel", "depth": "depth"})
    return {**table, "depth": DEPTH.encode(table["depth"])}


def _moving(header: ClipHeader, frames: list[StoredFrame]) -> dict[str, NDArray]:
    return _per_view(header, frames, "moving_view", {"start": "moving_start", "length": "moving_length"})


def _boxes(frames: list[StoredFrame], world2ego0: NDArray[np.float64]) -> dict[str, Any]:
    out: dict[str, list[Any]] = {}
    world2ego0_rotation = Rotation.from_matrix(world2ego0[:3, :3])
    for number, frame in enumerate(frames):
        arrays = frame.arrays
        count = len(arrays.box_pose)
        centre = POSITION.encode(transform_points(world2ego0, arrays.box_pose[:, :3]))
        rotation = world2ego0_rotation * Rotation.from_euler("z", arrays.box_pose[:, 3:])
        quats = np.rint(rotation.as_quat(canonical=True, scalar_first=True) / QUATERNION_STEP).astype(np.int32)
        size = POSITION.encode(arrays.box_size)
        rows: dict[str, Any] = {
            "frame": np.full(count, number, np.int16),
            "track": np.array(frame.attributes["track"], dtype=object),
            "label": np.array(frame.attributes["label"], dtype=object),
            **{name: centre[:, axis] for axis, name in enumerate("xyz")},
            **{f"q{name}": quats[:, axis] for axis, name in enumerate("wxyz")},
            **{name: size[:, axis] for axis, name in enumerate(("width", "length", "height"))},
            "sensor": arrays.box_sensor,
            "moving": arrays.box_moving.astype(np.uint8),
        }
        for name, values in rows.items():
            out.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in out.items()}
