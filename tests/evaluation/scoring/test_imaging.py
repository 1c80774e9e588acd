"""Scoring through a shutter and with fitted exposures; without either, everything as it was."""

import json
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
import torch

import flux4d.supervision.recorded
from evaluation.methods.method import SceneMethod
from evaluation.metrics.image import score_view
from evaluation.metrics.truth import truth_of
from evaluation.options import Run, ShutterOptions
from evaluation.report.tables import detail_tables, summary_table
from evaluation.run_folder.trained import Trained
from evaluation.scoring.config import ScoringConfig
from evaluation.scoring.dataset_options import shutter_notes
from evaluation.scoring.imaging import IDEAL, Imaging
from evaluation.scoring.loop import evaluate
from evaluation.scoring.results import Evaluation
from evaluation.session import imaging
from flux4d.cameras.cameras import Cameras
from flux4d.cameras.shutter import Shutter
from flux4d.lift.scene import SceneConfig
from flux4d.render import render
from flux4d.supervision.exposure_fit import ExposureConfig
from flux4d.supervision.recorded import render_recorded
from pipelines.build.plan import BuildConfig
from tests.support.scenes.rolling import street

ROLLING = Shutter(0.03, -0.012)
OF_THE_STAMP = "depth, and the mask of the moving regions, are those of the view's time."


@pytest.fixture(scope="module")
def rolling():
    return street(ROLLING)


@pytest.fixture(scope="module")
def dark():
    return street(Shutter(), brightness=0.7)


class Seen:
    """Keeps the renderings that are scored."""

    def __init__(self):
        self.renderings = []

    def wants_velocity(self, clip, view):
        return True

    def scene(self, clip, method, gaussians): ...

    def frame(self, clip, method, view, rendering, truth):
        self.renderings.append(rendering)


def score(clip, scene, model=IDEAL, observer=None):
    method = SceneMethod("true", "the scene that was photographed", lambda _: scene)
    return evaluate([clip], [method], ScoringConfig(backend="cpu", imaging=model), observer=observer)


@pytest.mark.parametrize("part", ["interpolation", "future"])
def test_colours_fit_the_shutter_they_were_taken_with_and_depth_does_not_know_of_it(rolling, part):
    shutters = {"right": ROLLING, "none": Shutter(), "other way": Shutter(-0.03, 0.012)}
    scores = {
        name: getattr(score(*rolling, Imaging(shutter)).summary("true"), part) for name, shutter in shutters.items()
    }
    psnr = {name: images.full.psnr for name, images in scores.items()}
    assert psnr["right"] > psnr["none"] + 3 > psnr["other way"] + 3
    assert scores["right"].full.ssim > scores["none"].full.ssim
    for name in ("none", "other way"):
        assert scores[name].full.depth_rmse == scores["right"].full.depth_rmse
        assert scores[name].moving.depth_rmse == scores["right"].moving.depth_rmse


def test_a_recorded_view_is_colour_through_the_shutter_and_depth_without(rolling):
    clip, scene = rolling
    view = clip.views[3]
    cameras = Cameras.from_views([view], path=clip.views, shutter=ROLLING)
    recorded = render_recorded(scene, cameras, with_velocity=True, backend="cpu")
    through, at_once = (
        render(scene, seen, with_velocity=True, backend="cpu") for seen in (cameras, Cameras.from_views([view]))
    )
    for name in ("rgb", "alpha", "velocity"):
        assert torch.equal(getattr(recorded, name), getattr(through, name))
    assert torch.equal(recorded.depth, at_once.depth)
    assert not torch.equal(recorded.depth, through.depth)
    assert not torch.equal(recorded.rgb, at_once.rgb)


@pytest.mark.parametrize(("shutter", "each"), [(None, 1), (Shutter(), 1), (ROLLING, 2)])
def test_only_a_shutter_costs_a_second_rendering(rolling, monkeypatch, shutter, each):
    calls = []
    monkeypatch.setattr(flux4d.supervision.recorded, "render", lambda *a, **k: calls.append(1) or render(*a, **k))
    model = IDEAL if shutter is None else Imaging(shutter)
    score(*rolling, model)
    assert len(calls) == each * len(rolling[0].views_of("interpolation", "future"))


