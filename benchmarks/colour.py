"""Share of points whose colour is likely another surface's: ours, and the public reproduction's way of colouring.

Run with ``python -m benchmarks.colour [--quick] [--json]``. A coloured point is doubtful when another return of its
sweep lies more than 5 % + 0.5 m nearer in the same 8x8 pixel cell of the camera the colour is from. The test needs no
labels and is not exact: it also hits road far away, seen flat and in plain view, and misses what no return gives away.
The reproduction takes the first camera in its list that a point projects into, without asking what stands between; its
default list is the front camera alone. All are measured on the same raw points of the same frames.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.command_line import log_parser
from benchmarks.logs import real_log
from pipelines.features.colour import colour_points
from pipelines.features.images import EncodedImage
from pipelines.features.nearer_in_cell import behind_in_cell
from pipelines.features.visibility import Sighting, see
from pipelines.sources.base import Sweep
from pipelines.sources.pandaset.reader import PandaSetLog

FRONT = "front_camera"
WAYS = ("ours", "reproduction_front", "reproduction_all")


@dataclass(frozen=True, slots=True)
class Shares:
    """One way of colouring, one frame."""

    doubtful: float  # of the coloured points
    uncoloured: float  # of all points
    uncoloured_in_image: float  # of the points that project into some image


def first_camera(count: int, sightings: Sequence[Sighting], names: Sequence[str]) -> NDArray[np.int64]:
    """Number of the first of the named cameras whose image each point [P] projects into, -1 none."""
    camera = np.full(count, -1, np.int64)
    for number, sighting in reversed(list(enumerate(sightings))):
        if sighting.camera.camera in names:
            camera[sighting.projection.rows] = number
    return camera


def our_camera(sweep: Sweep, sightings: Sequence[Sighting]) -> NDArray[np.int64]:
    """Number of the camera that colours each point [P] in the store, -1 none; what the images show plays no part."""
    blank = (np.zeros((sighting.height, sighting.width, 3), np.uint8) for sighting in sightings)
    return colour_points(sweep, sightings, blank).camera.astype(np.int64)


def shares(camera: NDArray[np.int64], sightings: Sequence[Sighting]) -> Shares:
    """Shares of one assignment of cameras to points [P]."""
    doubtful, in_image = np.zeros(len(camera), bool), np.zeros(len(camera), bool)
    for number, sighting in enumerate(sightings):
        rows = sighting.projection.rows
        in_image[rows] = True
        doubtful[rows] |= behind_in_cell(sighting.projection, sighting.width) & (camera[rows] == number)
    coloured = camera >= 0
    return Shares(
        doubtful=float(doubtful.sum() / coloured.sum()),
        uncoloured=float((~coloured).mean()),
        uncoloured_in_image=float((in_image & ~coloured).sum() / in_image.sum()),
    )


def measure_frame(reader: PandaSetLog, frame: int) -> dict[str, Shares]:
    """All ways of colouring on one frame."""
    sweep = reader.sweep(frame)
    images = [EncodedImage.read(reader.log_id, reader.camera(name, frame)) for name in reader.cameras]
    sightings = [see(sweep, image.camera, image.width, image.height) for image in images]
    count = len(sweep.points)
    cameras = (
        our_camera(sweep, sightings),
        first_camera(count, sightings, [FRONT]),
        first_camera(count, sightings, reader.cameras),
    )
    return {way: shares(camera, sightings) for way, camera in zip(WAYS, cameras, strict=True)}


def summary(rows: Sequence[dict[str, Shares]], frames: Sequence[int]) -> dict[str, Any]:
    """Means over the frames, the largest doubtful share, and how often more the reproduction's is."""
    result: dict[str, Any] = {"frames": list(frames)}
    for way in WAYS:
        result[way] = {
            "doubtful": float(np.mean([row[way].doubtful for row in rows])),
            "doubtful_max": max(row[way].doubtful for row in rows),
            "uncoloured": float(np.mean([row[way].uncoloured for row in rows])),
            "uncoloured_in_image": float(np.mean([row[way].uncoloured_in_image for row in rows])),
        }
    for way in WAYS[1:]:
        result[way]["ratio"] = result[way]["doubtful"] / result["ours"]["doubtful"]
    return result


def show(result: dict[str, Any], console: Console) -> None:
    """A table for people."""
    table = Table(title=f"Colours of LiDAR points, mean of {len(result['frames'])} frames")
    for name in ("way", "doubtful", "largest", "no colour", "in an image", "against ours"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for way in WAYS:
        values = result[way]
        cells = [values[key] for key in ("doubtful", "doubtful_max", "uncoloured", "uncoloured_in_image")]
        ratio = f"{values['ratio']:.1f} times" if "ratio" in values else ""
        table.add_row(way, *(f"{100 * cell:.2f} %" for cell in cells), ratio)
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = log_parser(__doc__, "three frames of the log only")
    parser.add_argument("--every", type=int, default=5, help="frames from one measured to the next; default 5")
    args = parser.parse_args(arguments)
    if args.every < 1:
        parser.error(f"--every must be at least 1, got {args.every}")
    reader = PandaSetLog(real_log(args.root, args.log))
    if FRONT not in reader.cameras:
        raise SystemExit(f"log {args.log} has no {FRONT}, the reproduction's only one: choose another --log")
    missing = reader.missing_frames()
    frames = [frame for frame in range(0, reader.num_frames, args.every) if frame not in missing]
    if args.quick:
        frames = sorted({frames[0], frames[len(frames) // 2], frames[-1]})
    console = Console(stderr=True)
    rows = [measure_frame(reader, frame) for frame in track(frames, "frames", console=console)]
    result = summary(rows, frames)
    show(result, console)
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
