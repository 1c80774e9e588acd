"""Command line of the trainer: ``flux4d-train`` and ``python -m training``."""

from __future__ import annotations

import os
import sys


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and train; returns the exit status."""
    # Before torch is loaded: idle OpenMP threads must not spin while the CPU rasteriser's own threads work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from training.command import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
