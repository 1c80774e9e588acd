"""Scene flow with PandaSet's classes."""

from __future__ import annotations

from functools import partial

from pipelines.ground_truth.scene_flow import flow_ground_truth
from pipelines.sources.pandaset.labels import PANDASET_BUCKETS

pandaset_flow = partial(flow_ground_truth, buckets=PANDASET_BUCKETS)
