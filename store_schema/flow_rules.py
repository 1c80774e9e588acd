"""The rules of scene-flow ground truth: which annotated box a LiDAR point belongs to.

A fact of the data set: `pipelines` labels points by them, the version records them, `evaluation` reads them there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Overlap = Literal["smallest", "last"]
Lidars = Literal["own", "any"]


@dataclass(frozen=True, slots=True)
class FlowRules:
    """How points get their boxes.

    `P0_RULES`, the defaults, are this project's protocol. `AV2_RULES` are those of Argoverse 2's scene-flow challenge
    (av2-api, ``Flow.from_sweep_pair``), whose labels Bucket Normalized EPE takes over. One difference to them stays:
    there a point of several boxes is void as soon as one of their tracks ends; here the winning box's track decides.
    """

    expand_m: float = 0.0
    """Growth of every box in width and in length, m in total (half of it on each side); the height stays as
    annotated. Argoverse 2: 0.2."""

    overlap: Overlap = "smallest"
    """Whose a point in several boxes is: of the smallest as annotated (ties: the lowest row), or of the last in the
    list (Argoverse 2)."""

    lidars: Lidars = "own"
    """Boxes a point can lie in: those of its own LiDAR and of both, or all of them. PandaSet draws what two LiDARs
    see in motion twice, up to a metre apart, hence "own". Argoverse 2 has one list for both of its LiDARs: "any"."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "expand_m", float(self.expand_m))  # 0 and 0.0 must hash alike
        if not (math.isfinite(self.expand_m) and self.expand_m >= 0):
            raise ValueError(f"FlowRules.expand_m must be finite and not negative, in metres; got {self.expand_m!r}")
        for name, allowed in (("overlap", get_args(Overlap)), ("lidars", get_args(Lidars))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"FlowRules.{name} must be one of {allowed}, got {getattr(self, name)!r}")


P0_RULES = FlowRules()
AV2_RULES = FlowRules(expand_m=0.2, overlap="last", lidars="any")
