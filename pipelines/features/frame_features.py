"""All features of one frame: lifted points, projected depth, scene flow, masks and boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.features.camera_time import shifted_camera
from pipelines.features.colour import colour_points
from pipelines.features.config import FeatureConfig, check_cameras
from pipelines.features.depth_map import sparse_depth
from pipelines.features.images import EncodedImage, ImageDecoder
from pipelines.features.knn import knn_scale
from pipelines.features.visibility import Sighting, see
from pipelines.ground_truth.annotation_times import annotation_times, box_of_points
from pipelines.ground_truth.cuboid_window import CuboidWindow, Neighbour
from pipelines.ground_truth.masks import moving_mask
from pipelines.ground_truth.scene_flow import NO_BUCKETS, SceneFlow, flow_ground_truth, moving_boxes
from pipelines.ground_truth.track_smoothing import HALF_WINDOW, smoothed_flow, smoothed_motion
from pipelines.sources.base import Cuboids, LogReader, Sweep, sweep_of
from store_schema.codec import mask_runs
from store_schema.frame_attributes import FrameAttributes, ViewAttributes
from store_schema.frame_store import FrameArrays, StoredFrame
from store_schema.labels import Bucket
from store_schema.protocol import P0_RULES, FlowRules
from store_schema.units import DEPTH, SCALE

MIN_SCALE_M = 1e-3
"""A step of the scale's grid: a Gaussian needs some extent."""


def compute_frame(
    reader: LogReader, frame: int, config: FeatureConfig, buckets: Mapping[str, Bucket] = NO_BUCKETS
) -> StoredFrame:
    """Features of one frame; for several frames of a log one `FrameComputer` saves work.

    Raises:
        LogError: bad input, naming log, frame, file and reason.
    """
    return FrameComputer(reader, config, buckets).compute(frame)


class FrameComputer:
    """Computes the features of a log's frames and holds what consecutive frames share.

    That is the cuboids of the frames around, and the memory that images are decoded into. Not for two threads at once.
    """

    def __init__(self, reader: LogReader, config: FeatureConfig, buckets: Mapping[str, Bucket] = NO_BUCKETS) -> None:
        """Prepare for a log; no frame is read yet.

        Args:
            reader: the log.
            config: what determines the features.
            buckets: the source's class by label, `pipelines.sources.source.Source.buckets`.

        Raises:
            LogError: the log lacks a view camera.
        """
        check_cameras(reader, config)
        self.reader, self._config, self._buckets = reader, config, buckets
        self._shifts = dict(config.camera_time_shift)
        self._cuboids = CuboidWindow(reader, 2 * HALF_WINDOW)
        self._decoder = ImageDecoder()

    def compute(self, frame: int) -> StoredFrame:
        """Features of one frame, the same whatever frames were computed before.

        Raises:
            LogError: bad input, naming log, frame, file and reason.
            CameraModelError: LiDAR points or moving boxes are to be projected into a camera that is no pinhole.
        """
        reader, config = self.reader, self._config
        sweep = sweep_of(reader, frame)
        cuboids = self._cuboids.at(frame)
        neighbour = None if cuboids is None else self._cuboids.beside(frame)
        cameras = [shifted_camera(reader, name, frame, self._shifts.get(name, 0.0)) for name in reader.cameras]
        images = [EncodedImage.read(reader.log_id, camera) for camera in cameras]
        # Without points nothing is projected: a log without LiDAR may have any lens.
        lit = images if len(sweep.points) else []
        sightings = [see(sweep, image.camera, image.width, image.height) for image in lit]
        colours = colour_points(sweep, sightings, map(self._decoder.decode, lit))
        # What gave no colour is decoded too: a damaged image is found here, not by who trains on it.
        for image in images[len(lit) :]:
            self._decoder.decode(image)
        chosen = [reader.cameras.index(name) for name in config.view_cameras]
        views, seen = [images[index] for index in chosen], [sightings[index] for index in chosen if lit]
        flow = _flow(sweep, cuboids, self._cuboids.at(frame + 1), config.flow, self._buckets)
        # Masks do not depend on the rules of the flow.
        own_box = flow.cuboid if cuboids is None or config.flow == P0_RULES else box_of_points(sweep, cuboids)
        moving_view, moving_start, moving_length = _moving_runs(sweep, views, cuboids, neighbour, own_box)
        depth_view, depth_pixel, depth, depth_visible = _depths(seen)
        arrays = FrameArrays(
            points=sweep.points,
            times=sweep.times,
            intensity=np.clip(np.rint(sweep.intensity), 0, 255).astype(np.uint8),
            sensor=sweep.sensor,
            agent=sweep.agent,
            scale=_scale(sweep, config.neighbours),
            rgb=colours.rgb,
            camera=colours.camera,
            in_view=_in_view(len(sweep.points), seen),
            flow=flow.flow,
            flow_class=flow.flow_class,
            bucket=flow.bucket,
            smooth_flow=self._smooth_flow(sweep, cuboids, flow),
            depth_view=depth_view,
            depth_pixel=depth_pixel,
            depth=depth,
            depth_visible=depth_visible,
            moving_view=moving_view,
            moving_start=moving_start,
            moving_length=moving_length,
            **_box_arrays(cuboids, neighbour),
        )
        attributes = FrameAttributes(
            time=reader.frame_time(frame),
            ego2world=reader.ego2world(frame),
            views=tuple(_view_attributes(image) for image in views),
            has_cuboids=cuboids is not None,
            track=() if cuboids is None else cuboids.track,
            label=() if cuboids is None else cuboids.label,
        )
        return StoredFrame(frame=frame, arrays=arrays, attributes=attributes)

    def _smooth_flow(self, sweep: Sweep, cuboids: Cuboids | None, flow: SceneFlow) -> NDArray[np.float64]:
        """Flow along smoothed tracks [P, 3] m; 0 where `flow` has no ground truth."""
        if cuboids is None:
            return np.zeros_like(sweep.points)
        motion = smoothed_motion(self._cuboids.around(cuboids.frame, HALF_WINDOW), cuboids.frame)
        return smoothed_flow(sweep, cuboids, flow.cuboid, motion)


