"""Notes about a scored clip: what is n/a and why, and its line of progress."""

from __future__ import annotations

from evaluation.scoring.noise_floor import MeasuredFloor
from evaluation.scoring.results import ClipRow
from store_schema.clip import Clip


def clip_notes(clip: Clip, floor: MeasuredFloor) -> tuple[str, ...]:
    """What of a clip is n/a, and why."""
    notes = []
    if clip.boxes is None:
        notes.append(
            f"Log {clip.record.log_id} has no cuboids: moving regions and scene flow are n/a there and it does not "
            "enter their averages."
        )
    if not clip.record.future_frames:
        notes.append(f"Clips of setting {clip.record.setting} have no future frames: future metrics are n/a there.")
    if floor.flow is None:
        notes.append(
            f"Log {clip.record.log_id} has no motion along smoothed tracks (a store of an older schema): "
            "the annotation noise floor is n/a."
        )
    return tuple(notes)


def progress_line(row: ClipRow) -> str:
    """One line on a method's scores of a clip."""
    psnr = row.interpolation.full.psnr
    shown = "n/a" if psnr is None else f"{psnr:.2f} dB"
    parts = [f"{row.clip_id} {row.method}: interpolation {shown}"]
    if row.gaussians is not None:
        parts.append(f"{row.gaussians} Gaussians")
    if row.reconstruct_seconds is not None:
        parts.append(f"reconstructed in {row.reconstruct_seconds:.2f} s")
    if row.render_seconds is not None:
        parts.append(f"{row.render_seconds:.2f} s a view")
    return ", ".join(parts)