def test_without_a_camera_model_renderings_are_scored_as_they_are(rolling):
    clip, scene = rolling
    evaluation = score(clip, scene)
    views = clip.views_of("interpolation", "future")
    for row, view in zip(evaluation.frames, views, strict=True):
        rendering = render(scene, Cameras.from_views([view]), backend="cpu")
        assert row.scores == score_view(rendering.rgb[0], rendering.depth[0, ..., 0], truth_of(view))
    assert evaluation.imaging == IDEAL
    assert evaluation.protocol.endswith("flow metrics pooled over points.")
    assert not any("exposed" in note or "corrected" in note for note in notes(evaluation))


@pytest.mark.parametrize("kind", ["gain", "channels", "affine"])
def test_exposures_brighten_colours_and_leave_depth(dark, kind):
    plain, corrected = (score(*dark, Imaging(exposure=e)) for e in (None, ExposureConfig(kind=kind)))
    before, after = (e.summary("true").future.full for e in (plain, corrected))
    assert after.psnr > before.psnr + 2
    assert after.depth_rmse == before.depth_rmse


def test_exposures_and_what_is_scored_do_not_come_from_target_images(dark):
    clip, scene = dark
    rng = np.random.default_rng(0)

    def noise(view):
        pixels = rng.integers(0, 256, (view.height, view.width, 3), np.uint8)
        return replace(view, image=simplejpeg.encode_jpeg(pixels, quality=95))

    model = Imaging(ROLLING, ExposureConfig())
    seen = []
    for roles in ((), ("interpolation", "future"), ("input",)):
        views = tuple(noise(view) if view.role in roles else view for view in clip.views)
        seen.append(Seen())
        score(replace(clip, views=views), scene, model, seen[-1])
    same, targets, inputs = ([one.rgb for one in each.renderings] for each in seen)
    assert len(same) == 10
    assert all(map(torch.equal, same, targets))
    assert not any(map(torch.equal, same, inputs))  # it is a fit


def test_exposures_are_fitted_through_the_shutter(rolling):
    """Inputs recorded through a shutter say "no change" only to a rendering through the same one."""
    clip, scene = rolling
    changes = []
    for shutter in (ROLLING, Shutter(-0.1, 0.1)):
        seen, plain = Seen(), Seen()
        score(clip, scene, Imaging(shutter, ExposureConfig(cell=1, ridge=1.0)), seen)
        score(clip, scene, Imaging(shutter), plain)
        changes.append((seen.renderings[0].rgb - plain.renderings[0].rgb).abs().mean())
    assert changes[0] < changes[1] / 3


def notes(evaluation):
    tables = [summary_table("Interpolation", evaluation, []), *detail_tables(evaluation)[:2]]
    return {note for table in tables for note in table.notes}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            Imaging(Shutter(0.03, -0.012)),
            "Colours are rendered with rows exposed over 30 ms, first row first, the middle 12 ms before the view's "
            f"time; {OF_THE_STAMP}",
        ),
        (
            Imaging(Shutter(-0.015)),
            "Colours are rendered with rows exposed over 15 ms, last row first, the middle at the view's time; "
            f"{OF_THE_STAMP}",
        ),
        (
            Imaging(Shutter(offset=0.004)),
            f"Colours are rendered with all rows exposed 4 ms after the view's time; {OF_THE_STAMP}",
        ),
        (
            Imaging(exposure=ExposureConfig(kind="channels", per_frame=True)),
            "Rendered colours are corrected by a factor and an offset a channel for each camera and input frame, "
            "fitted to the input views of the clip, never to a scored image.",
        ),
    ],
)
def test_the_protocol_and_every_image_table_say_what_renderings_went_through(rolling, tmp_path, model, words):
    evaluation = score(*rolling, model)
    assert evaluation.protocol.endswith(f" {words}")
    assert notes(evaluation) == {words}
    evaluation.save(tmp_path / "evaluation.json")
    assert Evaluation.load(tmp_path / "evaluation.json") == evaluation


