"""Scenes and images from files, scored beside what is made here and instead of it."""

import html
import io
import json
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation.__main__ import main
from evaluation.methods.method import ImageMethod, SceneMethod, ViewImage
from evaluation.methods.observer import Observers
from evaluation.methods.render_folder import RenderFolder
from evaluation.methods.scene_folder import SceneFolder
from evaluation.methods.standard import lifted_method
from evaluation.report.pictures import PictureBook, PictureIndex
from evaluation.report.tables import all_tables
from evaluation.scoring.config import ScoringConfig
from evaluation.scoring.imaging import Imaging
from evaluation.scoring.loop import evaluate
from evaluation.scoring.results import Evaluation
from flux4d.lift.scene import SceneConfig
from flux4d.network.model import Flux4D, NetworkConfig
from flux4d.network.weights import save_weights
from flux4d.scenes import read_scene, write_scene
from flux4d.supervision.exposure_fit import ExposureConfig
from store_schema.version.dataset import open_dataset
from tests.support.scenes.toy import make_clip
from tests.support.stores.toy_store import write_store

CLIP = "toy-evaluation-s000"
WIDTH = 48


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A store of two clips, weights, and an evaluation that saved its scenes."""
    folder = tmp_path_factory.mktemp("files")
    first = make_clip(per_frame=60)
    second = make_clip(per_frame=45, seed=3)
    second = replace(second, record=replace(second.record, clip_id="other-evaluation-s000", log_id="other"))
    write_store(folder / "store", [first, second])
    torch.manual_seed(0)
    network = Flux4D(NetworkConfig(channels=(4, 8), blocks=1, head_width=8, conv_backend="torch"))
    with torch.no_grad():
        for parameter in network.parameters():  # fresh heads predict no motion
            parameter.add_(0.02 * torch.randn_like(parameter))
    save_weights(folder / "weights.safetensors", network)
    run(folder, folder / "made", "--weights", folder / "weights.safetensors", "--save-scenes", folder / "scenes")
    return folder


def run(world: Path, out: Path, *arguments: object) -> Evaluation:
    common = ["run", "--store", world / "store", "--out", out, "--width", WIDTH, "--device", "cpu", "--backend", "cpu"]
    with redirect_stderr(io.StringIO()) as told:
        status = main([str(argument) for argument in (*common, *arguments)])
    if status:
        raise SystemExit(told.getvalue())
    return Evaluation.load(out / "evaluation.json")


def scores_of(evaluation: Evaluation, method: str) -> list[object]:
    """Everything but what it cost."""
    frames = [replace(row, method="") for row in evaluation.frames if row.method == method]
    clips = [replace(row, method="", reconstruct_seconds=None, render_seconds=None) for row in evaluation.clips]
    clips = [row for row, of in zip(clips, evaluation.clips, strict=True) if of.method == method]
    summaries = [
        replace(row, method="", reconstruct_seconds=None, render_seconds=None)
        for row in evaluation.summaries
        if row.method == method
    ]
    return [frames, clips, summaries]


def test_saved_scenes_score_the_same_to_the_bit_when_read_from_their_files(world, tmp_path):
    made = Evaluation.load(world / "made" / "evaluation.json")
    names = ("lifted", "static", "flux4d")
    named = [f"{name}-file={world / 'scenes' / name}" for name in names]
    read = run(world, tmp_path / "read", "--scenes", *named)
    for name in names:
        assert scores_of(made, name) == scores_of(read, f"{name}-file")
    assert scores_of(made, "static") != scores_of(made, "flux4d")
    row = read.clips[0]
    assert row.gaussians > 0
    assert row.reconstruct_seconds is None
    assert row.render_seconds > 0
    assert any(note.startswith("flux4d-file: the scenes come from files") for note in read.notes)


def test_a_saved_scene_says_what_it_is_of_and_how_it_was_made(world):
    files = sorted(str(path.relative_to(world / "scenes")) for path in (world / "scenes").rglob("*.safetensors"))
    assert files == sorted(
        f"{name}/{clip}.safetensors"
        for name in ("lifted", "static", "flux4d")
        for clip in (CLIP, "other-evaluation-s000")
    )
    scene = read_scene(world / "scenes" / "flux4d" / f"{CLIP}.safetensors")
    assert (scene.clip_id, scene.log_id, scene.method) == (CLIP, "toy", "flux4d")
    assert scene.dataset_version == open_dataset(world / "store").version
    assert scene.made["description"].startswith("Gaussians refined and moved")
    assert len(scene.made["weights"]) == len("blake3 ") + 64
    assert "packages" in scene.made
    assert len(scene.cameras) == 16


def test_scenes_and_renders_stand_beside_a_network(world, tmp_path):
    images = renders_of(world, tmp_path / "images")
    every = run(
        world,
        tmp_path / "out",
        *("--weights", world / "weights.safetensors", "--scenes", f"mine={world / 'scenes' / 'flux4d'}"),
        *("--renders", f"theirs={images}"),
    )
    assert [method.name for method in every.methods] == ["lifted", "static", "flux4d", "mine", "theirs"]
    assert scores_of(every, "flux4d") == scores_of(every, "mine")
    report = html.unescape((tmp_path / "out" / "report.html").read_text())
    assert "files of theirs" in report
    assert "theirs gives images, not scenes: depth, scene flow" in report
    index = PictureIndex.load(tmp_path / "out" / "pictures")
    assert {p.kind for p in index.pictures if p.method == "theirs"} == {"image", "error"}
    info = json.loads((tmp_path / "out" / "run_info.json").read_text())
    assert info["files"]["theirs"].startswith(f"{images} (blake3 ")
    first = (tmp_path / "out" / "report.html").read_bytes()
    main(["report", str(tmp_path / "out")])
    assert (tmp_path / "out" / "report.html").read_bytes() == first


class Renders:
    """Writes what is scored as renders of another program (an observer)."""

    def __init__(self, folder, method, depth):
        self.folder, self.method, self.depth = folder, method, depth

    def wants_velocity(self, clip, view):
        return False

    def scene(self, clip, method, gaussians): ...

    def frame(self, clip, method, view, image, truth):
        if method.name == self.method:
            stem = self.folder / clip.record.clip_id / f"{view.camera}-{view.frame:03d}"
            stem.parent.mkdir(parents=True, exist_ok=True)
            pixels = (image.rgb.clamp(0, 1) * 255).round().byte().numpy()
            Image.fromarray(pixels).save(f"{stem}.png")
            if self.depth:
                np.save(f"{stem}.npy", image.depth.numpy())


def clips_of(world):
    dataset = open_dataset(world / "store")
    return [dataset.read(record.clip_id) for record in dataset.records]


def renders_of(world, folder, depth=False):
    method = lifted_method(SceneConfig(), "cpu")
    observer = Observers([Renders(folder, "lifted", depth)])
    evaluate(clips_of(world), [method], ScoringConfig(width=WIDTH, backend="cpu"), observer=observer)
    return folder


@pytest.mark.parametrize("depth", [False, True])
def test_renders_score_as_the_scene_they_show_up_to_their_8_bits_and_have_no_motion(world, tmp_path, depth):
    images = renders_of(world, tmp_path / "images", depth)
    read = run(world, tmp_path / "out", "--renders", f"theirs={images}")
    made = evaluate(clips_of(world), [lifted_method(SceneConfig(), "cpu")], ScoringConfig(width=WIDTH, backend="cpu"))
    mine, theirs = made.summary("lifted"), read.summary("theirs")
    for part in ("interpolation", "future"):
        for region in ("full", "moving"):
            a, b = (getattr(getattr(each, part), region) for each in (mine, theirs))
            assert b.psnr == pytest.approx(a.psnr, abs=0.05)
            assert b.psnr != a.psnr
            assert b.ssim == pytest.approx(a.ssim, abs=2e-3)
            assert (b.frames, b.pixels) == (a.frames, a.pixels)
            assert (b.depth_rmse, b.depth_pixels) == ((a.depth_rmse, a.depth_pixels) if depth else (None, None))
    assert (theirs.flow, theirs.flow_nearest) == (None, None)
    assert (theirs.render_seconds, theirs.reconstruct_seconds) == (None, None)
    assert all(row.gaussians is None for row in read.clips)
    flow = next(table for table in all_tables(read) if table.title == "Scene flow on the input frames")
    assert set(flow.rows[0].cells) == {"n/a"}
    images_table = next(table for table in all_tables(read) if table.title == "Interpolation")
    of_depth = [
        cell for head, cell in zip(images_table.heads, images_table.rows[0].cells, strict=True) if "LiDAR" in head
    ]
    assert ("n/a" in of_depth) is not depth
    (note,) = [note for note in read.notes if note.startswith("theirs")]
    assert ("depth, scene flow" in note) is not depth
    assert "n/a" in (tmp_path / "out" / "table.md").read_text()


def copied(source: Path, target: Path) -> Path:
    for path in source.rglob("*.*"):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    return target


@pytest.fixture(scope="module")
def images(world):
    return renders_of(world, world / "images", depth=True)


def spoil_size(folder):
    Image.new("RGB", (96, 54)).save(folder / CLIP / "front_camera-001.png")


def spoil_mode(folder):
    Image.new("RGBA", (48, 27)).save(folder / CLIP / "front_camera-001.png")


def spoil_twice(folder):
    Image.new("RGB", (48, 27)).save(folder / CLIP / "front_camera-001.jpg")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: (f / CLIP / "front_camera-007.png").unlink(),
            r"front_camera-007.png \(or .jpg\) is missing: render this",
        ),
        (
            lambda f: (f / CLIP / "front_camera-007.npy").unlink(),
            r"front_camera-007.npy is missing, other views have depth",
        ),
        (
            spoil_size,
            r"front_camera-001.png is 96x54, the views are scored at 48x27: render at that size, or .*--width 96",
        ),
        (spoil_mode, r"front_camera-001.png has mode RGBA: save it as 8-bit RGB without alpha"),
        (spoil_twice, r"front_camera-001.png and front_camera-001.jpg are one view twice"),
        (lambda f: (f / CLIP / "front_camera-001.png").write_bytes(b"GIF89a"), r"001.png cannot be read as an image"),
        (
            lambda f: (f / CLIP / "front_camera-001.png").write_bytes(
                (f / CLIP / "front_camera-003.png").read_bytes()[:99]
            ),
            r"001.png cannot be read as an image .*render it again",
        ),
        (
            lambda f: (f / CLIP / "front_camera-001.npy").write_bytes(b"\x93NUMPY"),
            r"001.npy cannot be read as an array",
        ),
        (
            lambda f: np.save(f / CLIP / "front_camera-001.npy", np.zeros((27, 48), np.uint16)),
            r"001.npy is uint16 \(27, 48\): write depth as float32 \[H, W\] in metres",
        ),
        (
            lambda f: np.save(f / CLIP / "front_camera-001.npy", np.full((27, 48), np.nan, np.float32)),
            r"holds depth that is negative or not finite: write 0",
        ),
        (
            lambda f: np.save(f / CLIP / "front_camera-001.npy", np.zeros((48, 27), np.float32)),
            r"001.npy is 27x48, the views",
        ),
    ],
)
def test_images_that_cannot_be_scored_are_refused_by_name(world, images, tmp_path, spoil, message):
    folder = copied(images, tmp_path / "images")
    spoil(folder)
    with pytest.raises(SystemExit, match=message):
        run(world, tmp_path / "out", "--renders", f"x={folder}", "--clips", CLIP)


def test_a_missing_clip_is_named_before_anything_is_scored(world, images, tmp_path):
    folder = copied(images, tmp_path / "images")
    for path in (folder / CLIP).iterdir():
        path.unlink()
    (folder / CLIP).rmdir()
    with pytest.raises(
        SystemExit, match=rf"images has nothing of clip {CLIP}: add what x makes of it, or choose other"
    ):
        run(world, tmp_path / "out", "--renders", f"x={folder}")
    scenes = copied(world / "scenes" / "flux4d", tmp_path / "scenes")
    (scenes / f"{CLIP}.safetensors").unlink()
    with pytest.raises(SystemExit, match=f"scenes has nothing of clip {CLIP}"):
        run(world, tmp_path / "out", "--scenes", f"x={scenes}")
    with pytest.raises(SystemExit, match=r"nowhere is missing: --scenes and --renders take NAME=FOLDER"):
        run(world, tmp_path / "out", "--scenes", f"x={tmp_path / 'nowhere'}")
    assert not (tmp_path / "out").exists()


def test_scenes_of_another_clip_or_dataset_version_or_damaged_ones_are_refused(world, tmp_path):
    made = read_scene(world / "scenes" / "flux4d" / f"{CLIP}.safetensors")
    (clip,) = [clip for clip in clips_of(world) if clip.record.clip_id == CLIP]
    path = tmp_path / f"{CLIP}.safetensors"
    folder = SceneFolder("x", tmp_path, made.dataset_version)
    for scene, message in (
        (replace(made, clip_id="b"), f"is the scene of clip b, not of {CLIP}: rename it"),
        (
            replace(made, dataset_version="f" * 64),
            "name points .source. of dataset version 'ffffffffffff', clip .* is of",
        ),
        (
            replace(made, gaussians=replace(made.gaussians, source=made.gaussians.source + 10**6)),
            r"source names point \d+, clip .* has \d+: make it anew",
        ),
    ):
        write_scene(path, scene)
        with pytest.raises(ValueError, match=rf"{CLIP}.safetensors.*{message}"):
            folder.reconstruct(clip)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(SystemExit, match=rf"clip {CLIP}: .*{CLIP}.safetensors: the columns need .* it was cut"):
        run(world, tmp_path / "out", "--scenes", f"x={tmp_path}", "--clips", CLIP)


def test_a_scene_from_elsewhere_takes_its_flow_from_the_gaussian_that_is_nearest_at_that_time(world):
    """No Gaussian has a point; each point's own Gaussian is then where the point is."""
    (clip,) = [clip for clip in clips_of(world) if clip.record.clip_id == CLIP]
    lifted = lifted_method(SceneConfig(), "cpu").reconstruct(clip)
    own = lifted.source >= 0
    velocities = lifted.velocities.clone()
    flow = torch.from_numpy(clip.points.flow[lifted.source[own].numpy()])
    velocities[own, 0] = flow / 0.1
    foreign = replace(lifted, velocities=velocities, source=torch.full_like(lifted.source, -1))
    # What is not there at the time must not lend its velocity: one gone Gaussian at every point, driving fast.
    ghosts = foreign.select(own)
    ghosts = replace(
        ghosts,
        velocities=torch.full_like(ghosts.velocities, 90.0),
        means=ghosts.means - 90.0 * (ghosts.times + 9.0)[:, None],
        times=torch.full_like(ghosts.times, -9.0),
        sigma_t=torch.full_like(ghosts.times, 0.1),
    )
    config = ScoringConfig(width=WIDTH, backend="cpu")
    methods = [
        SceneMethod("own", "", lambda _: replace(lifted, velocities=velocities)),
        SceneMethod("foreign", "", lambda _: foreign),
        SceneMethod("haunted", "", lambda _: foreign.concat(ghosts)),
    ]
    rows = evaluate([clip], methods, config).clips
    assert rows[0].flow.epe3d == pytest.approx(0.0, abs=1e-6)
    assert rows[0].flow_nearest == 0
    for row in rows[1:]:
        assert row.flow_nearest == row.flow.points == rows[0].flow.points
        # The box is 2 m from the ground's points; few points have a neighbour of another motion nearer than their own.
        assert row.flow.epe3d < 0.02
    with pytest.raises(ValueError, match=rf"clip {CLIP}: no Gaussian but background is there at .* points are scored"):
        evaluate([clip], [SceneMethod("gone", "", lambda _: ghosts)], config)


