"""LPIPS without the real backbones: random weights in torchvision's format, heads random or as torchmetrics ships them.

What cannot be checked here: torchvision's own weights and layers (it is not installed); its layers are written out
below.
"""

import hashlib
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics.functional.image.lpips as torchmetrics_lpips
from rich.console import Console
from torch import nn

from evaluation.__main__ import main
from evaluation.methods.method import SceneMethod
from evaluation.metrics.image import score_view
from evaluation.metrics.lpips import BACKBONES, NOT_LOADED, Unavailable, distance, distance_map
from evaluation.metrics.lpips_weights import load_lpips
from evaluation.metrics.truth import truth_of
from evaluation.report.table_text import markdown, rich_tables
from evaluation.report.tables import COST_COLUMNS, SUMMARY_COLUMNS, all_tables, clip_table, summary_table
from evaluation.scoring.config import ScoringConfig
from evaluation.scoring.loop import evaluate
from evaluation.scoring.results import Evaluation
from flux4d.lift.scene import SceneConfig, lift_clip
from flux4d.lift.sky import SkyConfig
from tests.evaluation.test_report import trained  # noqa: F401 - a fixture
from tests.support.scenes.toy import make_clip

STILL = SceneMethod("still", "lifted", lambda clip: lift_clip(clip, SceneConfig(sky=SkyConfig(spacing=0.05))))
VGG_WIDTHS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


def torchvision_features(net):
    """`features` of torchvision's AlexNet or VGG16, as its documentation lists them."""
    if net == "alex":
        return nn.Sequential(
            *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        )
    layers, inputs = [], 3
    for width in VGG_WIDTHS:
        layers += [nn.MaxPool2d(2, 2)] if width == "M" else [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(True)]
        inputs = inputs if width == "M" else width
    return nn.Sequential(*layers)


def write_weights(folder, net, monkeypatch, spoil=lambda features: None, heads=True):
    """Random weights under torchvision's kind of name; the table then expects that name's hash."""
    torch.manual_seed(7)
    folder.mkdir(parents=True, exist_ok=True)
    state = {f"features.{name}": tensor for name, tensor in torchvision_features(net).state_dict().items()}
    spoil(state)
    torch.save({**state, "classifier.1.weight": torch.zeros(2, 2)}, folder / "new")
    digest = hashlib.sha256((folder / "new").read_bytes()).hexdigest()
    name = f"{net}net-{digest[:8]}.pth"
    (folder / "new").rename(folder / name)
    monkeypatch.setitem(BACKBONES, net, replace(BACKBONES[net], file=name))
    if heads:
        widths = [stage.channels for stage in BACKBONES[net].stages]
        heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(widths)}
        torch.save(heads, folder / f"{net}.pth")
    return folder / name


def pair(height, width):
    rng = np.random.default_rng(3)
    image = rng.uniform(0, 1, (height, width, 3))
    return torch.from_numpy(image), torch.from_numpy((image + rng.normal(0, 0.2, image.shape)).clip(0, 1))


def in_float64(lpips):
    features = {name: tensor.double() for name, tensor in lpips.features.items()}
    return replace(lpips, features=features, heads=tuple(head.double() for head in lpips.heads))


@pytest.fixture
def alex(tmp_path, monkeypatch):
    write_weights(tmp_path / "weights", "alex", monkeypatch)
    return load_lpips("alex", tmp_path / "weights")


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_agrees_with_torchmetrics_on_the_same_weights(net, tmp_path, monkeypatch):
    path = write_weights(tmp_path, net, monkeypatch)
    features = torchvision_features(net)
    state = torch.load(path, weights_only=True)
    features.load_state_dict({k.removeprefix("features."): v for k, v in state.items() if k.startswith("features")})
    monkeypatch.setattr(torchmetrics_lpips, "_get_tv_model_features", lambda name, pretrained: features)
    image, target = pair(45, 70)
    # To 1e-6 only: torchmetrics holds the input's mean and deviation rounded to float32.
    batches = [x.permute(2, 0, 1)[None] for x in (image, target)]
    layers = in_float64(load_lpips(net, tmp_path)).layers(image, target)
    for spatial in (False, True):
        peer = torchmetrics_lpips._LPIPS(net=net, spatial=spatial, model_path=str(tmp_path / f"{net}.pth")).double()
        expected = peer(*batches, normalize=True)
        assert float(expected.mean()) > 0.01
        if spatial:
            np.testing.assert_allclose(distance_map(layers, 45, 70), expected[0, 0], rtol=1e-6)
        else:
            assert distance(layers) == pytest.approx(float(expected), rel=1e-6)


