"""What a report says of a dataset whose ground truth or camera times are not the protocol's."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from evaluation.methods.method import SceneMethod
from evaluation.report.tables import all_tables
from evaluation.scoring.config import ScoringConfig
from evaluation.scoring.dataset_options import unusual_options
from evaluation.scoring.loop import evaluate
from flux4d.lift.scene import SceneConfig
from flux4d.reconstruct import reconstruct
from pipelines.build.plan import BuildConfig
from store_schema.protocol import AV2_RULES, ClipProtocol, FlowRules
from tests.support.scenes.toy import make_clip


def content(tmp_path: Path, **changes: object) -> dict:
    return BuildConfig(root=tmp_path, out=tmp_path, source="pandaset", **changes).content()  # type: ignore[arg-type]


def test_a_build_by_the_defaults_needs_no_words(tmp_path: Path) -> None:
    assert unusual_options(content(tmp_path)) == ""
    assert (
        unusual_options({}) == unusual_options({"features": {"view_cameras": ["front_camera"], "neighbours": 3}}) == ""
    )


def test_every_option_that_changes_the_truth_is_named(tmp_path: Path) -> None:
    for name, value in asdict(AV2_RULES).items():
        words = unusual_options(content(tmp_path, flow=replace(FlowRules(), **{name: value})))
        assert words == f"flow.{name} {value}"
    words = unusual_options(content(tmp_path, flow=AV2_RULES, camera_time_shift={"left_camera": -0.012, "roof": 0.0}))
    assert words == "flow.expand_m 0.2; flow.overlap last; flow.lidars any; left_camera taken -12 ms from its stamp"


def test_another_clip_protocol_is_named(tmp_path: Path) -> None:
    seven = ClipProtocol(inputs=(0, 3, 6), interpolation=(1, 2, 4, 5), future=(), evaluation_stride=7)
    words = "protocol.inputs 0 3 6; protocol.interpolation 1 2 4 5; protocol.future none; protocol.evaluation_stride 7"
    config = content(tmp_path, protocol=seven)
    assert unusual_options(config) == words
    assert unusual_options(json.loads(json.dumps(config))) == words  # as a manifest holds it
    long = ClipProtocol(inputs=(0, 40), interpolation=tuple(range(1, 21)), future=())
    assert " 15 16 and 4 more; " in unusual_options(content(tmp_path, protocol=long))


def test_the_logs_that_test_are_no_option_of_the_scores(tmp_path: Path) -> None:
    assert unusual_options(content(tmp_path, protocol=ClipProtocol(test_logs=("mine",)))) == ""


@pytest.mark.parametrize("options", ["", "flow.expand_m 0.2"])
def test_the_words_stand_under_the_scores(options: str) -> None:
    lifted = SceneMethod("lifted", "", lambda clip: reconstruct(clip, None, SceneConfig(), static=True))
    scored = evaluate([make_clip(per_frame=60)], [lifted], ScoringConfig(dataset_options=options))
    tables = all_tables(scored)
    assert len(tables) > 2
    for table in tables:
        stated = "not built by the protocol's defaults: flow.expand_m 0.2." in " ".join(table.notes)
        assert stated == bool(options), table.title
