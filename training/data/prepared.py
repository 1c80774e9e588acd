"""Packed samples from a dataset version: only the bytes a step needs are read, and lifted clips are cached.

A clip is lifted once; after that its packed scene and the depth of its target views at the trained size come from the
local cache, under a key of everything they are made of: the stored bytes, the settings and the code that lifts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

import store_schema
from flux4d.cameras.posed import rendered_size
from flux4d.lift.packed import PackedTensors, lift_code_hash
from flux4d.lift.scene import SceneConfig, pack_clip
from flux4d.supervision.target import PackedTarget, pack_target, scale_depth
from store_schema.cache.local_cache import Content, LocalCache
from store_schema.clip import View
from store_schema.codec import TABLE_MEMBERS, ClipHeader, ViewHeader
from store_schema.hashing import hash_json, hash_sources
from store_schema.version.dataset import Dataset
from store_schema.version.provenance import package_versions
from training.config import StreamConfig
from training.data.sample import PackedSample
from training.data.sampler import SamplePlace

T = TypeVar("T")
_FORMAT = 1
"""Raised when what is cached changes its meaning."""
_PACKAGES = ("numba", "numpy", "pillow", "scipy", "simplejpeg")
"""What lifting computes with."""
_MADE_BY = (
    _FORMAT,
    lift_code_hash(),
    # What makes values of stored bytes. Now, not at the first use: files may be edited while a run goes on.
    hash_sources(Path(store_schema.__file__).parent),
    package_versions(_PACKAGES),
)


class PreparedClips:
    """Packed samples of a dataset version. Used by several threads at once.

    Args:
        dataset: an open version.
        stream: size and shutter.
        scene: how clips are lifted.
        cache: where lifted clips are kept between epochs and runs; None keeps them in memory only.
        memory_clips: lifted clips kept in memory.
        fixed_target_frame: only views of this frame are targets.
    """

    def __init__(
        self,
        dataset: Dataset,
        stream: StreamConfig,
        scene: SceneConfig,
        *,
        cache: LocalCache | None = None,
        memory_clips: int = 4,
        fixed_target_frame: int | None = None,
    ) -> None:
        self._dataset, self._stream, self._scene, self._cache = dataset, stream, scene, cache
        self._records = {record.clip_id: record for record in dataset.records}
        self._fixed_target_frame = fixed_target_frame
        self._scenes = _Recent[PackedTensors](memory_clips)
        self._headers = _Recent[ClipHeader](memory_clips)
        self._scene_keys: dict[str, str] = {}
        self._made = _Recent[dict[str, Content]](memory_clips)

    def num_targets(self, clip_id: str) -> int:
        """Target views of a clip: told from the index where every frame has every camera, else from its header.

        Raises:
            ValueError: the clip has no target in the frame that all targets are to be of.
            CorruptShardError: the header has to be read and is not what was written.
        """
        record = self._records[clip_id]
        images = sum(name not in TABLE_MEMBERS for name in self._dataset.members[clip_id])
        cameras = len(self._dataset.manifest.config.get("features", {}).get("view_cameras", ()))
        if images == cameras * len({*record.input_frames, *record.target_frames}):
            return cameras * len(self._target_frames(clip_id))
        return len(self._targets(clip_id))

    def _targets(self, clip_id: str) -> list[tuple[int, ViewHeader]]:
        """Target views with their place among all views of the clip."""
        frames = self._target_frames(clip_id)
        header = self._headers.get(clip_id, lambda: self._header(clip_id))
        return [(index, view) for index, view in enumerate(header.views) if view.frame in frames]

    def _target_frames(self, clip_id: str) -> tuple[int, ...]:
        record = self._records[clip_id]
        if self._fixed_target_frame is None:
            return record.target_frames
        if self._fixed_target_frame not in record.target_frames:
            raise ValueError(
                f"clip {clip_id} has no target frame {self._fixed_target_frame}, but {list(record.target_frames)}"
            )
        return (self._fixed_target_frame,)

    def sample(self, place: SamplePlace) -> PackedSample:
        """The sample of a place.

        Raises:
            CorruptShardError: stored bytes are not what was written.
            ValueError: a view cannot be decoded, or the shutter asks for motion that the clip's views do not tell.
        """
        clip_id = place.clip_id
        scene = self._scenes.get(clip_id, lambda: self._packed_scene(clip_id))
        header = self._headers.get(clip_id, lambda: self._header(clip_id))
        targets = self._targets(clip_id)
        wanted = [targets[number] for number in place.views]
        files = self._dataset.read_members(clip_id, [view.member for _, view in wanted])
        try:
            packed = tuple(self._target(header, index, view, files[view.member]) for index, view in wanted)
        except ValueError as error:
            raise ValueError(f"clip {clip_id}: {error}") from error
        return PackedSample(
            number=place.number,
            epoch=place.epoch,
            clip_id=clip_id,
            duration=scene.header.duration,
            scene=scene,
            targets=packed,
        )

    def _header(self, clip_id: str) -> ClipHeader:
        return ClipHeader.from_json(self._dataset.read_member(clip_id, "clip.json"))

    def _target(self, header: ClipHeader, index: int, view: ViewHeader, image: bytes) -> PackedTarget:
        return pack_target(
            view,
            self._stream.width,
            role=header.record.role(view.frame),
            image=image,
            depth=self._depth(header, index),
            path=header.views,
            shutter=self._stream.shutter,
            scaled=True,
        )

    def _packed_scene(self, clip_id: str) -> PackedTensors:
        return PackedTensors.from_bytes(self._object(clip_id, self._scene_key(clip_id)))

    def _depth(self, header: ClipHeader, index: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Pixels int32 [D] and metres [D] of a view's LiDAR depth at the rendered size."""
        clip_id = header.record.clip_id
        data = self._object(clip_id, self._depth_key(clip_id, index))
        count = len(data) // 8
        return np.frombuffer(data, "<i4", count), np.frombuffer(data, "<f4", count, offset=4 * count)

    def _object(self, clip_id: str, key: str) -> Content:
        """What is made of a clip, by key: of the cache, else all of it from one reading, and all of it is kept."""
        if self._cache is None:
            return self._made.get(clip_id, lambda: self._make(clip_id))[key]
        return self._cache.get_many([key], lambda _: self._made.get(clip_id, lambda: self._make(clip_id)))[key]

    def _make(self, clip_id: str) -> dict[str, Content]:
        """The lifted scene of a clip and the depth of its target views.

        By way of bytes with or without a cache: a sample is the same whether it comes from there or not.
        """
        clip = self._dataset.read(clip_id)
        scene = bytearray(pack_clip(clip, self._scene).without_source().to_bytes())
        depths = {
            self._depth_key(clip_id, index): _depth_bytes(view, self._stream.width)
            for index, view in enumerate(clip.views)
            if view.role != "input"
        }
        return {self._scene_key(clip_id): memoryview(scene), **depths}

    def _scene_key(self, clip_id: str) -> str:
        """Hash of all that decides a lifted scene; drawn once, it takes as long as a small image."""
        if clip_id not in self._scene_keys:
            members = {name: member.blake3 for name, member in self._dataset.members[clip_id].items()}
            self._scene_keys[clip_id] = hash_json([*_MADE_BY, members, asdict(self._scene)])
        return self._scene_keys[clip_id]

    def _depth_key(self, clip_id: str, index: int) -> str:
        members = self._dataset.members[clip_id]
        stored = [members["clip.json"].blake3, members["depth.arrow"].blake3]
        return hash_json([*_MADE_BY, stored, index, self._stream.width])


def _depth_bytes(view: View, width: int | None) -> bytes:
    pixel, depth = scale_depth(view, *rendered_size(view, width))
    return pixel.astype("<i4").tobytes() + depth.astype("<f4").tobytes()


class _Recent(Generic[T]):
    """The last few values by key; threads that want one key at once have it made once."""

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, threading.Lock()
        self._values: OrderedDict[str, Future[T]] = OrderedDict()

    def get(self, key: str, make: Callable[[], T]) -> T:
        with self._lock:
            value = self._values.get(key)
            if mine := value is None:
                value = self._values[key] = Future()
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        assert value is not None
        if mine:
            try:
                value.set_result(make())
            except BaseException as error:
                value.set_exception(error)
                with self._lock:
                    self._values.pop(key, None)
        return value.result()
