import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from blake3 import blake3
from hypothesis import given, settings
from safetensors.numpy import load, save

from flux4d.lifetime import opacities_at
from flux4d.motion import move
from flux4d.scenes import Scene, SceneFileError, read_scene, scene_of, write_scene
from flux4d.scenes.write import scene_bytes
from tests.support.scenes.any_scene import make_gaussians, make_scene, scenes
from tests.support.scenes.toy import make_clip

DOCUMENT = Path(__file__).parents[3] / "docs" / "scene_format.md"


def assert_equal(a: Scene, b: Scene) -> None:
    ours, theirs = a.gaussians.columns(), b.gaussians.columns()
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].dtype == theirs[name].dtype
        assert ours[name].numpy().tobytes() == theirs[name].numpy().tobytes(), name
    for field in fields(Scene):
        mine, other = getattr(a, field.name), getattr(b, field.name)
        if field.name == "cameras":
            assert len(mine) == len(other)
            for one, two in zip(mine, other, strict=True):
                assert all(np.array_equal(getattr(one, f.name), getattr(two, f.name)) for f in fields(one))
        elif field.name != "gaussians":
            assert np.array_equal(mine, other) if isinstance(mine, np.ndarray) else mine == other, field.name


@given(scenes())
@settings(max_examples=60, deadline=None)
def test_any_scene_comes_back_to_the_bit_and_equal_scenes_are_equal_bytes(tmp_path_factory, scene):
    path = tmp_path_factory.mktemp("scene") / "a.safetensors"
    write_scene(path, scene)
    back = read_scene(path)
    assert_equal(scene, back)
    assert scene_bytes(back) == path.read_bytes()


def test_a_scene_whose_gaussians_have_no_point_has_no_source_column(tmp_path):
    scene = make_scene(gaussians=replace(make_gaussians(4), source=torch.full((4,), -1)))
    write_scene(tmp_path / "a", scene)
    assert "source" not in load((tmp_path / "a").read_bytes())
    assert_equal(scene, read_scene(tmp_path / "a"))


