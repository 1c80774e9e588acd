"""Logs that benchmarks work on: the real slice, and small generated ones."""

from __future__ import annotations

from pathlib import Path

from pipelines.synth import SynthConfig, generate_log
from pipelines.synth.config import ForwardSpec, SpinningSpec, pandar64_elevations

REPOSITORY = Path(__file__).resolve().parents[1]


def real_log(root: Path, log_id: str) -> Path:
    """Folder of one real log.

    Raises:
        SystemExit: it is not there.
    """
    if not (root / log_id / "lidar").is_dir():
        raise SystemExit(f"no PandaSet log {log_id} under {root}: pass --root and --log, or use --quick")
    return root / log_id


def small_logs(root: Path, logs: int, frames: int) -> list[Path]:
    """Generated logs ``synth000 ...`` below `root`: 160x90 images of six cameras, 4,000 points a sweep."""
    beams = tuple(float(elevation) for elevation in pandar64_elevations()[::4])
    config = SynthConfig(160, 90, SpinningSpec(beams, 240), ForwardSpec(40, 15))
    root.mkdir(parents=True, exist_ok=True)
    return [generate_log(root / f"synth{log:03d}", log, frames, 0, config) for log in range(logs)]
