"""What a term of the training loss is: a function of one rendered view, with what a reader of its value has to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from flux4d.gaussians import Gaussians
from flux4d.render import Rendering
from flux4d.supervision.target import Target


@dataclass(frozen=True, slots=True, eq=False)
class LossInput:
    """One view as it was rendered and as it was recorded: all that a loss term may look at.

    Raises:
        ValueError: the images are not of one size.
    """

    rendering: Rendering  # of one camera
    target: Target
    gaussians: Gaussians  # what was rendered
    # Taken out once: taken out by every term, their gradients would be added up in another order.
    rgb: Tensor = field(init=False)  # [H, W, 3] rendered colour in [0, 1]
    depth: Tensor = field(init=False)  # [H, W] rendered z-depth, m

    def __post_init__(self) -> None:
        object.__setattr__(self, "rgb", self.rendering.rgb[0])
        object.__setattr__(self, "depth", self.rendering.depth[0, ..., 0])
        target = self.target.rgb
        if self.rgb.shape != target.shape or self.depth.shape != self.rgb.shape[:2]:
            raise ValueError(
                f"rendered rgb {tuple(self.rgb.shape)}, rgb of the target {tuple(target.shape)} and rendered depth "
                f"{tuple(self.depth.shape)} must be [H, W, 3], [H, W, 3] and [H, W] of one size: decode the target at "
                "the rendered size"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerm:
    """A term and how its value is shown.

    Its name is that of its weight in `flux4d.supervision.losses.total.LossConfig`: so it is called on the command line,
    in ``config.json`` and in ``metrics.jsonl``.
    """

    value: Callable[[LossInput], Tensor | None]
    """Unweighted value [] of a view; None where the view has nothing to take it from, and then it is not summed."""
    weight: float
    """Weight where none is given."""
    label: str
    """Short name on the screen."""
    title: str
    """Heading of its chart."""
    unit: str = ""
    """Empty for a pure number."""
    digits: int = 4
    """Decimals shown."""
    head: str = ""
    """Heading of its column in a log of 80 characters a line; empty: label and unit."""
    tag: str = ""
    """Name on TensorBoard; empty: label and unit."""

    @property
    def column_head(self) -> str:
        """Heading of a narrow column."""
        return self.head or " ".join(part for part in (self.label, self.unit) if part)

    @property
    def board_tag(self) -> str:
        """Name on TensorBoard, with the unit in letters."""
        words = "_".join(part for part in (self.label, self.unit) if part)
        return self.tag or words.replace("/", "_per_").replace(" ", "_")


def weight_of(term: LossTerm) -> float:
    """A field of `LossConfig` that holds a term's weight, by default the term's own."""
    weight: float = field(default=term.weight, metadata={"term": term})
    return weight
