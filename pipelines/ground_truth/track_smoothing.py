"""Scene flow by smoothed tracks: a second ground truth, beside the one by annotated pairs of boxes.

Annotators draw boxes at key frames and a tool interpolates between them (PandaSet: every fifth frame), so that an
object's speed jumps at key frames and its box can slide along it by decimetres in between. A low-order curve through
the boxes of one track evens that out. Where the two ground truths differ, a difference in a metric that is no larger
than theirs tells nothing about a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.ground_truth.scene_flow import match_tracks, rigid_flow
from pipelines.sources.base import Cuboids, Sweep

HALF_WINDOW = 7
"""Frames before and after the current one that a curve is fitted to: one and a half annotation cycles of PandaSet."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackMotion:
    """Motion of the M boxes of a frame to the next frame, by their smoothed tracks."""

    step: NDArray[np.float64]  # [M, 3] m, world, of the centre; 0 where not known
    turn: NDArray[np.float64]  # [M] rad, counter-clockwise about world z; 0 where not known
    known: NDArray[np.bool_]  # [M] whether the next frame holds the track


def smoothed_motion(window: Sequence[tuple[float, Cuboids]], frame: int) -> TrackMotion:
    """Motion of the boxes of one frame to the next frame along their smoothed tracks.

    Through the boxes of a track (its own uuid, never a sibling's) in the frames within `HALF_WINDOW` of `frame` goes
    the least-squares curve of second degree in time, each of x, y, z and the unwrapped yaw for itself. The motion is
    the curve's from this frame's stamp to the next one's. Of three boxes the curve meets every one; of two it is the
    line, so that the motion is the annotated one. A box at rest (bit-equal in all frames) gets exactly 0.

    Args:
        window: stamp in s and boxes of each frame, by ascending frame; frames further off are left out, and frames
            can be missing.
        frame: frame number of the boxes whose motion is asked for; the next one is `frame` + 1.

    Raises:
        ValueError: `frame` is not in the window, frames or stamps do not ascend, or a track stands twice in a frame.
    """
    near = [(time, boxes) for time, boxes in window if abs(boxes.frame - frame) <= HALF_WINDOW]
    frames, times = [boxes.frame for _, boxes in near], np.array([time for time, _ in near], dtype=np.float64)
    if frame not in frames:
        raise ValueError(f"frame {frame} is not in the window of frames {frames}: pass its boxes too")
    if not ((np.diff(frames) > 0).all() and (np.diff(times) > 0).all()):
        raise ValueError(f"frames {frames} with stamps {times.tolist()} s: pass both in ascending order")
    at = frames.index(frame)
    current = near[at][1]
    count = len(current.track)
    has_next = at + 1 < len(near) and frames[at + 1] == frame + 1
    if not has_next or not count:
        return TrackMotion(np.zeros((count, 3)), np.zeros(count), np.zeros(count, np.bool_))
    held = np.zeros((len(near), count), dtype=np.bool_)
    pose = np.zeros((len(near), count, 4))
    for n, (_, boxes) in enumerate(near):
        rows = match_tracks(current, boxes)
        held[n] = rows >= 0
        pose[n, held[n], :3] = boxes.position[rows[held[n]]]
        pose[n, held[n], 3] = boxes.yaw[rows[held[n]]]
    known = held[at + 1]
    motion = _curve_motion(times - times[at], pose, held, at)
    motion[~known] = 0
    return TrackMotion(motion[:, :3].copy(), motion[:, 3].copy(), known.copy())


