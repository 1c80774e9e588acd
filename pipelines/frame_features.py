"""Everything one frame of a log needs, computed once: lift, projected depth, flow, masks, boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pipelines.depth_map import sparse_depth
from pipelines.lift import colour_points, knn_scale
from pipelines.moving_mask import annotation_times, moving_mask
from pipelines.projection import project
from pipelines.scene_flow import flow_ground_truth, moving_boxes
from pipelines.sources.base import CameraFrame, Cuboids, LogError, LogReader, Sweep
from store_schema.codec import mask_runs
from store_schema.frame_store import FrameArrays, StoredFrame

FEATURES_VERSION = 1
"""Raised whenever this code would write other values for the same input, so that stored frames are made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """What determines a frame's features."""

    view_cameras: tuple[str, ...] = ("front_camera",)
    """Cameras whose images are trained on and scored; the paper uses the front camera."""
    neighbours: int = 3
    """Nearest neighbours whose mean distance is a point's scale (paper: 3)."""

    def __post_init__(self) -> None:
        if not self.view_cameras or len(set(self.view_cameras)) != len(self.view_cameras):
            raise ValueError(f"view_cameras must name at least one camera, each once, got {self.view_cameras}")
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {self.neighbours}; the paper uses 3")


def check_cameras(reader: LogReader, config: FeatureConfig) -> None:
    """Refuse a log that lacks a view camera.

    Raises:
        LogError: names the cameras the log has.
    """
    absent = [name for name in config.view_cameras if name not in reader.cameras]
    if absent:
        raise LogError(reader.log_id, f"has no camera {absent}; it has {list(reader.cameras)}")


def compute_frame(reader: LogReader, frame: int, config: FeatureConfig) -> StoredFrame:
    """Features of one frame.

    Raises:
        LogError: bad input, naming log, frame, file and reason.
    """
    check_cameras(reader, config)
    sweep = reader.sweep(frame)
    cuboids = reader.cuboids(frame)
    following = _cuboids_at(reader, frame + 1)
    neighbour = _neighbour(reader, cuboids, following)
    cameras = [reader.camera(name, frame) for name in reader.cameras]
    images = [_decode(reader.log_id, camera) for camera in cameras]
    colours = colour_points(sweep, cameras, images)
    views = [cameras[reader.cameras.index(name)] for name in config.view_cameras]
    sizes = [images[reader.cameras.index(name)].shape[:2] for name in config.view_cameras]
    flow = flow_ground_truth(sweep, cuboids, following) if cuboids is not None else None
    count = len(sweep.points)
    depth_view, depth_pixel, depth = _depths(sweep, views, sizes)
    runs = _moving_runs(sweep, views, sizes, cuboids, neighbour)
    arrays = FrameArrays(
        points=sweep.points,
        times=sweep.times,
        intensity=np.clip(np.rint(sweep.intensity), 0, 255).astype(np.uint8),
        sensor=sweep.sensor,
        scale=knn_scale(sweep.points, config.neighbours).astype(np.float32),
        rgb=colours.rgb,
        camera=colours.camera,
        in_view=_in_view(sweep, views, sizes),
        flow=(np.zeros((count, 3)) if flow is None else flow.flow).astype(np.float32),
        flow_class=np.zeros(count, np.uint8) if flow is None else flow.flow_class,
        bucket=np.zeros(count, np.uint8) if flow is None else flow.bucket,
        depth_view=depth_view,
        depth_pixel=depth_pixel,
        depth=depth,
        moving_view=runs[0],
        moving_start=runs[1],
        moving_length=runs[2],
        **_box_arrays(cuboids, neighbour),
    )
    return StoredFrame(frame=frame, arrays=arrays, attributes=_attributes(sweep, views, sizes, cuboids))


@dataclass(frozen=True, slots=True, eq=False)
class _Neighbour:
    """The annotated frame beside the current one that says what moves: the next, at the end of a run the previous."""

    cuboids: Cuboids
    time: float  # s, its sweep's stamp


def _cuboids_at(reader: LogReader, frame: int) -> Cuboids | None:
    """Cuboids of a frame, None outside the log and where the frame is missing."""
    usable = 0 <= frame < reader.num_frames and frame not in reader.missing_frames()
    return reader.cuboids(frame) if usable else None


