"""The WGS84 ellipsoid: degrees to metres.

Source: NIMA TR8350.2 (2000), defining constants and the closed forms of the radii and of Earth-centred coordinates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SEMI_MAJOR = 6378137.0
"""Equatorial radius, m."""
ECCENTRICITY2 = (2 - 1 / 298.257223563) / 298.257223563
"""First eccentricity squared."""


def radii(latitude: float) -> tuple[float, float]:
    """Radii of curvature at a latitude (degrees): meridian (a step north), prime vertical (a step east), m."""
    shrink = 1 - ECCENTRICITY2 * float(np.sin(np.radians(latitude))) ** 2
    return SEMI_MAJOR * (1 - ECCENTRICITY2) / shrink**1.5, SEMI_MAJOR / shrink**0.5


def earth_centred(
    positions: NDArray[np.float64],  # [..., 2] latitude, longitude, degrees
) -> NDArray[np.float64]:
    """[..., 3] Earth-centred, Earth-fixed coordinates on the ellipsoid (height 0), m.

    Neither the poles nor the antimeridian is special here. The straight distance of two such points is
    short of the way along the ground by d^3 / (24 R^2): 1e-6 m at 1 km, 1 mm at 10 km.
    """
    latitude, longitude = np.radians(positions[..., 0]), np.radians(positions[..., 1])
    normal = SEMI_MAJOR / np.sqrt(1 - ECCENTRICITY2 * np.sin(latitude) ** 2)
    flat = normal * np.cos(latitude)
    up = normal * (1 - ECCENTRICITY2) * np.sin(latitude)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), up], axis=-1)
