"""Training loss of a view (paper Eq. 3-5): which terms there are, their weights, and the weighted sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from flux4d.gaussians import Gaussians
from flux4d.render import Rendering
from flux4d.supervision.losses.depth import DEPTH
from flux4d.supervision.losses.l1 import L1
from flux4d.supervision.losses.speed import SPEED
from flux4d.supervision.losses.ssim import SSIM
from flux4d.supervision.losses.term import LossInput, LossTerm, weight_of
from flux4d.supervision.target import Target
from store_schema.json_dataclass import from_json


@dataclass(kw_only=True, slots=True, frozen=True)
class LossConfig:
    """Weights of the terms, which are summed in this order; the defaults are the paper's (section 4.1).

    A field here is all that a term needs to be computed, logged and shown.
    """

    l1: float = weight_of(L1)
    """Weight of the mean absolute colour error."""
    ssim: float = weight_of(SSIM)
    """Weight of 1 - SSIM."""
    depth: float = weight_of(DEPTH)
    """Weight of the mean absolute depth error in metres, at pixels with a LiDAR return."""
    velocity: float = weight_of(SPEED)
    """Weight of the mean speed in m/s of the Gaussians that may move."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value < float("inf"):
                raise ValueError(
                    f"loss weight {field.name}={value}: use a finite number >= 0 (0 switches the term off)"
                )

    @classmethod
    def as_recorded(cls, weights: Mapping[str, float]) -> LossConfig:
        """Weights that a run was trained with, from its files: a term they do not name was not there yet, so 0.

        Raises:
            JsonError: they name a term that is not known, or a weight is no number.
        """
        return from_json(cls, {**dict.fromkeys(TERMS, 0.0), **weights})


TERMS: Mapping[str, LossTerm] = {field.name: field.metadata["term"] for field in fields(LossConfig)}
"""Every term by its name, in the order of the sum."""


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """The weighted sum and the unweighted terms; a term without data is None and not part of the sum."""

    total: Tensor  # [] weighted sum
    terms: Mapping[str, Tensor | None]  # [] each, in the units of `TERMS`

    def detach(self) -> dict[str, float]:
        """The sum as "total" and the terms that exist, as plain numbers for a log."""
        values = {"total": self.total, **self.terms}
        return {name: float(value.detach()) for name, value in values.items() if value is not None}


def view_loss(rendering: Rendering, target: Target, gaussians: Gaussians, config: LossConfig) -> Losses:
    """0.8 L1 + 0.2 (1 - SSIM) + 0.01 depth + 5e-3 speed (paper Eq. 3-5) of one rendered view.

    Args:
        rendering: Of one camera (`flux4d.supervision.recorded.render_recorded`).
        target: The view it is compared with; its LiDAR pixels lie inside the image.
        gaussians: What was rendered; gives the velocities.
        config: Weights.

    Raises:
        ValueError: the images are not of one size.
    """
    view = LossInput(rendering, target, gaussians)
    terms = {name: term.value(view) for name, term in TERMS.items()}
    weighted = [getattr(config, name) * term for name, term in terms.items() if term is not None]
    return Losses(total=torch.stack(weighted).sum(), terms=terms)
