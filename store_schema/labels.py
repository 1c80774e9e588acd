"""Scene-flow classes: three-way, and the object classes of the bucketed metric. Sources map their labels to these.

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
