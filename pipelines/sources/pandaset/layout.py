"""Where a PandaSet log keeps its files: frames by the number in the name, cameras in a fixed order."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.sources.base import LogError
from pipelines.sources.files import list_folder, not_a_folder
from store_schema.protocol import LOG_ID

LIDAR, CUBOIDS, SEMSEG, CAMERA, META = "lidar", "annotations/cuboids", "annotations/semseg", "camera", "meta"
"""Folders of a log."""
GPS = "gps.json"
"""File in the folder meta."""
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
    """Whether a folder looks like a log.

    A link that leads nowhere and a folder that cannot be looked into count as logs where their names could be: opening
    them says what is wrong, and none is left out silently.
    """
    try:
        if path.is_dir():
            return any(entry.name in (LIDAR, CAMERA) for entry in path.iterdir())
        return not path.exists() and LOG_ID.fullmatch(path.name) is not None
    except OSError:
        return LOG_ID.fullmatch(path.name) is not None


def frame_files(log_id: str, folder: Path, name: re.Pattern[str], num_frames: int) -> dict[int, Path]:
    """A folder's files by the frame number in their name; of 00.pkl.gz and 00.pkl the first is taken.

    Files with other names are not looked at. A link that leads nowhere is a missing file.

    Raises:
        LogError: two names of one frame, a frame the log does not have, a folder or a pipe in the place of a file, or
            an unreadable folder.
    """
    files: dict[int, Path] = {}
    for path in sorted(list_folder(log_id, folder), key=lambda path: (path.suffix != ".gz", path.name)):
        match = name.fullmatch(path.name)
        if not match or not (path.is_file() or path.exists()):
            continue
        frame = int(match[1])
        if not path.is_file():
            raise LogError(log_id, "is not a regular file; replace it, or remove it", frame=frame, file=path)
        if frame >= num_frames:
            reason = f"lidar/timestamps.json lists only {num_frames} frames; fetch both files again"
            raise LogError(log_id, reason, frame=frame, file=path)
        other = files.setdefault(frame, path)
        if other.name.split(".")[0] != match[1]:
            raise LogError(log_id, f"{other.name} is of the same frame; remove one of them", frame=frame, file=path)
    return files


def camera_names(log_id: str, folder: Path | None) -> list[str]:
    """The camera folders in `folder`, in the order of `CAMERAS`, then sorted; none where there is no folder.

    Raises:
        LogError: an unreadable folder, a file in the place of a camera's folder, or a name that cannot be a member's.
    """
    names = set()
    for path in list_folder(log_id, folder) if folder is not None else []:
        if path.is_dir() and not path.name.startswith("."):
            if not LOG_ID.fullmatch(path.name):
                reason = "the camera's name becomes part of file names: rename it to letters, digits, - and _"
                raise LogError(log_id, reason, file=path)
            names.add(path.name)
        elif path.name in CAMERAS:
            raise not_a_folder(log_id, path)
    return [name for name in CAMERAS if name in names] + sorted(names.difference(CAMERAS))
