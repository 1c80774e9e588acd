"""PandaSet as a source."""

from __future__ import annotations

from pipelines.sources.pandaset.labels import PANDASET_BUCKETS
from pipelines.sources.pandaset.layout import is_log
from pipelines.sources.pandaset.reader import PandaSetLog
from pipelines.sources.source import Source

SOURCE = Source(
    name="pandaset",
    description="PandaSet layout: a folder a log, with the folders 'lidar' and 'camera'",
    is_log=is_log,
    open=PandaSetLog,
    buckets=PANDASET_BUCKETS,
)
