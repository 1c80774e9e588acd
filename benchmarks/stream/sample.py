"""What every side of the streaming benchmark delivers, and the ready samples on disk that other formats are made from.

Needs numpy and simplejpeg only: it runs in the environment of the peers too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

INDEX, DATA = "index.json", "samples.bin"
PAGE = 4096
Range = tuple[int, int]
"""Offset and size, bytes."""


@dataclass(frozen=True, slots=True)
class ReadySample:
    """Where a clip's lifted scene and its target views lie in the flat file."""

    clip: str
    scene: Range
    jpegs: tuple[Range, ...]
    depths: tuple[Range, ...]

    @property
    def span(self) -> Range:
        """All of it: a sample's objects lie one after the other."""
        return self.scene[0], sum(self.depths[-1]) - self.scene[0]


@dataclass(frozen=True, slots=True)
class Ready:
    """Samples in the form they have after the first epoch, one after the other in one flat file."""

    path: Path
    width: int
    height: int
    samples: tuple[ReadySample, ...]

    @property
    def views(self) -> int:
        """Target views of a clip."""
        return len(self.samples[0].jpegs)

    def columns(self, sample: ReadySample) -> dict[str, bytes]:
        """The sample's objects by name."""
        start, size = sample.span
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read(size)

        def cut(place: Range) -> bytes:
            return data[place[0] - start : place[0] - start + place[1]]

        return {
            "scene": cut(sample.scene),
            **{jpeg_name(view): cut(place) for view, place in enumerate(sample.jpegs)},
            **{depth_name(view): cut(place) for view, place in enumerate(sample.depths)},
        }


def jpeg_name(view: int) -> str:
    return f"jpeg{view:02d}"


def depth_name(view: int) -> str:
    return f"depth{view:02d}"


def write_ready(
    folder: Path, size: tuple[int, int], samples: Iterator[tuple[str, bytes, Sequence[bytes], Sequence[bytes]]]
) -> Ready:
    """Write ``(clip, scene, jpegs, depths)`` as the flat file and its index; `size` is (width, height) of the views."""
    folder.mkdir(parents=True)
    rows: list[ReadySample] = []
    with (folder / DATA).open("wb") as file:

        def put(data: bytes) -> Range:
            place = file.tell(), len(data)
            file.write(data)
            return place

        for clip, scene, jpegs, depths in samples:
            rows.append(ReadySample(clip, put(scene), tuple(map(put, jpegs)), tuple(map(put, depths))))
    raw = [[row.clip, row.scene, row.jpegs, row.depths] for row in rows]
    (folder / INDEX).write_text(json.dumps({"size": size, "samples": raw}))
    return read_ready(folder)


def read_ready(folder: Path) -> Ready:
    """Open what `write_ready` wrote."""
    raw = json.loads((folder / INDEX).read_text())
    rows = tuple(
        ReadySample(clip, tuple(scene), tuple(map(tuple, jpegs)), tuple(map(tuple, depths)))
        for clip, scene, jpegs, depths in raw["samples"]
    )
    return Ready(folder / DATA, *raw["size"], rows)


@dataclass(frozen=True, slots=True)
class Task:
    """What a loader is to deliver of a sample."""

    width: int
    height: int
    views: int
    """Target views of a sample."""
    of: int
    """Target views a clip has."""

    def choose(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Target views of one sample: any `views` of the clip's, none twice."""
        return tuple(int(view) for view in rng.permutation(self.of)[: self.views])

    def decode(self, jpeg: bytes | memoryview) -> NDArray[np.uint8]:
        """The one way every side decodes: libjpeg-turbo, scaled while decoding."""
        return simplejpeg.decode_jpeg(jpeg, "RGB", min_height=self.height, min_width=self.width)


def depth_columns(data: bytes | memoryview) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Pixels and metres of a depth object, without a copy."""
    count = len(data) // 8
    return np.frombuffer(data, "<i4", count), np.frombuffer(data, "<f4", count, offset=4 * count)


def delivered(task: Task, clip: str, views: Sequence[int], get: Callable[[str], bytes]) -> dict[str, Any]:
    """A sample as arrays, its objects read by `get`; the scene's columns are slices of one buffer."""
    return {
        "clip": clip,
        "views": list(views),
        "scene": np.frombuffer(get("scene"), np.uint8),
        "images": [task.decode(get(jpeg_name(view))) for view in views],
        "depths": [depth_columns(get(depth_name(view))) for view in views],
    }


def arrays(value: Any) -> Iterator[NDArray]:
    """All arrays and tensors in a delivered sample, whatever it is built of."""
    if isinstance(value, np.ndarray):
        yield value
    elif hasattr(value, "untyped_storage"):  # a tensor; torch is not imported for it
        yield value.numpy()
    elif isinstance(value, Mapping):
        yield from (array for item in value.values() for array in arrays(item))
    elif isinstance(value, list | tuple):
        yield from (array for item in value for array in arrays(item))
    elif is_dataclass(value):
        yield from (array for field in fields(value) for array in arrays(getattr(value, field.name)))


def touch(value: Any) -> int:
    """Read one byte of every page of a sample, so that nobody is timed on what is not in memory; returns its bytes."""
    total = 0
    for array in arrays(value):
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        flat[::PAGE].sum()
        total += flat.nbytes
    return total


def fingerprint(sample: Mapping[str, Any]) -> dict[str, Any]:
    """What a sample holds, short enough to compare between processes."""
    return {
        "clip": sample["clip"],
        "views": [int(view) for view in sample["views"]],
        "scene": digest(sample["scene"]),
        "images": [digest(image) for image in sample["images"]],
        "depths": [digest(pair) for pair in sample["depths"]],
    }


def digest(value: Any) -> str:
    """Hash of all arrays of a value."""
    hasher = hashlib.blake2b(digest_size=12)
    for array in arrays(value):
        hasher.update(f"{array.dtype.str}{array.shape}".encode())
        hasher.update(np.ascontiguousarray(array))
    return hasher.hexdigest()
