"""Say in words how a dataset's options differ from the protocol, as far as they change scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluation.scoring.imaging import Imaging

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


def shutter_notes(features: Mapping[str, Any], imaging: Imaging) -> list[str]:
    """Words for each camera that gives views and whose stamps both the build and the shutter's offset move.

    Args:
        features: As in `unusual_options`.
        imaging: What renderings are scored with.
    """
    offset = imaging.shutter.offset
    return [
        f"{camera} was taken {1000 * shift:+g} ms from its stamp when the dataset was built, and the shutter's offset "
        f"of {1000 * offset:+g} ms comes on top: {1000 * (shift + offset):+g} ms in all; if both mean the same delay, "
        "leave one out"
        for camera, shift in _shifts(features)
        if shift and offset and camera in features.get("view_cameras", ())
    ]


def _shifts(features: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(str(camera), float(shift)) for camera, shift in features.get("camera_time_shift", ())]
