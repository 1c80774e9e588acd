"""Score a training run by its images or LiDAR sweeps, or write a report: `flux4d-eval run|lidar|report`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import tyro

from evaluation.options import Lidar, Report, Run


def main(arguments: list[str] | None = None) -> None:
    """Console entry `flux4d-eval`."""
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            {"run": Run, "lidar": Lidar, "report": Report},
            prog="flux4d-eval",
            description=__doc__,
            args=arguments,
        )
        # Before torch is loaded: idle OpenMP threads must not spin while the CPU rasteriser's own threads work.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        report = _do(command)
    except (ValueError, FileNotFoundError, KeyError, RuntimeError) as error:
        sys.exit(f"flux4d-eval: {error.args[0] if isinstance(error, KeyError) else error}")
    print(report)


def _do(command: Run | Lidar | Report) -> Path:
    # Imported late so that --help does not wait for torch.
    if isinstance(command, Lidar):
        from evaluation.lidar.session import run_lidar

        return run_lidar(command)
    from evaluation.session import rebuild_report, run_evaluation

    return run_evaluation(command) if isinstance(command, Run) else rebuild_report(command.folder)


if __name__ == "__main__":
    main()