def test_every_flipped_bit_and_every_cut_is_found_and_names_the_file(tmp_path):
    data = scene_bytes(make_scene(2, cameras=()))
    path = tmp_path / "scene.safetensors"
    rng = np.random.default_rng(0)
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        with pytest.raises(SceneFileError, match=re.escape(str(path))):
            read_scene(path)
    for length in [*range(0, len(data), 7), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(SceneFileError, match=r"scene\.safetensors: .*(copy it again|no Gaussian)"):
            read_scene(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(SceneFileError, match="cut or added to"):
        read_scene(path)


def sealed(columns, about_changes=None, drop=()):
    """A file by another writer, sealed as the specification says."""
    own = scene_bytes(make_scene(3))
    about = json.loads(json.loads(own[8 : 8 + int.from_bytes(own[:8], "little")])["__metadata__"]["flux4d_scene"])
    about = {**about, "blake3": "0" * 64, **(about_changes or {})}
    about = {name: value for name, value in about.items() if name not in drop}
    arrays = {**load(own), **columns}
    arrays = {name: np.ascontiguousarray(value) for name, value in arrays.items() if value is not None}
    data = save(arrays, {"flux4d_scene": json.dumps(about, separators=(",", ":"))})
    return data.replace(b"0" * 64, blake3(data).hexdigest().encode(), 1)


NAN = np.full((3, 3), np.nan, np.float32)


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        ({"means": None}, {}, "column means is missing"),
        ({"velocities": None, "rgb": None}, {}, "column rgb, velocities is missing"),
        ({"means": np.zeros((3, 3))}, {}, r"column means is F64 .* must be F32 of shape \[N, 3\]; convert it"),
        ({"velocities": np.zeros((3, 3), np.float32)}, {}, r"must be F32 of shape \[N, L \+ 1, 3\]"),
        ({"velocities": np.zeros((3, 0, 3), np.float32)}, {}, r"must be F32 of shape \[N, L \+ 1, 3\]"),
        ({"rgb": np.zeros((2, 3), np.float32)}, {}, "differ in their number of Gaussians: .*rgb 2"),
        ({"colour": np.zeros(3, np.float32)}, {}, "column colour is not known"),
        ({"means": NAN}, {}, "means holds NaN or infinity in 9 places, first in row 0"),
        ({"sigma_t": NAN[0]}, {}, "sigma_t holds NaN"),
        ({"sigma_t": np.float32([1, 0, 1])}, {}, r"sigma_t must be above 0 s \(inf: always there\), row 1 is 0.0"),
        ({"opacities": np.float32([0, 1, 1.5])}, {}, r"opacities must be in \[0, 1\], row 2 is 1.5"),
        ({"scales": -np.ones((3, 3), np.float32)}, {}, "scales must be at least 0 m .standard deviations, not"),
        ({"quats": np.zeros((3, 4), np.float32)}, {}, "quats must be of a norm above 0, row 0"),
        ({"source": np.int32([-2, 0, 0])}, {}, "source must be at least -1"),
        ({}, {"format_version": 2}, "scene format 2, this version of the package reads 1: use the version"),
        ({}, {"format_version": None}, "scene format None"),
        ({}, {"duration": -1.0}, "duration must be a number of seconds"),
        ({}, {"duration": "long"}, "does not have the form .*duration must be a number"),
        ({}, {"clip_id": 3}, "does not have the form .*clip_id must be a text"),
        ({}, {"cameras": [{"agent": "a"}]}, "does not have the form"),
        ({}, {"ego02world": [[1.0]]}, r"ego02world must be \[4, 4\]"),
        ({}, {"ego02world": (2 * np.eye(4)).tolist()}, "ego02world must be a rotation and a translation"),
        ({}, {"colour": 1}, "does not have the form"),
    ],
)
def test_what_does_not_make_a_scene_is_refused_though_its_seal_is_right(tmp_path, columns, changes, message):
    path = tmp_path / "scene.safetensors"
    path.write_bytes(sealed(columns, changes))
    with pytest.raises(SceneFileError, match=f"scene.safetensors: .*{message}"):
        read_scene(path)


def test_metadata_that_lacks_a_key_or_has_no_room_for_the_seal_is_refused(tmp_path):
    path = tmp_path / "scene.safetensors"
    path.write_bytes(sealed({}, drop=("duration", "method")))
    with pytest.raises(SceneFileError, match="metadata lacks duration, method"):
        read_scene(path)
    path.write_bytes(sealed({}))
    read_scene(path)
    path.write_bytes(sealed({}).replace(b'{\\"blake3\\":\\"', b'{ \\"blake3\\":\\"', 1).replace(b"1.5,", b"15,", 1))
    with pytest.raises(SceneFileError, match="must begin with"):
        read_scene(path)


