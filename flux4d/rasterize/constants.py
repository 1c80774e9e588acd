"""Constants of rasterisation that decide every pixel: the values of gsplat 1.5.3."""

from __future__ import annotations

from dataclasses import dataclass

ALPHA_THRESHOLD = 1.0 / 255.0
"""A Gaussian is left out at a pixel where its alpha is below this."""
TRANSMITTANCE_STOP = 1e-4
"""A pixel is finished before the Gaussian that would leave this much light or less."""
MAX_EXTENT = 3.33
"""Standard deviations after which every Gaussian is cut; just above sqrt(2 ln 255)."""
FOV_MARGIN = 0.15
"""The projection's Jacobian is taken at most this share of the image size outside the image."""
MAX_ALPHA = 0.999
"""The largest alpha of gsplat up to 1.5.3; from 1.6.0 on it is 0.99."""
MAX_SIZE = 32768
"""Largest width and height in pixels."""


@dataclass(frozen=True, slots=True)
class RasterSettings:
    """What `rasterize` was asked for besides Gaussians and cameras; the words are gsplat's."""

    width: int
    height: int
    near_plane: float = 0.01
    far_plane: float = 1e10
    radius_clip: float = 0.0
    eps2d: float = 0.3
    max_alpha: float = MAX_ALPHA

    def __post_init__(self) -> None:
        """Refuse what no backend can render."""
        if not (1 <= self.width <= MAX_SIZE and 1 <= self.height <= MAX_SIZE):
            raise ValueError(f"image size {self.width}x{self.height} must be within 1..{MAX_SIZE} pixels a side")
        if not 0.0 < self.near_plane < self.far_plane:
            raise ValueError(f"need 0 < near_plane < far_plane, got {self.near_plane} and {self.far_plane}")
        if not ALPHA_THRESHOLD < self.max_alpha < 1.0:
            raise ValueError(f"max_alpha must lie between 1/255 and 1, got {self.max_alpha}; gsplat's is {MAX_ALPHA}")
        if self.eps2d < 0.0 or self.radius_clip < 0.0:
            raise ValueError(f"eps2d {self.eps2d} and radius_clip {self.radius_clip} must not be negative")
