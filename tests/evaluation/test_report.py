import base64
import html
import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import fsspec
import numpy as np
import pytest
from PIL import Image

from evaluation.__main__ import main
from evaluation.methods.method import SceneMethod
from evaluation.metrics.point_set import PointSet
from evaluation.report.birds_eye import Window, birds_eye, window_around
from evaluation.report.colours import depth_colours, velocity_colours, velocity_wheel
from evaluation.report.columns import FLOW_COLUMNS
from evaluation.report.definitions import DEFINITIONS
from evaluation.report.page import write_report
from evaluation.report.pictures import TRUTH, PictureBook, PictureIndex
from evaluation.report.provenance import RunInfo
from evaluation.report.tables import detail_tables
from evaluation.run_folder.files import RunFiles
from evaluation.run_folder.seen_frames import SeenFrames
from evaluation.run_folder.trained import load_trained
from evaluation.run_report.log import read_curves
from evaluation.scoring.config import ScoringConfig
from evaluation.scoring.imaging import IDEAL, Imaging
from evaluation.scoring.loop import evaluate
from evaluation.scoring.results import Evaluation
from flux4d.cameras.shutter import Shutter
from flux4d.lift.scene import SceneConfig, lift_clip
from flux4d.lift.sky import SkyConfig
from flux4d.network.model import Flux4D, NetworkConfig
from flux4d.network.weights import save_weights
from flux4d.supervision.exposure_fit import ExposureConfig
from store_schema.pages.line_chart import Curve, Line, chart
from store_schema.version.dataset import open_dataset
from tests.support.html import MARKUP, same_elements, self_contained
from tests.support.scenes.toy import make_clip
from tests.support.stores.toy_store import write_store