def smoothed_flow(
    sweep: Sweep,
    cuboids: Cuboids,
    cuboid: NDArray[np.int32],  # [P] row of the box each point lies in, -1 none
    motion: TrackMotion,
) -> NDArray[np.float64]:
    """Scene flow of the points of a sweep by the smoothed motion of their boxes.

    Points move rigidly with the box, which turns about its annotated centre. Boxes, classes and buckets of the points
    stay those of `flow_ground_truth`: a smoothed flow replaces only its `flow`.

    Args:
        sweep: P points.
        cuboids: M boxes of the same frame.
        cuboid: the points' boxes, as `SceneFlow.cuboid` gives them.
        motion: of those boxes.

    Returns:
        [P, 3] m, world axes, ego motion free; 0 for points in no box or in one whose motion is not known.

    Raises:
        ValueError: the number of boxes or of points differs between the arguments.
    """
    if len(motion.known) != len(cuboids.track) or len(cuboid) != len(sweep.points):
        raise ValueError(
            f"frame {cuboids.frame}: {len(sweep.points)} points with {len(cuboid)} box rows, {len(cuboids.track)} "
            f"boxes with {len(motion.known)} motions: pass those of one and the same frame"
        )
    flow = np.zeros_like(sweep.points)
    moved = np.flatnonzero((cuboid >= 0) & np.append(motion.known, False)[cuboid])
    flow[moved] = rigid_flow(sweep.points[moved], cuboid[moved], cuboids.position, motion.step, motion.turn)
    return flow


@njit(cache=True, nogil=True)
def _curve_motion(
    times: NDArray[np.float64],  # [F] s from the current frame's stamp
    pose: NDArray[np.float64],  # [F, M, 4] x, y, z in m and yaw in rad
    held: NDArray[np.bool_],  # [F, M] whether the frame holds the track; always true at `at`
    at: int,  # of the current frame; the next frame is at + 1
) -> NDArray[np.float64]:
    """Motion [M, 4] along the fitted curves from frame `at` to the next.

    Polynomials that are orthogonal on the track's own stamps (1, t - mean, (t - mean)(t - shift) - ...) make each
    coefficient a quotient of two sums: nothing to solve, and no loss of digits.
    """
    motion = np.zeros((pose.shape[1], 4))
    ahead = times[at + 1]
    t, p1, p2 = np.empty(len(times)), np.empty(len(times)), np.empty(len(times))
    away = np.empty((len(times), 4))
    for m in range(pose.shape[1]):
        count = _poses_from_current(times, pose, held, at, m, t, away)
        mean = 0.0
        for i in range(count):
            mean += t[i] / count
        square1, cube = 0.0, 0.0
        for i in range(count):
            p1[i] = t[i] - mean
            square1 += p1[i] * p1[i]
            cube += t[i] * p1[i] * p1[i]
        if count < 2:
            continue
        shift = cube / square1
        square2 = 0.0
        for i in range(count):
            p2[i] = (t[i] - shift) * p1[i] - square1 / count
            square2 += p2[i] * p2[i]
        for axis in range(4):
            first, second = 0.0, 0.0
            for i in range(count):
                first += p1[i] * away[i, axis]
                second += p2[i] * away[i, axis]
            motion[m, axis] = first / square1 * ahead
            if count > 2:
                motion[m, axis] += second / square2 * (ahead * (ahead - shift - mean))
    return motion


@njit(cache=True, nogil=True)
def _poses_from_current(
    times: NDArray[np.float64],  # [F]
    pose: NDArray[np.float64],  # [F, M, 4]
    held: NDArray[np.bool_],  # [F, M]
    at: int,
    m: int,
    t: NDArray[np.float64],  # [F] filled: stamps of the frames that hold the track
    away: NDArray[np.float64],  # [F, 4] filled: pose less that of the current frame, the yaw unwrapped
) -> int:
    """Boxes of one track; returns how many. Differences: a box at rest gives exactly 0."""
    count, current = 0, 0
    for f in range(len(times)):
        if held[f, m]:
            t[count] = times[f]
            for axis in range(3):
                away[count, axis] = pose[f, m, axis] - pose[at, m, axis]
            away[count, 3] = pose[f, m, 3]
            if f == at:
                current = count
            count += 1
    for i in range(1, count):
        turn = away[i, 3] - away[i - 1, 3]
        away[i, 3] = away[i - 1, 3] + (turn - 2 * np.pi * np.round(turn / (2 * np.pi)))
    now = away[current, 3]
    away[:count, 3] -= now
    return count
