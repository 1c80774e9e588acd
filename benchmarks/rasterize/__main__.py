"""Speed of the CPU rasteriser on Gaussians of a real log: against its plain PyTorch twin, and against its floor.

Run with ``python -m benchmarks.rasterize [--root PANDASET --log 002] [--quick] [--json]``. The Gaussians stand on raw
LiDAR points, the camera is the log's front camera, what is blended are seven channels (RGB, velocity, depth). Ours and
the twin take turns in one run; a ratio is that of one turn to ours before and after it. On one core the blend stage's
CPU time is set beside the least it could take: its floating-point operations at the core's measured peak, over the
share of vector lanes that can be of use. Without a log the scene is a made street.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track

from benchmarks.command_line import log_parser
from benchmarks.logs import REPOSITORY, real_log
from benchmarks.rasterize.show import show

if TYPE_CHECKING:
    from benchmarks.rasterize.scene import Scene

COUNT, QUICK_COUNT = 200_000, 50_000
HEADLINE = ("A", 960)
PEER_REPEATS = {
    ("A", 480): (3, 3),
    HEADLINE: (3, 3),
    ("A", 1920): (1, 1),
    ("B", 480): (1, 1),
    ("B", 960): (1, 1),
    ("B", 1920): (0, 0),
}
"""By load and width, how often the twin is timed in the blend stage and end to end: seconds to half a minute each."""
QUICK_PEER_REPEATS = {("A", 480): (3, 1)}
OWN_REPEATS = 5
LARGE = 1920  # px wide, where memory is measured


def measure_row(scene: Scene, width: int, peer_repeats: tuple[int, int]) -> dict[str, Any]:
    """Pairs, both comparisons and the one-core times of one scene at one image width.

    Without a repeat of the peer ours is timed alone.
    """
    import benchmarks.rasterize.timing as timing
    from benchmarks.rasterize.floor import count_pairs
    from benchmarks.rasterize.scene import splats_of

    splats, boxes, settings = splats_of(scene, width)
    pairs = count_pairs(splats.numpy(), boxes.numpy(), settings)
    blend_repeats, whole_repeats = peer_repeats
    timing.end_to_end(scene, width)  # compile, fill the caches

    def ours() -> timing.Pass:
        return timing.raster_stage(splats, boxes, settings)[0]

    def peer() -> timing.Pass:
        return timing.plain_raster_stage(splats, boxes, settings)[0]

    def ours_whole() -> timing.Pass:
        return timing.end_to_end(scene, width)[0]

    def peer_whole() -> timing.Pass:
        return timing.plain_end_to_end(scene, width)[0]

    return {
        "load": scene.load,
        "width": settings.width,
        "height": settings.height,
        "gaussians": len(scene.means),
        "in_view": int((boxes[:, 1] > boxes[:, 0]).sum()),
        "pairs": pairs._asdict() | {"row_lane_share": pairs.row_lane_share, "block_lane_share": pairs.block_lane_share},
        "peer_repeats": peer_repeats,
        "raster": timing.compare(ours, peer if blend_repeats else None, blend_repeats or OWN_REPEATS),
        "end_to_end": timing.compare(ours_whole, peer_whole if whole_repeats else None, whole_repeats or OWN_REPEATS),
        "one_core": timing.one_core(ours, OWN_REPEATS),
    }


def against_floor(row: dict[str, Any], peak_gflops: float) -> dict[str, float]:
    """Rates of the blend stage on one core, and how many times its floor it takes."""
    from benchmarks.rasterize.floor import backward_flops, forward_flops
    from benchmarks.rasterize.scene import CHANNELS

    pairs, result = row["pairs"], {}
    for short, name, flops in (("fwd", "forward", forward_flops), ("bwd", "backward", backward_flops)):
        seconds = row["one_core"][f"{name}_cpu_s"]["median"]
        full = pairs["blends"] * flops(CHANNELS) / (1e9 * peak_gflops)
        result[f"{short}_mblend_per_core"] = pairs["blends"] / seconds / 1e6
        result[f"{short}_floor_s"] = full / pairs["block_lane_share"]
        result[f"{short}_floor_rows_s"] = full / pairs["row_lane_share"]
        result[f"{short}_floor_full_lanes_s"] = full
        result[f"{short}_ratio_to_floor"] = seconds / result[f"{short}_floor_s"]
    return result


def summary(rows: Sequence[dict[str, Any]], peak: dict[str, float]) -> dict[str, Any]:
    """The figures that are looked at first, of load A at 960x540 or of the only row there is; then all rows."""
    from benchmarks.rasterize.floor import backward_flops, forward_flops
    from benchmarks.rasterize.scene import CHANNELS

    rows = [row | {"floor": against_floor(row, peak["peak"])} for row in rows]
    head = next((row for row in rows if (row["load"], row["width"]) == HEADLINE), rows[0])
    raster, whole = head["raster"], head["end_to_end"]
    return {
        "of": {name: head[name] for name in ("load", "width", "height", "gaussians", "in_view")},
        "speedup_vs_torch": raster["ratio"]["median"],
        "speedup_vs_torch_spread": raster["ratio"],
        "speedup_vs_torch_end_to_end": whole["ratio"]["median"],
        "speedup_vs_torch_cpu_time": raster["peer_cpu_s"]["median"] / raster["ours_cpu_s"]["median"],
        "end_to_end_s": whole["ours_s"]["median"],
        **head["floor"],
        "peak_gflops_per_core": peak,
        "flops_per_blend": {"forward": forward_flops(CHANNELS), "backward": backward_flops(CHANNELS)},
        "rows": rows,
    }


def scenes(args: Any, console: Console) -> tuple[str, dict[str, Scene]]:
    """What the scenes are made from, and one scene for each load that is asked for."""
    from benchmarks.rasterize.scene import real_scene, street

    plan = QUICK_PEER_REPEATS if args.quick else PEER_REPEATS
    count = args.count or (QUICK_COUNT if args.quick else COUNT)
    root = args.root or Path(os.environ.get("PANDASET_ROOT", REPOSITORY / "../shared/pandaset"))
    if args.root is None and not (root / args.log / "lidar").is_dir():
        console.print(f"no PandaSet log {args.log} under {root}: a made street instead")
        return "made street", {"A": street(count)}
    log = real_log(root, args.log)
    return args.log, {load: real_scene(log, load, args.frame, count) for load in dict.fromkeys(key[0] for key in plan)}


def main(arguments: Sequence[str] | None = None) -> None:
    # Before torch is loaded: idle OpenMP threads must not spin while the rasteriser's own threads work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = log_parser(__doc__, "load A, 50,000 Gaussians, 480x270 only")
    parser.set_defaults(root=None)
    parser.add_argument("--frame", type=int, default=20, help="frame of the camera; default 20")
    parser.add_argument("--count", type=int, help=f"Gaussians of a scene; default {COUNT}, {QUICK_COUNT} with --quick")
    parser.add_argument("--no-costs", action="store_true", help="leave out memory and compilation")
    args = parser.parse_args(arguments)
    if args.count is not None and args.count < 4:
        parser.error(f"--count must be at least 4, got {args.count}: a scale is the distance to three neighbours")
    import torch

    from benchmarks.preprocess.__main__ import machine
    from benchmarks.rasterize.costs import compile_seconds, extra_memory_mb, peak_gflops

    console = Console(stderr=True)
    about = machine()
    log, loads = scenes(args, console)
    plan = QUICK_PEER_REPEATS if args.quick else PEER_REPEATS
    plan = {key: repeats for key, repeats in plan.items() if key[0] in loads}
    rows = [
        measure_row(loads[load], width, repeats)
        for (load, width), repeats in track(plan.items(), "loads and sizes", console=console)
    ]
    result = {
        **summary(rows, peak_gflops()),
        "memory": None if args.no_costs else extra_memory_mb(loads["A"], LARGE),
        "compile": None if args.no_costs else compile_seconds(),
        "log": log,
        "frame": args.frame,
        "quick": args.quick,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": about,
    }
    show(result, console)
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
