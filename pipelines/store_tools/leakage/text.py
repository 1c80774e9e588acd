"""Print the leakage report: a line for each finding, then what was checked and what was not."""

from __future__ import annotations

import numpy as np

from pipelines.store_tools.leakage.find import LeakageReport


def report_lines(report: LeakageReport) -> tuple[str, ...]:
    """What `flux4d-build leakage` prints; the last line is the summary. Never says clean of what was not checked."""
    lines = [f"log {log} is in the splits {_names(splits)}" for log, splits in report.shared_logs]
    for shared in report.shared_frames or ():
        lines.append(
            f"log {shared.log_id}: {len(shared.frames)} frames ({_span(shared.frames)}) are used by clips of "
            f"{_names(shared.splits)}, {len(shared.targets)} of them as target in more than one"
        )
    for pair in report.close_pairs:
        lines.append(
            f"logs {pair.log_a} ({_names(pair.splits_a)}) and {pair.log_b} ({_names(pair.splits_b)}) come within "
            f"{pair.distance_m:.3f} m of each other, at frames {pair.frame_a} and {pair.frame_b}"
        )
    if report.without_gps:
        lines.append(f"without GPS, place n/a: {', '.join(report.without_gps)}")
    return (*lines, _summary(report))


def _summary(report: LeakageReport) -> str:
    """One line: what was found among what could be checked."""
    parts = [f"{len(report.shared_logs)} of {report.num_logs} logs in more than one split"]
    if report.shared_frames is None:
        parts.append("frames n/a (no clip index)")
    else:
        parts.append(f"{sum(len(s.frames) for s in report.shared_frames)} frames used by more than one split")
    return f"leakage: {', '.join(parts)}; {_places(report)}"


def _places(report: LeakageReport) -> str:
    if not report.num_pairs:
        return "places n/a: no two logs of different splits, nothing to compare"
    if not report.num_pairs_checked:
        return f"places n/a: of {report.num_pairs} pairs of logs of different splits none has GPS on both sides"
    text = f"{len(report.close_pairs)} of {report.num_pairs_checked} checked pairs closer than {report.threshold_m:g} m"
    if unknown := report.num_pairs - report.num_pairs_checked:
        text += f", {unknown} of {report.num_pairs} pairs n/a ({len(report.without_gps)} logs without GPS)"
    return text


def _names(splits: tuple[str, ...]) -> str:
    return ", ".join(splits)


def _span(frames: tuple[int, ...]) -> str:
    """Frames as runs: 3, 5..9."""
    runs = np.split(np.array(frames), np.flatnonzero(np.diff(frames) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)
