"""CPU time of one frame's ground truth (boxes of the points, flow, moving mask), beside the public reproduction's way.

Run with ``python -m benchmarks.ground_truth [--quick] [--json]``. The reproduction's algorithms are those of
`benchmarks.preprocess.peer`: every point against every box, once for the flow and once more for the mask, which is
made of the points in moving boxes. Both sides get the same arrays in memory, one right after the other in every round,
with compiled kernels warm; all times are CPU seconds of one process, and the mask is the front camera's. The smoothed
flow is timed too, but it is in neither sum: the reproduction has none. Without a real log a generated street stands in.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.command_line import hold_blas, log_parser
from benchmarks.preprocess import peer
from benchmarks.preprocess.__main__ import machine
from benchmarks.stages import StageClock, cpu_seconds, spread
from pipelines.features.images import EncodedImage
from pipelines.ground_truth.annotation_times import annotation_times
from pipelines.ground_truth.cuboid_window import CuboidWindow
from pipelines.ground_truth.masks import moving_mask
from pipelines.ground_truth.scene_flow import flow_ground_truth
from pipelines.ground_truth.track_smoothing import HALF_WINDOW, smoothed_flow, smoothed_motion
from pipelines.sources.base import Cuboids, Sweep
from pipelines.sources.pandaset.reader import PandaSetLog
from pipelines.synth import generate_log
from pipelines.synth.config import preset

SYNTH_FRAMES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One frame in memory, as both sides get it."""

    sweep: Sweep
    window: Sequence[tuple[float, Cuboids]]  # s, boxes; of the frames around
    now: int  # of the window
    image: EncodedImage  # of the camera that gets a mask
    boxes: Sequence[peer.Box]
    boxes_next: Sequence[peer.Box]

    @property
    def cuboids(self) -> Cuboids:
        return self.window[self.now][1]


def read_subject(log: Path, frame: int) -> Subject:
    """One frame of a log.

    Raises:
        SystemExit: the frame or its successor is not in the log, or one has no boxes.
    """
    reader = PandaSetLog(log)
    if not 0 <= frame < reader.num_frames - 1:
        raise SystemExit(f"{log} has frames 0 to {reader.num_frames - 1}: pass a --frame that has a successor")
    window = CuboidWindow(reader, 2 * HALF_WINDOW).around(frame, HALF_WINDOW)
    near = [boxes.frame for _, boxes in window]
    if not {frame, frame + 1} <= set(near):
        raise SystemExit(f"{log} has no cuboids for frame {frame} or its successor: pass another --frame or --log")
    image = EncodedImage.read(reader.log_id, reader.camera("front_camera", frame))
    now = near.index(frame)
    boxes, boxes_next = (_plain(window[now + ahead][1]) for ahead in (0, 1))
    return Subject(reader.sweep(frame), window, now, image, boxes, boxes_next)


def _plain(cuboids: Cuboids) -> list[peer.Box]:
    rows = zip(cuboids.track, cuboids.position, cuboids.size, cuboids.yaw, strict=True)
    return [peer.Box(name, centre, size, float(yaw)) for name, centre, size, yaw in rows]


def ours(subject: Subject, clock: StageClock) -> np.ndarray:
    """Boxes of the points and flow, then the mask. Returns the mask."""
    (time, cuboids), (time_next, following) = subject.window[subject.now : subject.now + 2]
    sweep, image = subject.sweep, subject.image
    flow = clock.timed("boxes and flow", flow_ground_truth)(sweep, cuboids, following)

    def mask() -> np.ndarray:
        times = annotation_times(sweep, cuboids, flow.cuboid)
        size = image.width, image.height
        return moving_mask(image.camera, *size, cuboids, following, time, time_next, box_times=times)

    return clock.timed("moving mask", mask)()


