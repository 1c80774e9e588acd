"""Where a PandaSet log keeps its files: frames by the number in the name, cameras in a fixed order."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.sources.base import LogError

LIDAR, CUBOIDS, SEMSEG, CAMERA = "lidar", "annotations/cuboids", "annotations/semseg", "camera"
"""Folders of a log."""
CAMERAS = (
    "front_camera",
    "front_left_camera",
    "front_right_camera",
    "left_camera",
    "right_camera",
    "back_camera",
)
"""The cameras of PandaSet in the order the reader names them; others follow, sorted."""
TABLE_NAME = re.compile(r"([0-9]+)\.pkl(?:\.gz)?")
IMAGE_NAME = re.compile(r"([0-9]+)\.jpg")


def is_log(path: Path) -> bool:
    """Whether a folder looks like a log."""
    return any((path / name).is_dir() for name in (LIDAR, CAMERA))


def frame_files(log_id: str, folder: Path, name: re.Pattern[str], num_frames: int) -> dict[int, Path]:
    """A folder's files by the frame number in their name; of 00.pkl.gz and 00.pkl the first is taken.

    Files with other names are not looked at.

    Raises:
        LogError: two names of one frame, a frame the log does not have, or an unreadable folder.
    """
    files: dict[int, Path] = {}
    for path in sorted(_entries(log_id, folder), key=lambda path: (path.suffix != ".gz", path.name)):
        match = name.fullmatch(path.name)
        if not match or not path.is_file():
            continue
        frame = int(match[1])
        if frame >= num_frames:
            reason = f"lidar/timestamps.json lists only {num_frames} frames; fetch both files again"
            raise LogError(log_id, reason, frame=frame, file=path)
        other = files.setdefault(frame, path)
        if other.name.split(".")[0] != match[1]:
            raise LogError(log_id, f"{other.name} is of the same frame; remove one of them", frame=frame, file=path)
    return files


def camera_names(log_id: str, folder: Path) -> list[str]:
    """The camera folders in `folder`, in the order of `CAMERAS`, then sorted; none where it does not exist.

    Raises:
        LogError: an unreadable folder.
    """
    entries = _entries(log_id, folder) if folder.is_dir() else []
    names = {path.name for path in entries if path.is_dir() and not path.name.startswith(".")}
    return [name for name in CAMERAS if name in names] + sorted(names.difference(CAMERAS))


def _entries(log_id: str, folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise LogError(log_id, f"the folder cannot be listed: {error.strerror}", file=folder) from error
