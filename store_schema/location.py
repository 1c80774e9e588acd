"""Places of files: a local path or any fsspec URL (``s3://``, ``gs://``), behind `pathlib.Path`'s methods.

A URL becomes a `upath.UPath`, which has the methods of `Path` that this code uses but is no subclass of it.
Credentials and endpoints come from the environment, as the file system's own library reads them
(``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

from store_schema.retry import is_transient, with_retries

Place = str | Path
"""What a user may give: a local path, a URL, or what `location` made of one."""


def location(place: Place, *, listings_cache: bool = False, own_retries: bool = True) -> Path:
    """The path object of a local path or URL.

    Args:
        place: local path, ``file://`` URL or a URL of any file system that fsspec knows.
        listings_cache: let a remote file system remember folder listings: only for folders nobody writes.
        own_retries: let S3's client try again by itself. Without, `store_schema.retry` alone does: the client's 25
            attempts inside each of its own would make minutes of seconds.

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
        single = not own_retries and protocol in ("s3", "s3a")
        options = {"config_kwargs": {"retries": {"total_max_attempts": 1}}} if single else {}
        path = UPath(place, use_listings_cache=listings_cache, **options)
        if single:
            # s3fs repeats around its client too. The options above make this an instance of its own.
            path.fs.retries = 1
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
        ConnectionLostError: a remote file, and the connection failed at every attempt.
    """
    if size == 0:
        return b""
    if (remote := filesystem(path)) is not None:
        return with_retries(lambda: _remote_range(remote, _key(path), offset, size), path)
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _remote_range(remote: Any, key: str, offset: int, size: int) -> bytes:
    try:
        return bytes(remote.cat_file(key, start=offset, end=offset + size))
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        # Servers refuse a range that begins behind the end; a local file has nothing there.
        if not is_transient(error) and remote.size(key) <= offset:
            return b""
        raise


def read_bytes(path: Path) -> bytes:
    """A whole file.

    Raises:
        FileNotFoundError: no such file.
        ConnectionLostError: a remote file, and the connection failed at every attempt.
    """
    if (remote := filesystem(path)) is not None:
        return with_retries(lambda: bytes(remote.cat_file(_key(path))), path)
    return path.read_bytes()


def folders_with(folder: Path, name: str) -> list[Path]:
    """The folders inside `folder` that hold a file `name`, sorted; none when `folder` is not there.

    Raises:
        ConnectionLostError: a remote folder, and the connection failed at every attempt.
    """
    if (remote := filesystem(folder)) is None:
        found = [path.parent for path in folder.glob(f"*/{name}")]
    else:
        found = [folder / child for child in with_retries(lambda: _children_with(remote, _key(folder), name), folder)]
    return sorted(found, key=str)


def _children_with(remote: Any, key: str, name: str) -> list[str]:
    # fsspec's glob and walk take a listing that failed for an empty one.
    found = []
    for child in _listing(remote, key):
        if child["type"] == "directory" and name in map(_base, _listing(remote, child["name"])):
            found.append(_base(child))
    return found


def _listing(remote: Any, key: str) -> list[dict[str, Any]]:
    try:
        return cast(list[dict[str, Any]], remote.ls(key, detail=True))
    except FileNotFoundError:
        return []


def _base(entry: dict[str, Any]) -> str:
    return cast(str, entry["name"]).rstrip("/").rpartition("/")[2]


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
