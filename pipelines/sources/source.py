"""A source of driving data: how its logs are found and opened, and what its labels mean."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.sources.base import LogError, LogReader
from store_schema.labels import Bucket
from store_schema.protocol import LOG_ID

_NAME = re.compile(r"[a-z0-9_]+")
_VIEW = re.compile(rf"{LOG_ID.pattern}(@{LOG_ID.pattern})?")
"""What `store_schema.clip.view_name` makes of the names of a camera and its agent."""

FindLogs = Callable[[Path, Sequence[str] | None], tuple[Path, ...]]
"""Paths of the logs under a root, sorted by log id; of the given log ids only, unless None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One kind of driving data. One of these, and one line in `registry` or one entry point, make a source."""

    name: str
    """What ``--source`` takes and dataset versions record; lower-case letters, digits and _."""
    description: str
    """One line: what a log is on disk. Errors and help show it."""
    is_log: Callable[[Path], bool]
    """Whether a folder looks like one of its logs. Cheap; no file is read."""
    open: Callable[[Path], LogReader]
    """Opens a log.

    Raises `LogError` on bad input. To be called by `open_log`."""
    buckets: Mapping[str, Bucket] = field(default_factory=dict)
    """Class of the bucketed metric by cuboid label; a label without a row is `Bucket.OTHER`."""
    version: int = 1
    """Raised whenever the reader hands over other values for the same files, so that stored frames are made again."""
    find_logs: FindLogs | None = None
    """Where logs are not one folder each under the root; None is `folders_of_logs`."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name == "auto":
            raise ValueError(f"a source's name is lower-case letters, digits and _, and not auto; got {self.name!r}")

    def logs(self, root: Path, only: Sequence[str] | None = None) -> tuple[Path, ...]:
        """The logs under `root`, sorted by log id; nothing is read.

        Args:
            root: folder that holds one folder per log, unless the source says otherwise.
            only: take just these log ids; None takes all.

        Raises:
            ValueError: `root` is no folder, is itself a log, holds no logs, or a log of `only` is not there.
        """
        if self.find_logs is not None:
            return self.find_logs(root, only)
        return folders_of_logs(self, root, only)

    def open_log(self, path: Path) -> LogReader:
        """Open a log and check the names that become parts of clip ids, tar members and file names.

        Raises:
            LogError: bad input, or a name that cannot be one.
        """
        reader = self.open(path)
        _check_names(reader, path)
        return reader


def subfolders(root: Path) -> list[Path]:
    """What `root` holds, sorted by name.

    Raises:
        ValueError: it is no folder, or cannot be listed.
    """
    try:
        if not root.is_dir():
            raise ValueError(f"{root} is not a folder; give the one that holds the logs 001, 002, ...")
        return sorted(root.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise ValueError(f"{root} cannot be listed: {error.strerror or error}; make it readable") from error


def folders_of_logs(source: Source, root: Path, only: Sequence[str] | None) -> tuple[Path, ...]:
    """Folders of a source's logs directly under `root`, sorted by name; as `Source.logs`."""
    entries = subfolders(root)
    if source.is_log(root):
        raise ValueError(f"{root} is itself a log; give the folder that holds it: {root.absolute().parent}")
    logs = {path.name: path for path in entries if source.is_log(path)}
    if not logs:
        raise ValueError(f"{root} holds no logs of source {source.name} ({source.description})")
    if only is None:
        return tuple(logs.values())
    if not only:
        raise ValueError("the list of logs to take is empty; name at least one, or give none to take all")
    for log_id in only:
        if log_id not in logs:
            near = difflib.get_close_matches(log_id, logs) or list(logs)[:5]
            raise ValueError(f"{root} holds no log {log_id!r}; it has {len(logs)}, such as {', '.join(near)}")
    return tuple(logs[log_id] for log_id in sorted(set(only)))


def _check_names(reader: LogReader, path: Path) -> None:
    """Refuse names that could not be told apart, or not be written, where they are parts of others."""
    log_id, agents = reader.log_id, reader.agents
    rule = "use letters, digits, - and _ only"
    if not LOG_ID.fullmatch(log_id):
        raise LogError(log_id, f"the log's name becomes part of clip ids: {rule}", file=path)
    alone = agents == ("",)
    if not alone and (not agents or not all(LOG_ID.fullmatch(agent) for agent in agents)):
        reason = f"agents are named {list(agents)}: {rule}, or name a single one ''"
        raise LogError(log_id, reason, file=path)
    if len(agents) > 256 or len(set(agents)) < len(agents):
        raise LogError(log_id, f"agents are named {list(agents)}: give at most 256, each another name", file=path)
    if len(set(reader.cameras)) < len(reader.cameras):
        raise LogError(log_id, f"two cameras have one name among {list(reader.cameras)}: rename one", file=path)
    for name in reader.cameras:
        if not _VIEW.fullmatch(name):
            reason = f"camera {name!r} cannot name files: name it camera or camera@agent; {rule}"
            raise LogError(log_id, reason, file=path)
