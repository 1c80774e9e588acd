"""Held-out LiDAR sweeps rendered from the Gaussians of the input sweeps, against what was measured; no network.

Run with ``python -m benchmarks.lidar [--store STORE] [--quick] [--json] [--pictures FOLDER]``. Every clip's input
frames are lifted (`flux4d.lift.scene`, all directions, no sky) and its interpolation and future frames are rendered as
range images of 64 beams by 1800 columns. Each variant differs from `base` in one thing, so that its row says what that
thing is worth; those named max_pixels differ in how the balls of lone returns are held small. The floors are those of
``flux4d-eval lidar``, which scores scenes as they are and a network's too, and one more: the nearest point of all input
sweeps in a ray's cell. Figures are means over sweeps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.command_line import log_parser
from benchmarks.lidar.parts import QUICK, VARIANTS, Variant, scene_of, standing
from benchmarks.logs import real_log
from evaluation.lidar.evaluate import SweepImage, render_sweep
from evaluation.lidar.floors import floor_images, input_points, nearest_in_cell
from evaluation.lidar.metrics import score_sweep
from evaluation.lidar.path import SensorPath, frames_folder
from evaluation.lidar.pictures import error_colours, range_colours
from evaluation.lidar.results import RangeKind, SweepRow, means_of
from evaluation.lidar.tables import COLUMNS, ROLES
from evaluation.lidar.truth import RangeTruth
from evaluation.report.tables import number
from flux4d.lidar import SpinningLidar
from pipelines.build.plan import BuildConfig
from pipelines.build.run import build
from store_schema.protocol import ClipProtocol
from store_schema.version.dataset import open_dataset

Keep = Callable[[Variant, "Case", int, SweepImage], None]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A clip with its sensor, and the true sweeps to compare with."""

    path: SensorPath
    sweeps: dict[int, tuple[SpinningLidar, RangeTruth]]
    in_inputs: NDArray[np.bool_]
    """[H, W] `SensorPath.returned_in_inputs`."""

    @classmethod
    def of(cls, path: SensorPath, frames: tuple[int, ...]) -> Case:
        turns = {frame: path.turn(frame) for frame in frames}
        sweeps = {frame: (lidar, path.truth(frame, lidar)) for frame, lidar in turns.items()}
        return cls(path, sweeps, path.returned_in_inputs())

    def score(self, name: str, kind: RangeKind, frame: int, image: SweepImage, cpu_s: float | None = None) -> SweepRow:
        lidar, truth = self.sweeps[frame]
        ranges = image.median if kind == "median" else image.expected
        scores = score_sweep(ranges, image.returned, truth, lidar.directions(), self.in_inputs)
        record = self.path.clip.record
        return SweepRow(name, kind, record.clip_id, False, frame, record.role(frame), scores, cpu_s)


def run_variant(case: Case, variant: Variant, keep: Keep | None = None) -> list[SweepRow]:
    """Render every held-out sweep and score the expected and the median range."""
    scene = scene_of(case.path, variant)
    rows = []
    for frame in case.sweeps:
        turn = case.path.turn(frame, case.path.rig.columns * variant.finer)
        start = time.process_time()
        shown = turn if variant.sweep_motion else standing(turn)
        image = render_sweep(scene, shown, eps2d=variant.eps2d, every=variant.finer)
        spent = time.process_time() - start
        rows += [case.score(variant.name, kind, frame, image, spent) for kind in ("expected", "median")]
        if keep is not None:
            keep(variant, case, frame, image)
    return rows


def run_floors(case: Case) -> list[SweepRow]:
    """The evaluation's floors, and the nearest point in the cell of all inputs."""
    every = torch.cat([input_points(case.path, frame) for frame in case.path.clip.record.input_frames])
    rows = []
    for frame, (lidar, _) in case.sweeps.items():
        floors = {"nearest of all sweeps": nearest_in_cell(every, lidar), **floor_images(case.path, frame, lidar)}
        for name, ranges in floors.items():
            rows.append(case.score(name, "floor", frame, SweepImage(ranges, ranges, ranges > 0)))
    return rows