def _neighbour(reader: LogReader, cuboids: Cuboids | None, following: Cuboids | None) -> _Neighbour | None:
    if cuboids is None:
        return None
    other = following or _cuboids_at(reader, cuboids.frame - 1)
    return None if other is None else _Neighbour(other, reader.sweep_time(other.frame))


def _decode(log_id: str, camera: CameraFrame) -> NDArray[np.uint8]:
    try:
        image: NDArray[np.uint8] = simplejpeg.decode_jpeg(camera.jpeg(), colorspace="RGB")
    except (ValueError, OSError) as error:
        raise LogError(log_id, f"not a readable JPEG: {error}", frame=camera.frame, file=camera.path) from error
    return image


def _in_view(sweep: Sweep, views: Sequence[CameraFrame], sizes: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    seen = np.zeros(len(sweep.points), bool)
    for view, (height, width) in zip(views, sizes, strict=True):
        seen |= project(sweep.points, view.cam2world, view.K, width, height).inside
    return seen


def _depths(
    sweep: Sweep, views: Sequence[CameraFrame], sizes: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.float32]]:
    """Visible LiDAR depth of every view, concatenated: view index, pixel, metres."""
    index, pixels, depths = [], [], []
    for number, (view, (height, width)) in enumerate(zip(views, sizes, strict=True)):
        samples = sparse_depth(sweep, view, width, height)
        keep = samples.visible
        index.append(np.full(int(keep.sum()), number, np.int16))
        pixels.append(samples.pixel[keep].astype(np.int32))
        depths.append(samples.depth[keep].astype(np.float32))
    return np.concatenate(index), np.concatenate(pixels), np.concatenate(depths)


def _moving_runs(
    sweep: Sweep,
    views: Sequence[CameraFrame],
    sizes: Sequence[tuple[int, int]],
    cuboids: Cuboids | None,
    neighbour: _Neighbour | None,
) -> tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.int32]]:
    """Moving-object masks of every view as runs: view index, start, length."""
    index: list[NDArray[np.int16]] = [np.zeros(0, np.int16)]
    starts: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    lengths: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    if cuboids is not None and neighbour is not None:
        true_at = annotation_times(sweep, cuboids)
        for number, (view, (height, width)) in enumerate(zip(views, sizes, strict=True)):
            mask = moving_mask(
                view, width, height, cuboids, neighbour.cuboids, sweep.time, neighbour.time, box_times=true_at
            )
            start, length = mask_runs(mask)
            index.append(np.full(len(start), number, np.int16))
            starts.append(start)
            lengths.append(length)
    return np.concatenate(index), np.concatenate(starts), np.concatenate(lengths)


def _box_arrays(cuboids: Cuboids | None, neighbour: _Neighbour | None) -> dict[str, NDArray]:
    if cuboids is None:
        empty = np.zeros(0)
        return {
            "box_pose": empty.reshape(0, 4),
            "box_size": empty.reshape(0, 3),
            "box_sensor": empty.astype(np.int8),
            "box_moving": empty.astype(bool),
        }
    moving = np.zeros(len(cuboids.track), bool)
    if neighbour is not None:
        moving = moving_boxes(cuboids, neighbour.cuboids)
    return {
        "box_pose": np.concatenate([cuboids.position, cuboids.yaw[:, None]], axis=1),
        "box_size": cuboids.size,
        "box_sensor": cuboids.sensor,
        "box_moving": moving,
    }


def _attributes(
    sweep: Sweep, views: Sequence[CameraFrame], sizes: Sequence[tuple[int, int]], cuboids: Cuboids | None
) -> dict[str, object]:
    return {
        "time": sweep.time,
        "ego2world": sweep.ego2world.tolist(),
        "views": [
            {
                "camera": view.camera,
                "time": view.time,
                "cam2world": view.cam2world.tolist(),
                "K": view.K.tolist(),
                "width": width,
                "height": height,
            }
            for view, (height, width) in zip(views, sizes, strict=True)
        ],
        "has_cuboids": cuboids is not None,
        "track": [] if cuboids is None else list(cuboids.track),
        "label": [] if cuboids is None else list(cuboids.label),
    }
