"""Depth error at the pixels that have a LiDAR return (paper Eq. 4)."""

from __future__ import annotations

from torch import Tensor

from flux4d.supervision.losses.term import LossInput, LossTerm


def depth_error(view: LossInput) -> Tensor | None:
    """Mean absolute z-depth error at the LiDAR pixels, m []; None without a return."""
    pixel = view.target.depth_pixel
    if len(pixel) == 0:
        return None
    return (view.depth.reshape(-1).index_select(0, pixel) - view.target.depth).abs().mean()


DEPTH = LossTerm(value=depth_error, weight=0.01, label="depth", title="Depth error", unit="m", digits=2)
