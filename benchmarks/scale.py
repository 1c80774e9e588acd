"""Memory of a build: peak RSS of its workers and of its scheduler, with one log and with twenty.

Run with ``python -m benchmarks.scale [--quick] [--json]``. Every case runs in processes of its own. The scheduler's
process is the one that calls the build: it plans, holds the results and commits. MB are 10^6 bytes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.command_line import log_parser
from benchmarks.logs import REPOSITORY, real_log, small_logs

FRAMES, QUICK_FRAMES = 17, 11
"""Frames of a generated log. Eleven are the least that make a clip."""


def peak_rss_mb() -> float:
    """Most resident memory this process ever held, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status says nothing of VmHWM: this benchmark needs Linux")


def run_case(root: Path, store: Path, workers: int) -> dict[str, Any]:
    """Build all logs under `root` on a cluster of this process and ask everyone for their peak."""
    from distributed import Client

    from pipelines.build.plan import BuildConfig
    from pipelines.build.run import build
    from pipelines.build.runner import local_cluster
    from store_schema.protocol import ClipProtocol

    with local_cluster(workers) as cluster:
        config = BuildConfig(
            root=root, out=store, scheduler=cluster.scheduler_address, protocol=ClipProtocol(test_logs=())
        )
        result = build(config, Console(quiet=True))
        with Client(cluster) as client:
            peaks = client.run(peak_rss_mb)
    return {
        "logs": len(list(root.iterdir())),
        "frames": result.frames_made,
        "worker_mb": max(peaks.values()),
        "workers_mb": sorted(peaks.values()),
        "scheduler_mb": peak_rss_mb(),
    }


def case(root: Path, store: Path, workers: int) -> dict[str, Any]:
    """`run_case` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.scale", "--case", str(root), str(store), "--workers", str(workers)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    shutil.rmtree(store)
    return result


def copies(source: Path, root: Path, count: int) -> Path:
    """`count` copies of a log below `root`, under other names."""
    for number in range(count):
        shutil.copytree(source, root / f"copy{number:03d}")
    return root


def measure(args: argparse.Namespace, folder: Path, progress: Progress) -> dict[str, Any]:
    many = args.logs
    task = progress.add_task("builds", total=2 if args.quick else 3)
    frames = QUICK_FRAMES if args.quick else FRAMES
    source = small_logs(folder / "generated", 1, frames)[0]
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    result: dict[str, Any] = {"logs_many": many, "log_mb": size / 1e6, "log_frames": frames, "workers": args.workers}
    results = {}
    for count in (1, many):
        results[count] = case(copies(source, folder / f"logs-{count}", count), folder / "store", args.workers)
        progress.advance(task)
    for count, name in ((1, "1"), (many, f"{many}")):
        result[f"rss_worker_mb_{name}"] = results[count]["worker_mb"]
        result[f"rss_scheduler_mb_{name}"] = results[count]["scheduler_mb"]
    result["ratio"] = results[many]["worker_mb"] / results[1]["worker_mb"]
    result["ratio_scheduler"] = results[many]["scheduler_mb"] / results[1]["scheduler_mb"]
    result["cases"] = list(results.values())
    if not args.quick:
        root = folder / "real"
        root.mkdir()
        (root / args.log).symlink_to(real_log(args.root, args.log).resolve())
        real = case(root, folder / "store", args.workers)
        result |= {"rss_worker_mb_real": real["worker_mb"], "rss_scheduler_mb_real": real["scheduler_mb"]}
        result["cases"].append(real)
        progress.advance(task)
    return result


def show(result: dict[str, Any], console: Console) -> None:
    table = Table(title=f"peak resident memory of a build, {result['workers']} workers")
    for name in ("logs", "frames", "worker (largest), MB", "scheduler, MB"):
        table.add_column(name, justify="right")
    for row in result["cases"]:
        cells = (row["logs"], row["frames"], f"{row['worker_mb']:.0f}", f"{row['scheduler_mb']:.0f}")
        table.add_row(*map(str, cells))
    console.print(table)
    console.print(f"a generated log holds {result['log_mb']:.1f} MB in {result['log_frames']} frames")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = log_parser(__doc__, "generated logs only")
    parser.add_argument("--logs", type=int, default=20, help="generated logs of the large case")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--case", type=Path, nargs=2, metavar=("LOGS", "STORE"), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.case is not None:
        print(json.dumps(run_case(args.case[0], args.case[1], args.workers)))
        return
    with tempfile.TemporaryDirectory(prefix="scale-") as name, Progress(console=Console(stderr=True)) as progress:
        result = measure(args, Path(name), progress)
    show(result, Console(stderr=True))
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