def test_files_of_before_have_no_imaging_or_call_it_camera_model_and_unknown_words_are_refused(dark, tmp_path):
    path = tmp_path / "evaluation.json"
    score(*dark, Imaging(exposure=ExposureConfig())).save(path)
    content = json.loads(path.read_text())
    path.write_text(
        json.dumps({"camera_model": content["imaging"], **{k: v for k, v in content.items() if k != "imaging"}})
    )
    assert Evaluation.load(path).imaging == Imaging(exposure=ExposureConfig())
    content["imaging"]["exposure"]["kind"] = "spline"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"imaging\.exposure\.kind must be one of 'gain', .*, got 'spline'"):
        Evaluation.load(path)
    del content["imaging"]
    path.write_text(json.dumps(content))
    assert Evaluation.load(path).imaging == IDEAL


def test_a_clip_with_too_few_views_is_named(rolling):
    clip, scene = rolling
    single = replace(clip, views=clip.views_of("interpolation")[:1])
    assert score(single, scene).summary("true").interpolation.full.frames == 1
    with pytest.raises(ValueError, match=r"clip toy-.*front_camera has no view but that of frame 1: .*leave the shutt"):
        score(single, scene, Imaging(ROLLING))
    with pytest.raises(ValueError, match=r"clip toy-.*at least one input view"):
        score(single, scene, Imaging(exposure=ExposureConfig()))


@pytest.mark.parametrize(
    ("readout", "offset", "expected"),
    [
        (None, None, Shutter(0.03, -0.012)),
        (0.01, None, Shutter(0.01, -0.012)),
        (0.0, 0.0, Shutter()),
    ],
)
def test_the_command_takes_the_shutter_of_the_run_where_it_says_nothing(readout, offset, expected):
    trained = Trained(None, SceneConfig(), "weights", {}, "", ROLLING)
    command = Run(store="store", run="run", out="out", shutter=ShutterOptions(readout=readout, offset=offset))
    assert imaging(command, trained) == Imaging(expected)
    assert imaging(replace(command, exposure="gain"), trained).exposure == ExposureConfig(kind="gain")
    with pytest.raises(ValueError, match="exposure kind='spline': use one of"):
        imaging(replace(command, exposure="spline"), trained)


@pytest.mark.parametrize(
    ("shifts", "shutter", "words"),
    [
        ({}, ROLLING, []),
        ({"front_camera": 0.0}, ROLLING, []),
        ({"front_camera": -0.012}, Shutter(0.03), []),
        ({"front_camera": -0.012}, IDEAL.shutter, []),
        ({"left_camera": -0.012}, ROLLING, []),  # gives no view
        (
            {"front_camera": -0.012, "left_camera": 0.005},
            ROLLING,
            [
                "front_camera was taken -12 ms from its stamp when the dataset was built, and the shutter's offset of "
                "-12 ms comes on top: -24 ms in all; if both mean the same delay, leave one out"
            ],
        ),
        (
            {"front_camera": -0.012},
            Shutter(offset=0.012),
            [
                "front_camera was taken -12 ms from its stamp when the dataset was built, and the shutter's offset of "
                "+12 ms comes on top: +0 ms in all; if both mean the same delay, leave one out"
            ],
        ),
    ],
)
def test_a_shift_of_the_build_and_an_offset_add_up(tmp_path, shifts, shutter, words):
    features = BuildConfig(root=tmp_path, out=tmp_path, source="pandaset", camera_time_shift=shifts).content()[
        "features"
    ]
    assert shutter_notes(features, Imaging(shutter)) == words


def test_datasets_of_before_there_were_shifts_need_no_note():
    assert shutter_notes({}, Imaging(ROLLING)) == []
