"""How far LiDAR depth edges lie from image edges, by camera, and what the time a camera is taken at does to it.

Run with ``python -m benchmarks.alignment [--quick] [--json]``. Cameras are placed (a) at their own stamp and pose,
(b) on the rig at the sweep's stamp, as if everything were measured at once, (c) at their own stamp plus the constant
time shift that fits best, chosen on every other frame and scored on the rest. Method and results: docs/time.md.

Depth edges are returns of the spinning LiDAR whose neighbours on one side (by azimuth, at the same elevation) are all
farther by more than 1 m and 10 %. Image edges are the horizontal gradient of the blurred grey image, divided by its
mean over the 121 columns around, so that random places score about 1. All edges of a frame are moved sideways by
`OFFSETS`, each along the way its point moves in the image; the offset with the largest mean gradient is the frame's.
Negative means that the image has the edge where the point was before. What is left while the ego (almost) stands is
measured first and taken off: it has nothing to do with time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.alignment.edges import (
    depth_edges,
    edge_map,
    edge_sums,
    image_size,
    pixels,
    static_rows,
    visible_edges,
)
from benchmarks.alignment.rig import Rig
from benchmarks.alignment.scores import (
    MIN_EDGES,
    OFFSETS,
    SHIFTS_S,
    Curves,
    camera_result,
    object_result,
    residual_result,
)
from benchmarks.command_line import log_parser
from benchmarks.logs import real_log
from pipelines.geometry.projection import project
from pipelines.ground_truth.cuboid_window import CuboidWindow
from pipelines.ground_truth.scene_flow import flow_ground_truth
from pipelines.sources.base import CameraFrame, Sweep
from pipelines.sources.pandaset.reader import PandaSetLog
from store_schema.labels import FlowClass

SLOW_M_S, MOVING_M_S = 0.5, 2.0  # below: the ego as good as stands; above: it moves
MIN_MOTION_PX_M = 10.0  # sideways, for a metre of driving, of an edge that can tell times apart
MIN_OBJECT_PX_S = 20.0
Sums = tuple[NDArray[np.float64], NDArray[np.float64], float]
"""Of one frame: sums and counts as `edge_sums`, for V ways to place the edges [V, S], and how far (a) is from (b)."""


def static_curves(
    rig: Rig, sweep: Sweep, edges: NDArray[np.int64], camera: CameraFrame, residual: float | None
) -> Sums | None:
    """One frame of one camera: curves of (a) with every time shift, then of (b) [T + 1, S]; None with few edges.

    Without a residual: one curve, of (a), with all edges moved to the right.
    """
    track, jpeg = rig.cameras[camera.camera], camera.image()
    size, end = image_size(jpeg), rig.ego.at(sweep.time) @ rig.mounts[camera.camera]
    points = sweep.points[visible_edges(sweep, edges, camera, size)]
    points = points[project(points, end, camera.K, *size).rows]
    early, late = (pixels(points, track.at(camera.time + way * 0.005), camera.K)[:, 0] for way in (-1, 1))
    clear = np.abs(late - early) / 0.01 >= MIN_MOTION_PX_M * rig.speed(sweep.frame)
    points, way = points[clear], np.sign(late - early)[clear]
    if len(points) < MIN_EDGES:
        return None
    poses = [camera.cam2world]
    if residual is None:
        way, residual = np.ones(len(points)), 0.0
    else:
        poses = [track.at(camera.time + shift) for shift in SHIFTS_S] + [end]
    gradient, moved = edge_map(jpeg), np.array([residual, 0.0])
    sums = [edge_sums(gradient, pixels(points, pose, camera.K) + moved, way, OFFSETS) for pose in poses]
    apart = np.abs(pixels(points, end, camera.K) - pixels(points, camera.cam2world, camera.K))[:, 0].mean()
    return np.array([s[0] for s in sums]), np.array([s[1] for s in sums]), float(apart)


def object_curves(
    sweep: Sweep,
    velocity: NDArray[np.float64],  # [P, 3] m/s
    edges: NDArray[np.int64],
    camera: CameraFrame,
    residual: float,
) -> Sums | None:
    """One frame of one camera: curves of moving objects' edges by `PLACES`, along their own motion; None without."""
    jpeg = camera.image()
    rows = visible_edges(sweep, edges, camera, image_size(jpeg))
    points, speed = sweep.points[rows], velocity[rows]
    waits = [np.zeros(len(rows)), camera.time - sweep.times[rows], np.full(len(rows), camera.time - sweep.time)]
    places = [pixels(points + speed * wait[:, None], camera.cam2world, camera.K) for wait in waits]
    motion = (pixels(points + speed * 0.01, camera.cam2world, camera.K) - places[0])[:, 0] / 0.01
    fast = np.abs(motion) >= MIN_OBJECT_PX_S
    if not fast.any():
        return None
    gradient, moved = edge_map(jpeg), np.array([residual, 0.0])
    sums = [edge_sums(gradient, place[fast] + moved, np.sign(motion[fast]), OFFSETS) for place in places]
    apart = np.abs(places[2] - places[1])[fast, 0].mean()
    return np.array([s[0] for s in sums]), np.array([s[1] for s in sums]), float(apart)


