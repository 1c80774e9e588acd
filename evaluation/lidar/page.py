"""The page of a LiDAR evaluation: tables and range images in one HTML file that opens offline."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from evaluation.lidar.pictures import FAR_M, FULL_ERROR_M, MADE_UP, MISSED, NEAR_M, NOT_SCORED, SweepPicture
from evaluation.lidar.results import LidarEvaluation
from evaluation.lidar.tables import NOTES, lidar_tables
from evaluation.pages.colours import ERROR_RAMP, depth_colours, ramp
from evaluation.pages.style import STYLE
from evaluation.report.tables import ScoreTable


def write_page(path: Path, evaluation: LidarEvaluation, pictures: Sequence[SweepPicture]) -> None:
    """Write the page with everything inside it."""
    parts = [_head(evaluation), *(f"<section>{_table(table)}</section>" for table in lidar_tables(evaluation))]
    parts += [_notes(evaluation), _pictures(pictures)]
    path.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>LiDAR evaluation {evaluation.dataset_version[:12]}</title><style>{STYLE}</style></head><body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n",
        encoding="utf-8",
    )


def _head(evaluation: LidarEvaluation) -> str:
    about = "".join(
        f"<dt>{escape(sensor.clip_id)}</dt><dd>{escape(sensor.rig)}: {sensor.sweeps} held-out sweeps, "
        f"{sensor.points:,} points; {sensor.off_beam:,} left out as off every beam, {sensor.hidden:,} behind another "
        "on their ray</dd>"
        for sensor in evaluation.sensors
    )
    methods = "".join(f"<dt>{escape(m.name)}</dt><dd>{escape(m.description)}</dd>" for m in evaluation.methods)
    weights = escape(f"{evaluation.weights} ({evaluation.weights_hash[:12]})" if evaluation.weights else "none")
    return (
        "<h1>LiDAR sweeps, rendered and measured</h1>"
        f'<p class="soft">Dataset <code>{escape(evaluation.dataset_version[:16])}</code>, weights <code>{weights}'
        f"</code></p><section><dl>{methods}{about}</dl></section>"
    )


def _table(table: ScoreTable) -> str:
    heads = "".join(f'<th class="l">{escape(label)}</th>' for label in table.label_heads)
    for head, unit in zip(table.heads, table.units, strict=True):
        heads += f"<th>{escape(head)} <small>{escape(unit)}</small></th>"
    rows = ""
    for row in table.rows:
        labels = "".join(f'<td class="l">{escape(label)}</td>' for label in row.labels)
        rows += f"<tr>{labels}{''.join(f'<td>{escape(cell)}</td>' for cell in row.cells)}</tr>"
    return (
        f'<h2>{escape(table.title)}</h2><div class="scroll"><table><tr class="heads">{heads}</tr>{rows}</table></div>'
    )


def _notes(evaluation: LidarEvaluation) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in (*evaluation.notes, *NOTES))
    return f"<section><h2>Notes</h2><ul>{items}</ul></section>"


def _pictures(pictures: Sequence[SweepPicture]) -> str:
    if not pictures:
        return ""
    values = np.linspace(0.0, 1.0, 240)
    near2far = depth_colours(NEAR_M * (FAR_M / NEAR_M) ** values, NEAR_M, FAR_M)
    swatches = "".join(
        f'<span><b style="color:rgb{colour}">&#9632;</b> {text}</span>'
        for colour, text in (
            (MISSED, "comes back, but not in the rendering"),
            (MADE_UP, "comes back only in the rendering"),
            (NOT_SCORED, "own car, not scored"),
        )
    )
    legend = (
        '<div class="legend">'
        f"<span>{_bar(near2far)}range {NEAR_M:g} to {FAR_M:g} m, logarithmic; black: no return</span>"
        f"<span>{_bar(ramp(values, ERROR_RAMP))}absolute error 0 to {FULL_ERROR_M:g} m</span>{swatches}</div>"
    )
    parts = []
    for clip_id, frame, role in dict.fromkeys((p.clip_id, p.frame, p.role) for p in pictures):
        parts.append(f"<h3>{escape(clip_id)}, {escape(role)} frame {frame}</h3>")
        for picture in pictures:
            if (picture.clip_id, picture.frame) == (clip_id, frame):
                image = f'<img src="{_data(picture.image)}" alt="{escape(picture.title)}" loading="lazy">'
                parts.append(f"<figure>{image}<figcaption>{escape(picture.title)}</figcaption></figure>")
    about = "<p>A row is a beam, a column a firing; time runs from the rear over the left, ahead and the right.</p>"
    return f"<section><h2>Range images</h2>{about}{legend}{''.join(parts)}</section>"


def _bar(colours: np.ndarray) -> str:
    image = Image.fromarray(np.broadcast_to(colours, (12, *colours.shape)).copy())
    return f'<img class="bar" src="{_data(image)}" alt="colours">'


def _data(image: Image.Image) -> str:
    sink = io.BytesIO()
    image.save(sink, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(sink.getvalue()).decode()}"
