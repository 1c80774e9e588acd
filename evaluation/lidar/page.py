"""The page of a LiDAR evaluation: tables and range images in one HTML file that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evaluation.lidar.pictures import FAR_M, FULL_ERROR_M, MADE_UP, MISSED, NEAR_M, NOT_SCORED, SweepPicture
from evaluation.lidar.results import LidarEvaluation
from evaluation.lidar.tables import NOTES, lidar_tables
from evaluation.report.colours import depth_legend, error_legend
from evaluation.report.page_table import page_table
from store_schema.pages.pictures import encoded
from store_schema.pages.shell import render, write_page

_SWATCHES = (
    (MISSED, "comes back, but not in the rendering"),
    (MADE_UP, "comes back only in the rendering"),
    (NOT_SCORED, "own car, not scored"),
)


def write_lidar_page(path: Path, evaluation: LidarEvaluation, pictures: Sequence[SweepPicture]) -> None:
    """Write the page with everything inside it."""
    about = [(method.name, method.description) for method in evaluation.methods]
    about += [
        (
            sensor.clip_id,
            f"{sensor.rig}: {sensor.sweeps} held-out sweeps, {sensor.points:,} points; {sensor.off_beam:,} left out as "
            f"off every beam, {sensor.hidden:,} behind another on their ray",
        )
        for sensor in evaluation.sensors
    ]
    sweeps: dict[tuple[str, int, str], list[SweepPicture]] = {}
    for picture in pictures:
        sweeps.setdefault((picture.clip_id, picture.frame, picture.role), []).append(picture)
    page = render(
        "evaluation.lidar/page.html",
        evaluation=evaluation,
        about=about,
        tables=[page_table(table) for table in lidar_tables(evaluation)],
        notes=(*evaluation.notes, *NOTES),
        pictures=list(sweeps.items()),
        near_far=f"{NEAR_M:g} to {FAR_M:g}",
        range_bar=encoded(depth_legend(NEAR_M, FAR_M)),
        full_error=f"{FULL_ERROR_M:g}",
        error_bar=encoded(error_legend()),
        swatches=[(f"rgb{colour}", words) for colour, words in _SWATCHES],
    )
    write_page(path, page)
