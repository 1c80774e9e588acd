"""Score a training run, or rebuild the report of a saved evaluation: `flux4d-eval run|report`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Run:
    """Evaluate lifted, static and moving Gaussians of a trained network on a dataset version."""

    store: Path
    """Store made by flux4d-build."""
    version: str | None = None
    """Dataset version, a hash or its beginning; None is the newest."""
    run: Path | None = None
    """Run folder of flux4d-train: its weights, scene settings and the clips it has seen."""
    weights: Path | None = None
    """Weights file, when there is no run folder; then no clip counts as seen."""
    out: Path
    """Folder for evaluation.json, table.md, report.html and pictures."""
    clips: tuple[str, ...] = ()
    """Only these clips (ids); nothing takes the evaluation clips of the split."""
    split: Literal["test", "train", "all"] = "test"
    """Split whose evaluation clips are scored."""
    width: int | None = None
    """Rendered width in pixels; None is the stored size (the paper's 1920)."""
    max_clips: int | None = None
    """Stop after this many clips."""
    picture_clips: int = 6
    """Clips of which the report shows pictures."""
    device: str = "auto"
    """auto takes CUDA when there is one."""
    backend: Literal["auto", "cpu", "gsplat", "torch"] = "auto"
    """Rasteriser."""

    def __post_init__(self) -> None:
        if (self.run is None) == (self.weights is None):
            raise ValueError("name either --run RUN_DIR or --weights FILE")
        for name in ("width", "max_clips"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write report.html again from a saved evaluation, for instance with a newer version of this package."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder that an evaluation wrote."""


def main(arguments: list[str] | None = None) -> None:
    """Console entry `flux4d-eval`."""
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            {"run": Run, "report": Report},
            prog="flux4d-eval",
            description=__doc__,
            args=arguments,
        )
        # Imported late so that --help does not wait for torch.
        from evaluation.session import rebuild_report, run_evaluation

        report = run_evaluation(command) if isinstance(command, Run) else rebuild_report(command.folder)
    except (ValueError, FileNotFoundError, KeyError) as error:
        sys.exit(f"flux4d-eval: {error.args[0] if isinstance(error, KeyError) else error}")
    print(report)


if __name__ == "__main__":
    main()
