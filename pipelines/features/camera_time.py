"""Shift a camera in time: its exposure a little before or after its stamp, its pose moved along its path.

The stamps of a log may be off from the moment of exposure by a constant of the camera (measured by
``benchmarks/alignment/__main__.py``, see docs/time.md). Then the pose has to move with the time: along the camera's own
poses, which already hold how the rig drives and turns.
"""

from __future__ import annotations

from dataclasses import replace

from pipelines.geometry.rigid import interpolate_pose
from pipelines.sources.base import CameraFrame, LogError, LogReader, camera_of

MAX_SHIFT_S = 0.05
"""Largest shift, s: half of the time between two of PandaSet's images. A larger one is a wrong stamp, not a shift."""


def check_shift(name: str, shift_s: float) -> None:
    """Refuse a time shift, s, that is not finite or too large.

    Raises:
        ValueError: names the camera.
    """
    if not abs(shift_s) <= MAX_SHIFT_S:
        raise ValueError(
            f"the time shift of {name} is {shift_s} s, at most {MAX_SHIFT_S} s either way can be bridged between two"
            " poses: give seconds, not milliseconds, or correct the stamps of the log"
        )


def shifted_camera(reader: LogReader, name: str, frame: int, shift_s: float) -> CameraFrame:
    """One camera's image with its time and pose taken `shift_s` later than the stamp.

    The pose moves with the constant twist between the image's stamp and the neighbour's that lies towards the new
    time. Where that neighbour is missing or outside the log, the twist is that to the neighbour on the other side.

    Args:
        reader: the log.
        name: the camera.
        frame: number in the log.
        shift_s: s, negative is earlier; at most `MAX_SHIFT_S` either way. 0 gives the reader's frame unchanged.

    Returns:
        The reader's frame with another `time` and `cam2world`; the same bits on every CPU.

    Raises:
        ValueError: the shift is not finite or too large.
        LogError: the log lacks the camera or the frame, both neighbours are missing, or their stamps or poses
            cannot be those of neighbours.
    """
    check_shift(name, shift_s)
    camera = camera_of(reader, name, frame)
    if shift_s == 0:
        return camera
    neighbour = camera_of(reader, name, _neighbour(reader, name, frame, 1 if shift_s > 0 else -1))
    gap = neighbour.time - camera.time
    if not gap * (neighbour.frame - frame) > 0:
        reason = f"{name} has stamp {camera.time:.6f} s, and {neighbour.time:.6f} s in frame {neighbour.frame}"
        raise LogError(reader.log_id, f"{reason}: stamps must increase; correct them", frame=frame)
    try:
        cam2world = interpolate_pose(camera.cam2world, neighbour.cam2world, shift_s / gap)
    except ValueError as error:
        reason = f"{name} to frame {neighbour.frame}: {error}; correct its poses, or leave its time shift out"
        raise LogError(reader.log_id, reason, frame=frame) from error
    return replace(camera, time=camera.time + shift_s, cam2world=cam2world)


def _neighbour(reader: LogReader, name: str, frame: int, way: int) -> int:
    """The frame beside `frame` that is usable, by preference the one on the side of `way`."""
    missing = reader.missing_frames()
    for other in (frame + way, frame - way):
        if 0 <= other < reader.num_frames and other not in missing:
            return other
    reason = f"{name} cannot be shifted in time: no frame beside this one is there to tell its motion"
    fetch = "" if reader.num_frames == 1 else "fetch one of its neighbours, or "
    raise LogError(reader.log_id, f"{reason}; {fetch}leave the time shift out", frame=frame)
