"""Tables for people of what `benchmarks.rasterize` measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

LOADS = {
    "A": "load A: two sweeps in a row, all around the car",
    "B": "load B: nine sweeps, only what the camera sees",
    "street": "a made street, all around the car",
}


def show(result: Mapping[str, Any], console: Console) -> None:
    """All tables and what their figures mean."""
    machine, rows = result["machine"], result["rows"]
    console.print(
        f"{result['log']}, frame {result['frame']}, front camera; {result['threads']} threads, {machine['cpu']}, "
        f"{machine['cores']} cores, load {machine['load']:.1f} at the start"
        + (": more than the cores, so times are provisional" if machine["load"] > machine["cores"] else "")
    )
    for load in dict.fromkeys(row["load"] for row in rows):
        row = next(row for row in rows if row["load"] == load)
        console.print(f"{LOADS[load]}; {row['gaussians']} Gaussians, {row['in_view']} in view")
    console.print(
        _times(
            rows,
            "raster",
            "Blend stage (tile lists, blend), medians in ms: forward; both passes; both as CPU time",
        )
    )
    console.print(_times(rows, "end_to_end", "End to end (rasterize(): cull, project, sort, blend), the same"))
    console.print(_one_core(result))
    console.print(_floor_text(result))
    _costs(result, console)


def _times(rows: list[dict[str, Any]], part: str, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("load", "width", "ours fwd", "ours", "CPU", "twin", "CPU", "twin / ours (range)"):
        table.add_column(name, justify="right")
    for row in rows:
        values = row[part]
        cells = [_ms(values[name]) for name in ("ours_forward_s", "ours_s", "ours_cpu_s", "peer_s", "peer_cpu_s")]
        ratio = values["ratio"]
        text = "-" if ratio is None else f"{ratio['median']:.1f} ({ratio['min']:.1f} to {ratio['max']:.1f})"
        table.add_row(row["load"], str(row["width"]), *cells, text)
    return table


def _one_core(result: Mapping[str, Any]) -> Table:
    table = Table(
        title="Blend stage on one core, CPU time, tile lists included",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    names = ("load", "width", "Mblend", "4x4", "16x1", "fwd ms", "M/s", "/floor", "bwd ms", "M/s", "/floor")
    for name in names:
        table.add_column(name, justify="right")
    for row in result["rows"]:
        pairs, floor, core = row["pairs"], row["floor"], row["one_core"]
        cells = [f"{pairs['blends'] / 1e6:.1f}"]
        cells += [f"{100 * pairs[f'{way}_lane_share']:.0f} %" for way in ("block", "row")]
        for short, name in (("fwd", "forward"), ("bwd", "backward")):
            cells += [_ms(core[f"{name}_cpu_s"]), f"{floor[f'{short}_mblend_per_core']:.0f}"]
            cells.append(f"{floor[f'{short}_ratio_to_floor']:.2f}")
        table.add_row(row["load"], str(row["width"]), *cells)
    return table


def _floor_text(result: Mapping[str, Any]) -> str:
    flops, peak = result["flops_per_blend"], result["peak_gflops_per_core"]
    return (
        "A blend is a Gaussian that contributes to a pixel; M/s are millions of them. Floor: "
        f"{flops['forward']} operations a blend forward, {flops['backward']} backward (seven channels, counted from "
        f"the formulas), at {peak['peak']:.0f} GFLOP/s (one core, measured: fused multiply-adds in registers "
        f"{peak['lanes']:.0f}, matrix product of numpy {peak['numpy']:.0f}, of torch {peak['torch']:.0f}), over the "
        "share of lanes that contribute when a step is a block of 4x4 pixels and only blocks that have a pixel inside "
        "the ellipse and are not finished are visited (4x4). 16x1 is that share for rows of 16x16 tiles, all rows of "
        "the Gaussian's box."
    )


def _costs(result: Mapping[str, Any], console: Console) -> None:
    if memory := result["memory"]:
        console.print(
            f"Extra memory of one forward and backward pass at 1920x1080: {memory['extra_mb']:.0f} MB "
            f"({memory['how']}; {memory['images_mb']:.0f} MB are the images and the gradient that comes back to them)"
        )
    if compiling := result["compile"]:
        console.print(
            f"Compilation in the first pass of a process: {compiling['cold_cpu_s']:.1f} CPU s with an empty numba "
            f"cache, {compiling['warm_cpu_s']:.1f} with a filled one"
        )


def _ms(spread: Mapping[str, float] | None) -> str:
    """The median; the spread of everything is in the JSON."""
    return "-" if spread is None else f"{1e3 * spread['median']:.0f}"
