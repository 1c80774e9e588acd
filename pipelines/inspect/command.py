"""The verb ``inspect``: one frame of a raw log as one page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from pipelines.sources.registry import AUTO
from store_schema.command_line.options import RETRY_MINUTES, RetryMinutes, lasting
from store_schema.command_line.progress import progress_bars
from store_schema.protocol import FlowRules

if TYPE_CHECKING:
    from pipelines.inspect.gather import InspectedFrame


@dataclass(frozen=True, slots=True)
class Inspect:
    """Show one frame of a raw log on one HTML page, to look at before any building.

    The page shows LiDAR depth on the images, the lifted colours rendered back, boxes and flow from above, masks of
    what moves, when everything was measured, and the counts. It is made by the functions that fill the store, opens
    offline and is written to OUT/{log}-{frame}.html. P0 is the point set of the evaluation: the spinning LiDAR's points
    in front_camera. Example: flux4d-build inspect pandaset/002 --frame 17 --out pages --json
    """

    log: Annotated[str, tyro.conf.Positional]
    """Folder of ONE log: path or URL."""
    frame: int
    """Frame number, from 0."""
    out: Path
    """Folder for the page; made when it is not there."""
    source: str = AUTO
    """Which kind of log it is; auto: the source that knows the folder."""
    json: bool = False
    """Print counts, flow and depth of P0 and front_camera as one JSON object, as last line; what is n/a is null."""
    range_m: float = 50.0
    """Metres from the ego to each side in the view from above."""
    flow: FlowRules = field(default_factory=FlowRules)
    """Ground truth of the scene flow, as for ``build``."""
    camera_time_shift: dict[str, float] = field(default_factory=dict)
    """Cameras that expose later than their stamps say (negative: earlier), each followed by the seconds, as for
    ``build``: ``right_camera -0.02``."""
    retry_minutes: RetryMinutes = RETRY_MINUTES

    def __post_init__(self) -> None:
        _ = lasting(self.retry_minutes)
        if not 1 <= self.range_m <= 1000:
            raise ValueError(f"--range-m must be 1 to 1000 m, got {self.range_m:g}; 50 shows a street")


def run_inspect(command: Inspect, console: Console) -> int:
    """Write the page of a frame and print where it is, or the JSON line."""
    from pipelines.inspect.counts import front_numbers
    from pipelines.inspect.gather import gather_frame
    from pipelines.inspect.page import page_html
    from pipelines.sources.registry import source_of_log
    from store_schema.files.paths import location
    from store_schema.pages.shell import write_page

    root = location(command.log, retry=lasting(command.retry_minutes))
    source = source_of_log(command.source, root)
    reader = source.open_log(root)
    with progress_bars(console) as bars:
        frame = gather_frame(
            reader,
            command.frame,
            partial(bars.update, f"{reader.log_id} frame {command.frame}"),
            rules=command.flow,
            camera_time_shift=command.camera_time_shift,
            buckets=source.buckets,
        )
        bars.update("page", 0, None)
        page = command.out / f"{reader.log_id}-{command.frame:03d}.html"
        write_page(page, page_html(frame, command.range_m, _options(command)))
    numbers = front_numbers(frame)
    _summarise(frame, numbers, console)
    options = {"flow": asdict(command.flow), "camera_time_shift": command.camera_time_shift}
    line = {"log": reader.log_id, "frame": command.frame, **numbers, **options, "page": str(page)}
    print(json.dumps(line) if command.json else page)
    return 0


def _options(command: Inspect) -> str:
    """What differs from the defaults of a build, in words; empty when nothing does."""
    moved = {name: shift for name, shift in command.camera_time_shift.items() if shift}
    shifts = [f"{name} taken {1000 * shift:+g} ms from its stamp" for name, shift in moved.items()]
    rules = [] if command.flow == FlowRules() else [str(command.flow)]
    return "; ".join(shifts + rules)


def _summarise(frame: InspectedFrame, numbers: dict[str, int | float | None], console: Console) -> None:
    coloured = int((frame.colours.camera >= 0).sum())
    total = len(frame.sweep.points)
    share = f"{100 * coloured / total:.1f}% coloured by {len(frame.views)} cameras" if total else "nothing to colour"
    console.print(f"{total:,} points, {share}", highlight=False)
    if frame.no_flow is not None:
        console.print(f"BS, FS, FD and flow are n/a: {frame.no_flow}", style="yellow", highlight=False)
    if numbers["depth_count"] is None:
        lacks = "front_camera" if frame.has_lidar else "LiDAR"
        console.print(f"the log has no {lacks}: P0 and its depth are n/a", style="yellow", highlight=False)
