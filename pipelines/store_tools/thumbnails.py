"""Small pictures of a clip: its first image, and its lifted points from above with what moves marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from pipelines.features.images import decode_image
from store_schema.clip import ImageFormat
from store_schema.codec import ClipHeader
from store_schema.labels import FlowClass
from store_schema.pages.pictures import Picture, encoded
from store_schema.units import POSITION
from store_schema.version.dataset import Dataset
from store_schema.version.shards import CorruptShardError

IMAGE_WIDTH = 240
PLAN_WIDTH = 168
REACH_M = 60.0
"""The picture from above spans this far from the first ego position to every side."""
MOVING_RGB = (255, 92, 40)
BACKGROUND_RGB = (16, 19, 26)
_EGO_RGB = (255, 255, 255)
_COLUMNS = ("x", "y", "r", "g", "b", "flow_class")
_QUALITY = 62
_READERS = 4


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Two pictures, or the reason why the clip cannot be shown."""

    image: Picture | None = None
    plan: Picture | None = None
    damage: str | None = None


def thumbnails(dataset: Dataset, clip_ids: Iterable[str]) -> Iterator[tuple[str, Thumbnails]]:
    """Pictures of many clips, in order.

    Args:
        dataset: an opened version.
        clip_ids: of clips in it.
    """
    ids = list(clip_ids)
    # Reading, hashing, zstd and JPEG all run outside the interpreter lock.
    with ThreadPoolExecutor(_READERS) as pool:
        yield from zip(ids, pool.map(lambda clip_id: clip_thumbnails(dataset, clip_id), ids), strict=True)


def clip_thumbnails(dataset: Dataset, clip_id: str) -> Thumbnails:
    """Pictures of one clip; only its first image and its points are read."""
    try:
        tables = dataset.read_members(clip_id, ["clip.json", "points.arrow"])
        views = ClipHeader.from_json(tables["clip.json"]).views
        if not views:
            return Thumbnails(damage="the clip has no image")
        image = _small_image(dataset.read_member(clip_id, views[0].member), views[0].image_format)
        plan = plan_picture(_columns(tables["points.arrow"]))
    # pyarrow's and simplejpeg's errors are ValueErrors or OSErrors; KeyError is a column or member that is not there.
    except (CorruptShardError, ValueError, OSError, KeyError) as error:
        return Thumbnails(damage=str(error))
    return Thumbnails(encoded(image, "webp", quality=_QUALITY), encoded(plan, "webp", quality=_QUALITY))


def plan_picture(columns: Mapping[str, NDArray], width: int = PLAN_WIDTH) -> NDArray[np.uint8]:  # [width, width, 3]
    """Points from above: mean colour a pixel, moving points on top; ego0's x to the right, y up, ego in the middle.

    Args:
        columns: of ``points.arrow`` as stored: x, y, r, g, b and flow_class.
        width: pixels to each side.
    """
    reach = round(REACH_M / POSITION.step)
    sums, moving = _gather(*(columns[name] for name in _COLUMNS), width, reach, int(FlowClass.FOREGROUND_DYNAMIC))
    count = sums[..., 3:]
    picture = np.where(count > 0, sums[..., :3] // np.maximum(count, 1), BACKGROUND_RGB).astype(np.uint8)
    picture[moving] = MOVING_RGB
    middle = width // 2
    picture[middle - 3 : middle + 4, middle] = _EGO_RGB
    picture[middle, middle - 3 : middle + 4] = _EGO_RGB
    return picture


@numba.njit(cache=True, nogil=True)
def _gather(
    x: NDArray,  # [N] grid steps
    y: NDArray,  # [N] grid steps
    r: NDArray,  # [N]
    g: NDArray,  # [N]
    b: NDArray,  # [N]
    flow_class: NDArray,  # [N]
    width: int,
    reach: int,
    dynamic: int,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:  # [width, width, 4], [width, width]
    """Sums of r, g, b and one a pixel, and the pixels that hold a point of class `dynamic`."""
    sums = np.zeros((width, width, 4), np.int64)
    moving = np.zeros((width, width), np.bool_)
    for point in range(len(x)):
        east, north = np.int64(x[point]) + reach, reach - np.int64(y[point])
        if east < 0 or north < 0 or east >= 2 * reach or north >= 2 * reach:
            continue
        column, row = east * width // (2 * reach), north * width // (2 * reach)
        pixel = sums[row, column]
        pixel[0] += r[point]
        pixel[1] += g[point]
        pixel[2] += b[point]
        pixel[3] += 1
        if flow_class[point] == dynamic:
            moving[row, column] = True
    return sums, moving


def _columns(data: bytes) -> dict[str, NDArray]:
    """The few columns the picture needs; the others stay compressed."""
    names = pa.ipc.open_stream(data).schema.names
    options = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in _COLUMNS], use_threads=False)
    table = pa.ipc.open_stream(data, options=options).read_all()
    return {name: table.column(name).to_numpy() for name in _COLUMNS}


def _small_image(data: bytes, image_format: ImageFormat) -> NDArray[np.uint8]:
    pixels = decode_image(data, image_format, min_width=IMAGE_WIDTH)
    height = max(1, round(pixels.shape[0] * IMAGE_WIDTH / pixels.shape[1]))
    return np.asarray(Image.fromarray(pixels).resize((IMAGE_WIDTH, height), Image.Resampling.LANCZOS))
