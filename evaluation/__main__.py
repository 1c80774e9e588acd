"""Score a training run by its images or LiDAR sweeps, or write a report: `flux4d-eval run|lidar|report`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from evaluation.options import Lidar, Report, Run
from store_schema.command_line.door import parse_verbs, run_door
from store_schema.command_line.options import STORE, store_first

VERBS = {"run": Run, "lidar": Lidar, "report": Report}


def main(arguments: list[str] | None = None) -> int:
    """Console entry `flux4d-eval`; returns the exit status."""
    # Before torch is loaded: idle OpenMP threads must not spin while the CPU rasteriser's own threads work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    names = {"run": STORE, "lidar": STORE}
    return run_door(
        "flux4d-eval",
        lambda words: parse_verbs("flux4d-eval", str(__doc__), VERBS, store_first(words, names)),
        _run,
        arguments,
    )


def _run(command: Run | Lidar | Report) -> int:
    print(_do(command))
    return 0


def _do(command: Run | Lidar | Report) -> Path:
    # Imported late so that --help does not wait for torch.
    if isinstance(command, Lidar):
        from evaluation.lidar.session import run_lidar

        return run_lidar(command)
    from evaluation.session import rebuild_report, run_evaluation

    return run_evaluation(command) if isinstance(command, Run) else rebuild_report(command.folder)


if __name__ == "__main__":
    sys.exit(main())