def main() -> None:
    args = _arguments()
    console = Console(width=150, stderr=args.json)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        store = args.store
        if store is None:
            store = Path(temporary)
            real_log(args.root, args.log)
            config = BuildConfig(
                root=args.root, out=store, workers=2, logs=(args.log,), protocol=ClipProtocol(test_logs=(args.log,))
            )
            build(config, console)
        cases = _cases(args, store)
        rows: list[SweepRow] = []
        keep = _picture_taker(args.pictures) if args.pictures else None
        for case in cases:
            rows += run_floors(case)
            for variant in track([v for v in VARIANTS if v.name in (args.only or [v.name])], console=console):
                rows += run_variant(case, variant, keep)
    for role in ROLES:
        console.print(_table(role, rows))
    if args.json:
        print(json.dumps(_figures(cases, rows)))


def _arguments() -> argparse.Namespace:
    parser = log_parser(__doc__, "one clip, two sweeps, two variants")
    parser.add_argument("--store", type=Path, help="a built store that holds the log; without it one is built")
    parser.add_argument("--stride", type=int, default=1, help="take every so many of a clip's held-out sweeps")
    parser.add_argument("--only", nargs="+", help="names of variants")
    parser.add_argument("--pictures", type=Path, help="folder for PNGs of the first sweep of each variant")
    args = parser.parse_args()
    if args.quick and not args.only:
        args.only = QUICK
    if unknown := set(args.only or ()) - {variant.name for variant in VARIANTS}:
        parser.error(f"no variant {', '.join(sorted(unknown))}; there are {', '.join(v.name for v in VARIANTS)}")
    return args


def _cases(args: argparse.Namespace, store: Path) -> list[Case]:
    dataset = open_dataset(store)
    records = [record for record in dataset.select(setting="evaluation") if record.log_id == args.log]
    cases = []
    for record in records[: 1 if args.quick else None]:
        path = SensorPath.of(frames_folder(dataset), dataset.read(record.clip_id))
        cases.append(Case.of(path, record.target_frames[:: 5 if args.quick else args.stride]))
    if not cases:
        raise SystemExit(f"the store {store} has no evaluation clip of log {args.log}")
    return cases


def _ways(rows: list[SweepRow], role: str | None = None) -> dict[str, list[SweepRow]]:
    """Rows by way to render."""
    found: dict[str, list[SweepRow]] = {}
    for row in rows:
        if role in (None, row.role):
            found.setdefault(f"{row.method} / {row.kind}", []).append(row)
    return found


def _table(role: str, rows: list[SweepRow]) -> Table:
    kept = [column for column in COLUMNS if column.name != "render"]
    table = Table("way", *(f"{c.name} {c.unit}".strip() for c in kept), "CPU s", title=f"{role} sweeps")
    for name, members in _ways(rows, role).items():
        means = means_of(members)
        cells = [number(column.value(means), column.digits) for column in kept]
        table.add_row(name, *cells, number(means.render_seconds, 2))
    return table


def _figures(cases: list[Case], rows: list[SweepRow]) -> dict[str, object]:
    truths = [truth for case in cases for _, truth in case.sweeps.values()]
    counts = {name: sum(getattr(truth, name) for truth in truths) for name in ("points", "off_beam", "hidden")}
    results = {role: {name: asdict(means_of(members)) for name, members in _ways(rows, role).items()} for role in ROLES}
    return {"sweeps": counts, "results": results}


def _picture_taker(folder: Path) -> Keep:
    """Saves truth, expected, median and median's error of the first sweep of each variant, as one PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    done: set[str] = set()

    def keep(variant: Variant, case: Case, frame: int, image: SweepImage) -> None:
        if variant.name in done:
            return
        done.add(variant.name)
        truth = case.sweeps[frame][1]
        shown = [
            range_colours(truth.range, truth.returned),
            range_colours(image.expected, image.returned),
            range_colours(image.median, image.returned),
            error_colours(image.median, image.returned, truth),
        ]
        rows = np.concatenate([np.repeat(part, 4, axis=0) for part in shown])
        name = "".join(sign if sign.isalnum() else "_" for sign in variant.name)
        Image.fromarray(rows).save(folder / f"{name}_{case.path.clip.record.clip_id}_{frame:02d}.png")

    return keep


if __name__ == "__main__":
    main()
