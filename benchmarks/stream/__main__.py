"""Samples/s and CPU time per sample of the training stream, beside WebDataset, LitData, Mosaic and a floor.

Run with ``python -m benchmarks.stream [--quick] [--json]``; ``make peers`` makes the environment of the peers, without
which their rows are left out. A sample is a clip's lifted scene, some of its target views decoded at the training
width, and their LiDAR depth. Every side has it in ready form on the local disk, as our cache has from the second epoch
on; the page cache is warm. Each side is a process of its own, and they run in turn, never at the same time. Ours checks
a hash over every byte it delivers; no peer checks any when it reads (Mosaic can when it downloads a shard).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.command_line import hold_blas, log_parser
from benchmarks.logs import real_log
from benchmarks.preprocess.__main__ import machine
from benchmarks.stream.case import FIRST, PEERS_PYTHON, Case, Plan, start_sides
from benchmarks.stream.memory import EVERY, SAMPLES, memory_result
from benchmarks.stream.sides.side import closing_all
from benchmarks.stream.subject import build_store, copies_of, write_copies, write_ready_samples
from store_schema.version.dataset import open_dataset

PEERS = ("webdataset", "litdata", "mosaic")
CHECKED = (
    "ours every byte it delivers, each time",
    "webdataset, litdata and floor nothing",
    "mosaic a whole shard when it downloads it, local files nothing",
)
WIDTH = 960
QUICK_ROUNDS, ROUNDS = 5, 9


def run(args: Any, folder: Path, progress: Progress) -> dict[str, Any]:
    """The benchmark, in a folder that may be filled."""
    plan = Plan(
        clips=args.clips or (6 if args.quick else 24),
        rounds=args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS),
        first_rounds=1 if args.quick else 5,
        seconds=0.3 if args.quick else 2.0,
        peers=PEERS if PEERS_PYTHON.exists() else (),
        # What was fastest in full runs on two cores: to try all takes too long for --quick.
        our_workers=(2,) if args.quick else (2, 1),
        peer_workers=(0,) if args.quick else (0, 1, 2),
    )
    result: dict[str, Any] = {"clips": plan.clips, "page_cache": "warm", "peers_missing": not plan.peers}
    # Started first: they import PyTorch while this process builds.
    sides = start_sides(plan.peers, folder)
    with closing_all(sides):
        source = (
            open_dataset(args.store) if args.store else build_store(real_log(args.root, args.log), folder / "built")
        )
        copies = copies_of(source, plan.clips)
        dataset = write_copies(source, folder / "store", copies)
        sizes: dict[str, int | None] = {"": WIDTH} if args.quick else {"": WIDTH, "full_size": None}
        for name, width in sizes.items():
            place = folder / f"samples{width or 'full'}"
            place.mkdir()
            ready = write_ready_samples(dataset, copies, place / "ready", width)
            case = Case(sides, plan, dataset, ready, place).measure(progress)
            result |= {name: case} if name else case
            if not name and (args.memory or not args.quick):
                rows = sides["ours"].ask(do="memory", count=SAMPLES, every=EVERY)["rows"]
                result["memory"] = memory_result(rows)
    return result


def show(result: Mapping[str, Any], console: Console) -> None:
    """Tables for people."""
    for case in (result, result.get("full_size")):
        if case is None:
            continue
        table = Table(
            title=f"{case['views']} views of {case['width']}x{case['height']} a sample, page cache warm, median (range)"
        )
        for name in ("side", "samples/s", "CPU ms a sample", "workers"):
            table.add_column(name, justify="left" if name == "side" else "right")
        for name in ("ours", FIRST, *PEERS, "floor"):
            table.add_row(name, *_cells(case.get(name)))
        console.print(table)
        found = case["ratios"]
        for name in ("ours_to_fastest_peer", "ours_to_floor", "cpu_ours_to_cheapest_peer", "cpu_ours_to_floor"):
            if (value := found[name]) is not None:
                low, high = value["p10"], value["p90"]
                console.print(f"{name}: {value['median']:.3f} (10 to 90 %: {low:.3f} to {high:.3f})")
        second = case["ours_second_epoch"]
        console.print(
            f"our second epoch: {second['samples_per_s']:.1f} samples/s, {second['cpu_ms_per_sample']:.1f} ms"
        )
        console.print(f"fastest peer: {found['fastest_peer']}; cheapest: {found['cheapest_peer']}")
        if "memory" in case:
            grown = case["memory"]
            console.print(
                f"resident memory of our loader over {grown['samples']} samples: {grown['start_mb']:.0f} MB at first, "
                f"{grown['after_100_mb']:.0f} after 100, {grown['end_mb']:.0f} at the end, "
                f"{grown['slope_kb_per_sample']:+.1f} kB a sample"
            )

    console.print(f"a sample holds {result['ours']['mb_per_sample']:.1f} MB; checked: {'; '.join(CHECKED)}")


def _cells(row: Mapping[str, Any] | None) -> tuple[str, ...]:
    if row is None:
        return "not installed: make peers", "", ""
    rate, cost = row["samples_per_s_spread"], row["cpu_ms_spread"]
    return (
        f"{rate['median']:.1f} ({rate['min']:.1f} to {rate['max']:.1f})",
        f"{cost['median']:.2f} ({cost['min']:.2f} to {cost['max']:.2f})",
        str(row["workers"]),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = log_parser(__doc__, "few clips, one width, no memory: under 50 seconds")
    parser.add_argument("--store", type=Path, help="take the clips of this store instead of building one of the log")
    parser.add_argument("--clips", type=int, help="samples, copies of the clips; default 24 (--quick: 6)")
    parser.add_argument("--rounds", type=int, help=f"windows of each side; default {ROUNDS} (--quick: {QUICK_ROUNDS})")
    parser.add_argument("--memory", action="store_true", help="watch our loader's memory even with --quick")
    args = parser.parse_args(arguments)
    console = Console(stderr=True)
    about = machine()
    with tempfile.TemporaryDirectory(prefix="stream-") as name, Progress(console=console) as progress:
        result = {**run(args, Path(name), progress), "machine": about}
    show(result, console)
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    hold_blas("benchmarks.stream")
    main()
