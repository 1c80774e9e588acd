"""A store to try things on: a generated street of 17 frames, built into a dataset version in seconds.

Run it alone with ``python examples/small_store.py FOLDER``; the other examples make one in a temporary folder when
they are given none. On real logs the same two steps are `flux4d-build synth` (left out) and `flux4d-build build`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pipelines.build import BuildConfig, build
from pipelines.synth import generate
from store_schema.protocol import ClipProtocol

SECONDS = 1.7
"""At 10 Hz these are 17 frames: one clip of 16 for evaluation."""


def make_small_store(folder: Path) -> str:
    """Write `folder`/logs and `folder`/store; returns the store."""
    generate(folder / "logs", logs=1, seconds=SECONDS, seed=0, preset="small")
    protocol = ClipProtocol(test_logs=("synth000",))
    build(BuildConfig(root=str(folder / "logs"), out=str(folder / "store"), workers=0, protocol=protocol))
    return str(folder / "store")


def temporary_store() -> str:
    """A small store in a new folder of the system's folder for temporary files; it stays until that is emptied."""
    return make_small_store(Path(tempfile.mkdtemp(prefix="flux4d-example-")))


if __name__ == "__main__":
    print(make_small_store(Path(sys.argv[1])))
