"""CPU time per frame of the way from raw log to store, beside a floor and the public reproduction's algorithms.

Run with ``python -m benchmarks.preprocess [--quick] [--json]``. All times are CPU seconds of one process
(`time.process_time`, all its threads), compiled kernels warm, and every ratio is of two times taken right after each
other on the same frame. The floor is the same inputs through plain library calls and nothing else: pandas unpickles the
sweep and the cuboids, simplejpeg decodes the six images, SciPy's k-d tree finds three neighbours of every point.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.command_line import hold_blas, log_parser
from benchmarks.logs import real_log
from benchmarks.preprocess.scaling import frame_stage_scaling
from benchmarks.preprocess.work import (
    BUILD_STAGES,
    PEER_OWN_CODE_S,
    STAGES,
    Subject,
    floor_frame,
    peer_frame,
    whole_frame,
)
from benchmarks.stages import StageClock, cpu_seconds, spread, stages_timed
from pipelines.build.plan import BuildConfig
from pipelines.build.run import build
from pipelines.features.config import FeatureConfig
from pipelines.features.frame_features import FrameComputer
from store_schema.protocol import ClipProtocol
from store_schema.version.provenance import cpu_model


def measure_frames(subject: Subject, frames: Sequence[int], peer_frames: int, step: Callable[[], None]) -> dict:
    """Ours, the floor and the reproduction on the same frames, one frame after the other."""
    reader = subject.reader
    # One for the stages too: what it holds of the frame before must not make the second measurement faster.
    computer, staged = FrameComputer(reader, subject.config), FrameComputer(reader, subject.config)
    whole_frame(subject, FrameComputer(reader, subject.config), frames[0])  # compile, import, fill the file cache
    ours, floor, others = [], [], []
    stages: list[dict[str, float]] = []
    floor_stages: list[dict[str, float]] = []
    peer_stages: list[dict[str, float]] = []
    for number, frame in enumerate(frames):
        clocks = StageClock(), StageClock()
        work = [
            (ours, lambda frame=frame: whole_frame(subject, computer, frame)),
            (floor, lambda frame=frame, clock=clocks[0]: floor_frame(subject, reader, frame, clock)),
        ]
        for times, function in work if number % 2 else reversed(work):
            times.append(cpu_seconds(function))
        floor_stages.append(clocks[0].seconds)
        with stages_timed(STAGES) as clock:
            whole_frame(subject, staged, frame)
        stages.append(clock.seconds)
        if number < peer_frames:
            others.append(cpu_seconds(lambda frame=frame, clock=clocks[1]: peer_frame(subject, reader, frame, clock)))
            peer_stages.append(clocks[1].seconds)
        step()
    parts = _medians(stages)
    return {
        "frames": len(frames),
        "points_per_frame": len(reader.sweep(frames[0]).points),
        "cpu_s_per_frame": float(np.median(ours)),
        "cpu_s_spread": spread(ours),
        "floor_cpu_s_per_frame": float(np.median(floor)),
        "floor_spread": spread(floor),
        "ratio_to_floor": float(np.median(np.divide(ours, floor))),
        "ratio_spread": spread(np.divide(ours, floor).tolist()),
        "stages": parts,
        "unaccounted_s": float(np.median(ours)) - sum(parts.values()),
        "floor_stages": _medians(floor_stages),
        "peer": _peer_result(others, ours, peer_stages),
    }


def _peer_result(others: list[float], ours: list[float], stages: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "frames": len(others),
        "cpu_s_per_frame": float(np.median(others)),
        "cpu_s_spread": spread(others),
        "ratio": float(np.median(np.divide(others, ours[: len(others)]))),
        "stages": _medians(stages),
        "own_code_stages": PEER_OWN_CODE_S,
        "own_code_cpu_s_per_frame": sum(PEER_OWN_CODE_S.values()),
    }


def _medians(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.median([row.get(name, 0.0) for row in rows])) for name in rows[0]}


def measure_build(subject: Subject) -> dict[str, Any]:
    """One whole build in this process, from hashing the raw files to the manifest, per frame it stores."""
    config = BuildConfig(root=subject.log.parent, out=subject.folder / "store", workers=0, logs=(subject.log.name,))
    config = replace(config, protocol=ClipProtocol(test_logs=()))
    results: list[Any] = []
    with stages_timed(BUILD_STAGES) as clock:
        total = cpu_seconds(lambda: results.append(build(config, Console(quiet=True))))
    frames = results[0].frames_made
    return {
        "build_cpu_s_per_frame": total / frames,
        "shard_cpu_s_per_frame": clock.seconds["shards"] / frames,
        "build_stages": {name: seconds / frames for name, seconds in clock.seconds.items()},
        "build_frames": frames,
        "build_clips": sum(results[0].manifest.counts.values()),
    }


def machine() -> dict[str, Any]:
    """What the times were taken on. A load above the number of cores makes them provisional."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
    }


