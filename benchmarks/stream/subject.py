"""The clips of the streaming benchmark: copies of a store's clips under other names, no two with the same bytes.

The real slice gives two clips. Copies differ by a shift of 1 mm and a comment in each image, so that no side gains from
sharing content between them; the file sizes are the real ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.stream.sample import Ready, write_ready
from flux4d.lift.packed import PackedScene
from flux4d.lift.scene import SceneConfig, pack_clip
from flux4d.supervision.target import rendered_size, scale_depth
from pipelines.build.plan import BuildConfig
from pipelines.build.run import build
from store_schema import tables
from store_schema.clip import View
from store_schema.codec import ClipHeader
from store_schema.files.atomic import write_atomic
from store_schema.protocol import ClipProtocol
from store_schema.version.dataset import CLIPS_INDEX, LATEST, LOGS_INDEX, SHARDS, Dataset, open_dataset, read_index
from store_schema.version.shards import write_shard
from store_schema.version.write import write_version

CLIPS_PER_SHARD = 4
COMMENT = b"\xff\xfe\x00\x06"
"""A JPEG comment segment of four bytes, which follow."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A clip of the benchmark: a stored clip, moved by `number` mm."""

    clip_id: str
    source: str
    number: int


def build_store(log: Path, out: Path) -> Dataset:
    """A store of one log, built in this process."""
    config = BuildConfig(
        root=log.parent, out=out, workers=0, logs=(log.name,), protocol=ClipProtocol(test_logs=(log.name,))
    )
    build(config, Console(quiet=True))
    return open_dataset(out)


def copies_of(source: Dataset, count: int) -> list[Copy]:
    """`count` copies of the source's clips with the most target views, in turn."""
    most = max(len(record.target_frames) for record in source.records)
    ids = [record.clip_id for record in source.records if len(record.target_frames) == most]
    return [Copy(f"copy{number:03d}", ids[number % len(ids)], number) for number in range(count)]


def write_copies(source: Dataset, out: Path, copies: Sequence[Copy]) -> Dataset:
    """The copies as a dataset version of their own, all for training."""
    staging = out / "staging"
    staging.mkdir(parents=True)
    shards = [
        write_shard(
            staging / SHARDS / f"{first:03d}.tar",
            ((copy.clip_id, copied_members(source, copy)) for copy in copies[first : first + CLIPS_PER_SHARD]),
        )
        for first in range(0, len(copies), CLIPS_PER_SHARD)
    ]
    rows = {row["clip_id"]: row for row in read_index(source.folder, CLIPS_INDEX, source.manifest)}
    clips = [
        {**rows[copy.source], **_identity(copy), "shard": shards[at // CLIPS_PER_SHARD].name}
        for at, copy in enumerate(copies)
    ]
    logs = [{**row, "split": "train"} for row in read_index(source.folder, LOGS_INDEX, source.manifest)]
    manifest = write_version(
        staging,
        config=source.manifest.config,
        shards=shards,
        clips=clips,
        logs=logs,
        left_out={},
        provenance={"copies_of": source.version},
    )
    (out / "versions").mkdir()
    staging.rename(out / "versions" / manifest.version)
    write_atomic(out / LATEST, manifest.version.encode())
    return open_dataset(out)


def copied_members(source: Dataset, copy: Copy) -> dict[str, bytes]:
    """Members of a copy."""
    members = {name: source.read_member(copy.source, name) for name in source.members[copy.source]}
    header = ClipHeader.from_json(members["clip.json"])
    members["clip.json"] = replace(header, record=replace(header.record, **_identity(copy))).to_json()
    points = dict(tables.from_ipc(tables.POINTS, members["points.arrow"]))
    points["x"] = points["x"] + np.int32(copy.number)
    members["points.arrow"] = tables.to_ipc(tables.POINTS, points)
    depth = dict(tables.from_ipc(tables.DEPTH_SAMPLES, members["depth.arrow"]))
    depth["depth"] = depth["depth"] + np.uint32(copy.number)
    members["depth.arrow"] = tables.to_ipc(tables.DEPTH_SAMPLES, depth)
    return {name: commented(data, copy.number) if name.endswith(".jpg") else data for name, data in members.items()}


def commented(jpeg: bytes, number: int) -> bytes:
    """The image with a comment segment after its first marker: other bytes, the same pixels."""
    return jpeg[:2] + COMMENT + number.to_bytes(4, "big") + jpeg[2:]


def write_ready_samples(dataset: Dataset, copies: Sequence[Copy], folder: Path, width: int | None) -> Ready:
    """The copies' lifted scenes and target views in the flat file, their depth at `width`."""
    scenes: dict[str, PackedScene] = {}

    def samples() -> Iterator[tuple[str, bytes, list[bytes], list[bytes]]]:
        for copy in copies:
            clip = dataset.read(copy.clip_id)
            if copy.source not in scenes:
                scenes[copy.source] = pack_clip(clip, SceneConfig()).without_source()
            scene = scenes[copy.source]
            shifted = replace(scene, positions=scene.positions + np.array([copy.number, 0, 0], scene.positions.dtype))
            views = clip.views_of("interpolation", "future")
            depths = [depth_bytes(view, width) for view in views]
            yield copy.clip_id, shifted.to_bytes(), [view.image for view in views], depths

    first = dataset.read(copies[0].clip_id).views[0]
    return write_ready(folder, rendered_size(first, width), samples())


def depth_bytes(view: View, width: int | None) -> bytes:
    """A view's depth at the trained size, as our cache holds it: pixels int32, then metres float32."""
    pixel, depth = scale_depth(view, *rendered_size(view, width))
    return pixel.astype("<i4").tobytes() + depth.astype("<f4").tobytes()


def _identity(copy: Copy) -> dict[str, str]:
    return {"clip_id": copy.clip_id, "split": "train", "setting": "train_future"}
