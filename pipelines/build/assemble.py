"""Frames to clips: change of frame to ego0, quantisation, and the members of one sample."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pipelines.geometry.rigid import compose, invert_rigid, transform_points
from pipelines.sources.base import LogReader
from store_schema.clip import ClipRecord
from store_schema.codec import QUATERNION_STEP, ClipHeader, ClipTables, ViewHeader, encode_clip
from store_schema.frame_attributes import FrameAttributes
from store_schema.frame_store import ARRAYS, POINT_ARRAYS, StoredFrame
from store_schema.units import FLOW, POSITION, TIME

ReadFrame = Callable[[int, Collection[str]], StoredFrame]
"""Reads a frame of the log by number: the arrays of the given names."""
_WITHOUT_POINTS = tuple(name for name in ARRAYS if name not in POINT_ARRAYS)


@dataclass(frozen=True, slots=True)
class AssembledClip:
    """The members of one sample and what the clip index says of it."""

    members: dict[str, bytes]
    num_coloured: int
    num_views: int
    flow_class: NDArray[np.uint8]  # [N]


def assemble_clip(record: ClipRecord, reader: LogReader, read: ReadFrame) -> AssembledClip:
    """One clip from its stored frames and the log's own image files.

    Raises:
        LogError: an image cannot be read.
    """
    frames = [
        read(record.first_frame + number, ARRAYS if number in record.input_frames else _WITHOUT_POINTS)
        for number in range(record.num_frames)
    ]
    attributes = [frame.attributes for frame in frames]
    world2ego0 = invert_rigid(attributes[0].ego2world)
    start = attributes[0].time
    header = _header(record, reader, attributes, world2ego0, start)
    has_cuboids = all(frame.has_cuboids for frame in attributes)
    stored = ClipTables(
        points=_points(record, frames, world2ego0, start),
        depth=_depth(header, frames),
        moving=_moving(header, frames) if has_cuboids else None,
        boxes=_boxes(frames, world2ego0) if has_cuboids else None,
    )
    images = [reader.camera(view.name, record.first_frame + view.frame).image() for view in header.views]
    return AssembledClip(
        members=encode_clip(header, stored, images),
        num_coloured=int(np.count_nonzero(stored.points["camera"] >= 0)),
        num_views=len(header.views),
        flow_class=stored.points["flow_class"],
    )


def _header(
    record: ClipRecord,
    reader: LogReader,
    frames: list[FrameAttributes],
    world2ego0: NDArray[np.float64],
    start: float,
) -> ClipHeader:
    used = sorted(record.input_frames + record.target_frames)
    views = [
        ViewHeader(
            frame=frame,
            camera=view.camera,
            time=view.time - start,
            cam2ego0=compose(view.cam2world, world2ego0),
            K=view.K,
            width=view.width,
            height=view.height,
            image_format=view.image_format,
            agent=view.agent,
            model=view.model,
        )
        for frame in used
        for view in frames[frame].views
    ]
    return ClipHeader(
        record=record,
        rig_cameras=reader.cameras,
        view_cameras=tuple(view.name for view in frames[0].views),
        sweep_times=np.array([frame.time - start for frame in frames]),
        ego2ego0=np.stack([compose(frame.ego2world, world2ego0) for frame in frames]),
        views=tuple(sorted(views, key=lambda view: (view.frame, view.agent, view.camera))),
        agents=reader.agents,
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
        flow = FLOW.encode(transform_points(rotate, arrays.flow))
        smooth = FLOW.encode(transform_points(rotate, arrays.smooth_flow))
        parts.append(
            {
                **{name: means[:, axis] for axis, name in enumerate("xyz")},
                **{f"flow_{name}": flow[:, axis] for axis, name in enumerate("xyz")},
                **{f"smooth_{name}": smooth[:, axis] for axis, name in enumerate("xyz")},
                **{name: arrays.rgb[:, channel] for channel, name in enumerate("rgb")},
                "scale": arrays.scale,
                "time": TIME.encode(arrays.times - start),
                "camera": arrays.camera,
                "frame": np.full(len(means), number, np.int16),
                "sensor": arrays.sensor,
                "agent": arrays.agent,
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
        number = [entry.name for entry in frame.attributes.views].index(view.name)
        rows = getattr(frame.arrays, view_column) == number
        out["view"].append(np.full(int(rows.sum()), index, np.int16))
        for name, source in columns.items():
            out[name].append(getattr(frame.arrays, source)[rows])
    return {name: np.concatenate(parts) for name, parts in out.items()}


def _depth(header: ClipHeader, frames: list[StoredFrame]) -> dict[str, NDArray]:
    columns = {"pixel": "depth_pixel", "depth": "depth", "visible": "depth_visible"}
    found = _per_view(header, frames, "depth_view", columns)
    return {**found, "visible": found["visible"].astype(np.uint8)}


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
            "track": np.array(frame.attributes.track, dtype=object),
            "label": np.array(frame.attributes.label, dtype=object),
            **{name: centre[:, axis] for axis, name in enumerate("xyz")},
            **{f"q{name}": quats[:, axis] for axis, name in enumerate("wxyz")},
            **{name: size[:, axis] for axis, name in enumerate(("width", "length", "height"))},
            "sensor": arrays.box_sensor,
            "moving": arrays.box_moving.astype(np.uint8),
        }
        for name, values in rows.items():
            out.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in out.items()}