def _flow(
    sweep: Sweep,
    cuboids: Cuboids | None,
    following: Cuboids | None,
    rules: FlowRules,
    buckets: Mapping[str, Bucket],
) -> SceneFlow:
    """Scene flow; all IGNORED in a log without cuboids."""
    if cuboids is not None:
        return flow_ground_truth(sweep, cuboids, following, rules, buckets)
    count = len(sweep.points)
    nothing = np.zeros(count, np.uint8)
    return SceneFlow(np.zeros((count, 3)), nothing, nothing, np.full(count, -1, np.int32))


def _scale(sweep: Sweep, neighbours: int) -> NDArray[np.uint16]:
    """Scale of each point on its grid, [P]."""
    if not len(sweep.points):
        return np.zeros(0, np.uint16)
    scale = np.maximum(knn_scale(sweep.points, neighbours), MIN_SCALE_M)
    return SCALE.encode(scale).astype(np.uint16, copy=False)


def _in_view(count: int, views: Sequence[Sighting]) -> NDArray[np.bool_]:
    seen = np.zeros(count, bool)
    for view in views:
        seen[view.projection.rows] = True
    return seen


def _depths(
    views: Sequence[Sighting],
) -> tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.uint32], NDArray[np.bool_]]:
    """LiDAR depth of every view, concatenated: view index, pixel, depth on its grid, whether the camera sees it."""
    if not views:
        return np.zeros(0, np.int16), np.zeros(0, np.int32), np.zeros(0, np.uint32), np.zeros(0, np.bool_)
    samples = [sparse_depth(view) for view in views]
    index = np.concatenate([np.full(len(one.pixel), number, np.int16) for number, one in enumerate(samples)])
    depth = DEPTH.encode(np.concatenate([one.depth for one in samples])).astype(np.uint32, copy=False)
    pixel, visible = (np.concatenate([getattr(one, name) for one in samples]) for name in ("pixel", "visible"))
    return index, pixel, depth, visible


def _moving_runs(
    sweep: Sweep,
    views: Sequence[EncodedImage],
    cuboids: Cuboids | None,
    neighbour: Neighbour | None,
    cuboid: NDArray[np.int32],  # [P] row of the box each point lies in
) -> tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.int32]]:
    """Moving-object masks of every view as runs: view index, start, length."""
    index: list[NDArray[np.int16]] = [np.zeros(0, np.int16)]
    starts: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    lengths: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    if cuboids is not None and neighbour is not None:
        true_at = annotation_times(sweep, cuboids, cuboid)
        for number, view in enumerate(views):
            mask = moving_mask(
                view.camera,
                view.width,
                view.height,
                cuboids,
                neighbour.cuboids,
                sweep.time,
                neighbour.time,
                box_times=true_at,
            )
            start, length = mask_runs(mask)
            index.append(np.full(len(start), number, np.int16))
            starts.append(start)
            lengths.append(length)
    return np.concatenate(index), np.concatenate(starts), np.concatenate(lengths)


def _box_arrays(cuboids: Cuboids | None, neighbour: Neighbour | None) -> dict[str, NDArray]:
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


def _view_attributes(image: EncodedImage) -> ViewAttributes:
    camera = image.camera
    return ViewAttributes(
        camera=camera.camera,
        time=camera.time,
        cam2world=camera.cam2world,
        K=camera.K,
        width=image.width,
        height=image.height,
        agent=camera.agent,
        model=camera.model,
        image_format=camera.image_format,
    )
