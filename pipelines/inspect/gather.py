"""Collect everything the page of a frame shows, with the same functions that fill the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.features.camera_time import shifted_camera
from pipelines.features.colour import Colours, colour_points
from pipelines.features.config import check_shifts
from pipelines.features.depth_map import SparseDepth, sparse_depth
from pipelines.features.images import EncodedImage, ImageDecoder
from pipelines.features.visibility import Sighting, see
from pipelines.ground_truth.annotation_times import annotation_times, box_of_points
from pipelines.ground_truth.cuboid_window import CuboidWindow, Neighbour
from pipelines.ground_truth.point_boxes import assign_points
from pipelines.ground_truth.scene_flow import NO_BUCKETS, SceneFlow, flow_ground_truth, match_tracks, moving_boxes
from pipelines.sources.base import Cuboids, LogError, LogReader, Sweep
from store_schema.labels import Bucket
from store_schema.protocol import P0_RULES, FlowRules

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True, slots=True, eq=False)
class InspectedView:
    """One camera: its image, the sweep as it sees it, and the depth map that follows."""

    image: NDArray[np.uint8]  # [H, W, 3] RGB
    sighting: Sighting
    depth: SparseDepth

    @property
    def name(self) -> str:
        """The camera's."""
        return self.sighting.camera.name


@dataclass(frozen=True, slots=True, eq=False)
class InspectedBoxes:
    """The annotation of the frame; M boxes."""

    cuboids: Cuboids
    times: NDArray[np.float64]  # [M] s, when each box is true
    other_lidar_only: NDArray[np.bool_]  # [P] points that lie in boxes of the other LiDAR only
    beside: Neighbour | None  # the frame that says what moves: the next, or else the one before
    moving: NDArray[np.bool_] | None  # [M] None where there is no such frame
    speed: NDArray[np.float64] | None  # [M] m/s of the centre to `beside`; NaN where the track is not in it


@dataclass(frozen=True, slots=True, eq=False)
class InspectedFrame:
    """One frame; P points."""

    log_id: str
    num_frames: int
    sweep: Sweep
    has_lidar: bool  # else the sweep has no points, and what follows from them is n/a
    ego2world: NDArray[np.float64]  # [4, 4] at the frame's stamp
    views: tuple[InspectedView, ...]
    colours: Colours
    boxes: InspectedBoxes | None  # None in a log without cuboids
    flow: SceneFlow | None  # None where `no_flow` says why
    missing_tracks: NDArray[np.bool_] | None  # [M] tracks of this frame that the next one lacks; None without a pair
    no_flow: str | None

    def view(self, camera: str) -> InspectedView | None:
        """The view of a camera; None when the log has no such camera."""
        return next((view for view in self.views if view.name == camera), None)


def gather_frame(
    reader: LogReader,
    frame: int,
    progress: Progress = lambda done, total: None,
    *,
    rules: FlowRules = P0_RULES,
    camera_time_shift: Mapping[str, float] | None = None,
    buckets: Mapping[str, Bucket] = NO_BUCKETS,
) -> InspectedFrame:
    """Read a frame and compute what the page shows.

    Args:
        reader: an opened log.
        frame: which frame.
        progress: for a progress bar; a step a camera and one each for the sweep and its flow.
        rules: which box a point belongs to.
        camera_time_shift: s that cameras expose later than their stamps say, by name.
        buckets: the source's class by label.

    Raises:
        LogError: the log has no such frame, the frame cannot be used (with the reason), or its input is damaged;
            a time shift is for a camera that the log lacks.
        ValueError: a time shift is too large.
    """
    shifts = camera_time_shift or {}
    check_shifts(reader, shifts)
    missing = reader.missing_frames()
    if not 0 <= frame < reader.num_frames:
        raise LogError(reader.log_id, f"no such frame: take one of 0 to {reader.num_frames - 1}", frame=frame)
    if frame in missing:
        reason = f"the frame cannot be used: {missing[frame]}; fetch what is missing, or look at another frame"
        raise LogError(reader.log_id, reason, frame=frame)
    total = len(reader.cameras) + 2
    measured = reader.sweep(frame)
    sweep, has_lidar = measured or Sweep.empty(frame, reader.frame_time(frame)), measured is not None
    ego2world = reader.ego2world(frame)
    progress(1, total)
    views, colours = _views(reader, sweep, shifts, lambda done: progress(1 + done, total))
    cuboids = reader.cuboids(frame)
    if cuboids is None:
        no_boxes = "the log has no cuboids"
        return InspectedFrame(
            reader.log_id, reader.num_frames, sweep, has_lidar, ego2world, views, colours, None, None, None, no_boxes
        )
    no_flow, window = _why_no_pair(reader, frame, missing), CuboidWindow(reader, 1)
    following = window.at(frame + 1)
    flow = flow_ground_truth(sweep, cuboids, following, rules, buckets) if following is not None else None
    boxes = _boxes(sweep, cuboids, window.beside(frame), rules)
    lost = None if following is None else match_tracks(cuboids, following) < 0
    progress(total, total)
    return InspectedFrame(
        reader.log_id, reader.num_frames, sweep, has_lidar, ego2world, views, colours, boxes, flow, lost, no_flow
    )


def _why_no_pair(reader: LogReader, frame: int, missing: dict[int, str]) -> str | None:
    """Why a frame has no scene flow although it has boxes; None when it has."""
    if frame + 1 >= reader.num_frames:
        return f"frame {frame} is the last of the log: flow needs the boxes of the next frame"
    if frame + 1 in missing:
        return f"the next frame cannot be used: {missing[frame + 1]}"
    return None


def _views(
    reader: LogReader, sweep: Sweep, shifts: Mapping[str, float], progress: Callable[[int], None]
) -> tuple[tuple[InspectedView, ...], Colours]:
    cameras = [shifted_camera(reader, name, sweep.frame, shifts.get(name, 0.0)) for name in reader.cameras]
    encoded = [EncodedImage.read(reader.log_id, camera) for camera in cameras]
    sightings = [see(sweep, image.camera, image.width, image.height) for image in encoded]
    images: list[NDArray[np.uint8]] = []

    def decoded() -> Iterator[NDArray[np.uint8]]:
        for image in encoded:
            # A decoder each: the pictures need all images at once.
            images.append(ImageDecoder().decode(image))
            progress(len(images))
            yield images[-1]

    colours = colour_points(sweep, sightings, decoded())
    views = (InspectedView(image, seen, sparse_depth(seen)) for image, seen in zip(images, sightings, strict=True))
    return tuple(views), colours


def _boxes(sweep: Sweep, cuboids: Cuboids, beside: Neighbour | None, rules: FlowRules) -> InspectedBoxes:
    times = annotation_times(sweep, cuboids, box_of_points(sweep, cuboids))
    _, other_only = assign_points(sweep.points, sweep.sensor, cuboids, rules)
    if beside is None:
        return InspectedBoxes(cuboids, times, other_only, None, None, None)
    rows = match_tracks(cuboids, beside.cuboids)
    step = np.full_like(cuboids.position, np.nan)
    step[rows >= 0] = beside.cuboids.position[rows[rows >= 0]] - cuboids.position[rows >= 0]
    speed = np.linalg.norm(step, axis=1) / abs(beside.time - sweep.time)
    return InspectedBoxes(cuboids, times, other_only, beside, moving_boxes(cuboids, beside.cuboids), speed)
