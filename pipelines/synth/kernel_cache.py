"""Drop numba's cached kernels of the generated street when any of its sources changed.

Numba's cache watches only the file of the cached function, and the street's kernels call kernels of other
files: without this an edit (or an update of the package) would go on running the old code, silently.
"""

from __future__ import annotations

from pathlib import Path

from store_schema.files.atomic import write_atomic
from store_schema.hashing import hash_bytes

_STAMP = "kernels.stamp"


def drop_stale_kernels(package: Path) -> bool:
    """Delete numba's cache of a package and its folders unless it belongs to the sources there; True when deleted."""
    digest = hash_bytes(b"".join(path.read_bytes() for path in sorted(package.rglob("*.py")))).encode()
    stamp = package / "__pycache__" / _STAMP
    if stamp.is_file() and stamp.read_bytes() == digest:
        return False
    try:
        for compiled in package.rglob("__pycache__/*.nb[ic]"):
            compiled.unlink(missing_ok=True)
        write_atomic(stamp, digest)
    except OSError:
        # A read-only installation: numba keeps its cache elsewhere, nothing here can be stale.
        return False
    return True