def theirs(subject: Subject, clock: StageClock) -> np.ndarray:
    """The same job, the reproduction's way."""
    points, boxes, following = subject.sweep.points, subject.boxes, subject.boxes_next
    clock.timed("boxes and flow", peer.flow_to_next)(points, boxes, following)
    size = subject.image.width, subject.image.height
    return clock.timed("moving mask", peer.dynamic_mask)(points, boxes, following, subject.image.camera, *size)


def smoothed(subject: Subject, cuboid: np.ndarray) -> None:
    """The second ground truth of the same points."""
    motion = smoothed_motion(subject.window, subject.sweep.frame)
    smoothed_flow(subject.sweep, subject.cuboids, cuboid, motion)


def measure(subject: Subject, rounds: int, console: Console) -> dict[str, Any]:
    """Both sides in turn, `rounds` times."""
    cuboid = flow_ground_truth(subject.sweep, subject.cuboids, subject.window[subject.now + 1][1]).cuboid
    ours(subject, StageClock())  # compile
    smoothed(subject, cuboid)
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    parts: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}
    for number in track(range(rounds), "rounds", console=console):
        sides = [("ours", ours), ("peer", theirs)]
        for name, side in sides if number % 2 else reversed(sides):
            clock = StageClock()
            times[name].append(cpu_seconds(lambda side=side, clock=clock: side(subject, clock)))
            parts[name].append(clock.seconds)
        parts["ours"][-1]["smoothed flow"] = cpu_seconds(lambda: smoothed(subject, cuboid))
    ratio = spread(np.divide(times["peer"], times["ours"]).tolist())
    return {
        "points": len(subject.sweep.points),
        "boxes": len(subject.boxes),
        "rounds": rounds,
        "ours_cpu_s": float(np.median(times["ours"])),
        "ours_spread": spread(times["ours"]),
        "peer_cpu_s": float(np.median(times["peer"])),
        "peer_spread": spread(times["peer"]),
        "speedup": ratio["median"],
        "speedup_spread": ratio,
        "parts": _medians(parts["ours"]),
        "peer_parts": _medians(parts["peer"]),
    }


def _medians(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.median([row[name] for row in rows])) for name in rows[0]}


def show(result: Mapping[str, Any], console: Console) -> None:
    """A table for people."""
    title = f"CPU ms of one frame's ground truth, {result['points']} points, {result['boxes']} boxes ({result['log']})"
    table = Table("part", "ours", "reproduction", title=title)
    for name, seconds in result["parts"].items():
        other = result["peer_parts"].get(name)
        table.add_row(name, f"{1e3 * seconds:.1f}", "" if other is None else f"{1e3 * other:.1f}")
    table.add_row(
        "sum, smoothed flow left out", f"{1e3 * result['ours_cpu_s']:.1f}", f"{1e3 * result['peer_cpu_s']:.1f}"
    )
    console.print(table)
    ratio = result["speedup_spread"]
    console.print(
        f"reproduction against ours: {ratio['median']:.0f} times (10 to 90 % of {result['rounds']} rounds: "
        f"{ratio['p10']:.0f} to {ratio['p90']:.0f})"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = log_parser(__doc__, "3 rounds instead of 15")
    parser.add_argument("--frame", type=int, help="frame of the real log; default 20")
    args = parser.parse_args(arguments)
    console = Console(stderr=True)
    about = machine()
    with tempfile.TemporaryDirectory(prefix="ground-truth-") as name:
        if (args.root / args.log / "lidar").is_dir():
            log, subject = args.log, read_subject(args.root / args.log, 20 if args.frame is None else args.frame)
        else:
            console.print(f"no PandaSet log {args.log} under {args.root}: a generated street instead")
            log, path = "generated street", generate_log(Path(name) / "synth", 0, SYNTH_FRAMES, 0, preset("large"))
            subject = read_subject(path, 1)
    result = {"log": log, **measure(subject, 3 if args.quick else 15, console), "machine": about}
    show(result, console)
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    hold_blas("benchmarks.ground_truth")
    main()
