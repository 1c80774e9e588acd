"""The report: one HTML file that opens offline, every picture inside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evaluation.metrics.table import BY_KEY
from evaluation.report.colours import depth_legend, error_legend, velocity_wheel
from evaluation.report.columns import FLOW_COLUMNS
from evaluation.report.definitions import DEFINITIONS
from evaluation.report.page_table import page_table
from evaluation.report.pictures import FAR_M, FULL_ERROR, FULL_SPEED_MPS, NEAR_M, TRUTH, PictureIndex
from evaluation.report.provenance import RunInfo
from evaluation.report.tables import (
    COST_COLUMNS,
    SUMMARY_COLUMNS,
    clip_flow_table,
    clip_table,
    detail_tables,
    summary_table,
)
from evaluation.scoring.results import Evaluation
from store_schema.pages.line_chart import Line, chart
from store_schema.pages.pictures import encoded, picture_inside
from store_schema.pages.shell import render, write_page

_KINDS = (("image", "Image"), ("error", "Absolute error"), ("depth", "Depth"), ("velocity", "Rendered velocity"))
_UNITS = {name: metric.unit for name, metric in BY_KEY.items()}
"""Of the training curves."""
_WHEEL_PX = 96


def write_report(path: Path, evaluation: Evaluation, pictures: PictureIndex, folder: Path, run_info: RunInfo) -> None:
    """Write the report.

    Args:
        path: The HTML file.
        evaluation: What was measured.
        pictures: Pictures to embed.
        folder: Where the picture files lie.
        run_info: Where the numbers come from.

    Raises:
        FileNotFoundError: a picture of the index is missing.
        ValueError: a picture of the index is none, or does not lie in the folder.
    """
    seen = {row.clip_id: row.seen for row in evaluation.clips}
    by_clip = (
        clip_table("Per clip", evaluation, SUMMARY_COLUMNS),
        clip_flow_table("Scene flow per clip", evaluation, FLOW_COLUMNS),
        clip_table("Cost per clip", evaluation, COST_COLUMNS),
    )
    page = render(
        "evaluation.report/page.html",
        evaluation=evaluation,
        info=run_info,
        seen=seen,
        num_seen=sum(seen.values()),
        results=page_table(summary_table("Results", evaluation, SUMMARY_COLUMNS)),
        methods=[(method.name, method.description) for method in evaluation.methods],
        details=[page_table(table) for table in detail_tables(evaluation)],
        by_clip=[page_table(table) for table in by_clip],
        index=pictures,
        drawn=list(dict.fromkeys(picture.clip_id for picture in pictures.pictures)),
        names=[TRUTH, *(method.name for method in evaluation.methods)],
        truth=TRUTH,
        kinds=_KINDS,
        load=lambda picture: picture_inside(folder, picture.file),
        legends=_legends(),
        charts=[chart(curve.name, [Line(curve)], _UNITS.get(curve.name, "")) for curve in run_info.curves],
        definitions=[(f"{name} [{unit}]" if unit else name, text) for name, unit, text in DEFINITIONS],
        notes=list(_notes(evaluation)),
        provenance=_provenance(evaluation, run_info),
        folded=(
            ("Training configuration", run_info.config),
            ("Scene settings", run_info.scene),
            ("Training clips", "\n".join(run_info.clips_seen)),
        ),
    )
    write_page(path, page)


def _legends() -> dict[str, object]:
    return {
        "depth": encoded(depth_legend(NEAR_M, FAR_M)),
        "near_far": f"{NEAR_M:g} to {FAR_M:g}",
        "error": encoded(error_legend()),
        "full_error": f"{FULL_ERROR:g}",
        "wheel": encoded(velocity_wheel(_WHEEL_PX)),
        "full_speed": f"{FULL_SPEED_MPS:g}",
    }


def _notes(evaluation: Evaluation) -> Iterator[str]:
    yield from evaluation.notes
    # The same points are left out for every method: one row a clip counts them.
    without = sum({row.clip_id: row.flow_without_next_sweep for row in evaluation.clips}.values())
    if without:
        yield f"{without:,} flow points were left out: the clip ends before their frame's next sweep."


def _provenance(evaluation: Evaluation, info: RunInfo) -> list[tuple[str, str]]:
    return [
        ("dataset version", info.dataset_version),
        ("store", info.store),
        ("weights", f"{info.weights} (blake3 {info.weights_hash})" if info.weights else "none"),
        *((f"files of {name}", text) for name, text in info.files.items()),
        ("rasteriser", evaluation.backend),
        *((f"evaluated on: {name}", text) for name, text in info.machine.items()),
        *((f"training: {name}", text) for name, text in info.record.items()),
        ("training clips", f"{len(info.clips_seen)}"),
    ]
