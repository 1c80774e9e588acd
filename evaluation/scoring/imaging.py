"""Imaging model of a scored rendering: rolling shutter and exposure of the cameras."""

from __future__ import annotations

from dataclasses import dataclass, field

from flux4d.cameras.shutter import Shutter
from flux4d.supervision.exposure_fit import ExposureConfig

_MAPS = {"gain": "one factor", "channels": "a factor and an offset a channel", "affine": "a 3x4 map"}


@dataclass(frozen=True, slots=True)
class Imaging:
    """When image rows are exposed, and how colours are brought to a camera's exposure."""

    shutter: Shutter = field(default_factory=Shutter)
    """Colours are rendered through it; depth is that at the view's time, as LiDAR depth is stored."""
    exposure: ExposureConfig | None = None
    """Colour maps, fitted for each method to the input views of each clip; None leaves colours as they are."""

    @property
    def in_words(self) -> str:
        """What is done to renderings, in whole sentences; empty when nothing is."""
        sentences = []
        if not self.shutter.instant:
            sentences.append(
                f"Colours are rendered with {_rows(self.shutter)}; depth, and the mask of the moving regions, are "
                "those of the view's time."
            )
        if self.exposure is not None:
            frame = " and input frame" if self.exposure.per_frame else ""
            sentences.append(
                f"Rendered colours are corrected by {_MAPS[self.exposure.kind]} for each camera{frame}, fitted to the "
                "input views of the clip, never to a scored image."
            )
        return " ".join(sentences)


IDEAL = Imaging()
"""All rows at the view's time, colours as they are: renderings are scored unchanged."""


def _rows(shutter: Shutter) -> str:
    side = "before" if shutter.offset < 0 else "after"
    middle = f"{1e3 * abs(shutter.offset):g} ms {side} the view's time" if shutter.offset else "at the view's time"
    if shutter.readout == 0:
        return f"all rows exposed {middle}"
    order = "first row first" if shutter.readout > 0 else "last row first"
    return f"rows exposed over {1e3 * abs(shutter.readout):g} ms, {order}, the middle {middle}"