SCENE = SceneConfig(sky=SkyConfig(spacing=0.05))
INFO = RunInfo(
    dataset_version="c0ffee" * 10,
    store="store",
    weights=MARKUP,
    weights_hash="beef",
    config='{"name": "<b>"}',
    record={"code_commit": "abc & def"},
    machine={"CPU": "two cores"},
    clips_seen=("toy-evaluation-s000",),
    curves=(Curve("loss", (0, 1, 2), (1.0, 0.5, 0.25)), Curve("psnr", (0, 1, 2), (10.0, 12.0, 13.0))),
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    clip = make_clip(per_frame=150)
    methods = [
        SceneMethod("one", MARKUP, lambda c: lift_clip(c, SCENE)),
        SceneMethod("two", "same", lambda c: lift_clip(c, SCENE)),
    ]
    book = PictureBook(folder / "pictures", max_width=64)
    config = ScoringConfig(backend="cpu", seen_frames=SeenFrames({"toy": ((0, 15),)}))
    evaluation = evaluate([clip], methods, config, observer=book)
    index = book.close()
    write_report(folder / "report.html", evaluation, index, folder / "pictures", INFO)
    return folder, evaluation, index


def test_report_is_one_well_formed_file_without_outside_references(written):
    page = self_contained(written[0] / "report.html")
    assert page.addresses
    assert MARKUP in page.text
    assert "abc & def" in page.text


def with_texts(evaluation, text):
    """The evaluation with a text in the place of every name that a store, a run or a method gives."""

    def named(name):
        return f"{text}{name}"

    return replace(
        evaluation,
        protocol=text,
        backend=text,
        lpips=text,
        dataset_options=text,
        notes=(text,),
        methods=tuple(replace(m, name=named(m.name), description=text) for m in evaluation.methods),
        clips=tuple(replace(r, clip_id=named(r.clip_id), method=named(r.method)) for r in evaluation.clips),
        clip_floors=tuple(replace(f, clip_id=named(f.clip_id)) for f in evaluation.clip_floors),
        summaries=tuple(replace(s, method=named(s.method)) for s in evaluation.summaries),
    )


def test_no_text_makes_an_element(written, tmp_path):
    folder, evaluation, index = written
    pages = []
    for text in (MARKUP, "harmless"):
        info = RunInfo(
            *(text,) * 5,
            record={text: text},
            machine={text: text},
            clips_seen=(text,),
            scene=text,
            curves=(Curve(text, (0, 1), (1.0, float("nan"))),),
        )
        pictures = tuple(
            replace(p, clip_id=f"{text}{p.clip_id}", method=p.method if p.method == TRUTH else f"{text}{p.method}")
            for p in index.pictures
        )
        path = tmp_path / "report.html"
        write_report(path, with_texts(evaluation, text), PictureIndex(pictures), folder / "pictures", info)
        pages.append(self_contained(path))
    same_elements(*pages)
    assert f"{MARKUP}one image frame 5" in pages[0].values("alt")
    assert f"{MARKUP} (1 value not finite)" in pages[0].values("aria-label")
    assert f"evaluated on: {MARKUP}" in pages[0].text


@pytest.mark.parametrize("method", ["../../outside", "/outside", "..", MARKUP])
def test_pictures_of_a_method_of_any_name_lie_in_their_folder(tmp_path, method):
    folder = tmp_path / "report" / "pictures"
    book = PictureBook(folder, max_width=64)
    methods = [SceneMethod(method, "", lambda c: lift_clip(c, SCENE))]
    config = ScoringConfig(width=48, backend="cpu")
    evaluation = evaluate([make_clip(per_frame=30)], methods, config, observer=book)
    index = book.close()
    assert len(index.pictures) == 14  # 4 of each frame, the truth's 2, and 2 from above
    assert {path.parent.parent for path in tmp_path.rglob("*.*") if path.is_file()} <= {folder, tmp_path / "report"}
    write_report(tmp_path / "report.html", evaluation, index, folder, INFO)
    assert len(self_contained(tmp_path / "report.html").addresses) == 14 + 3  # and three legends


@pytest.mark.parametrize("file", ["../secret.png", "/etc/passwd", "a/../../secret.png", "link.png"])
def test_a_picture_outside_the_folder_of_its_index_is_refused(written, tmp_path, file):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    index = PictureIndex((replace(written[2].pictures[0], file=file),))
    with pytest.raises(ValueError, match=rf"names the picture '{file}', which is not in this folder"):
        write_report(tmp_path / "report.html", written[1], index, folder, INFO)
    assert not (tmp_path / "report.html").exists()


def test_a_file_that_is_no_picture_is_refused(written, tmp_path):
    (tmp_path / "x.png").write_text("<svg onload=alert(1)>")
    index = PictureIndex((replace(written[2].pictures[0], file="x.png"),))
    with pytest.raises(ValueError, match=r"x.png: no whole PNG, JPEG or WebP picture.*draw it again"):
        write_report(tmp_path / "report.html", written[1], index, tmp_path, INFO)


def test_report_holds_every_picture_and_the_numbers(written):
    folder, evaluation, index = written
    text = (folder / "report.html").read_text()
    for picture in index.pictures:
        assert base64.b64encode((folder / "pictures" / picture.file).read_bytes()).decode() in text
    assert f"{evaluation.summary('one').interpolation.full.psnr:.2f}" in text
    assert "1 of 1 clips seen in training" in text
    assert "LPIPS is n/a" in text
    plain = html.unescape(text)
    assert "Scored points: the input frames' points of the spinning LiDAR inside the camera's view." in plain
    assert plain.count(">annotation noise floor</td>") == 3  # by metric, by class, by clip
    for title in [table.title for table in detail_tables(evaluation)]:
        assert f"<h2>{title}</h2>" in plain
    assert plain.count("truth: annotated motion of both LiDARs' points; arrows") == 1
    assert "true motion of the LiDAR points" not in plain
    assert "V_RMSE = √ mean ‖v − v_true‖²" in plain  # noqa: RUF001
    assert INFO.dataset_version in text
    assert text.count("<polyline") == 4  # two curves, raw and mean


def test_points_left_out_are_counted_once_whatever_the_number_of_methods(tmp_path):
    first = make_clip(per_frame=30, setting="train_interpolation")
    second = make_clip(per_frame=60, setting="train_interpolation")
    second = replace(second, record=replace(second.record, clip_id="second-train_interpolation-s000"))
    methods = [SceneMethod(name, "", lambda c: lift_clip(c, SCENE)) for name in "abc"]
    evaluation = evaluate([first, second], methods, ScoringConfig(width=48, backend="cpu"))
    write_report(tmp_path / "report.html", evaluation, PictureIndex(()), tmp_path, INFO)
    text = html.unescape((tmp_path / "report.html").read_text())
    assert "<li>90 flow points were left out: the clip ends before their frame's next sweep.</li>" in text


def test_every_column_of_scene_flow_is_defined():
    defined = {name for names, _, _ in DEFINITIONS for name in names.split(", ")}
    assert {column.name for column in FLOW_COLUMNS if "points" not in column.name} < defined
    meaning = {name: text for names, _, text in DEFINITIONS for name in names.split(", ")}
    for name in ("Acc5", "Acc10", "θ"):
        assert "Published values of Argoverse 2 are not comparable: its flow holds the ego's motion" in meaning[name]
    assert "v_rmse_component, V_RMSE / √3" in meaning["V_RMSE"]
    assert "Source: torchmetrics ≥ 1.6" in meaning["SSIM"]
    assert "alone" in meaning["Acc5 abs"]
    assert "papers on 3D Gaussian splatting with VGG16: their code feeds the network [0, 1]" in meaning["LPIPS"]
    assert "perfect follower of the other reading" in meaning["Annotation noise floor"]


def test_pictures_show_one_interpolation_and_one_future_frame_of_each_method(written):
    folder, _, index = written
    clip = "toy-evaluation-s000"
    assert index.frames(clip) == [(5, "interpolation"), (13, "future")]
    for frame in (5, 13):
        for kind in ("image", "error", "depth", "velocity"):
            picture = index.find(clip, "two", kind, frame)
            with Image.open(folder / "pictures" / picture.file) as image:
                assert image.size == (picture.width, picture.height) == (64, 36)
    assert index.find(clip, TRUTH, "image", 5) is not None
    assert index.find(clip, TRUTH, "birds_eye", 5) is not None
    assert PictureIndex.load(folder / "pictures") == index


def test_picture_book_stops_at_its_limit(tmp_path):
    book = PictureBook(tmp_path, max_clips=1)
    first, second = make_clip(per_frame=30), make_clip(per_frame=30)
    second = replace(second, record=replace(second.record, clip_id="second-evaluation-s000"))
    assert book.wants_velocity(first, first.views_of("interpolation")[2])
    assert not book.wants_velocity(first, first.views_of("interpolation")[0])
    assert not book.wants_velocity(second, second.views_of("interpolation")[2])


def test_report_of_an_evaluation_without_pictures_or_curves(written, tmp_path):
    bare = replace(INFO, curves=(), config="", clips_seen=())
    write_report(tmp_path / "report.html", replace(written[1], notes=()), PictureIndex(()), tmp_path, bare)
    text = (tmp_path / "report.html").read_text()
    assert "<h2>Pictures</h2>" not in text
    assert "n/a and left out" not in text


def test_velocity_colours_tell_direction_and_speed():
    still, right, left, slow = velocity_colours(np.array([[0, 0], [10, 0], [-10, 0], [2, 0]], float), 10.0).astype(int)
    assert still.tolist() == [255, 255, 255]
    assert right.argmax() == 0
    assert right[1] < 80
    assert left.argmin() == 0
    assert slow.min() > right.min()
    wheel = velocity_wheel(65)
    np.testing.assert_array_equal(wheel[0, 0], 255)  # outside the wheel
    np.testing.assert_array_equal(wheel[32, 64], velocity_colours(np.array([64 / 65, 0.0]), 1.0))


def test_depth_colours_are_logarithmic_and_black_where_nothing_is():
    colours = depth_colours(np.array([0.0, 2.0, 20.0, 200.0, 500.0]), 2.0, 200.0)
    assert colours[0].tolist() == [0, 0, 0]
    assert colours[2].tolist() == [33, 145, 140]  # the middle stop
    np.testing.assert_array_equal(colours[3], colours[4])


def test_birds_eye_puts_x_right_and_y_up_and_colours_what_moves():
    window = Window((-10.0, -10.0), (10.0, 10.0), 10.0)
    means = np.array([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    velocities = np.array([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0]])
    image = np.asarray(birds_eye(means, velocities, window, 10.0))
    assert image.shape == (200, 200, 3)
    np.testing.assert_array_equal(image[100, 150], image[50, 100])  # both still: grey
    assert image[100, 150].max() < 255
    moving = np.asarray(birds_eye(means, np.array([[0, 0, 0], [10.0, 0, 0]]), window, 10.0))
    assert moving[51, 101, 0] > moving[51, 101, 1]  # red: +x, two pixels wide
    assert (moving[48:53, 120:151] < 128).any()  # the arrow reaches half a second ahead


def test_birds_eye_outlines_the_boxes_of_its_frame():
    boxes = make_clip(per_frame=3).boxes
    window = Window((-10.0, 0.0), (10.0, 30.0), 10.0)
    nothing = np.zeros((0, 3))
    drawn = np.asarray(birds_eye(nothing, nothing, window, 10.0, boxes, 4))
    # Frame 4: centre (2, 14), 2 m wide and 4 m long; the nose line runs from the centre up.
    row = (30 - 13) * 10
    assert (drawn[row, [110, 130]] < 128).all()
    assert (drawn[row, 113:128] == 255).all()
    assert (drawn[((30 - 15) * 10), 120] < 128).all()
    later = np.asarray(birds_eye(nothing, nothing, window, 10.0, boxes, 8))
    assert not np.array_equal(drawn, later)


def test_window_ignores_far_points():
    xy = np.concatenate([np.random.default_rng(0).uniform(-5, 5, (500, 2)), [[5000.0, 0.0]]])
    window = window_around(xy, pixels=100)
    assert max(window.size) == 100
    assert window.high[0] < 9
    with pytest.raises(ValueError, match="nothing to draw"):
        window_around(np.array([[1000.0, 0.0]]))


def test_chart_spans_its_values_and_counts_what_is_not_finite():
    drawn = chart("loss", [Line(Curve("loss", (0, 1, 2, 3), (0.1, float("nan"), 0.4, 0.2)))])
    assert "1 value not finite" in drawn
    assert "nan" not in drawn
    assert ">3</text>" in drawn
    assert chart("psnr", [Line(Curve("psnr", (0,), (3.0,)))], "dB").count("<polyline") == 2


def test_curves_are_read_and_a_broken_line_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_curves(path) == ()
    path.write_text('{"step": 0, "loss": 1.5, "psnr": null}\n{"step": 1, "loss": 1.0, "psnr": 12}\n')
    assert read_curves(path) == (Curve("loss", (0, 1), (1.5, 1.0)), Curve("psnr", (1,), (12.0,)))
    path.write_text('{"step": 0, "loss": 1.5}\n{"st')  # being written
    assert read_curves(path) == (Curve("loss", (0,), (1.5,)),)
    path.write_text('{"step": 0, "loss": 1.5}\n{"st\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2: not JSON.*--resume"):
        read_curves(path)
    with pytest.raises(FileNotFoundError, match=r"not a run folder.*--weights"):
        RunFiles(tmp_path).record()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with one toy clip and the folder of a run that saw it."""
    folder = tmp_path_factory.mktemp("trained")
    clip = make_clip(per_frame=90)
    means, behind = clip.points.means.copy(), np.arange(len(clip.points)) % 3 == 1
    means[behind, 1] *= -1  # no view sees them
    clip = replace(clip, points=replace(clip.points, means=means, in_view=~behind))
    version = write_store(folder / "store", [clip])
    network = Flux4D(NetworkConfig(channels=(4, 8), blocks=1, head_width=8, conv_backend="torch"))
    run = folder / "run"
    run.mkdir()
    save_weights(run / "weights.safetensors", network)
    (run / "config.json").write_text(json.dumps({"steps": 2, "scene": asdict(SCENE)}))
    record = {"dataset_version": version, "clips_seen": [clip.record.clip_id], "packages": {"torch": "2"}}
    (run / "run.json").write_text(json.dumps(record))
    (run / "metrics.jsonl").write_text('{"step": 0, "loss": 1.5, "psnr": 9}\n{"step": 1, "loss": 1.0, "psnr": 12}\n')
    return folder


def test_command_scores_a_run_and_rebuilds_its_report(trained, capsys):
    out = trained / "out"
    arguments = ["run", "--store", trained / "store", "--run", trained / "run", "--out", out, "--width", "48"]
    main([*map(str, arguments), "--device", "cpu"])
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert lines[-1] == str(out / "report.html")
    assert any("flux4d" in line for line in lines)
    evaluation = Evaluation.load(out / "evaluation.json")
    assert [m.name for m in evaluation.methods] == ["lifted", "static", "flux4d"]
    assert evaluation.clips[0].seen
    assert "### Summary" in (out / "table.md").read_text()
    first = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    main(["report", str(out)])
    assert (out / "report.html").read_bytes() == first


def test_command_reads_a_store_by_its_url(trained, tmp_path):
    fsspec.filesystem("memory").put(f"{trained / 'store'}/", "/by-url/", recursive=True)
    arguments = ["run", "--store", "memory://by-url", "--run", trained / "run", "--out", tmp_path, "--width", "48"]
    main([*map(str, arguments), "--device", "cpu"])
    assert "memory://by-url" in (tmp_path / "run_info.json").read_text()
    assert Evaluation.load(tmp_path / "evaluation.json").clips[0].clip_id == "toy-evaluation-s000"


def test_command_takes_another_point_set_and_prints_it(trained, capsys):
    out = trained / "other_points"
    arguments = ["run", "--store", trained / "store", "--run", trained / "run", "--out", out, "--width", "48"]
    choice = ["--view", "everywhere", "--within-m", "20", "--truth", "smoothed", "--lidar", "all"]
    main([*map(str, arguments), *choice, "--device", "cpu"])
    evaluation = Evaluation.load(out / "evaluation.json")
    assert evaluation.points == PointSet(lidar="all", view="everywhere", within_m=20.0, truth="smoothed")
    assert evaluation.floors[0].flow.points == evaluation.clips[0].flow.points > 0
    clip = open_dataset(trained / "store").read("toy-evaluation-s000")
    in_view, everywhere = (
        replace(evaluation.points, view=view).scored_points(clip) for view in ("camera", "everywhere")
    )
    assert 0 < len(in_view) < len(everywhere) == evaluation.clips[0].flow.points
    assert [row.flow_nearest for row in evaluation.clips] == [0, 0, 0]  # the points behind the camera are lifted too
    assert all(method.description.endswith("; not cropped to the views") for method in evaluation.methods)
    words = "points of both LiDARs inside and outside the camera's view, |x| and |y| below 20 m from the ego"
    assert words in " ".join(capsys.readouterr().out.split())
    assert words in (out / "table.md").read_text().replace("\\|", "|")
    assert words in html.unescape((out / "report.html").read_text())


def with_shutter(trained, folder, shutter):
    """The run's folder again, trained with a shutter."""
    shutil.copytree(trained / "run", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "stream": {"width": None, "shutter": shutter}}))
    return folder


def test_command_scores_with_the_shutter_of_the_run_and_the_exposure_it_is_given(trained, tmp_path, capsys):
    run = with_shutter(trained, tmp_path / "run", asdict(Shutter(0.03, -0.012)))
    arguments = ["run", "--store", trained / "store", "--run", run, "--width", "48", "--device", "cpu", "--out"]
    main([*map(str, arguments), str(tmp_path / "run_s"), "--exposure", "affine"])
    out, err = (" ".join(text.split()) for text in capsys.readouterr())
    evaluation = Evaluation.load(tmp_path / "run_s" / "evaluation.json")
    assert evaluation.imaging == Imaging(Shutter(0.03, -0.012), ExposureConfig(kind="affine"))
    for words in (
        "rows exposed over 30 ms, first row first, the middle 12 ms before the view's time",
        "corrected by a 3x4 map for each camera, fitted to the input views of the clip, never to a scored image",
    ):
        assert words in out
        assert words in err
        assert words in evaluation.protocol
        assert words in (tmp_path / "run_s" / "table.md").read_text()
        assert words in html.unescape((tmp_path / "run_s" / "report.html").read_text())
    main([*map(str, arguments), str(tmp_path / "none"), "--shutter.readout", "0", "--shutter.offset", "0"])
    assert "trained with Shutter(readout=0.03, offset=-0.012)" in " ".join(capsys.readouterr().err.split())
    assert Evaluation.load(tmp_path / "none" / "evaluation.json").imaging == IDEAL


def test_a_run_of_before_there_were_shutters_is_scored_without_one(trained):
    assert "stream" not in json.loads((trained / "run" / "config.json").read_text())
    assert load_trained(trained / "run", None, "cpu").shutter == Shutter()


@pytest.mark.parametrize("shutter", [{"speed": 1.0}, {"readout": 30.0}])
def test_a_shutter_in_the_run_that_is_none_is_refused(trained, tmp_path, shutter):
    run = with_shutter(trained, tmp_path / "run", shutter)
    with pytest.raises(ValueError, match=r"config.json: scene or shutter settings do not fit.*(speed|readout=30)"):
        load_trained(run, None, "cpu")


def test_a_clip_named_twice_is_scored_once(trained):
    out, clip_id = trained / "once", "toy-evaluation-s000"
    arguments = ["run", "--store", trained / "store", "--run", trained / "run", "--out", out, "--width", "48"]
    main([*map(str, arguments), "--device", "cpu", "--clips", clip_id, clip_id])
    evaluation = Evaluation.load(out / "evaluation.json")
    assert [row.clip_id for row in evaluation.clips] == [clip_id] * 3
    assert evaluation.summary("flux4d").clips == 1


def test_bare_weights_claim_nothing_about_training(trained):
    weights = trained / "run" / "weights.safetensors"
    loaded = load_trained(None, weights, "cpu")
    assert (loaded.record, loaded.config) == ({}, "")
    assert loaded.scene == SceneConfig()
    assert loaded.network.config.channels == (4, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--clips", "nope"], r"no clip \['nope'\]"),
        (["--split", "train"], "no evaluation clip of split 'train'.*--split all"),
        (["--store", "/nowhere"], "holds no dataset version"),
        (["--run", "/nowhere"], "not a run folder"),
        (["--within-m", "-5"], "within_m must be a positive number of metres, got -5"),
        (["--within-m", "inf"], "within_m must be a positive number of metres, got inf"),
        (["--shutter.readout", "30"], "shutter readout=30.0: .*give seconds, not milliseconds"),
    ],
)
def test_command_errors_say_what_to_do(trained, changes, message, capsys):
    arguments = ["run", "--store", trained / "store", "--run", trained / "run", "--out", trained / "x"]
    # An option that makes no sense whatever the data is a wrong command line.
    assert main([*map(str, arguments), "--device", "cpu", *changes]) == (2 if "--within-m" in changes else 1)
    assert re.search(f"flux4d-eval: .*{message}", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--weights", "w.safetensors"], "name --run RUN_DIR or --weights FILE, not both"),
        (["--width", "0"], "width must be at least 1"),
        (["--exposure", "spline"], "invalid choice 'spline'"),
    ],
)
def test_settings_that_contradict_are_refused_while_parsing(changes, message, capsys):
    with pytest.raises(SystemExit):
        main(["run", "--store", "s", "--run", "r", "--out", "o", *changes])
    assert message in capsys.readouterr().err


def test_report_of_a_folder_without_evaluation(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    assert "evaluation.json is missing" in capsys.readouterr().err


def test_help_says_what_a_choice_costs_and_cannot_be_compared_with(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    text = " ".join(re.sub(r"[│╭╰─╮╯]", " ", capsys.readouterr().out).split())
    assert "The scene is then lifted from all points" in text
    assert "feeds it [0, 1] where this feeds [-1, 1] as LPIPS is defined: not comparable with theirs" in text
    assert "about 0.5 s with alex and 12 s (and 3 GB) with vgg" in text
    assert "What is left out is as the run was trained (its stream.shutter), and 0 with --weights" in text
    assert "fitted for each method to the input views of each clip, never to a scored image." in text


def test_help_does_not_import_torch():
    code = (
        "import sys, evaluation.__main__ as m\n"
        "try: m.main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
