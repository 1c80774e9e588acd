"""What the command lines of benchmarks on a log share."""

from __future__ import annotations

import argparse
import os
import sys

from benchmarks.logs import REPOSITORY


def log_parser(about: str | None, quick: str) -> argparse.ArgumentParser:
    """A parser with ``--root``, ``--log``, ``--quick`` (what it does: `quick`) and ``--json``."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=type(REPOSITORY), default=REPOSITORY / "../shared/pandaset")
    parser.add_argument("--log", default="002")
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    return parser


def hold_blas(module: str) -> None:
    """Start the benchmark again with one BLAS thread, unless it has one.

    Threads that wait for work spin, and their spinning would count as work of the reproduction.
    """
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])
