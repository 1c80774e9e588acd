"""The LiDAR benchmark's core on a generated log: each variant does what its name says."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmarks.lidar.__main__ import Case, run_floors, run_variant
from benchmarks.lidar.parts import VARIANTS, Variant, scene_of, standing
from evaluation.lidar.evaluate import SweepImage
from evaluation.lidar.path import SensorPath, frames_folder
from evaluation.lidar.results import means_of
from flux4d.gaussians import Gaussians
from flux4d.lidar import BEAM_EPS2D
from pipelines.build.plan import BuildConfig
from pipelines.build.run import build
from store_schema.protocol import ClipProtocol
from store_schema.version.dataset import open_dataset
from tests.evaluation.lidar.test_lidar_eval import TINY

WAYS = {variant.name: variant for variant in VARIANTS}


@pytest.fixture(scope="module")
def case(tiny_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    out = tmp_path_factory.mktemp("lidar_benchmark")
    build(
        BuildConfig(root=tiny_logs, out=out, workers=0, logs=("tiny0",), protocol=ClipProtocol(test_logs=("tiny0",))),
        Console(quiet=True),
    )
    dataset = open_dataset(out)
    record = dataset.select(setting="evaluation")[0]
    return Case.of(SensorPath.of(frames_folder(dataset), dataset.read(record.clip_id), (TINY,)), (3, 13))


def test_variants_differ_from_base_as_they_say(case: Case) -> None:
    base = scene_of(case.path, WAYS["base"])
    both = scene_of(case.path, WAYS["both LiDARs"])
    assert set(case.path.clip.points.sensor[base.source.numpy()]) == {0}
    assert set(case.path.clip.points.sensor[both.source.numpy()]) == {0, 1}
    assert not base.is_sky.any()
    uncut, small = (scene_of(case.path, WAYS[f"max_pixels {pixels}"]).scales for pixels in (None, 0.25))
    assert (base.scales <= uncut).all()
    assert (small <= uncut).all()
    assert not base.velocities.any()
    assert scene_of(case.path, WAYS["true velocities"]).velocities.any()
    turn = case.path.turn(3)
    still = standing(turn)
    np.testing.assert_array_equal(still.lidar2world[0], still.lidar2world[1])
    np.testing.assert_allclose(still.poses(np.array(0.9)), turn.poses(np.array(0.5)), atol=1e-9)
    assert np.abs(turn.lidar2world[1] - turn.lidar2world[0]).max() > 0.01


def unlike(a: Gaussians, b: Gaussians) -> bool:
    return len(a) != len(b) or any(not torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


@pytest.mark.parametrize("variant", VARIANTS[1:], ids=lambda variant: variant.name)
def test_every_variant_changes_the_scene_or_the_image(case: Case, variant: Variant) -> None:
    scenes = [scene_of(case.path, way) for way in (WAYS["base"], variant)]
    if (variant.eps2d, variant.finer, variant.sweep_motion) == (BEAM_EPS2D, 1, True):
        assert unlike(*scenes)
    else:
        images: list[SweepImage] = []
        one = replace(case, sweeps={3: case.sweeps[3]})
        for way in (WAYS["base"], variant):
            run_variant(one, way, lambda *kept: images.append(kept[3]))
        assert not np.array_equal(images[0].expected, images[1].expected)


def test_rows_hold_every_frame_kind_and_floor(case: Case) -> None:
    seen = []
    rows = run_variant(case, WAYS["base"], lambda variant, _, frame, __: seen.append((variant.name, frame)))
    assert seen == [("base", 3), ("base", 13)]
    assert [(row.frame, row.role, row.kind) for row in rows] == [
        (3, "interpolation", "expected"),
        (3, "interpolation", "median"),
        (13, "future", "expected"),
        (13, "future", "median"),
    ]
    floors = run_floors(case)
    assert {row.method for row in floors} == {"nearest of all sweeps", "nearest two sweeps", "last input sweep"}
    means = means_of([row for row in rows if row.kind == "median"])
    assert means.sweeps == 2
    assert means.median_error is not None
    assert 0 < means.median_error < 1
    finer = run_variant(case, WAYS["3600 columns"])
    assert [row.scores.known_rays for row in finer] == [row.scores.known_rays for row in rows]
