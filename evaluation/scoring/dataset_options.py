"""Say in words how a dataset's options differ from the protocol, as far as they change scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.scoring.imaging import Imaging
from store_schema.json_dataclass import to_json
from store_schema.protocol import ClipProtocol, FlowRules

_FEW = 16
"""Items of a list that are named."""
_OF_THE_LOGS = "test_logs"
"""Which logs test says nothing of how a clip is scored, and other data sets have other logs."""


def unusual_options(config: Mapping[str, Any]) -> str:
    """What of a dataset's clips, ground truth and camera times is not the protocol's, in words; empty when nothing is.

    Args:
        config: The manifest's config. What a dataset of before there were options does not say has the defaults.
    """
    features = config.get("features", {})
    words = [*_unusual("protocol", config, ClipProtocol()), *_unusual("flow", features, FlowRules())]
    words += [f"{camera} taken {1000 * shift:+g} ms from its stamp" for camera, shift in _shifts(features)]
    return "; ".join(words)


def _unusual(name: str, config: Mapping[str, Any], defaults: ClipProtocol | FlowRules) -> Iterator[str]:
    usual, recorded = to_json(defaults), config.get(name, {})
    for option in dict.fromkeys([*usual, *recorded]):  # a manifest has them by their names
        if option == _OF_THE_LOGS:
            continue
        value = recorded.get(option, usual.get(option))
        value = list(value) if isinstance(value, tuple) else value
        if value != usual.get(option):
            yield f"{name}.{option} {_shown(value)}"


def _shown(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    if len(value) > _FEW:
        return f"{' '.join(map(str, value[:_FEW]))} and {len(value) - _FEW} more"
    return " ".join(map(str, value)) or "none"


def shutter_notes(features: Mapping[str, Any], imaging: Imaging) -> list[str]:
    """Words for each camera that gives views and whose stamps both the build and the shutter's offset move.

    Args:
        features: ``features`` of the manifest's config.
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