def measure(rig: Rig, frames: Sequence[int], step: Callable[[], None], subtract: bool) -> dict[str, Any]:
    """All figures of a log: static residual by camera, static edges while the ego moves, edges of moving objects."""
    reader, speeds = rig.reader, {frame: rig.speed(frame) for frame in frames}
    slow = [frame for frame in frames if speeds[frame] < SLOW_M_S]
    moving = [frame for frame in frames if speeds[frame] >= MOVING_M_S]
    still, driven, objects = ({name: [] for name in reader.cameras} for _ in range(3))
    for frame in slow:
        sweep, edges, _, _ = frame_edges(rig, frame)
        for name, rows in still.items():
            rows.append(static_curves(rig, sweep, edges, reader.camera(name, frame), None))
        step()
    residual = _results(still, residual_result)
    moved = {name: residual[name]["value"] if subtract and name in residual else 0.0 for name in reader.cameras}
    for frame in frames:
        sweep, edges, own, velocity = frame_edges(rig, frame)
        for name in reader.cameras:
            camera = reader.camera(name, frame)
            if frame in moving:
                driven[name].append(static_curves(rig, sweep, edges, camera, moved[name]))
            objects[name].append(object_curves(sweep, velocity, own, camera, moved[name]))
        step()
    return {
        "slow_frames": len(slow),
        "moving_frames": len(moving),
        "speed_m_s": [f([speeds[frame] for frame in moving]) for f in (min, max)] if moving else None,
        "mount_error_m": rig.mount_errors(),
        "residual_px": residual,
        "cameras": _results(driven, camera_result),
        "objects": _results(objects, object_result),
    }


def _results(rows: dict[str, list[Sums | None]], of: Callable[[Curves], Any]) -> dict[str, Any]:
    """By camera; cameras without frames are left out."""
    kept = {name: [row for row in curves if row is not None] for name, curves in rows.items()}
    return {name: of(Curves.join(curves)) for name, curves in kept.items() if curves}


def frame_edges(rig: Rig, frame: int) -> tuple[Sweep, NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """A sweep, the rows of its edges that stand and of those that move, and the velocity of all its points [P, 3]."""
    reader, sweep = rig.reader, rig.reader.sweep(frame)
    edges, boxes = depth_edges(sweep, rig.ego), CuboidWindow(reader, 1)
    cuboids, following = boxes.at(frame), boxes.at(frame + 1)
    if cuboids is None or following is None:
        return sweep, edges, edges[:0], np.zeros_like(sweep.points)
    flow = flow_ground_truth(sweep, cuboids, following)
    velocity = flow.flow / (reader.frame_time(frame + 1) - sweep.time)
    static = static_rows(sweep, cuboids, following)[edges]
    moving = flow.flow_class[edges] == FlowClass.FOREGROUND_DYNAMIC
    return sweep, edges[static], edges[moving], velocity


def show(result: dict[str, Any], console: Console) -> None:
    """Tables for people: a line for each camera and way to place the edges."""
    speeds = "none" if result["speed_m_s"] is None else "{:.1f} to {:.1f} m/s".format(*result["speed_m_s"])
    still = f"{result['slow_frames']} frames below {SLOW_M_S} m/s"
    console.print(f"static edges: {result['moving_frames']} frames ({speeds}); static residual of {still}, px:")
    console.print(", ".join(f"{name} {_interval(value)}" for name, value in result["residual_px"].items()))
    table, kinds = _table("apart: (a) to (b)"), {"own_stamp": "(a)", "sweep_end": "(b)", "shifted": "(c)"}
    for name, row in result["cameras"].items():
        for key, kind in kinds.items():
            shift = f" {_interval(row['best_shift_s'], 1000)} ms" if key == "shifted" else ""
            table.add_row(name, *_cells(row), kind + shift, *_placing_cells(row[key]))
    console.print(table)
    table = _table("moving objects; apart: camera's time to sweep's end")
    for name, row in result["objects"].items():
        for place, found in row["places"].items():
            table.add_row(name, *_cells(row), place, *_placing_cells(found))
    console.print(table)
    worst = max(result["mount_error_m"].values())
    console.print(f"cameras stay within {1000 * worst:.0f} mm of their mounts on the ego, by the log's own poses")


def _table(title: str) -> Table:
    table = Table(title=title)
    for name in ("camera", "frames", "edges", "apart", "place", "offset px", "|frame|", "RMS", "contrast"):
        table.add_column(name, justify="left" if name in ("camera", "place") else "right", no_wrap=True)
    return table


def _cells(row: dict[str, Any]) -> tuple[str, str, str]:
    return str(row["frames"]), str(row["edges"]), f"{row['apart_px']:.1f}"


def _placing_cells(found: dict[str, Any]) -> tuple[str, ...]:
    frames = (found["frames_abs_median_px"], found["frames_rms_px"], found["contrast"])
    return _interval(found["offset_px"]), *("n/a" if value is None else f"{value:.2f}" for value in frames)


def _interval(value: dict[str, float] | None, scale: float = 1.0) -> str:
    if value is None:
        return "n/a"
    return f"{scale * value['value']:.1f} ({scale * value['p5']:.1f} to {scale * value['p95']:.1f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = log_parser(__doc__, "every fourth frame: under 15 seconds")
    parser.add_argument(
        "--keep-residual", action="store_true", help="do not take off what is left while the ego stands"
    )
    args = parser.parse_args(arguments)
    reader = PandaSetLog(real_log(args.root, args.log))
    missing = reader.missing_frames()
    frames = [f for f in range(0, reader.num_frames, 4 if args.quick else 1) if f not in missing]
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 140)
    with Progress(console=console) as progress:
        task = progress.add_task("frames", total=len(frames))
        result = measure(Rig.of(reader), frames, lambda: progress.advance(task), not args.keep_residual)
    show(result, console)
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
