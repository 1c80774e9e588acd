"""Settings that older versions recorded at two places, and this one at one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TWICE = (
    (("scene", "motion_order"), ("network", "motion_order")),
    (("network", "min_scale"), ("scene", "min_scale")),
    (("network", "max_scale"), ("scene", "max_scale")),
)
"""Where else a setting was, and where it is."""


def said_once(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration without what it says twice.

    Where the two places contradict each other both stay, and the former one is a setting that this version does not
    know: who needs it must refuse it.
    """
    settings = {name: dict(part) if isinstance(part, dict) else part for name, part in config.items()}
    for (part, name), (kept_part, kept_name) in _TWICE:
        former, kept = settings.get(part), settings.get(kept_part)
        if not isinstance(former, dict) or not isinstance(kept, dict) or name not in former:
            continue
        if kept.setdefault(kept_name, former[name]) == former[name]:
            del former[name]
    return settings
