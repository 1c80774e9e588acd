"""How a dataset was built, as far as it changes what is scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEFAULT_FLOW = {"expand_m": 0.0, "overlap": "smallest", "lidars": "own"}


def unusual_options(features: Mapping[str, Any]) -> str:
    """What of a dataset's ground truth and camera times is not the protocol's, in words; empty when nothing is.

    Args:
        features: ``features`` of the manifest's config. A dataset of before there were options has the defaults.
    """
    flow = {**_DEFAULT_FLOW, **features.get("flow", {})}
    words = [f"flow.{name} {value}" for name, value in flow.items() if value != _DEFAULT_FLOW.get(name)]
    words += [f"{camera} taken {1000 * shift:+g} ms from its stamp" for camera, shift in _shifts(features)]
    return "; ".join(words)


def _shifts(features: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(str(camera), float(shift)) for camera, shift in features.get("camera_time_shift", ())]
