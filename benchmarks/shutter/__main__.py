"""What a rolling shutter and an exposure time off the stamp do to the unrefined scene of a real log.

Run with ``python -m benchmarks.shutter --store STORE [--quick] [--json]`` on a store whose clips hold the cameras to
look at (``flux4d-build build --camera front_camera left_camera ...``). The clip's LiDAR points are rendered as lifted,
nothing learned, so that only places and colours differ. A shutter can change two things, which are told apart:

- ``render``: the points keep the store's colours (sampled at each camera's stamp), the rendering has the shutter;
- ``colours``: colours are sampled again through the shutter, the rendering is at the stamps;
- ``both``.

Standard deviations are held at 0.1 m: balls of a metre that lone returns may become (`SceneConfig.max_spread` cuts most
of them) spread over a tenth of the image, and what colour they happen to catch moves PSNR by 1 dB whichever way the
time is changed.
For the same reason look at a wrong offset too (12 ms late, say).

Gains are against no shutter at all, view by view: mean, standard deviation, and how many views gain. ``depth`` is the
depth error of the rolling rendering; LiDAR depth is projected at the stamp.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.shutter.colours import decode, recoloured
from evaluation.metrics.image import ViewScores, score_view
from evaluation.metrics.table import BY_KEY
from evaluation.metrics.truth import Truth, truth_of
from flux4d.cameras.cameras import Cameras
from flux4d.cameras.shutter import Shutter
from flux4d.gaussians import Gaussians
from flux4d.lift.scene import SceneConfig
from flux4d.reconstruct import reconstruct
from flux4d.render import render
from store_schema.clip import Clip, Role, View
from store_schema.version.dataset import open_dataset

Applied = Literal["render", "colours", "both"]
Row = dict[str, Any]
METRICS = {
    f"{key}{suffix}": (BY_KEY[key], region)
    for suffix, region in (("", "full"), ("_moving", "moving"))
    for key in ("psnr", "ssim", "depth_rmse")
}
"""Metric and region by column."""


@torch.no_grad()
def clip_rows(
    clip: Clip,
    cameras: Sequence[str],
    shutters: Sequence[Shutter],
    applied: Sequence[Applied],
    width: int,
    config: SceneConfig,
    roles: Sequence[Role] = ("interpolation", "future"),
) -> Iterator[Row]:
    """Scores and gains of every camera, way to apply a shutter, and shutter."""
    views = [view for view in clip.views_of(*roles) if view.camera in cameras]
    truths = [truth_of(view, width) for view in views]
    images = decode(clip)
    plain = reconstruct(clip, None, config, static=True)
    _, looked_up, changed = recoloured(clip, images, Shutter())
    print(f"{clip.record.clip_id}: {looked_up} colours looked up, {changed} differ at the stamps", file=sys.stderr)
    base = _scores(plain, clip, views, truths, Shutter())
    for camera in cameras:
        yield from _rows(clip, camera, views, base, base, "both", Shutter())
    for shutter in (shutter for shutter in shutters if not shutter.instant):
        coloured = plain
        if set(applied) != {"render"}:
            coloured = reconstruct(recoloured(clip, images, shutter)[0], None, config, static=True)
        for way in applied:
            scene, seen = plain if way == "render" else coloured, Shutter() if way == "colours" else shutter
            scores = _scores(scene, clip, views, truths, seen)
            for camera in cameras:
                yield from _rows(clip, camera, views, scores, base, way, shutter)


def _scores(
    scene: Gaussians, clip: Clip, views: Sequence[View], truths: Sequence[Truth], shutter: Shutter
) -> list[ViewScores]:
    scores = []
    for view, truth in zip(views, truths, strict=True):
        moving = Cameras.from_views([view], truth.camera.width, path=clip.views, shutter=shutter)
        out = render(scene, moving)
        scores.append(score_view(out.rgb[0], out.depth[0, ..., 0], truth))
    return scores


def _rows(
    clip: Clip,
    camera: str,
    views: Sequence[View],
    scores: Sequence[ViewScores],
    base: Sequence[ViewScores],
    applied: Applied,
    shutter: Shutter,
) -> Iterator[Row]:
    for role in ("interpolation", "future"):
        own = [index for index, view in enumerate(views) if view.camera == camera and view.role == role]
        row: Row = {"clip": clip.record.clip_id, "camera": camera, "role": role, "applied": applied}
        row |= {"offset_ms": round(1e3 * shutter.offset, 3), "readout_ms": round(1e3 * shutter.readout, 3)}
        for name in METRICS:
            pairs = [(_value(scores[index], name), _value(base[index], name)) for index in own]
            both = [(now, before) for now, before in pairs if now is not None and before is not None]
            row[name] = summary(both)
        if own:
            yield row


def _value(scores: ViewScores, name: str) -> float | None:
    metric, region = METRICS[name]
    found = getattr(scores, region)
    return None if found is None else metric.value(found)


def summary(pairs: Sequence[tuple[float, float]]) -> dict[str, float | int] | None:
    """Mean of the values, mean and standard deviation of the gains over views, views that gain; None of no view."""
    if not pairs:
        return None
    gains = [now - before for now, before in pairs]
    return {
        "mean": statistics.fmean(now for now, _ in pairs),
        "gain": statistics.fmean(gains),
        "gain_sd": statistics.stdev(gains) if len(gains) > 1 else 0.0,
        "gaining": sum(gain > 0 for gain in gains),
        "views": len(gains),
    }


def show(rows: Sequence[Row], console: Console) -> None:
    """A table for people, a line for each row."""
    table = Table()
    for name in ("clip", "camera", "role", "applied", "offset", "readout", *METRICS):
        table.add_column(name, justify="right" if name in METRICS else "left", no_wrap=True)
    for row in rows:
        where = [str(row[key]) for key in ("clip", "camera", "role", "applied", "offset_ms", "readout_ms")]
        table.add_row(*where, *(_cell(row[name], 4 if "ssim" in name else 2) for name in METRICS))
    console.print(table)


def _cell(value: dict[str, float | int] | None, digits: int) -> str:
    if value is None:
        return "n/a"
    gain = f"{value['gain']:+.{digits}f} sd {value['gain_sd']:.{digits}f}, {value['gaining']}/{value['views']}"
    return f"{value['mean']:.{digits}f} ({gain})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--clips", nargs="*", help="clip ids; all of the store by default")
    parser.add_argument("--cameras", nargs="*", help="cameras to score; all the clips hold by default")
    parser.add_argument("--offsets-ms", type=float, nargs="+", default=[12, 0, -6, -12, -18, -24])
    parser.add_argument("--readouts-ms", type=float, nargs="+", default=[-30, -15, 0, 15, 30, 45])
    parser.add_argument("--applied", nargs="+", choices=get_args(Applied), default=list(get_args(Applied)))
    parser.add_argument("--roles", nargs="+", choices=["interpolation", "future"], default=["interpolation", "future"])
    parser.add_argument("--width", type=int, default=960)
    parser.add_argument("--max-scale", type=float, default=0.1, help="largest standard deviation of a point, m")
    parser.add_argument(
        "--quick", action="store_true", help="the last clip, 480 wide, offsets 0 and -12, readout 0, 30"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    args = parser.parse_args(arguments)
    if args.quick:
        args.offsets_ms, args.readouts_ms, args.width = [0, -12], [0, 30], min(args.width, 480)
    data = open_dataset(args.store)
    ids = args.clips or [record.clip_id for record in data.records][-1 if args.quick else 0 :]
    shutters = [Shutter(readout / 1e3, offset / 1e3) for offset in args.offsets_ms for readout in args.readouts_ms]
    rows: list[Row] = []
    for clip_id in ids:
        clip = data.read(clip_id)
        cameras = args.cameras or clip.view_cameras
        config = SceneConfig(max_scale=args.max_scale)
        for row in clip_rows(clip, cameras, shutters, args.applied, args.width, config, args.roles):
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    show(rows, Console(stderr=True, width=None if sys.stderr.isatty() else 240))
    if args.json:
        print(json.dumps({"width": args.width, "max_scale": args.max_scale, "version": data.version, "rows": rows}))


if __name__ == "__main__":
    main()
