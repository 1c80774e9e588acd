"""Runs ``flux4d-build`` and kills itself, kill -9, before the N-th operation that changes the file system.

Called as ``python -m tests.support.processes.killed_build N ARGUMENTS...``.
"""

from __future__ import annotations

import sys

import pipelines.build.run  # noqa: F401 - so that numba's look at its cache folders, a mkdir a kernel, is not counted
from pipelines.__main__ import main
from tests.support.processes.kill_at import Killer

if __name__ == "__main__":
    Killer(int(sys.argv[1])).count_file_operations()
    sys.exit(main(sys.argv[2:]))
