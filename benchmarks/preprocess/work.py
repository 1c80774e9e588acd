"""The work that `benchmarks.preprocess` times: ours, the floor's and the reproduction's, on one frame each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import simplejpeg
from scipy.spatial import cKDTree

from benchmarks.preprocess import peer
from benchmarks.stages import StageClock
from pipelines.features.config import FeatureConfig
from pipelines.features.frame_features import FrameComputer
from pipelines.sources.pandaset.reader import PandaSetLog
from store_schema import frame_store

STAGES = {
    "read sweep": ["pipelines.sources.pandaset.reader:PandaSetLog.sweep"],
    "read cuboids": ["pipelines.sources.pandaset.reader:PandaSetLog.cuboids"],
    "decode images": ["pipelines.features.images:EncodedImage.read", "pipelines.features.images:ImageDecoder.decode"],
    "project, hide": ["pipelines.features.frame_features:see"],
    "colour": ["pipelines.features.frame_features:colour_points"],
    "scale": ["pipelines.features.frame_features:knn_scale"],
    "flow": ["pipelines.features.frame_features:_flow"],
    "smoothed flow": [
        "pipelines.features.frame_features:smoothed_motion",
        "pipelines.features.frame_features:smoothed_flow",
    ],
    "depth": ["pipelines.features.frame_features:_depths", "pipelines.features.frame_features:_in_view"],
    "masks and boxes": [
        "pipelines.features.frame_features:_moving_runs",
        "pipelines.features.frame_features:_box_arrays",
    ],
    "write": ["store_schema.frame_store:write_frame"],
}
BUILD_STAGES = {
    "logs": ["pipelines.build.run:inspect_log"],
    "frames": ["pipelines.build.run:build_frames"],
    "shards": ["pipelines.build.run:build_shard"],
    "commit": ["pipelines.build.run:commit"],
}
PEER_OWN_CODE_S = {
    "read sweep": 0.049,
    "voxel downsample": 0.463,
    "neighbours": 0.073,
    "decode images": 0.289,
    "colour": 0.023,
    "depth": 0.113,
    "flow": 1.120,
    "moving mask": 1.554,
}
"""CPU seconds a frame of log 002 of the reproduction's own code, measured once elsewhere: the magnitude to expect."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One log and where its frames go."""

    log: Path
    folder: Path
    config: FeatureConfig

    @property
    def reader(self) -> PandaSetLog:
        """A reader, opened anew."""
        return PandaSetLog(self.log)

    def table(self, kind: str, frame: int) -> Path:
        """File of one frame's points or boxes."""
        return self.log / kind / f"{frame:02d}.pkl.gz"


def whole_frame(subject: Subject, computer: FrameComputer, frame: int) -> None:
    """Raw files of a frame to the frame store."""
    frame_store.write_frame(subject.folder, computer.compute(frame), "benchmark")


def floor_frame(subject: Subject, reader: PandaSetLog, frame: int, clock: StageClock) -> None:
    """What cannot be left out, by stage."""
    sweep = clock.timed("read sweep", pd.read_pickle)(subject.table("lidar", frame))
    clock.timed("read cuboids", pd.read_pickle)(subject.table("annotations/cuboids", frame))
    for name in reader.cameras:
        jpeg = reader.camera(name, frame).image()
        clock.timed("decode images", simplejpeg.decode_jpeg)(jpeg, colorspace="RGB")
    points = sweep[["x", "y", "z"]].to_numpy()
    clock.timed("scale", lambda: cKDTree(points).query(points, k=4))()


def peer_frame(subject: Subject, reader: PandaSetLog, frame: int, clock: StageClock) -> None:
    """The reproduction's work on one frame, by stage; it reads files again for depth and for the mask, as here."""
    sweep_file, boxes_file = subject.table("lidar", frame), subject.table("annotations/cuboids", frame)
    next_file = subject.table("annotations/cuboids", frame + 1)
    next_file = next_file if next_file.is_file() else boxes_file
    cameras = [reader.camera(name, frame) for name in reader.cameras]
    view = reader.camera(subject.config.view_cameras[0], frame)
    points = clock.timed("read sweep", peer.read_points)(sweep_file)
    voxels = clock.timed("voxel downsample", peer.voxel_downsample)(points)
    clock.timed("neighbours", peer.neighbour_scale)(voxels)
    images = [clock.timed("decode images", peer.load_image)(camera.image()) for camera in cameras]
    clock.timed("colour", peer.colour)(voxels, cameras, images)
    height, width = images[reader.cameras.index(view.camera)].shape[:2]

    def depth() -> None:
        column, row, z, _ = peer.project_plain(peer.read_points(sweep_file), view, width, height)
        peer.raster_depth(column, row, z, width, height)

    def flow() -> None:
        peer.flow_to_next(points, peer.read_boxes(boxes_file), peer.read_boxes(next_file))

    def mask() -> None:
        boxes, following = peer.read_boxes(boxes_file), peer.read_boxes(next_file)
        peer.dynamic_mask(peer.read_points(sweep_file), boxes, following, view, width, height)

    for stage, work in (("depth", depth), ("flow", flow), ("moving mask", mask)):
        clock.timed(stage, work)()
