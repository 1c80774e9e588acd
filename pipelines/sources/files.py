"""Files and folders of a log: read whole, bounded and never waited for, local or remote.

Only methods that `pathlib.Path` shares with `universal_pathlib.UPath` are used, so that a log can lie behind a URL.
"""

from __future__ import annotations

import stat
from pathlib import Path

from pipelines.sources.base import LogError
from store_schema.files.paths import read_bytes


def read_file(log_id: str, path: Path, max_bytes: int, frame: int | None = None) -> bytes:
    """The bytes of a regular file.

    Args:
        log_id: for errors.
        path: the file, or a link to it.
        max_bytes: bound of its size: a larger file is not what it should be.
        frame: for errors, where the file belongs to one frame.

    Raises:
        LogError: missing, not a regular file, larger than `max_bytes`, or unreadable.
    """
    try:
        # One question, one request over a network; and asked first, because reading a pipe would wait for ever.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            reason = "cannot be read: it is not a regular file; replace it"
        elif status.st_size > max_bytes:
            reason = f"has {status.st_size} bytes, expected at most {max_bytes}; fetch the file again"
        else:
            return read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        reason = "cannot be read: the file is missing; fetch it again"
    except OSError as error:
        raise unreadable(log_id, error, path, frame) from error
    raise LogError(log_id, reason, frame=frame, file=path)


def unreadable(log_id: str, error: OSError, path: Path, frame: int | None = None) -> LogError:
    """The `LogError` of a file or folder that the system refuses to read: the one the system names, else `path`."""
    reason = f"cannot be read: {error.strerror or error}; make it readable, or fetch it again"
    return LogError(log_id, reason, frame=frame, file=error.filename or path)


def list_folder(log_id: str, folder: Path) -> list[Path]:
    """What a folder holds, sorted by name.

    Raises:
        LogError: an unreadable folder.
    """
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        reason = f"the folder cannot be listed: {error.strerror or error}; make it readable, or fetch it again"
        raise LogError(log_id, reason, file=folder) from error


def subfolder(log_id: str, folder: Path, name: str) -> Path | None:
    """The folder ``name``, such as ``annotations/cuboids``, below `folder`; None where nothing has that name.

    Raises:
        LogError: a folder cannot be listed, or what has the name is a file or a link that leads nowhere: a log whose
            annotations are damaged must not pass for one without annotations.
    """
    for part in name.split("/"):
        # A listing shows links that lead nowhere; `exists` does not.
        found = [path for path in list_folder(log_id, folder) if path.name == part]
        if not found:
            return None
        folder = found[0]
        if not folder.is_dir():
            raise not_a_folder(log_id, folder)
    return folder


def not_a_folder(log_id: str, path: Path) -> LogError:
    """The `LogError` of a file in the place of a folder."""
    return LogError(
        log_id, "is not a folder, or a link that leads nowhere; fetch the folder, or remove this", file=path
    )
