"""Encode a clip as members of a tar, and decode it again.

Members of a sample (names after the key's dot):
``clip.json`` header, ``points.arrow``, ``depth.arrow``, ``moving.arrow`` and ``boxes.arrow`` (both only with cuboids)
and an image per view: ``f{frame:02d}_{camera}.jpg``, of one of several agents ``f{frame:02d}_{camera}@{agent}.jpg``,
``.png`` where the log has PNG. Which view a member is says the header; names are made here and taken apart nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store_schema import tables
from store_schema.camera_model import PINHOLE, CameraModel, model_from_json, model_to_json
from store_schema.clip import Boxes, Clip, ClipRecord, ImageFormat, LiftedPoints, View, view_name
from store_schema.hashing import canonical_json
from store_schema.labels import FlowClass
from store_schema.migrations import ONE_AGENT, check_schema_version, member_schema, migrate_columns, migrate_header
from store_schema.protocol import LOG_ID
from store_schema.units import DEPTH, FLOW, POSITION, QUATERNION, SCALE, TIME

QUATERNION_STEP = QUATERNION.step
POSE_DECIMALS = 9
"""Poses in the header are rounded here, far below a sensor's accuracy, so that last bits do not reach the hash."""
TABLE_MEMBERS = ("clip.json", "points.arrow", "depth.arrow", "moving.arrow", "boxes.arrow")
"""Members that are no image; a clip has the last two only with cuboids."""
SUFFIXES: Mapping[ImageFormat, str] = {"jpeg": "jpg", "png": "png"}
"""What the names of image members end with."""


@dataclass(frozen=True, slots=True, eq=False)
class ViewHeader:
    """What ``clip.json`` says of one view."""

    frame: int
    camera: str
    time: float
    cam2ego0: NDArray[np.float64]  # [4, 4]
    K: NDArray[np.float64]  # [3, 3]
    width: int
    height: int
    image_format: ImageFormat = "jpeg"
    agent: str = ""
    model: CameraModel = PINHOLE

    @property
    def name(self) -> str:
        """What names the camera in the clip: `store_schema.clip.view_name`."""
        return view_name(self.agent, self.camera)

    @property
    def member(self) -> str:
        """Name of the view's image member."""
        return f"f{self.frame:02d}_{self.name}.{SUFFIXES[self.image_format]}"


