"""Visibility of LiDAR returns in a camera: which are occluded, and of which the pixel surely shows the colour.

The LiDAR stands above the cameras and looks over things that hide the background from them: projected alone,
such background returns land on the thing in front. A return is hidden when nearer returns surround it in the
image; a return beside an outline, or on ground that falls away from the camera, has nearer returns on one side
only and stays visible: its depth is right. Its colour need not be, because pose, calibration and time are never
exact: close to the outline of something nearer the pixel can show the nearer thing. Only a visible return farther
from every such outline is clear.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.features.visibility_kernels import CELL_RAD, ENCLOSED, judge
from pipelines.geometry.projection import Projection, project
from pipelines.sources.base import CameraFrame, Sweep


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A sweep as one camera sees it: what colours and depth share. Q of the sweep's points fall into the image."""

    camera: CameraFrame
    width: int
    height: int
    projection: Projection  # Q rows
    visible: NDArray[np.bool_]  # [Q] not hidden by nearer returns: its depth counts
    clear: NDArray[np.bool_]  # [Q] visible and not at the outline of anything nearer: its colour counts


def see(sweep: Sweep, camera: CameraFrame, width: int, height: int) -> Sighting:
    """Project a sweep into a camera's image and find what is visible there.

    Args:
        sweep: points of all LiDARs, world.
        camera: the camera and its pose at its own time.
        width: image width in pixels.
        height: image height in pixels.

    Raises:
        CameraModelError: the camera is no pinhole.
    """
    K = camera.pinhole()
    projection = project(sweep.points, camera.cam2world, K, width, height)
    return Sighting(camera, width, height, projection, *visible_and_clear(projection, K, width, height))


def visible_and_clear(
    projection: Projection, K: NDArray[np.float64], width: int, height: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which projected points the camera sees, and which of them away from outlines, judged from the points alone.

    A point is hidden when the directions from it to the nearer returns in its neighbourhood leave no half plane
    free. Nearer means by more than 5 % of the depth plus 0.5 m; below the point, nearer than a road through the
    point would be there. The neighbourhood is 0.9 degrees wide and 3.4 high, whatever the size of the image.
    A background seen between the rings of a near surface that ends there can stay, and so can all of it where
    returns are sparser than the neighbourhood.

    A visible point is clear when no return that is nearer in the same sense lies within 5 milliradians (10 pixels of
    PandaSet's front camera, 5 of the others). The near side of an outline stays clear.

    Both rules look at the nearest return of each 3 milliradian cell only.

    Args:
        projection: all returns of the sweep in this camera, Q of them in the image.
        K: [3, 3] pixels.
        width: image width in pixels.
        height: image height in pixels.

    Returns:
        visible [Q] bool and clear [Q] bool.
    """
    # In units of the focal length the answer does not depend on the size of the image.
    focal = np.array([K[0, 0], K[1, 1]])
    columns, rows = (int(size // (length * CELL_RAD)) + 1 for size, length in zip((width, height), focal, strict=True))
    visible, clear = judge(projection.uv, focal, projection.depth, columns, rows, ENCLOSED)
    return visible, clear
