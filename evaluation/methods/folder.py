"""Folders of files that are scored: what they must hold, and one hash of what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from store_schema.hashing import hash_file, hash_json


def refuse_missing(name: str, folder: Path, missing: list[str]) -> None:
    """Raise a FileNotFoundError that names the folder and the clips it lacks, if there are any."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing: --scenes and --renders take NAME=FOLDER, here {name}={folder}")
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise FileNotFoundError(
            f"{folder} has nothing of clip {shown}: add what {name} makes of it, or choose other clips with --clips"
        )


def files_hash(folder: Path, files: Iterable[Path]) -> str:
    """One hash of files and their places in a folder: says which files a number came from."""
    return hash_json(sorted([str(file.relative_to(folder)), hash_file(file)] for file in files))
