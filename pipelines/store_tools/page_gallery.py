"""The part of the summary page that shows every clip."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import groupby

from pipelines.pages.readable import count_text, plural, share_text, size_text
from pipelines.store_tools.summary import FLOW_COLUMNS, Row, VersionSummary
from pipelines.store_tools.thumbnails import REACH_M, Thumbnails
from store_schema.labels import FlowClass

FLOW_STYLES = {
    FlowClass.FOREGROUND_DYNAMIC: ("moving", "foreground, moving"),
    FlowClass.FOREGROUND_STATIC: ("parked", "foreground, still"),
    FlowClass.BACKGROUND_STATIC: ("still", "background"),
    FlowClass.IGNORED: ("ignored", "ignored"),
}
"""Style class and name of each flow class, from the ground of a chart up."""


def gallery(summary: VersionSummary, cards: Mapping[str, str]) -> str:
    """All cards under a heading for each split and setting, with a filter."""
    parts = [
        "<section><h2>Every clip</h2>"
        f'<p class="soft">First image, and the lifted points from above in their colours: {2 * REACH_M:g} m across, '
        "the first ego position in the middle, moving points marked. The bar is the share of the flow classes.</p>"
        '<div class="tools"><input type="search" id="filter" placeholder="Filter: log, clip, setting, shard" '
        f'aria-label="Filter clips"><span class="soft" id="shown">{plural(len(cards), "clip")}</span></div>'
    ]
    for (split, setting), rows in groupby(summary.clips, lambda row: (row["split"], row["setting"])):
        held = [cards[row["clip_id"]] for row in rows]
        count = plural(len(held), "clip")
        parts.append(
            f'<div class="group"><h3>{escape(split)} / {escape(setting)} <small>{count}</small></h3>'
            f'<div class="gallery">{"".join(held)}</div></div>'
        )
    return "".join(parts) + "</section>"


def card(row: Row, pictures: Thumbnails) -> str:
    """One clip: its pictures, or why there are none, and its row of the clip index."""
    name = escape(row["clip_id"])
    text = " ".join(str(row[key]) for key in ("clip_id", "log_id", "split", "setting", "shard"))
    points = row["num_points"]
    last = row["first_frame"] + row["num_frames"] - 1
    if pictures.damage is not None:
        text += " damaged"
        shown = f'<div class="reason"><b>cannot be read</b><br>{escape(pictures.damage)}</div>'
    else:
        shown = (
            f'<div class="pictures"><img loading="lazy" decoding="async" src="{pictures.image}" alt="first image of '
            f'{name}"><img loading="lazy" decoding="async" class="plan" src="{pictures.plan}" alt="{name} from above">'
            "</div>"
        )
    return (
        f'<article class="clip{" damaged" if pictures.damage is not None else ""}" '
        f'data-text="{escape(text.lower())}">{shown}{_flow_bar(row)}<h4>{name}</h4>'
        f"<p>{count_text(points)} points, {share_text(row['num_coloured'], points)} coloured, "
        f"{share_text(row[FLOW_COLUMNS[FlowClass.FOREGROUND_DYNAMIC]], points)} moving</p>"
        f"<p>log {escape(row['log_id'])}, frames {row['first_frame']} to {last}, {plural(row['num_views'], 'image')}, "
        f"content {size_text(row['num_bytes'])}</p><p>{escape(row['shard'])}</p></article>"
    )


def _flow_bar(row: Row) -> str:
    counts = {kind: row[column] for kind, column in FLOW_COLUMNS.items()}
    if None in counts.values() or not (total := sum(counts.values())):
        return ""
    parts = "".join(
        f'<i class="{style}" style="width:{100 * counts[kind] / total:.2f}%" title="{escape(name)}"></i>'
        for kind, (style, name) in FLOW_STYLES.items()
    )
    return f'<div class="bar-row">{parts}</div>'
