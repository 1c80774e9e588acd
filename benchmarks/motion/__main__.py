"""Motion from LiDAR alone beside peers: error of protocol P0, whole sweeps, generated streets, and CPU seconds a frame.

Run with ``python -m benchmarks.motion [--quick] [--json]``. Lengths are metres over one pair of sweeps (0.1 s). All
pairs of the real log are scored, frames 18 and up apart too (no hold-out: docs/motion.md). The peers are the twins of
`benchmarks.motion.peers`: they get the ground of our stage for nothing, both sides' times are CPU seconds of one
process with compiled kernels warm, and they are scored, as ours beside them is, on the pairs that they ran on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.command_line import hold_blas, log_parser
from benchmarks.motion import peers
from benchmarks.motion.cases import Case, generated_case, real_case
from benchmarks.motion.scores import flow_of, scored
from benchmarks.preprocess.__main__ import machine
from benchmarks.stages import cpu_seconds, stages_timed
from pipelines.motion import MotionConfig, MotionEstimator, MotionSweep, SweepMotion, estimate_motion

LATER = 18
"""First frame of the second half of the real log, which was watched but not weighed when constants were chosen."""
PARTS = {
    "each sweep alone": ["pipelines.motion.candidates:prepare"],
    "ground": ["pipelines.motion.candidates:height_over_ground"],
    "what rest explains": ["pipelines.motion.candidates:free_returns"],
    "search": ["pipelines.motion.estimate:cluster_motion"],
    "agreement": [
        "pipelines.motion.estimate:MotionEstimator._agreed",
        "pipelines.motion.estimate:MotionEstimator._before",
    ],
    "hand-over": ["pipelines.motion.estimate:MotionEstimator._spread"],
}


def ours(cases: Sequence[Case]) -> tuple[list[tuple[SweepMotion, ...]], float, dict[str, float]]:
    """Motion of logs, CPU seconds a frame, and by part."""
    sweeps = [case.sweeps for case in cases]
    estimate_motion(sweeps[0][:4])  # compile
    motions: list[tuple[SweepMotion, ...]] = []
    frames = sum(map(len, sweeps))
    with stages_timed(PARTS) as clock:
        seconds = cpu_seconds(lambda: motions.extend(estimate_motion(one) for one in sweeps))
    return motions, seconds / frames, {name: value / frames for name, value in clock.seconds.items()}


def our_scores(cases: Sequence[Case], pairs: Sequence[int] = ()) -> dict[str, Any]:
    """Our figures on logs; of a single log also those of `pairs`, and of its second half."""
    motions, seconds, parts = ours(cases)

    def flow(case: int, frame: int) -> NDArray[np.float64]:
        return flow_of(motions[case][frame].velocity, cases[case].truth[frame].dt)

    result = scored(cases, flow) | {"cpu_s_per_frame": seconds, "parts": parts}
    if pairs:
        result["on_pairs"] = scored(cases, flow, pairs) | {"cpu_s_per_frame": seconds}
    later = range(LATER, len(cases[0].truth))
    if len(cases) == 1 and len(later):
        result["later"] = scored(cases, flow, later)
    return result


def beside_peers(case: Case, pairs: Sequence[int], steps: tuple[int, int]) -> dict[str, Any]:
    """Every method on the same pairs of a real log: figures, and CPU seconds of one process a pair.

    `steps` are those of FastNSF, at most, and of Floxels.
    """
    config = MotionConfig()
    sweeps = case.sweeps
    estimator = MotionEstimator(lambda frame: sweeps[frame], len(sweeps), config)
    rows = {
        frame: _standing(estimator, sweeps, frame, config)
        for frame in sorted({p + k for p in pairs for k in range(-2, 3)})
    }

    def cloud(frame: int) -> NDArray[np.float64]:
        return case.sweeps[frame].points[rows[frame]]

    def five(frame: int) -> NDArray[np.float64]:
        near = range(frame - 2, frame + 3)
        return peers.floxels([cloud(one) for one in near], [case.sweeps[one].time for one in near], 2, steps[1])

    methods: Mapping[str, Callable[[int], NDArray[np.float64]]] = {
        "rest": lambda frame: np.zeros((len(rows[frame]), 3)),
        "vote": lambda frame: peers.vote(cloud(frame), cloud(frame + 1)),
        "fast_nsf": lambda frame: peers.fast_nsf(cloud(frame), cloud(frame + 1), steps[0]),
        "floxels": five,
    }
    results = {}
    for name, method in methods.items():
        flows: dict[int, NDArray[np.float64]] = {}
        start = time.process_time()
        for frame in pairs:
            flows[frame] = np.zeros_like(case.sweeps[frame].points)
            flows[frame][rows[frame]] = method(frame)
        seconds = (time.process_time() - start) / len(pairs)
        figures = scored([case], lambda _, frame, flows=flows: flows[frame], pairs)
        results[name] = figures | {"cpu_s_per_frame": seconds}
    return results


def _standing(
    estimator: MotionEstimator, sweeps: Sequence[MotionSweep], frame: int, config: MotionConfig
) -> NDArray[np.int64]:
    """Returns of the spinning LiDAR over the ground, 35 m around: what the peers are given."""
    height = estimator.height(frame)
    sweep = sweeps[frame]
    away = np.abs((sweep.points - sweep.ego2world[:3, 3])[:, :2]).max(axis=1)
    return np.flatnonzero(
        (sweep.sensor == 0) & (height > config.low) & (height < config.high) & (away < 60) & (away > config.own_radius)
    )


def show(result: Mapping[str, Any], console: Console) -> None:
    """Tables for people."""
    table = Table(title="motion from LiDAR alone, metres over 0.1 s, protocol P0")
    for name in ("points", "EPE-FD", "of rest", "three-way", "EPE-BS", "EPE-FS", "still > 0.5 m/s", "CPU-s a frame"):
        table.add_column(name, justify="left" if name == "points" else "right")
    blocks = [("generated streets", result["generated"])]
    if real := result.get("real"):
        blocks = [("real, all pairs", real), ("real, all around, both LiDARs", real["whole"]), *blocks]
        if "later" in real:
            blocks.insert(1, (f"real, from frame {LATER} on", real["later"]))
        blocks += [(f"{name}, some real pairs", one) for name, one in result["peers"].items()]
    for name, one in blocks:
        rest = one["epe_fd_rest"]
        cost = one.get("cpu_s_per_frame")
        cells = [
            one["epe_fd"],
            one["epe_fd"] / rest,
            one["epe_3way"],
            one["epe_bs"],
            one["epe_fs"],
            one["false_speed_share"],
            cost,
        ]
        table.add_row(name, *("" if cell is None else f"{cell:.4f}" for cell in cells))
    console.print(table)
    for name, one in {blocks[0][0]: blocks[0][1], "generated streets": result["generated"]}.items():
        for kind in ("by_class", "by_speed", "by_distance"):
            parts = (f"{key} {part['epe']:.3f} ({part['ratio']:.2f} of rest)" for key, part in one[kind].items())
            console.print(f"{name}, {kind.replace('_', ' ')}: " + ", ".join(parts))
        console.print("CPU ms by part: " + ", ".join(f"{k} {1e3 * v:.0f}" for k, v in one.get("parts", {}).items()))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = log_parser(
        __doc__, "9 frames of the real log (too few for what rest explains), a short street, peers cut short"
    )
    parser.add_argument("--streets", type=int, default=4, help="generated streets")
    parser.add_argument("--seed", type=int, default=0, help="of the streets; constants were chosen on those of seed 1")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console(stderr=True)
    result: dict[str, Any] = {"machine": machine()}
    if (args.root / args.log / "lidar").is_dir():
        case = real_case(args.root / args.log, range(14, 23) if args.quick else None)
        pairs = [4] if args.quick else [7, 26]
        result["real"] = our_scores([case], pairs)
        result["peers"] = {
            "ours": result["real"].pop("on_pairs"),
            **beside_peers(case, pairs, (20, 8) if args.quick else (500, 150)),
        }
    else:
        console.print(f"no PandaSet log {args.log} under {args.root}: generated streets only")
    streets, frames = (1, 12) if args.quick else (args.streets, 24)
    result["generated"] = our_scores([generated_case(log, frames, args.seed) for log in range(streets)])
    show(result, console)
    if args.json:
        keys = ("epe_fd", "epe_3way", "epe_bs", "epe_fs", "epe_fd_rest", "cpu_s_per_frame")
        headline = result.get("real") or result["generated"]
        print(json.dumps({key: headline[key] for key in keys} | result))


if __name__ == "__main__":
    hold_blas("benchmarks.motion")
    main()
