"""The table of metrics: complete, each name once, and names of older files are understood."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluation.metrics import table
from evaluation.metrics.flow import FlowAccumulator, FlowScores
from evaluation.metrics.image import RegionScores, score_view
from evaluation.metrics.metric import FULL_SPOTS, IMAGE_SPOTS, Metric, Place
from evaluation.metrics.table import BY_KEY, METRICS, metrics_of, quantities, quantity
from evaluation.metrics.truth import Truth
from evaluation.run_folder.rows import present_name
from evaluation.run_report.log import read_rows
from evaluation.scoring.results import RegionSummary, summarise_regions
from store_schema.json_dataclass import from_json, to_json

WITHOUT_A_ROW = {"v_rmse_component"}
"""Explained in the row of another metric."""
NAMES = sorted({each.name for place in get_args(Place) for each in quantities(place)})


def numbers(kind: type) -> set[str]:
    return {name for name, hint in get_type_hints(kind).items() if hint == float | None}


def test_every_number_of_a_result_has_a_row_and_every_row_a_number() -> None:
    assert {metric.key for metric in metrics_of("image")} == numbers(RegionScores) == numbers(RegionSummary)
    assert {metric.key for metric in metrics_of("flow")} == numbers(FlowScores) - WITHOUT_A_ROW
    flow = FlowAccumulator().result()
    region = summarise_regions([])
    assert [metric.value(flow if metric.kind == "flow" else region) for metric in METRICS] == [None] * len(METRICS)


def test_names_and_symbols_are_there_once() -> None:
    assert len(BY_KEY) == len(METRICS) == len({metric.symbol for metric in METRICS})
    for metric in METRICS:
        assert metric.formula.endswith(".")
        assert metric.source
        spots = ("flow",) if metric.kind == "flow" else IMAGE_SPOTS
        assert metric.places
        for shown in metric.places.values():
            assert shown
            assert set(shown) <= set(spots)
    for name in NAMES:
        found = quantity(name)
        assert found is not None
        assert found.name == name
    assert quantity("interpolation/beauty") is None


def test_labels_say_what_is_not_the_whole_of_interpolation_views() -> None:
    labels = {each.name: each.label for each in quantities("charts")}
    assert labels == {
        "interpolation/psnr": "PSNR",
        "interpolation/psnr_moving": "moving PSNR",
        "future/psnr": "future PSNR",
        "future/psnr_moving": "future moving PSNR",
        "flow/epe_3way": "EPE-3way",
    }
    assert [each.name for each in quantities("screen")][:3] == [
        "interpolation/psnr",
        "interpolation/psnr_moving",
        "interpolation/ssim",
    ]


@given(st.sampled_from(NAMES) | st.sampled_from(["interpolation/views", "future/depth_pixels_moving", "flow/points"]))
def test_names_of_before_become_those_of_now_and_those_of_now_stay(name: str) -> None:
    assert present_name(name) == name
    assert present_name(name.replace("_moving", "_dynamic")) == name


def test_flow_names_are_left_alone() -> None:
    for name in ("flow/mean_dynamic_nepe", "flow/v_rmse_dyn", "flow/speed_dynamic", "loss_dynamic"):
        assert present_name(name) == name


def test_a_log_of_before_is_read_with_the_names_of_now(tmp_path: Path) -> None:
    row = {
        "step": 3,
        "metrics": {"interpolation/psnr_dynamic": 20.5, "flow/epe3d": 0.1},
        "counts": {"future/views_dynamic": 4},
        "clips": ["a_dynamic"],
    }
    (tmp_path / "evaluations.jsonl").write_text(json.dumps(row) + "\n")
    (read,) = read_rows(tmp_path / "evaluations.jsonl")
    assert read["metrics"] == {"interpolation/psnr_moving": 20.5, "flow/epe3d": 0.1}
    assert read["counts"] == {"future/views_moving": 4}
    assert read["clips"] == ["a_dynamic"]


@pytest.mark.parametrize("kind", [RegionScores, RegionSummary])
def test_depth_rmse_of_older_files_is_read(kind: type) -> None:
    whole = {"pixels", "frames", "depth_pixels", "depth_frames"}
    names = [field.name for field in fields(kind) if field.name != "measured"]
    now = kind(**{name: place if name in whole else float(place) for place, name in enumerate(names)})
    older: dict[str, Any] = to_json(now)
    older["d_rmse"] = older.pop("depth_rmse")
    del older["measured"]
    assert from_json(kind, older) == now
    assert from_json(kind, json.loads(json.dumps(asdict(now)))) == now


def test_a_metric_that_measures_itself_sees_the_region_and_is_averaged_over_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def brightest(region: Any) -> float | None:
        seen.append((region.rgb.dtype, region.depth.shape, int(region.mask.sum())))
        value = float(region.rgb[region.mask].max())
        return value if value < 0.95 else None

    row = Metric(
        key="brightest",
        kind="image",
        symbol="max",
        better="higher",
        formula="Brightest.",
        source="a test",
        places={"summary": FULL_SPOTS},
        measure=brightest,
    )
    monkeypatch.setattr("evaluation.metrics.image.METRICS", (*table.METRICS, row))
    height, width = 12, 16
    mask = np.zeros((height, width), bool)
    mask[2:4, 3] = True
    scores = []
    for level, moving in ((0.25, mask), (0.5, np.zeros_like(mask)), (0.99, mask), (0.75, None)):
        rgb, no_pixel = np.zeros((height, width, 3), np.float32), np.zeros(0, np.int64)
        truth = Truth(None, rgb, no_pixel, np.zeros(0, np.float32), moving)  # type: ignore[arg-type]
        scores.append(score_view(torch.full((height, width, 3), level), torch.ones(height, width), truth))
    assert [each.full.measured["brightest"] for each in scores] == [0.25, 0.5, None, 0.75]
    assert scores[0].moving is not None
    assert scores[0].moving.measured == {"brightest": 0.25}
    assert scores[1].moving is not None
    assert scores[1].moving.measured == {"brightest": None}  # an empty region is not measured
    assert seen[:2] == [(np.float64, (height, width), height * width), (np.float64, (height, width), 2)]
    summary = summarise_regions(each.full for each in scores)
    assert row.value(summary) == pytest.approx(0.5)
    assert row.value(summarise_regions([])) is None
    assert from_json(RegionSummary, to_json(summary)) == summary