def test_equal_images_are_at_distance_zero_and_float32_is_close(alex):
    image, target = pair(40, 64)
    assert distance(alex.layers(image, image)) == 0.0
    exact = distance(in_float64(alex).layers(image, target))
    assert distance(alex.layers(image.float(), target.float())) == pytest.approx(exact, rel=1e-5)


def test_map_is_interpolated_between_cell_centres():
    ramp, level = torch.tensor([[0.0, 1.0]]), torch.full((3, 5), 2.0)
    expected = torch.tensor([2.0, 2.25, 2.75, 3.0], dtype=torch.float64).expand(2, 4)
    torch.testing.assert_close(distance_map([ramp, level], 2, 4), expected)
    assert distance([ramp, level]) == 2.5


def test_moving_region_is_the_mean_of_the_map_over_the_mask(alex):
    view = make_clip(per_frame=3).views[0]
    mask = np.zeros((view.height, view.width), bool)
    mask[:12, :12] = True
    truth = truth_of(replace(view, moving_mask=mask))
    rendering = torch.from_numpy(truth.rgb).clone()
    rendering[:12, :12] = 1.0 - rendering[:12, :12]
    depth = torch.zeros(rendering.shape[:2])
    scores = score_view(rendering, depth, truth, alex)
    layers = alex.layers(rendering, torch.from_numpy(truth.rgb))
    assert scores.full.lpips == pytest.approx(distance(layers), rel=1e-5)
    assert scores.moving.lpips == pytest.approx(float(distance_map(layers, *mask.shape)[:12, :12].mean()), rel=1e-5)
    assert scores.moving.lpips > 2 * scores.full.lpips
    nothing = score_view(rendering, depth, replace(truth, moving=np.zeros_like(mask)), alex)
    assert (nothing.moving.lpips, nothing.full.lpips) == (None, scores.full.lpips)
    assert score_view(rendering, depth, truth).full.lpips is None


@pytest.mark.parametrize(("net", "side"), [("alex", 31), ("vgg", 16)])
def test_smallest_image(net, side, tmp_path, monkeypatch):
    write_weights(tmp_path, net, monkeypatch)
    lpips = load_lpips(net, tmp_path)
    assert distance(lpips.layers(*pair(side, side))) > 0
    assert not lpips.fits(side, side - 1)
    with pytest.raises(ValueError, match=f"at least {side} pixels, got .{side - 1}, {side}, 3"):
        lpips.layers(*pair(side - 1, side))
    with pytest.raises(ValueError, match="two images of one size"):
        lpips.layers(pair(40, 40)[0], pair(40, 41)[0])


def test_without_files_the_reason_names_them_and_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    absent = load_lpips()
    assert isinstance(absent, Unavailable)
    for part in ("LPIPS is n/a", "no alexnet-owt-7be5be79.pth", str(tmp_path / "hub/checkpoints"), "--lpips-weights"):
        assert part in absent.reason
    assert "no vgg16-397923af.pth" in load_lpips("vgg").reason
    with pytest.raises(FileNotFoundError, match=r"nowhere has no alexnet-owt-7be5be79.pth\. Put"):
        load_lpips("alex", tmp_path / "nowhere")


