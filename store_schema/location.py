"""Places of files: a local path or any fsspec URL (``s3://``, ``gs://``), behind `pathlib.Path`'s methods.

A URL becomes a `upath.UPath`, which has the methods of `Path` that this code uses but is no subclass of it.
Credentials and endpoints come from the environment, as the file system's own library reads them
(``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

Place = str | Path
"""What a user may give: a local path, a URL, or what `location` made of one."""


def location(place: Place, *, listings_cache: bool = False) -> Path:
    """The path object of a local path or URL.

    Args:
        place: local path, ``file://`` URL or a URL of any file system that fsspec knows.
        listings_cache: let a remote file system remember folder listings: only for folders nobody writes.

    Raises:
        ValueError: fsspec does not know the URL's protocol, or its package is not installed.
    """
    if not isinstance(place, str):
        return place
    protocol, separator, rest = place.partition("://")
    if not separator:
        return Path(place)
    if protocol == "file":
        return Path(rest)
    from upath import UPath

    try:
        path = UPath(place, use_listings_cache=listings_cache)
        _ = path.fs
    except ImportError as error:
        hint = "; pip install 'flux4d-street[s3]' brings it" if protocol == "s3" else ""
        raise ValueError(f"{place}: {error}{hint}") from error
    except ValueError as error:
        raise ValueError(f"{place}: no file system for {protocol}:// ({error})") from error
    return cast(Path, path)


def filesystem(path: Path) -> Any | None:
    """The fsspec file system of a remote path, None for a local one."""
    return None if isinstance(path, Path) else path.fs


def read_range(path: Path, offset: int, size: int) -> bytes:
    """`size` bytes of a file from `offset`; over a network just these bytes travel.

    Raises:
        FileNotFoundError: no such file.
    """
    if size == 0:
        return b""
    if (remote := filesystem(path)) is not None:
        try:
            return bytes(remote.cat_file(_key(path), start=offset, end=offset + size))
        except OSError:
            # Servers refuse a range that begins behind the end; a local file has nothing there.
            if remote.size(_key(path)) <= offset:
                return b""
            raise
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def put_file(source: Path, target: Path) -> None:
    """Upload a local file to a remote path; the object is there whole or not at all."""
    _remote(target).put_file(str(source), _key(target))


def put_bytes(target: Path, data: bytes) -> None:
    """Write a remote object in one go."""
    _remote(target).pipe_file(_key(target), data)


def copy_object(source: Path, target: Path) -> None:
    """Copy inside a remote file system, without the bytes passing through here."""
    _remote(source).cp_file(_key(source), _key(target))


def remove_tree(folder: Path) -> None:
    """Delete a folder and all in it; nothing when it is not there."""
    remote = filesystem(folder)
    if remote is None:
        shutil.rmtree(folder, ignore_errors=True)
    elif remote.exists(_key(folder)):
        remote.rm(_key(folder), recursive=True)


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, sorted; none when it is not there."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.rglob("*") if path.is_file()), key=str)


def relative_name(path: Path, folder: Path) -> str:
    """`path` as seen from `folder`, with forward slashes."""
    return str(path)[len(str(folder)) :].lstrip("/")


def _remote(path: Path) -> Any:
    remote = filesystem(path)
    assert remote is not None, f"{path} is not remote"
    return remote


def _key(path: Path) -> str:
    return cast(str, path.path)  # type: ignore[attr-defined]