def test_files_that_are_none_of_ours_say_so(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(save({"weight": np.zeros(3, np.float32)}, {"format": "pt"}))
    with pytest.raises(SceneFileError, match=r"no scene file: its metadata has no 'flux4d_scene'; write it as docs"):
        read_scene(path)
    for text in (b"", b"ply\nformat ascii 1.0\n" * 9, b"\x08" + bytes(7) + b"nonsense", b"\x09" + bytes(7)):
        path.write_bytes(text)
        with pytest.raises(SceneFileError, match=r"safetensors|JSON"):
            read_scene(path)
    deep = b"[" * 100_000
    path.write_bytes(len(deep).to_bytes(8, "little") + deep)
    with pytest.raises(SceneFileError):
        read_scene(path)
    with pytest.raises(FileNotFoundError, match="no such scene file"):
        read_scene(tmp_path / "none")


def test_sizes_are_checked_before_memory_is_taken(tmp_path):
    """A header may claim any size: nothing of it is allocated when the file does not hold it."""
    path = tmp_path / "scene.safetensors"
    data = scene_bytes(make_scene(3))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["means"] |= {"shape": [10**15, 3], "data_offsets": [0, 12 * 10**15]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(SceneFileError, match=r"column .* begins at byte|the columns need"):
        read_scene(path)
    path.write_bytes((2**63 - 1).to_bytes(8, "little") + data[8:])
    with pytest.raises(SceneFileError, match="not a whole safetensors file"):
        read_scene(path)


def test_a_writer_killed_while_writing_syncing_or_renaming_leaves_the_old_scene_or_the_new_one(tmp_path):
    path = tmp_path / "scene.safetensors"
    write_scene(path, make_scene(3, method="old"))
    for place in ("write", "fsync", "replace"):
        killed_while(path, place)
        assert read_scene(path).method in ("old", "new")
        assert [entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".tmp-")] == [path.name]


def killed_while(path: Path, place: str) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from flux4d.scenes import write_scene\n"
        "from tests.support.scenes.any_scene import make_scene\n"
        "die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "def half(path, data):\n"
        "    with path.open('wb') as file: file.write(data[:len(data) // 2])\n"
        "    die()\n"
        f"place = {place!r}\n"
        "if place == 'write': Path.write_bytes = half\n"
        "else: setattr(os, place, die)\n"
        "write_scene(sys.argv[1], make_scene(3, method='new'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr


def test_an_empty_scene_and_what_no_file_holds_are_refused_when_written(tmp_path):
    empty = make_scene(gaussians=make_gaussians(3).select(torch.zeros(3, dtype=torch.bool)))
    with pytest.raises(ValueError, match="holds no Gaussian"):
        write_scene(tmp_path / "a", empty)
    with pytest.raises(ValueError, match="source 5000000000 does not fit"):
        write_scene(tmp_path / "a", make_scene(gaussians=replace(make_gaussians(1), source=torch.tensor([5 * 10**9]))))
    with pytest.raises(ValueError, match=r"means must be torch.float32, got torch.float64"):
        make_scene(gaussians=replace(make_gaussians(1), means=torch.zeros(1, 3, dtype=torch.float64)))
    assert not list(tmp_path.iterdir())


def test_a_scene_of_a_clip_has_its_views_times_and_names(tmp_path):
    clip = make_clip(per_frame=30)
    scene = scene_of(clip, make_gaussians(4), dataset_version="f" * 64, method="mine")
    assert (scene.clip_id, scene.log_id, scene.duration) == ("toy-evaluation-s000", "toy", pytest.approx(1.5))
    assert [camera.time for camera in scene.cameras] == [view.time for view in clip.views]
    assert scene.ego02world is None


def example(name: str) -> str:
    (code,) = re.findall(rf"```python {name}\n(.*?)```", DOCUMENT.read_text(), re.S)
    return code


def test_the_reader_of_the_specification_reads_what_is_written(tmp_path):
    scene, path, time = make_scene(50), tmp_path / "a.safetensors", 0.7
    write_scene(path, scene)
    code = example("reader")
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    command = [sys.executable, "-c", code, str(path), str(time), str(tmp_path / "out.npz")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "a-evaluation-s000 by test: 50 Gaussians, 1 views\n"
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["means"], move(scene.gaussians, time).numpy(), rtol=1e-5, atol=1e-5)
        opacities = opacities_at(scene.gaussians, time).numpy()
        np.testing.assert_allclose(found["opacities"], opacities, rtol=1e-4, atol=1e-6)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    damaged = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "AssertionError: damaged" in damaged.stderr


def test_the_writer_of_the_specification_writes_what_is_read(tmp_path):
    path = tmp_path / "a.safetensors"
    subprocess.run([sys.executable, "-c", example("writer"), str(path), "x-evaluation-s000"], check=True)
    scene = read_scene(path)
    assert (len(scene.gaussians), scene.clip_id, scene.method) == (100, "x-evaluation-s000", "mine")
    assert (scene.gaussians.source == -1).all()


def test_a_scene_in_an_object_store_is_written_and_read_by_its_url():
    scene, place = make_scene(9), "memory://scenes/a.safetensors"
    write_scene(place, scene)
    assert_equal(scene, read_scene(place))
    with pytest.raises(FileNotFoundError, match=r"memory://scenes/b\.safetensors is missing"):
        read_scene("memory://scenes/b.safetensors")