def show(result: Mapping[str, Any], console: Console) -> None:
    """Tables for people."""
    table = Table(title=f"CPU seconds per frame, median of {result['frames']} frames")
    for name in ("stage", "ours", "floor", "reproduction", "its own code"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    columns = (result["stages"], result["floor_stages"], result["peer"]["stages"], PEER_OWN_CODE_S)
    for stage in dict.fromkeys(name for column in columns for name in column):
        table.add_row(stage, *(f"{column[stage]:.4f}" if stage in column else "" for column in columns))
    table.add_row("not in a stage", f"{result['unaccounted_s']:.4f}")
    totals = (
        result["cpu_s_per_frame"],
        result["floor_cpu_s_per_frame"],
        result["peer"]["cpu_s_per_frame"],
        result["peer"]["own_code_cpu_s_per_frame"],
    )
    table.add_row("whole frame", *(f"{value:.4f}" for value in totals), style="bold")
    console.print(table)
    for name, ratio in (("ratio to the floor", result["ratio_spread"]), ("whole frame", result["cpu_s_spread"])):
        console.print(f"{name}: {ratio['median']:.3f} (10 to 90 %: {ratio['p10']:.3f} to {ratio['p90']:.3f})")
    console.print(f"reproduction against ours: {result['peer']['ratio']:.1f} times, {result['peer']['frames']} frames")
    console.print(
        f"build in one process: {result['build_cpu_s_per_frame']:.4f} s per frame, "
        f"of which shards {result['shard_cpu_s_per_frame']:.4f} ({result['build_clips']} clips)"
    )
    if result["scaling"] is not None:
        scaling = result["scaling"]
        console.print(
            f"frames on 1 worker {scaling['workers_1_s']:.2f} s, on 2 {scaling['workers_2_s']:.2f} s: "
            f"{scaling['speedup']:.2f} times faster ({scaling['speedup_low']:.2f} to {scaling['speedup_high']:.2f}; "
            f"start of the cluster left out: {scaling['startup_s']:.1f} s)"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = log_parser(__doc__, "few frames, no scaling: under 50 seconds")
    parser.add_argument("--frames", type=int, help="frames timed, from the middle of the log; default all (--quick: 8)")
    parser.add_argument("--peer-frames", type=int, help="frames of the slow reproduction; default 6 (--quick: 2)")
    parser.add_argument("--scaling", action="store_true", help="time 1 and 2 workers even with --quick")
    args = parser.parse_args(arguments)
    log = real_log(args.root, args.log)
    console = Console(stderr=True)
    about = machine()
    with tempfile.TemporaryDirectory(prefix="preprocess-") as name, Progress(console=console) as progress:
        subject = Subject(log, Path(name), FeatureConfig())
        count = subject.reader.num_frames
        wanted = min(args.frames or (8 if args.quick else count), count)
        frames = range((count - wanted) // 2, (count + wanted) // 2)
        peer_frames = args.peer_frames or (2 if args.quick else 6)
        task = progress.add_task("frames", total=len(frames))
        result = measure_frames(subject, frames, min(peer_frames, len(frames)), lambda: progress.advance(task))
        result |= measure_build(subject)
        scaled = args.scaling or not args.quick
        result["scaling"] = frame_stage_scaling(log, Path(name), progress) if scaled else None
        result["machine"] = about
    show(result, console)
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    hold_blas("benchmarks.preprocess")
    main()
