"""Colours of the LiDAR points that become Gaussians."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flux4d.lift.camera_gains import relative_gains
from flux4d.lift.nearest import nearest
from flux4d.lift.packed_header import FULL_COLOUR
from store_schema.clip import Clip


def colours(
    clip: Clip,
    rows: NDArray[np.int64],  # [K]
    *,
    from_nearest: bool,
    level_cameras: bool,
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Colours of LiDAR points; 255 is 1, of levelled cameras 65535. [K, 3]

    Args:
        clip: The clip.
        rows: The points that are wanted.
        from_nearest: Points that no camera saw take the nearest coloured point's colour, of several at one distance
            the first one's; else they stay as they are stored.
        level_cameras: Bring all to the exposure of the clip's own camera (`SceneConfig.level_cameras`).

    Raises:
        ValueError: no point has a colour, or `level_cameras` and the clip has views of several cameras.
    """
    points = clip.points
    source = rows.copy()  # the point whose colour each row takes
    blank = points.camera[rows] < 0
    if from_nearest and blank.any():
        coloured = np.flatnonzero(points.camera >= 0)
        if not len(coloured):
            raise ValueError("no LiDAR point has a colour, use uncoloured='grey'")
        source[blank] = coloured[nearest(points.means[rows[blank]], points.means[coloured])]
    return _levelled(clip, source) if level_cameras else points.rgb[source]


def _levelled(clip: Clip, rows: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Colours of points as the clip's own camera would have recorded them; those that none gave stay. [K, 3]"""
    if len(clip.view_cameras) != 1:
        raise ValueError(
            f"views of {len(clip.view_cameras)} cameras: level_cameras brings colours to the exposure of one, leave it "
            "off"
        )
    own = clip.rig_cameras.index(clip.view_cameras[0])
    factors = np.ones((len(clip.rig_cameras) + 1, 3))  # camera -1 is the last row
    factors[:-1] = relative_gains(clip.points, len(clip.rig_cameras), own)
    levelled = np.clip(clip.points.rgb[rows] / 255.0 * factors[clip.points.camera[rows]], 0.0, 1.0)
    return np.rint(levelled * FULL_COLOUR).astype(np.uint16)
