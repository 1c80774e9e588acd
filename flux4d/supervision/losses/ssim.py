"""Structure: one minus the structural similarity of rendered and recorded image (paper Eq. 3)."""

from __future__ import annotations

from torch import Tensor

from flux4d.supervision.losses.term import LossInput, LossTerm
from flux4d.supervision.ssim import ssim_map


def ssim_loss(view: LossInput) -> Tensor:
    """1 - mean SSIM. []"""
    return 1.0 - ssim_map(view.rgb, view.target.rgb).mean()


SSIM = LossTerm(value=ssim_loss, weight=0.2, label="1-ssim", title="1 - SSIM", tag="one_minus_ssim")
