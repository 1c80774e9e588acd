"""What is known of a metric, and the names its numbers have in files, tables, charts and on the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evaluation.metrics.region import Region

Better = Literal["higher", "lower"]
ARROWS: dict[str, str] = {"higher": "↑", "lower": "↓"}
"""What a heading says of which way is better."""
MOVING = "moving "
"""Before the symbol of a metric of moving regions."""
Kind = Literal["image", "flow"]
Place = Literal["summary", "tables", "early", "screen", "history", "charts"]
"""Where a metric is shown: the table that opens a report, the detailed tables, early evaluations (and so TensorBoard),
the line of one on the screen, the table of all of them in a run's report, and its charts."""
Spot = Literal["interpolation", "interpolation_moving", "future", "future_moving", "flow"]
"""What a metric is taken on: full images or moving regions of a role's views, or the scored points of scene flow."""
IMAGE_SPOTS: tuple[Spot, ...] = ("interpolation", "interpolation_moving", "future", "future_moving")
FULL_SPOTS: tuple[Spot, ...] = ("interpolation", "future")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A row of the table of metrics.

    Its value is read from the field `key` of `evaluation.scoring.results.RegionSummary` or
    `evaluation.metrics.flow.FlowScores`, unless `take` or `measure` says otherwise.
    """

    key: str
    """Name in JSON, ``evaluations.jsonl`` and TensorBoard."""
    kind: Kind
    """Of images (mean over frames) or of scene flow (pooled over points)."""
    symbol: str
    """Heading, as the paper or the official code writes it."""
    unit: str = ""
    """Empty for a pure number."""
    digits: int = 3
    """Decimals shown."""
    better: Better
    """Which way is better."""
    formula: str
    """How it is computed and averaged, in words. Metrics of one formula are explained together."""
    source: str
    """Official code or paper that the definition is from."""
    places: Mapping[Place, tuple[Spot, ...]]
    """Where it is shown, and there taken on what."""
    in_floor: bool = True
    """Can the annotation noise floor have it? Not where both readings of the annotation are 0 by definition."""
    take: Callable[[Any], float | None] | None = None
    """From the scores of a region or of scene flow."""
    measure: Callable[[Region], float | None] | None = None
    """Of one region of one view: an image metric that has no field of its own. None where there is nothing to take it
    from."""

    def value(self, scores: Any) -> float | None:
        """From the scores of a region (`RegionSummary`) or of scene flow (`FlowScores`); None is n/a."""
        if self.take is not None:
            return self.take(scores)
        if self.measure is not None:
            measured: float | None = scores.measured.get(self.key)
            return measured
        value: float | None = getattr(scores, self.key)
        return value

    @property
    def head(self) -> str:
        """Heading with an arrow that says which way is better."""
        return f"{self.symbol} {ARROWS[self.better]}"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A metric where it is taken: one number of an evaluation."""

    metric: Metric
    spot: Spot

    @property
    def role(self) -> str:
        """interpolation, future or flow."""
        return self.spot.partition("_")[0]

    @property
    def moving(self) -> bool:
        """Is it of moving regions?"""
        return self.spot.endswith("_moving")

    @property
    def name(self) -> str:
        """``role/key`` or ``flow/key``, moving regions with the suffix ``_moving``."""
        return f"{self.role}/{self.metric.key}{'_moving' if self.moving else ''}"

    @property
    def symbol(self) -> str:
        """The metric's, with a word before it when it is of moving regions: a heading among those of one role."""
        return f"{MOVING}{self.metric.symbol}" if self.moving else self.metric.symbol

    @property
    def label(self) -> str:
        """For a line of text: the symbol, with the role before it where that is future."""
        return f"future {self.symbol}" if self.role == "future" else self.symbol

    def of(self, result: Any) -> float | None:
        """Its value in a `ClipRow`, a `MethodSummary` or whatever has their `interpolation`, `future` and `flow`."""
        if self.spot == "flow":
            return None if result.flow is None else self.metric.value(result.flow)
        images = getattr(result, self.role)
        return self.metric.value(images.moving if self.moving else images.full)


def at(spots: tuple[Spot, ...], *places: Place) -> dict[Place, tuple[Spot, ...]]:
    """Places that show a metric taken on the same."""
    return dict.fromkeys(places, spots)
