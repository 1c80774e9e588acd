"""Between sweeps: a mover must meet clusters that move alike, and what meets is the same object over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

_kernel = njit(cache=True, nogil=True)

UNKNOWN, RESTS, MOVES = 0, 1, 2
"""States of a cluster."""


@dataclass(frozen=True, slots=True, eq=False)
class ClusterMotion:
    """What the clusters of one sweep do; C rows."""

    state: NDArray[np.int8]  # [C] UNKNOWN, RESTS or MOVES
    velocity: NDArray[np.float64]  # [C, 2] m/s of the centre; kept where the state is not MOVES
    turn: NDArray[np.float64]  # [C] rad/s about the centre
    centre: NDArray[np.float64]  # [C, 2] m
    cost: NDArray[np.float64]  # [C, 2] m, mean distance at rest and at the velocity
    agreement: NDArray[np.float64]  # [C] share of carried returns that met a cluster that moves alike


@_kernel
def point_velocity(
    points: NDArray[np.float64],  # [Q, >= 2] m
    label: NDArray[np.int32],  # [Q] row of the cluster
    velocity: NDArray[np.float64],  # [C, 2]
    turn: NDArray[np.float64],  # [C]
    centre: NDArray[np.float64],  # [C, 2]
) -> NDArray[np.float64]:
    """Velocity of each point of turning clusters, [Q, 2] m/s."""
    out = np.empty((len(points), 2))
    for i in range(len(points)):
        a = label[i]
        out[i, 0] = velocity[a, 0] - turn[a] * (points[i, 1] - centre[a, 1])
        out[i, 1] = velocity[a, 1] + turn[a] * (points[i, 0] - centre[a, 0])
    return out


@_kernel
def count_agreement(
    label: NDArray[np.int32],  # [Q] clusters of the carried points
    met: NDArray[np.int32],  # [Q] clusters that they met in the other sweep, -1 none
    velocity: NDArray[np.float64],
    velocity_there: NDArray[np.float64],
    state_there: NDArray[np.int8],
    speed: float,
    ratio: float,
    asked: NDArray[np.int64],  # [C] raised
    agreed: NDArray[np.int64],  # [C] raised
) -> None:
    """Count the carried returns of each cluster, and those that met a mover of the same velocity."""
    for i in range(len(label)):
        a, b = label[i], met[i]
        asked[a] += 1
        if b < 0 or state_there[b] != 2:
            continue
        x, y = velocity_there[b, 0] - velocity[a, 0], velocity_there[b, 1] - velocity[a, 1]
        own = np.sqrt(velocity[a, 0] * velocity[a, 0] + velocity[a, 1] * velocity[a, 1])
        if np.sqrt(x * x + y * y) < max(speed, ratio * own):
            agreed[a] += 1


@_kernel
def most_met(
    label: NDArray[np.int32],  # [Q]
    met: NDArray[np.int32],  # [Q]
    clusters: int,
) -> NDArray[np.int32]:
    """The cluster that each cluster's returns meet most [C], -1 where fewer than a third meet one; ties: the least."""
    keys = np.sort(label.astype(np.int64) * 2147483648 + (met.astype(np.int64) + 1))
    size = np.zeros(clusters, np.int64)
    for i in range(len(label)):
        size[label[i]] += 1
    best, out = np.zeros(clusters, np.int64), np.full(clusters, np.int32(-1))
    i = 0
    while i < len(keys):
        j = i
        while j < len(keys) and keys[j] == keys[i]:
            j += 1
        a, b = keys[i] // 2147483648, keys[i] % 2147483648 - 1
        if b >= 0 and j - i > best[a] and 3 * (j - i) >= size[a]:
            best[a], out[a] = j - i, b
        i = j
    return out


def mutual(forth: NDArray[np.int32], back: NDArray[np.int32]) -> NDArray[np.int32]:
    """Clusters of the sweep before [C] that choose each other with a cluster of this sweep, -1 none.

    Args:
        forth: what the clusters of the sweep before meet here.
        back: what the clusters of this sweep meet there. [C]
    """
    known = np.flatnonzero(back >= 0)
    out = np.full(len(back), -1, np.int32)
    same = known[forth[back[known]] == known]
    out[same] = back[same]
    return out
