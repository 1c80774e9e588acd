"""Paths and URLs: a local path or any fsspec URL (``s3://``, ``gs://``) behind `pathlib.Path`'s methods.

A URL becomes a `upath.UPath`, which has the methods of `Path` that this code uses but is no subclass of it.
Credentials and endpoints come from the environment, as the file system's own library reads them
(``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...).
"""

from __future__ import annotations

import shutil
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from store_schema.files.patient_path import patience, patient
from store_schema.files.retry import RetryPolicy, http_status, is_transient, with_retries
from store_schema.hashing import hash_file

Place = str | Path
"""What a user may give: a local path, a URL, or what `location` made of one."""


def location(place: Place, *, listings_cache: bool = False, retry: RetryPolicy | None = None) -> Path:
    """The path object of a local path or URL.

    Args:
        place: local path, ``file://`` URL or a URL of any file system that fsspec knows.
        listings_cache: let a remote file system remember folder listings: only for folders nobody writes.
        retry: how patiently the reads of this module read it and all paths made of it, in this process and in others
            that they are sent to. None leaves a path as it is, and is `RetryPolicy`'s defaults for a URL.

    Raises:
        ValueError: fsspec does not know the URL's protocol, or its package is not installed.
    """
    path = _opened(place, listings_cache) if isinstance(place, str) else place
    return path if retry is None or filesystem(path) is None else patient(path, retry)


def _opened(place: str, listings_cache: bool) -> Path:
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


def _single_attempts(remote: Any) -> Any:
    """A file system as `remote` that does not try again by itself, for reads that `with_retries` repeats.

    S3's client makes up to 25 attempts of its own; inside each of ours they would make minutes of seconds. Options
    that the user gave (by fsspec's configuration, too) stay as they are.
    """
    if "s3" not in remote.protocol:
        return remote
    options = dict(remote.storage_options)
    config = dict(options.get("config_kwargs") or {})
    config["retries"] = {**(config.get("retries") or {}), "total_max_attempts": 1}
    # Nothing is written through it, so it would not know when a listing that it keeps is out of date.
    options |= {"config_kwargs": config, "use_listings_cache": False}
    # The same options give the same instance again.
    single = type(remote)(*remote.storage_args, **options)
    # s3fs repeats around its client too.
    single.retries = 1
    return single


def read_range(path: Path, offset: int, size: int) -> bytes:
    """`size` bytes of a file from `offset`, fewer where it ends before; over a network just these bytes travel.

    Raises:
        FileNotFoundError: no such file.
        ConnectionLostError: a remote file, and the connection failed at every attempt.
        ValueError: a remote server that does not serve parts of files.
    """
    if size == 0:
        return b""
    if (remote := filesystem(path)) is not None:
        single = _single_attempts(remote)
        return with_retries(lambda: _remote_range(single, path, offset, size), path, patience(path))
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _remote_range(remote: Any, path: Path, offset: int, size: int) -> bytes:
    key = _key(path)
    try:
        data = bytes(remote.cat_file(key, start=offset, end=offset + size))
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        # Servers refuse a range that begins behind the end; a local file has nothing there.
        refused = isinstance(error, OSError) or http_status(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        if refused and not is_transient(error) and remote.size(key) <= offset:
            return b""
        raise
    if len(data) == size:
        return data
    # Whether a short answer is all there is, the file's size tells; a server may keep that to itself.
    whole = remote.size(key) if len(data) < size else None
    if len(data) > size or (offset and len(data) == whole):
        raise ValueError(
            f"{path}: the server does not serve parts of files, it answered with {len(data)} bytes from the start "
            f"instead of {size} from {offset}: use a server that knows HTTP range requests, or copy the store to a disk"
        )
    if whole is not None and len(data) != max(0, min(size, whole - offset)):
        raise ConnectionError(f"the answer broke off after {len(data)} bytes")
    return data


def read_bytes(path: Path) -> bytes:
    """A whole file.

    Raises:
        FileNotFoundError: no such file.
        ConnectionLostError: a remote file, and the connection failed at every attempt.
    """
    if (remote := filesystem(path)) is not None:
        single = _single_attempts(remote)
        return with_retries(lambda: bytes(single.cat_file(_key(path))), path, patience(path))
    return path.read_bytes()


def file_hash(path: Path) -> str:
    """blake3 of a file's content, read in pieces.

    Raises:
        FileNotFoundError: no such file.
        ConnectionLostError: a remote file, and the connection failed at every attempt.
    """
    if filesystem(path) is None:
        return hash_file(path)
    return with_retries(lambda: hash_file(path), path, patience(path))


def folders_with(folder: Path, name: str) -> list[Path]:
    """The folders inside `folder` that hold a file `name`, sorted; none when `folder` is not there.

    Raises:
        ConnectionLostError: a remote folder, and the connection failed at every attempt.
    """
    if (remote := filesystem(folder)) is None:
        found = [path.parent for path in folder.glob(f"*/{name}")]
    else:
        single = _single_attempts(remote)
        listed = with_retries(lambda: _children_with(single, _key(folder), name), folder, patience(folder))
        found = [folder / child for child in listed]
    return sorted(found, key=str)


def _children_with(remote: Any, key: str, name: str) -> list[str]:
    # fsspec's glob and walk take a listing that failed for an empty one.
    found = []
    for child in _listing(remote, key):
        if child["type"] == "directory" and name in map(_base, _listing(remote, child["name"])):
            found.append(_base(child))
    return found


def _names_below(remote: Any, folder: Path) -> list[str]:
    """Files below a folder, as seen from it."""
    names, waiting = [], [(_key(folder), "")]
    while waiting:
        key, prefix = waiting.pop()
        for child in _listing(remote, key):
            name = _base(child)
            if child["type"] != "directory":
                names.append(f"{prefix}{name}")
            elif child["name"].rstrip("/") != key.rstrip("/"):
                waiting.append((child["name"], f"{prefix}{name}/"))
    return names


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
    """Every file below a folder, sorted; none when it is not there.

    Raises:
        ConnectionLostError: a remote folder, and the connection failed at every attempt.
    """
    if (remote := filesystem(folder)) is None:
        found = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    else:
        single = _single_attempts(remote)
        found = [folder / name for name in with_retries(lambda: _names_below(single, folder), folder, patience(folder))]
    return sorted(found, key=str)


def relative_name(path: Path, folder: Path) -> str:
    """`path` as seen from `folder`, with forward slashes."""
    return str(path)[len(str(folder)) :].lstrip("/")


def _remote(path: Path) -> Any:
    remote = filesystem(path)
    assert remote is not None, f"{path} is not remote"
    return remote


def _key(path: Path) -> str:
    return cast(str, path.path)  # type: ignore[attr-defined]
