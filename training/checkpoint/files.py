"""Folders of checkpoints: there whole or not at all, sealed with the hash of every file."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from evaluation.run_folder.files import CHECKPOINTS
from store_schema.files.atomic import TEMPORARY_PREFIX, remove_litter
from store_schema.hashing import hash_file, hash_json

FORMAT_VERSION = 1
STATE = "state.json"
BEST = "best"
_STEP = re.compile(r"step-(\d{8,})")
_ASIDE = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}[0-9a-f]{{32}}-({BEST}|{_STEP.pattern})")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written; the message says which one is there and what to do."""


class DamagedError(Exception):
    """A file of a checkpoint is not what was written; the message names file and reason."""


def checkpoints(run: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return run / CHECKPOINTS


def step_folder(run: Path, step: int) -> Path:
    """Folder of the checkpoint after `step` steps."""
    return checkpoints(run) / f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """Steps done at a checkpoint folder."""
    match = _STEP.fullmatch(folder.name)
    assert match is not None, folder
    return int(match[1])


def checkpoint_folders(run: Path) -> list[Path]:
    """Finished checkpoints of a run, oldest first; neither the best one nor what a killed writer left."""
    if not checkpoints(run).is_dir():
        return []
    found = [path for path in checkpoints(run).iterdir() if _STEP.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=step_of)


def seal(folder: Path, state: Mapping[str, Any]) -> None:
    """Write ``state.json``: `state`, format version, size and blake3 of every other file, and its own blake3."""
    files = {path.name: {"size": path.stat().st_size, "blake3": hash_file(path)} for path in folder.iterdir()}
    # The hash is of what a reader gets from the JSON: lists where tuples were, strings for keys.
    content = json.loads(json.dumps({**state, "format_version": FORMAT_VERSION, "files": files}))
    text = json.dumps({**content, "blake3": hash_json(content)}, indent=1, sort_keys=True)
    (folder / STATE).write_bytes(text.encode())


def open_sealed(folder: Path) -> dict[str, Any]:
    """Check every file of a folder against its seal; returns the state.

    Raises:
        DamagedError: a file is missing or not what was written.
        ValueError: written by another version of this package.
    """
    state = _read_state(folder)
    for name, written in state["files"].items():
        try:
            size = (folder / name).stat().st_size
            found = hash_file(folder / name) if size == written["size"] else None
        except OSError as error:
            raise DamagedError(f"{name} cannot be read ({error.strerror})") from error
        if size != written["size"]:
            raise DamagedError(f"{name} has {size} bytes, {written['size']} were written")
        if found != written["blake3"]:
            raise DamagedError(f"{name} is not what was written (its blake3 is another)")
    return state


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state = json.loads((folder / STATE).read_bytes())
    except OSError as error:
        raise DamagedError(f"{STATE} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DamagedError(f"{STATE} is not JSON ({error})") from error
    if isinstance(state, dict) and state.keys() == {"step", "optimizer"}:
        raise ValueError(
            f"{folder} was written by an older version of this package, whose checkpoints cannot be continued: go on "
            "with that version, or begin a new --out with --init-from and this run's folder"
        )
    claimed = state.pop("blake3", None) if isinstance(state, dict) else None
    if claimed is None or claimed != hash_json(state):
        raise DamagedError(f"{STATE} is not what was written (its blake3 is another)")
    if state["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{folder}: checkpoint format {state['format_version']}, this version reads {FORMAT_VERSION}: "
            "go on with the version of this package that wrote it"
        )
    return dict(state)


def recover(run: Path) -> None:
    """Give whole folders that a killed writer left under a temporary name their own, where that is free.

    Replacing a folder takes two renames; a kill between them leaves both the old and the new one aside.
    """
    for entry in sorted(checkpoints(run).glob(f"{TEMPORARY_PREFIX}*")):
        match = _ASIDE.fullmatch(entry.name)
        if match is None or (target := entry.with_name(match[1])).exists():
            continue
        # Another process of the run may be doing the same.
        with suppress(DamagedError, ValueError, OSError):
            open_sealed(entry)
            os.rename(entry, target)


def tidy(run: Path, copy: str) -> None:
    """Remove what killed writers left of checkpoints and of the run folder's file `copy`."""
    recover(run)
    remove_litter(checkpoints(run))
    for entry in run.glob(f"{TEMPORARY_PREFIX}*-{copy}"):
        entry.unlink(missing_ok=True)


def prune(run: Path, step: int, keep: int) -> None:
    """Keep the checkpoint after `step` and those before it, `keep` in all.

    Later ones go too: the run came back from them because they were damaged.
    """
    folders = checkpoint_folders(run)
    kept = [folder for folder in folders if step_of(folder) <= step][-keep:]
    for folder in folders:
        if folder not in kept:
            # Renamed first: half a folder must not look like a checkpoint.
            aside = folder.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
            os.rename(folder, aside)
            shutil.rmtree(aside)


@contextmanager
def explaining_full_disk(run: Path, step: int, what: str) -> Iterator[None]:
    """Turn the errors of a full disk, quota or file size limit into a `CheckpointError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        whole = [folder for folder in checkpoint_folders(run) if step_of(folder) <= step]
        last = f"the last whole one is step {step_of(whole[-1])}" if whole else "there is no whole one yet"
        raise CheckpointError(
            f"no space left while writing {what} of step {step} in {checkpoints(run)} ({error.strerror}); {last}; "
            "free space and go on with --resume"
        ) from error
