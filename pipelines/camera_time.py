"""A camera's exposure taken a little before or after its stamp.

The stamps of a log may be off from the moment of exposure by a constant of the camera (measured by
``benchmarks/alignment.py``, see docs/time.md). Then the pose has to move with the time: along the camera's own
poses, which already hold how the rig drives and turns.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.point_boxes import cos_sin
from pipelines.sources.base import CameraFrame, LogError, LogReader

MAX_SHIFT_S = 0.05
"""Largest shift, s: half of the time between two of PandaSet's images. A larger one is a wrong stamp, not a shift."""

_SMALL_TURN = 1e-4
"""Turns below this, rad, are too small to divide by their sine, which is rounded."""


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
    camera = reader.camera(name, frame)
    if shift_s == 0:
        return camera
    neighbour = reader.camera(name, _neighbour(reader, name, frame, 1 if shift_s > 0 else -1))
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


def interpolate_pose(
    start: NDArray[np.float64],  # [4, 4] rigid, a2world
    end: NDArray[np.float64],  # [4, 4] rigid, a2world
    share: float,
) -> NDArray[np.float64]:
    """Pose [4, 4] after `share` of the constant twist (screw motion) that takes `start` to `end`.

    ``start exp(share log(start^-1 end))``. What is bolted to the moving body has the same motion, whatever point of
    the body its frame is in: a camera and the ego frame interpolated apart stay as far apart as they are. Below 0
    and above 1 the twist goes on. Bits do not depend on the CPU.

    Raises:
        ValueError: half a turn lies between the poses, so that the way round is not known.
    """
    rotation = start[:3, :3]
    turn = _product(rotation.T, end[:3, :3])
    step = _product(rotation.T, (end[:3, 3] - start[:3, 3])[:, None])[:, 0]
    axis, angle = _axis_angle(turn)
    # About the axis a screw is a circle: its chord is 2 r sin(angle / 2), and lies half the angle from the tangent.
    # Along the axis it is a straight line.
    angles = np.array([angle * share, angle / 2, angle * share / 2, angle * (share - 1) / 2])
    cos, sin = cos_sin(angles)
    chord = share if angle < _SMALL_TURN else sin[2] / sin[1]
    along = axis * (axis[0] * step[0] + axis[1] * step[1] + axis[2] * step[2])
    moved = share * along + chord * _turned(axis, cos[3], sin[3], (step - along)[:, None])[:, 0]
    pose = np.eye(4)
    pose[:3, :3] = _product(rotation, _turned(axis, cos[0], sin[0], np.eye(3)))
    pose[:3, 3] = start[:3, 3] + _product(rotation, moved[:, None])[:, 0]
    return pose


def _neighbour(reader: LogReader, name: str, frame: int, way: int) -> int:
    """The frame beside `frame` that is usable, by preference the one on the side of `way`."""
    missing = reader.missing_frames()
    for other in (frame + way, frame - way):
        if 0 <= other < reader.num_frames and other not in missing:
            return other
    reason = f"{name} cannot be shifted in time: no frame beside this one is there to tell its motion"
    fetch = "" if reader.num_frames == 1 else "fetch one of its neighbours, or "
    raise LogError(reader.log_id, f"{reason}; {fetch}leave the time shift out", frame=frame)


def _axis_angle(turn: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Unit axis [3] and angle in [0, pi) of a rotation [3, 3]."""
    twice = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    sine = np.sqrt(twice[0] * twice[0] + twice[1] * twice[1] + twice[2] * twice[2]) / 2
    cosine = (turn[0, 0] + turn[1, 1] + turn[2, 2] - 1) / 2
    if sine < 1e-6 and cosine < 0:
        raise ValueError("the pose makes half a turn, which can be either way round")
    if sine == 0:
        return np.array([0.0, 0.0, 1.0]), 0.0
    # Rounded for the same reason as in `cos_sin`.
    return twice / (2 * sine), float(np.arctan2(sine, cosine).round(12))


def _turned(
    axis: NDArray[np.float64],  # [3] unit
    cos: float,
    sin: float,
    columns: NDArray[np.float64],  # [3, C]
) -> NDArray[np.float64]:
    """Column vectors turned about an axis, [3, C] (Rodrigues)."""
    x, y, z = axis
    rotation = np.array(
        [
            [cos + (1 - cos) * x * x, (1 - cos) * x * y - sin * z, (1 - cos) * x * z + sin * y],
            [(1 - cos) * x * y + sin * z, cos + (1 - cos) * y * y, (1 - cos) * y * z - sin * x],
            [(1 - cos) * x * z - sin * y, (1 - cos) * y * z + sin * x, cos + (1 - cos) * z * z],
        ]
    )
    return _product(rotation, columns)


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix product [3, C] of [3, 3] and [3, C], added up in a fixed order (BLAS has one for each CPU)."""
    product: NDArray[np.float64] = a[:, 0:1] * b[0] + a[:, 1:2] * b[1] + a[:, 2:3] * b[2]
    return product
