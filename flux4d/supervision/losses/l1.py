"""Colour error: mean absolute difference of rendered and recorded image (paper Eq. 3)."""

from __future__ import annotations

from torch import Tensor

from flux4d.supervision.losses.term import LossInput, LossTerm


def l1_error(view: LossInput) -> Tensor:
    """Mean absolute colour error. []"""
    return (view.rgb - view.target.rgb).abs().mean()


L1 = LossTerm(value=l1_error, weight=0.8, label="l1", title="L1")
