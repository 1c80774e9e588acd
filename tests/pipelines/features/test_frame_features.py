"""Features of consecutive frames: each table is read once, and nothing depends on the frames before."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from pipelines.features.config import FeatureConfig
from pipelines.features.frame_features import FrameComputer, compute_frame
from pipelines.features.images import EncodedImage, ImageDecoder
from pipelines.ground_truth.track_smoothing import HALF_WINDOW
from pipelines.sources.base import CameraFrame, Cuboids, LogError
from pipelines.sources.pandaset.reader import PandaSetLog
from store_schema.frame_store import ARRAYS, FrameArrays, array_hash
from tests.conftest import TINY_FRAMES

CONFIG = FeatureConfig(view_cameras=("front_camera", "left_camera"))


class CountingLog(PandaSetLog):
    """Counts how often each frame's cuboids are read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: Counter[int] = Counter()

    def cuboids(self, frame: int) -> Cuboids | None:
        self.reads[frame] += 1
        return super().cuboids(frame)


def hashes(arrays: FrameArrays) -> dict[str, str]:
    return {name: array_hash(getattr(arrays, name)) for name in ARRAYS}


def test_consecutive_frames_read_each_table_once(tiny_logs: Path) -> None:
    log = CountingLog(tiny_logs / "tiny0")
    computer = FrameComputer(log, CONFIG)
    last = range(TINY_FRAMES - 3, TINY_FRAMES)
    together = [computer.compute(frame) for frame in last]
    assert log.reads == Counter(range(last.start - HALF_WINDOW, TINY_FRAMES))
    for frame, stored in zip(last, together, strict=True):
        alone = compute_frame(log, frame, CONFIG)
        assert hashes(stored.arrays) == hashes(alone.arrays)
        assert stored.attributes.to_json() == alone.attributes.to_json()


def test_frames_in_any_order_are_the_same(tiny_logs: Path) -> None:
    log = PandaSetLog(tiny_logs / "tiny1")
    computer = FrameComputer(log, CONFIG)
    one, other, again = (hashes(computer.compute(frame).arrays) for frame in (5, 0, 5))
    assert one == again
    assert one != other


def test_images_of_several_sizes_share_one_memory(tmp_path: Path) -> None:
    decoder, pictures = ImageDecoder(), []
    for number, size in enumerate([(16, 24), (32, 40), (16, 24)]):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(simplejpeg.encode_jpeg(np.full((*size, 3), 40 * number, np.uint8)))
        image = EncodedImage.read("log", CameraFrame(0, "front_camera", 0.0, np.eye(4), np.eye(3), path))
        assert (image.height, image.width) == size
        pictures.append(decoder.decode(image))
        assert pictures[-1].shape == (*size, 3)
        assert np.abs(pictures[-1] - 40.0 * number).max() <= 2
    assert np.shares_memory(pictures[1], pictures[2])


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "07.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LogError, match=r"log 9, frame 7, .*07\.jpg: not a readable JPEG"):
        EncodedImage.read("9", CameraFrame(7, "front_camera", 0.0, np.eye(4), np.eye(3), path))


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "07.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path.write_bytes(simplejpeg.encode_jpeg(noise)[:1500])
    image = EncodedImage.read("9", CameraFrame(7, "front_camera", 0.0, np.eye(4), np.eye(3), path))
    with pytest.raises(LogError, match=r"log 9, frame 7, .*07\.jpg: not a readable JPEG"):
        ImageDecoder().decode(image)
