"""Does a dataset version depend on who built it, where, how often interrupted, or on which CPU?

Builds the same logs many times with ``python -m pipelines build``, each time under other circumstances, and compares
the versions. Run with ``python -m benchmarks.invariance [--quick] [--json]``; exit status 1 when two versions differ,
with the arrays that do. Two generated logs are always built; the real log joins them unless ``--quick``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.command_line import log_parser
from benchmarks.invariance.cpu_switches import fingerprint, has_effect, plain_environment, switches
from benchmarks.invariance.store_differences import differences
from benchmarks.logs import REPOSITORY, real_log, small_logs

ELSEWHERE = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}


@dataclass(frozen=True, slots=True)
class Variant:
    """One set of circumstances."""

    name: str
    workers: int = 0
    reverse: bool = False
    elsewhere: bool = False
    kill: bool = False
    cpu: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Built:
    """What came of a variant."""

    variant: Variant
    store: Path
    version: str
    seconds: float
    kills: int
    restricted: bool | None
    """Whether the CPU switches had an effect on this machine; None without any."""


def variants(quick: bool) -> list[Variant]:
    """The first is the one all others must agree with."""
    cpu = switches()
    if quick:
        return [
            Variant("this process"),
            Variant("two workers, other order, other folder", workers=2, reverse=True, elsewhere=True),
            Variant("killed and resumed", kill=True),
            Variant("all CPU switches", cpu=cpu["all of these"]),
        ]
    return [
        Variant("one worker", workers=1),
        Variant("two workers", workers=2),
        Variant("this process"),
        Variant("logs in other order", workers=2, reverse=True),
        Variant("other folder, time zone and hash seed", workers=1, elsewhere=True),
        Variant("killed and resumed", workers=2, kill=True),
        *(Variant(name, cpu=environment) for name, environment in cpu.items()),
    ]


class Bench:
    """Builds variants below one folder."""

    def __init__(self, folder: Path, logs: Mapping[str, Path]) -> None:
        self.folder, self.logs = folder, dict(logs)
        self.root = self._root("logs")
        self.frame_files = 0
        self.plain = fingerprint(plain_environment())

    def _root(self, name: str) -> Path:
        root = self.folder / name
        root.mkdir(parents=True)
        for log_id, path in self.logs.items():
            (root / log_id).symlink_to(path.resolve())
        return root

    def build(self, variant: Variant) -> Built:
        """Build in processes of its own; ends this one when that fails."""
        root = self._root("moved/to another/place") if variant.elsewhere else self.root
        store = self.folder / "stores" / variant.name.replace(" ", "-")
        names = sorted(self.logs, reverse=variant.reverse)
        command = [sys.executable, "-m", "pipelines", "build", "--root", str(root), "--out", str(store)]
        command += ["--workers", str(variant.workers), "--protocol.test-logs", min(names), "--logs", *names]
        environment = plain_environment() | {"PYTHONPATH": str(REPOSITORY)} | dict(variant.cpu)
        environment |= ELSEWHERE if variant.elsewhere else {}
        if "NUMBA_CPU_NAME" in variant.cpu:  # kernels compiled for this CPU must not be taken from the cache
            environment["NUMBA_CACHE_DIR"] = str(self.folder / "numba")
        start = time.perf_counter()
        kills = self._kill_midway(command, environment, store) if variant.kill else 0
        done = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(f"{variant.name}: the build failed with status {done.returncode}\n{done.stderr[-3000:]}")
        self.frame_files = self.frame_files or count_files(store / "frames")
        restricted = has_effect(fingerprint(environment), self.plain) if variant.cpu else None
        return Built(variant, store, done.stdout.split()[-1], seconds, kills, restricted)

    def _kill_midway(self, command: Sequence[str], environment: Mapping[str, str], store: Path) -> int:
        """Kill -9 the build and its workers amid the frames, and again amid the shards."""
        kills = 0
        for reached in (
            lambda: count_files(store / "frames") > self.frame_files // 3,
            lambda: count_files(store, ".tar") > 0,
        ):
            # A session of its own: the signal reaches the workers too, and nobody else.
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                while process.poll() is None and not reached():
                    time.sleep(0.01)
                kills += process.poll() is None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if kills < 2:
            raise SystemExit(f"the build was over before it could be killed twice ({kills}): the variant shows nothing")
        return kills


def count_files(folder: Path, suffix: str = "") -> int:
    """Files below a folder; temporary ones may vanish meanwhile, which os.walk bears."""
    return sum(name.endswith(suffix) for _, _, names in os.walk(folder) for name in names)


def report(results: Sequence[Built], console: Console) -> list[dict[str, Any]]:
    """Print all versions and what differs; returns a row a variant."""
    reference = results[0]
    table = Table(title="same logs, same config: same version?")
    for name in ("circumstances", "version", "same", "frames same", "remarks", "s"):
        table.add_column(name)
    rows = []
    for built in results:
        found = [] if built is reference else list(differences(reference.store, built.store))
        same = built.version == reference.version
        frames = not any(line.startswith("frame store") for line in found)
        remark = f"killed {built.kills} times" if built.kills else ""
        remark = "no effect on this machine" if built.restricted is False else remark
        cells = (built.version[:12], "yes" if same else "NO", "yes" if frames else "NO", remark, f"{built.seconds:.1f}")
        table.add_row(built.variant.name, *cells)
        row = {"name": built.variant.name, "version": built.version, "same": same, "same_frames": frames}
        row |= {"kills": built.kills, "restricted": built.restricted, "s": built.seconds, "differences": found}
        rows.append(row)
    console.print(table)
    for row in rows:
        for line in row["differences"]:
            console.print(f"{row['name']}: {line}", highlight=False)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = log_parser(__doc__, "generated logs and few variants: under 50 seconds")
    parser.add_argument("--only", nargs="*", help="names of variants to compare with the first")
    args = parser.parse_args(arguments)
    console = Console(stderr=True)
    chosen = variants(args.quick)
    if args.only is not None:
        if unknown := set(args.only) - {variant.name for variant in chosen}:
            parser.error(f"no variant {sorted(unknown)}; there are {[variant.name for variant in chosen]}")
        chosen = [variant for variant in chosen if variant is chosen[0] or variant.name in args.only]
    with tempfile.TemporaryDirectory(prefix="invariance-") as name, Progress(console=console) as progress:
        folder = Path(name)
        logs = {path.name: path for path in small_logs(folder / "generated", logs=2, frames=17)}
        if not args.quick:
            logs[args.log] = real_log(args.root, args.log)
        task = progress.add_task("builds", total=len(chosen))
        bench, results = Bench(folder, logs), []
        for variant in chosen:
            progress.update(task, description=variant.name)
            results.append(bench.build(variant))
            progress.advance(task)
        rows = report(results, console)
    equal = all(row["same"] for row in rows)
    if args.json:
        print(json.dumps({"equal": equal, "logs": sorted(logs), "variants": rows}))
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