def test_torch_hub_is_searched_and_torchmetrics_gives_the_heads(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = write_weights(tmp_path / "hub/checkpoints", "alex", monkeypatch, heads=False)
    lpips = load_lpips()
    shipped = Path(torchmetrics_lpips.__file__).parent / "lpips_models/alex.pth"
    heads = torch.load(shipped, map_location="cpu", weights_only=True)
    assert torch.equal(lpips.heads[4], heads["lin4.model.1.weight"])
    assert f"LPIPS: version 0.1 on AlexNet; weights {path.name} (SHA-256 {path.stem[-8:]}" in lpips.description
    assert "heads alex.pth (SHA-256 df73285e35b22355)" in lpips.description
    assert load_lpips("alex", path.parent).description == lpips.description


def test_heads_that_are_not_those_of_version_0_1_are_taken_and_called_unknown(tmp_path, monkeypatch):
    write_weights(tmp_path, "alex", monkeypatch)
    digest = hashlib.sha256((tmp_path / "alex.pth").read_bytes()).hexdigest()
    description = load_lpips("alex", tmp_path).description
    assert description.startswith("LPIPS: unknown heads on AlexNet; weights ")
    assert description.endswith(f"heads alex.pth (SHA-256 {digest[:16]}).")
    assert "version 0.1" not in description


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_the_heads_of_version_0_1_are_known_by_their_hash(net):
    shipped = Path(torchmetrics_lpips.__file__).parent / f"lpips_models/{net}.pth"
    assert hashlib.sha256(shipped.read_bytes()).hexdigest() == BACKBONES[net].heads_sha256


def test_layers_never_run_in_tf32_or_under_autocast(alex, monkeypatch):
    image, target = pair(40, 64)
    expected = distance(alex.layers(image, target))
    cudnn, seen, conv2d = torch.backends.cudnn, set(), torch.nn.functional.conv2d
    before = (cudnn.enabled, cudnn.allow_tf32)

    def spy(*arguments, **options):
        result = conv2d(*arguments, **options)
        seen.add((cudnn.enabled, cudnn.allow_tf32, result.dtype))
        return result

    monkeypatch.setattr("evaluation.metrics.lpips.F.conv2d", spy)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert distance(alex.layers(image, target)) == expected
    assert seen == {(True, False, torch.float32)}
    assert (cudnn.enabled, cudnn.allow_tf32) == before


def test_no_heads_anywhere(tmp_path, monkeypatch):
    write_weights(tmp_path, "alex", monkeypatch, heads=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"has no alex.pth\."):
        load_lpips("alex", tmp_path)


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("features.3.weight"), r"features.3.weight should be \(192, 64, 5, 5\) floats, the file has"),
        (
            lambda s: s.update({"features.6.bias": torch.zeros(3)}),
            r"features.6.bias should be \(384,\).*it is \(3,\) torch.float32",
        ),
        (
            lambda s: s.update({"features.0.bias": torch.zeros(64, dtype=torch.int64)}),
            r"\(64,\) floats, it is \(64,\) torch.int64",
        ),
    ],
)
def test_a_file_of_another_network_is_refused(spoil, message, tmp_path, monkeypatch):
    write_weights(tmp_path, "alex", monkeypatch, spoil)
    with pytest.raises(ValueError, match=message):
        load_lpips("alex", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "alex.pth is not a file of PyTorch weights"),
        (b"not weights", "alex.pth is not a file of PyTorch weights"),
        (pickle.dumps(Bomb(), protocol=2), "alex.pth is not a file of PyTorch weights"),
        ([1, 2], "alex.pth holds a list"),
        ({"lin0.weight": torch.zeros(1)}, r"alex.pth: lin0.model.1.weight should be \(1, 64, 1, 1\) floats"),
    ],
)
def test_broken_heads_are_refused_and_never_run(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_weights(tmp_path, "alex", monkeypatch)
    if isinstance(content, bytes):
        (tmp_path / "alex.pth").write_bytes(content)
    else:
        torch.save(content, tmp_path / "alex.pth")
    with pytest.raises(ValueError, match=message):
        load_lpips("alex", tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_a_cut_download_is_told_by_its_name(tmp_path, monkeypatch):
    path = write_weights(tmp_path, "alex", monkeypatch)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"SHA-256 begins with \w{{8}}, not with {path.stem[-8:]}"):
        load_lpips("alex", tmp_path)


def test_evaluation_counts_prints_and_saves_lpips(alex, tmp_path):
    result = evaluate([make_clip(per_frame=150)], [STILL], ScoringConfig(backend="cpu", lpips=alex))
    rows = [row.scores for row in result.frames if row.role == "interpolation"]
    images = result.summary("still").interpolation
    assert images.full.lpips == pytest.approx(np.mean([row.full.lpips for row in rows]))
    assert images.moving.lpips == pytest.approx(np.mean([row.moving.lpips for row in rows]))
    assert images.moving.frames == len(rows) == 5
    assert images.full.lpips != result.summary("still").future.full.lpips
    table = summary_table("Results", result, SUMMARY_COLUMNS)
    columns = [i for i, head in enumerate(table.heads) if head == "LPIPS ↓"]
    future = result.summary("still").future.full.lpips
    assert [table.rows[0].cells[i] for i in columns] == [f"{images.full.lpips:.3f}", f"{future:.3f}"]
    assert (result.lpips, result.notes) == (alex.description, ())
    assert [table.notes for table in all_tables(result)[:3]] == [(alex.description,)] * 3
    assert not any(alex.description in table.notes for table in all_tables(result)[3:])
    assert clip_table("Clips", result, SUMMARY_COLUMNS).notes == (alex.description,)
    assert clip_table("Cost", result, COST_COLUMNS).notes == ()
    console = Console(width=80, record=True, file=open("/dev/null", "w"))
    for part in rich_tables(result):
        console.print(part)
    assert " ".join(console.export_text().split()).count(alex.description) == 2  # interpolation and future
    result.save(tmp_path / "evaluation.json")
    assert Evaluation.load(tmp_path / "evaluation.json") == result


def test_images_too_small_for_the_network_are_na_with_a_note(alex):
    result = evaluate([make_clip(per_frame=30)], [STILL], ScoringConfig(width=48, backend="cpu", lpips=alex))
    assert result.frames[0].scores.full.lpips is None
    assert "LPIPS is n/a: AlexNet needs sides of 31 pixels, views are 48x27." in result.notes
    assert result.lpips == ""


def test_without_a_network_lpips_is_na_and_older_files_still_load(tmp_path):
    result = evaluate([make_clip(per_frame=30)], [STILL], ScoringConfig(width=48, backend="cpu"))
    assert NOT_LOADED.reason in result.notes
    assert all_tables(result)[1].notes == ()
    text = "\n".join(markdown(table) for table in all_tables(result))
    assert "Full image LPIPS ↓" in text
    path = tmp_path / "evaluation.json"
    result.save(path)
    saved = json.loads(path.read_text(), object_hook=lambda d: {k: v for k, v in d.items() if k != "lpips"})
    path.write_text(json.dumps(saved))
    assert Evaluation.load(path) == result


def test_command_reports_the_weights_it_used(trained, tmp_path, monkeypatch, capsys):  # noqa: F811
    path = write_weights(tmp_path / "weights", "alex", monkeypatch)
    out = tmp_path / "out"
    arguments = ["run", "--store", trained / "store", "--run", trained / "run", "--out", out, "--device", "cpu"]
    main([*map(str, arguments), "--lpips-weights", str(path.parent)])
    result = Evaluation.load(out / "evaluation.json")
    assert all(row.scores.full.lpips > 0 for row in result.frames)
    report, table = ((out / name).read_text() for name in ("report.html", "table.md"))
    for text in (report, table):
        assert text.count(result.lpips) >= 3
        assert f"LPIPS: unknown heads on AlexNet; weights {path.name}" in text
    assert not any("LPIPS" in note for note in result.notes)  # nothing of it is n/a
    assert f"{result.summary('flux4d').interpolation.moving.lpips:.3f}" in report
    capsys.readouterr()
    assert main([*map(str, arguments), "--lpips-weights", str(path.parent), "--lpips-net", "vgg"]) == 1
    assert re.search(r"flux4d-eval: LPIPS is n/a: .* has no vgg16-397923af.pth", capsys.readouterr().err)