def test_exposures_are_not_fitted_to_images_and_pictures_show_what_is_there(world, images, tmp_path):
    method = RenderFolder("theirs", images).method
    config = ScoringConfig(width=WIDTH, imaging=Imaging(exposure=ExposureConfig()))
    with pytest.raises(ValueError, match="input views, which theirs does not give: leave out the exposure"):
        evaluate([], [method], config)
    book = PictureBook(tmp_path)
    evaluate(clips_of(world)[:1], [method], ScoringConfig(width=WIDTH), observer=book)
    assert {p.kind for p in book.close().pictures if p.method == "theirs"} == {"image", "error", "depth"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "or give --scenes or --renders NAME=FOLDER"),
        (["--scenes", "folder"], "takes NAME=FOLDER"),
        (["--scenes", "a/b=folder"], "takes NAME=FOLDER"),
        (["--renders", "truth=folder"], "takes NAME=FOLDER"),
        (["--scenes", "a=x", "a=y"], "names a twice"),
        (["--scenes", "a=x", "--renders", "a=y"], "share the name a"),
        (["--scenes", "a=x", "--save-scenes", "y"], "--save-scenes writes what a network makes"),
    ],
)
def test_folders_that_are_none_are_refused_while_parsing(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(["run", "--store", "s", "--out", "o", *arguments])
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_name_of_a_standard_method_is_refused_beside_a_network(world, tmp_path):
    with pytest.raises(
        SystemExit, match=r"methods with different names, got \['lifted', 'static', 'flux4d', 'flux4d'\]"
    ):
        run(
            world,
            tmp_path / "out",
            *("--weights", world / "weights.safetensors", "--scenes", f"flux4d={world / 'scenes' / 'flux4d'}"),
        )


@pytest.mark.parametrize("has_depth", [False, True])
def test_a_method_that_gives_depth_in_some_views_only_is_refused(world, has_depth):
    def image(clip, view, width, height):
        depth = torch.zeros(height, width) if (view.frame > 3) != has_depth else None
        return ViewImage(torch.zeros(height, width, 3), depth)

    method = ImageMethod("half", "", image, has_depth=has_depth)
    with pytest.raises(
        ValueError, match=rf"frame \d+, front_camera: half gives .*depth here but says has_depth={has_depth}"
    ):
        evaluate(clips_of(world)[:1], [method], ScoringConfig(width=WIDTH))


def test_an_evaluation_with_what_is_not_known_travels_as_json(world, images, tmp_path):
    evaluation = evaluate(clips_of(world), [RenderFolder("theirs", images).method], ScoringConfig(width=WIDTH))
    evaluation.save(tmp_path / "evaluation.json")
    assert Evaluation.load(tmp_path / "evaluation.json") == evaluation
