"""Scene-flow classes and the PandaSet class map of the bucketed metric.

Sources: Argoverse 2 three-way EPE (background static, foreground static, foreground dynamic);
Bucket Normalized EPE (BucketedSceneFlowEval) for the class names.
"""

from __future__ import annotations

from enum import IntEnum


class FlowClass(IntEnum):
    """Three-way class of a point; IGNORED points enter no metric."""

    IGNORED = 0
    BACKGROUND_STATIC = 1
    FOREGROUND_STATIC = 2
    FOREGROUND_DYNAMIC = 3


class Bucket(IntEnum):
    """Object class of the bucketed metric; OTHER is foreground that the buckets leave out."""

    BACKGROUND = 0
    CAR = 1
    OTHER_VEHICLES = 2
    PEDESTRIAN = 3
    WHEELED_VRU = 4
    OTHER = 5


DYNAMIC_THRESHOLD_M = 0.05
"""Per-point motion over one 0.1 s pair from which foreground counts as dynamic (0.5 m/s)."""

PANDASET_BUCKETS: dict[str, Bucket] = {
    "Car": Bucket.CAR,
    "Pickup Truck": Bucket.CAR,
    "Medium-sized Truck": Bucket.OTHER_VEHICLES,
    "Semi-truck": Bucket.OTHER_VEHICLES,
    "Towed Object": Bucket.OTHER_VEHICLES,
    "Bus": Bucket.OTHER_VEHICLES,
    "Emergency Vehicle": Bucket.OTHER_VEHICLES,
    "Train": Bucket.OTHER_VEHICLES,
    "Trolley": Bucket.OTHER_VEHICLES,
    "Tram / Subway": Bucket.OTHER_VEHICLES,
    "Other Vehicle - Construction Vehicle": Bucket.OTHER_VEHICLES,
    "Other Vehicle - Uncommon": Bucket.OTHER_VEHICLES,
    "Other Vehicle - Pedicab": Bucket.OTHER_VEHICLES,
    "Pedestrian": Bucket.PEDESTRIAN,
    "Pedestrian with Object": Bucket.PEDESTRIAN,
    "Bicycle": Bucket.WHEELED_VRU,
    "Motorcycle": Bucket.WHEELED_VRU,
    "Motorized Scooter": Bucket.WHEELED_VRU,
    "Personal Mobility Device": Bucket.WHEELED_VRU,
}


def bucket_of(label: str) -> Bucket:
    """Bucket of a PandaSet cuboid label; every label without a row in the map is OTHER."""
    return PANDASET_BUCKETS.get(label, Bucket.OTHER)