@dataclass(frozen=True, slots=True, eq=False)
class ClipHeader:
    """``clip.json``."""

    record: ClipRecord
    rig_cameras: tuple[str, ...]
    view_cameras: tuple[str, ...]
    sweep_times: NDArray[np.float64]  # [num_frames] s
    ego2ego0: NDArray[np.float64]  # [num_frames, 4, 4]
    views: tuple[ViewHeader, ...]
    agents: tuple[str, ...] = ONE_AGENT
    schema_version: int = tables.SCHEMA_VERSION
    """Schema of the clip's tables."""

    def to_json(self) -> bytes:
        """Canonical bytes."""
        return canonical_json(
            {
                "schema_version": self.schema_version,
                "record": asdict(self.record),
                "agents": list(self.agents),
                "rig_cameras": list(self.rig_cameras),
                "view_cameras": list(self.view_cameras),
                "sweep_times": _rounded(self.sweep_times),
                "ego2ego0": _rounded(self.ego2ego0),
                "views": [
                    {
                        "frame": view.frame,
                        "agent": view.agent,
                        "camera": view.camera,
                        "time": _rounded(np.float64(view.time)),
                        "cam2ego0": _rounded(view.cam2ego0),
                        "K": _rounded(view.K),
                        "width": view.width,
                        "height": view.height,
                        "model": model_to_json(view.model),
                        "image_format": view.image_format,
                        "member": view.member,
                    }
                    for view in self.views
                ],
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> ClipHeader:
        """Parse `to_json`'s bytes.

        Raises:
            ValueError: written by a newer schema, or a view names another member than its own.
        """
        raw = json.loads(data)
        check_schema_version(raw["schema_version"])
        raw = migrate_header(raw)
        views = tuple(
            ViewHeader(
                frame=view["frame"],
                camera=view["camera"],
                time=view["time"],
                cam2ego0=np.array(view["cam2ego0"], dtype=np.float64),
                K=np.array(view["K"], dtype=np.float64),
                width=view["width"],
                height=view["height"],
                image_format=view["image_format"],
                agent=view["agent"],
                model=model_from_json(view["model"]),
            )
            for view in raw["views"]
        )
        # Other readers go by the names that are written, this one by those it makes: they must be the same.
        for view, stated in zip(views, raw["views"], strict=True):
            if stated.get("member", view.member) != view.member:
                raise ValueError(f"clip.json names {stated['member']!r} for the image {view.member!r}")
        return cls(
            record=record_from_json(raw["record"]),
            rig_cameras=tuple(raw["rig_cameras"]),
            view_cameras=tuple(raw["view_cameras"]),
            sweep_times=np.array(raw["sweep_times"], dtype=np.float64),
            ego2ego0=np.array(raw["ego2ego0"], dtype=np.float64),
            views=views,
            agents=tuple(raw["agents"]),
            schema_version=raw["schema_version"],
        )


def record_from_json(raw: Mapping[str, Any]) -> ClipRecord:
    """A `ClipRecord` from its JSON or Parquet row; other keys are ignored."""
    values: dict[str, Any] = {field.name: raw[field.name] for field in fields(ClipRecord)}
    for name in ("input_frames", "interpolation_frames", "future_frames"):
        values[name] = tuple(int(frame) for frame in values[name])
    return ClipRecord(**values)


def _rounded(values: NDArray[np.float64] | np.float64) -> Any:
    # Adding zero turns -0.0 into 0.0, which prints differently.
    return (np.round(values, POSE_DECIMALS) + 0.0).tolist()


def mask_runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Runs of true pixels of a mask in row-major order: starts and lengths."""
    flat = mask.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    first, last = np.zeros(int(flat[:1].any()), np.int64), np.full(int(flat[-1:].any()), flat.size)
    edges = np.concatenate([first, changes, last])
    return edges[::2].astype(np.int32), (edges[1::2] - edges[::2]).astype(np.int32)


def mask_from_runs(starts: NDArray, lengths: NDArray, height: int, width: int) -> NDArray[np.bool_]:
    """Inverse of `mask_runs`."""
    steps = np.zeros(height * width + 1, np.int8)
    steps[starts] += 1
    steps[starts + lengths] -= 1
    return np.cumsum(steps[:-1], dtype=np.int8).astype(bool).reshape(height, width)


def flow_class_counts(flow_class: NDArray[np.uint8]) -> dict[str, int]:
    """Points of each flow class, by their column in the clip index."""
    counts = np.bincount(flow_class, minlength=len(FlowClass))
    return {f"num_{kind.name.lower()}": int(counts[kind]) for kind in FlowClass}


@dataclass(frozen=True, slots=True, eq=False)
class ClipTables:
    """The column tables of one clip as stored (integers on the grids)."""

    points: Mapping[str, NDArray]
    depth: Mapping[str, NDArray]
    moving: Mapping[str, NDArray] | None
    boxes: Mapping[str, Any] | None


def encode_clip(header: ClipHeader, stored: ClipTables, images: Sequence[bytes]) -> dict[str, bytes]:
    """Members of one sample, by name.

    Raises:
        ValueError: not one image per view, two views of one name or a name that cannot be a member's, columns that are
            not the schema's, or a header of another schema.
    """
    if header.schema_version != tables.SCHEMA_VERSION:
        raise ValueError(
            f"clip {header.record.clip_id}: a header of schema {header.schema_version} cannot stand before tables of "
            f"schema {tables.SCHEMA_VERSION}: make it anew"
        )
    if len(images) != len(header.views):
        raise ValueError(f"clip {header.record.clip_id}: {len(images)} images for {len(header.views)} views")
    _check_names(header)
    members = {
        "clip.json": header.to_json(),
        "points.arrow": tables.to_ipc(tables.POINTS, stored.points),
        "depth.arrow": tables.to_ipc(tables.DEPTH_SAMPLES, stored.depth),
    }
    if stored.moving is not None:
        members["moving.arrow"] = tables.to_ipc(tables.MASK_RUNS, stored.moving)
    if stored.boxes is not None:
        members["boxes.arrow"] = tables.to_ipc(tables.BOXES, stored.boxes)
    members.update({view.member: image for view, image in zip(header.views, images, strict=True)})
    return members


def _check_names(header: ClipHeader) -> None:
    """Refuse names that no member could have, and two views in one member."""
    where = f"clip {header.record.clip_id}"
    for view in header.views:
        # Of these alone, camera@agent is different for different pairs, and a dot would end the member's name.
        if not LOG_ID.fullmatch(view.camera) or not (view.agent == "" or LOG_ID.fullmatch(view.agent)):
            raise ValueError(f"{where}: {view.name!r} cannot name a member: use letters, digits, - and _")
        if view.agent not in header.agents:
            raise ValueError(f"{where}: {view.name} is of no agent of the clip, which has {list(header.agents)}")
    if len({(view.frame, view.name) for view in header.views}) < len(header.views):
        raise ValueError(f"{where}: a camera has two views of one frame")


def decode_clip(read: Callable[[str], bytes], names: Sequence[str], cameras: Sequence[str] | None = None) -> Clip:
    """The clip whose members `read` returns by name; images of `cameras` (by `View.name`) only when given.

    Raises:
        ValueError: a member has another schema.
        KeyError: a member is missing.
    """
    header = ClipHeader.from_json(read("clip.json"))

    def table(name: str) -> dict[str, NDArray]:
        columns = tables.from_ipc(member_schema(name, header.schema_version), read(name))
        return migrate_columns(name, columns, header.schema_version)

    depth = table("depth.arrow")
    moving = table("moving.arrow") if "moving.arrow" in names else None
    boxes = decode_boxes(table("boxes.arrow")) if "boxes.arrow" in names else None
    views = tuple(
        _decode_view(index, view, header.record, depth, moving, read(view.member))
        for index, view in enumerate(header.views)
        if cameras is None or view.name in cameras
    )
    return Clip(
        record=header.record,
        rig_cameras=header.rig_cameras,
        view_cameras=header.view_cameras,
        sweep_times=header.sweep_times,
        ego2ego0=header.ego2ego0,
        points=decode_points(table("points.arrow")),
        views=views,
        boxes=boxes,
        agents=header.agents,
    )


def _decode_view(
    index: int,
    view: ViewHeader,
    record: ClipRecord,
    depth: Mapping[str, NDArray],
    moving: Mapping[str, NDArray] | None,
    image: bytes,
) -> View:
    rows = slice(*np.searchsorted(depth["view"], [index, index + 1]))
    mask = None
    if moving is not None:
        runs = slice(*np.searchsorted(moving["view"], [index, index + 1]))
        mask = mask_from_runs(moving["start"][runs], moving["length"][runs], view.height, view.width)
    return View(
        frame=view.frame,
        camera=view.camera,
        role=record.role(view.frame),
        time=view.time,
        cam2ego0=view.cam2ego0,
        K=view.K,
        width=view.width,
        height=view.height,
        image=image,
        depth_pixel=depth["pixel"][rows],
        depth=DEPTH.decode(depth["depth"][rows]),
        depth_visible=depth["visible"][rows].astype(bool),
        moving_mask=mask,
        image_format=view.image_format,
        agent=view.agent,
        model=view.model,
    )


def decode_points(columns: Mapping[str, NDArray]) -> LiftedPoints:
    """Physical values of ``points.arrow``; of a schema before 3 without the smoothed flow."""

    def stack(names: Sequence[str]) -> NDArray:
        return np.stack([columns[name] for name in names], axis=1)

    return LiftedPoints(
        means=POSITION.decode(stack(["x", "y", "z"])),
        scales=SCALE.decode(columns["scale"]),
        rgb=stack(["r", "g", "b"]),
        camera=columns["camera"],
        times=TIME.decode(columns["time"]),
        frame=columns["frame"],
        sensor=columns["sensor"],
        agent=columns["agent"],
        intensity=columns["intensity"],
        in_view=columns["in_view"].astype(bool),
        flow=FLOW.decode(stack(["flow_x", "flow_y", "flow_z"])),
        flow_class=columns["flow_class"],
        bucket=columns["bucket"],
        smooth_flow=FLOW.decode(stack(["smooth_x", "smooth_y", "smooth_z"])) if "smooth_x" in columns else None,
    )


def decode_boxes(columns: Mapping[str, NDArray]) -> Boxes:
    """Physical values of ``boxes.arrow``."""
    quats = np.stack([columns[f"q{axis}"] for axis in "wxyz"], axis=1) * QUATERNION_STEP
    box2ego0 = np.tile(np.eye(4, dtype=np.float32), (len(quats), 1, 1))
    box2ego0[:, :3, :3] = quats_to_rotations(quats / np.linalg.norm(quats, axis=1, keepdims=True))
    box2ego0[:, :3, 3] = POSITION.decode(np.stack([columns[name] for name in "xyz"], axis=1))
    size = np.stack([columns[name] for name in ("width", "length", "height")], axis=1)
    return Boxes(
        frame=columns["frame"],
        track=tuple(columns["track"]),
        label=tuple(columns["label"]),
        box2ego0=box2ego0,
        size=POSITION.decode(size),
        sensor=columns["sensor"],
        moving=columns["moving"].astype(bool),
    )


def quats_to_rotations(quats: NDArray) -> NDArray[np.float64]:  # [M, 4] wxyz, unit -> [M, 3, 3]
    """Rotation matrices of unit quaternions."""
    w, x, y, z = quats.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows, dtype=np.float64), 2, 0)
