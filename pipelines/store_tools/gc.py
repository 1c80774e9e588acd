"""Remove from a store what is no longer wanted: unfinished work, stored frames, versions. Nothing without being asked.

A version loses its manifest before anything else, so that a kill at any moment leaves either a whole version or
none; what is left of it then counts as unfinished work.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from pipelines.build.run import LOCK, PENDING
from store_schema.files.atomic import TEMPORARY_PREFIX, fsync_directory
from store_schema.files.paths import filesystem, remove_tree
from store_schema.frame_store import frames_key
from store_schema.version.dataset import LATEST, open_manifest, resolve_version, version_folders
from store_schema.version.manifest import MANIFEST, CorruptManifestError
from store_schema.version.provenance import read_provenance

SCOPES = "--unfinished, --frames, --versions or --keep-latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scopes:
    """What to remove."""

    unfinished: bool = False
    """Staging folders, temporary files, versions without manifest, the request of an abandoned build."""
    frames: Literal["all", "old"] | None = None
    """Stored frames: all, or those of other configs than the newest version's."""
    versions: tuple[str, ...] = ()
    """Versions by hash or beginning."""
    keep_latest: int | None = None
    """All versions but this many, the newest; the one `LATEST` names stays in any case."""
    force: bool = False
    """Remove even the version `LATEST` names when `versions` holds it."""

    def __post_init__(self) -> None:
        if self.keep_latest is not None and self.keep_latest < 1:
            raise ValueError(f"--keep-latest must be at least 1, got {self.keep_latest}")
        if self.keep_latest is not None and self.versions:
            raise ValueError("--versions and --keep-latest contradict each other: give one")
        if not (self.unfinished or self.frames or self.versions or self.keep_latest is not None):
            raise ValueError(f"nothing is removed without being asked: give {SCOPES}")


@dataclass(frozen=True, slots=True)
class Removal:
    """One file or folder to remove."""

    path: Path
    what: str
    size: int
    """Bytes that become free."""


def collect(
    store: Path, scopes: Scopes, remove: bool = True, report: Callable[[Removal], None] = lambda target: None
) -> tuple[Removal, ...]:
    """Remove what `scopes` name, beside no build.

    Args:
        store: folder or URL of the store, from `location`.
        scopes: what to remove.
        remove: False only lists.
        report: called with each target before it goes.

    Returns:
        What was removed, or would be.

    Raises:
        FileNotFoundError: no such store or version.
        ValueError: the version `LATEST` names would go, or the newest versions cannot be told.
        RuntimeError: a build is writing this store, or something could not be removed.
    """
    if not store.is_dir():
        raise FileNotFoundError(f"no store at {store}")
    with _lock(store, remove):
        targets = plan(store, scopes)
        for target in targets:
            report(target)
            if remove:
                _remove(store, target.path)
    return targets


def plan(store: Path, scopes: Scopes) -> tuple[Removal, ...]:
    """What `scopes` name, nothing twice: versions first, then frames, then unfinished work."""
    found: dict[Path, str] = dict.fromkeys(_versions(store, scopes), "version")
    found.update(dict.fromkeys(_frames(store, scopes.frames), "stored frames"))
    if scopes.unfinished:
        for path, what in _unfinished(store).items():
            if not any(_is_below(path, known) for known in found):
                found[path] = what
    return tuple(Removal(path, what, size_of(path)) for path, what in found.items())


def size_of(path: Path) -> int:
    """Bytes that removing a file or folder frees; a file with a second name elsewhere frees none."""
    if (remote := filesystem(path)) is not None:
        return int(remote.du(str(path)))
    files = [path] if path.is_file() else [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    names_seen: dict[int, int] = {}
    total = 0
    for file in files:
        status = file.lstat()
        names_seen[status.st_ino] = names_seen.get(status.st_ino, 0) + 1
        if names_seen[status.st_ino] == status.st_nlink:
            total += status.st_size
    return total


def _lock(store: Path, remove: bool) -> AbstractContextManager[Any]:
    """The build's lock; a listing leaves no lock file behind, and a remote store has none."""
    path = store / LOCK
    if filesystem(store) is not None or not (remove or path.exists()):
        return nullcontext()
    try:
        return FileLock(path).acquire(timeout=0)
    except Timeout as error:
        raise RuntimeError(f"a build is writing {store}: wait until it has finished") from error


def _latest(store: Path) -> str | None:
    path = store / LATEST
    return path.read_text().strip() if path.is_file() else None


def _versions(store: Path, scopes: Scopes) -> list[Path]:
    latest = _latest(store)
    if scopes.keep_latest is not None:
        complete = [folder.name for folder in version_folders(store)]
        by_age = sorted(complete, key=lambda version: (_built_at(store, version), version), reverse=True)
        going = [version for version in by_age[scopes.keep_latest :] if version != latest]
    else:
        going = list(dict.fromkeys(resolve_version(store, version) for version in scopes.versions))
        if latest in going and not scopes.force:
            raise ValueError(f"{latest} is the version that {LATEST} names: give --force to remove it all the same")
    return [store / "versions" / version for version in going]


def _built_at(store: Path, version: str) -> datetime:
    try:
        stamp = datetime.fromisoformat(read_provenance(store / "versions" / version)["built_at"])
        return stamp.astimezone()
    except (CorruptManifestError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"when version {version[:12]} was built cannot be told ({error}): name what goes with --versions"
        ) from error


def _frames(store: Path, frames: Literal["all", "old"] | None) -> list[Path]:
    folder = store / "frames"
    if frames is None or not folder.is_dir():
        return []
    kept = None
    if frames == "old":
        _, manifest = open_manifest(store)
        try:
            kept = frames_key(manifest.config, manifest.schema_version)
        except KeyError as error:
            raise ValueError(f"the newest version's config has no {error}: use --frames all") from error
    return sorted((path for path in folder.iterdir() if path.is_dir() and path.name != kept), key=str)


def _unfinished(store: Path) -> dict[Path, str]:
    found: dict[Path, str] = {}
    if (store / "staging").is_dir():
        found.update((path, "unfinished build") for path in sorted((store / "staging").iterdir(), key=str))
    if (store / PENDING).is_file():
        found[store / PENDING] = "request of an unfinished build"
    versions = store / "versions"
    if versions.is_dir():
        incomplete = (path for path in versions.iterdir() if path.is_dir() and not (path / MANIFEST).is_file())
        found.update((path, "version without manifest") for path in sorted(incomplete, key=str))
    # An object store has no temporary names: an upload is there whole or not at all.
    if filesystem(store) is None:
        for path in sorted(store.rglob(f"{TEMPORARY_PREFIX}*")):
            if not any(_is_below(path, known) for known in found):
                found[path] = "temporary file"
    return found


def _is_below(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _remove(store: Path, path: Path) -> None:
    if path.is_file():
        path.unlink()
        return
    if path.name == _latest(store):
        (store / LATEST).unlink()
    manifest = path / MANIFEST
    if manifest.is_file():
        manifest.unlink()
    if filesystem(path) is None:
        fsync_directory(path)
        path = _aside(path)
    remove_tree(path)
    if path.exists():
        raise RuntimeError(f"{path} could not be removed whole: check its permissions and run gc --unfinished")


def _aside(path: Path) -> Path:
    """Rename a folder to a temporary name, so that from one moment to the next nobody finds it."""
    if path.name.startswith(TEMPORARY_PREFIX):
        return path
    target = path.with_name(f"{TEMPORARY_PREFIX}gc-{path.name}")
    if target.exists():
        remove_tree(target)
    os.replace(path, target)
    fsync_directory(path.parent)
    return target
