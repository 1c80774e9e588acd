"""The examples run as they are printed, and say what is in the store."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flux4d.lift import SceneConfig
from flux4d.network import Flux4D, NetworkConfig, save_weights
from store_schema.version import open_dataset

REPOSITORY = Path(__file__).parents[2]
READ, RECONSTRUCT = (REPOSITORY / "examples" / f"{name}.py" for name in ("read_a_store", "reconstruct_and_render"))
OURS = ("store_schema", "pipelines", "flux4d", "training", "evaluation")


@dataclass(frozen=True)
class Played:
    """What `reconstruct_and_render.py` did where it was given nothing."""

    said: str
    pictures: Path
    store: Path


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    pictures, temporary = tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("temporary")
    command = [sys.executable, str(RECONSTRUCT), "--out", str(pictures), "--width", "240"]
    said = run(*command, TMPDIR=str(temporary))
    (store,) = temporary.glob("*/store")
    return Played(said, pictures, store)


def run(*command: str, **environment: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_store_is_read_where_this_project_cannot_be_imported(played: Played, tmp_path: Path) -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({OURS}, None)); "
    arguments = [str(READ), str(played.store), "--out", str(tmp_path)]
    play = f"import runpy; sys.argv = {arguments}; runpy.run_path({str(READ)!r})"
    said = run(sys.executable, "-c", blocked + play)
    dataset = open_dataset(played.store)
    clip = dataset.read(dataset.records[0].clip_id)
    assert clip.record.clip_id in said
    assert f"{len(clip.points):,} points" in said
    for view in clip.views:
        assert f"{view.camera}  {view.width}x{view.height}  {view.time:.3f} s" in said
    drawn = np.asarray(Image.open(tmp_path / "points.png")).astype(int)
    plain = np.asarray(Image.open(io.BytesIO(clip.views[0].image))).astype(int)
    assert drawn.shape == plain.shape
    assert 0.02 < (drawn != plain).any(axis=2).mean() < 0.5


def test_a_clip_is_reconstructed_and_rendered_where_no_camera_was(played: Played) -> None:
    (psnr,) = [float(line.split("PSNR ")[1].split()[0]) for line in played.said.splitlines() if "PSNR" in line]
    assert psnr > 17.0
    own, shifted = (np.asarray(Image.open(played.pictures / f"{name}.png")) for name in ("rendered", "shifted_view"))
    assert own.shape == shifted.shape == (135, 240, 3)
    assert (own != shifted).any(axis=2).mean() > 0.5
    assert {path.name for path in played.pictures.glob("*.png")} >= {"truth.png", "between_frames.png"}


def test_the_network_of_a_run_makes_the_scene(played: Played, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Flux4D(NetworkConfig(channels=(8, 16), blocks=1, head_width=16))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_weights(tmp_path / "weights.safetensors", network)
    (tmp_path / "config.json").write_text(json.dumps({"scene": asdict(SceneConfig())}))
    command = [sys.executable, str(RECONSTRUCT), str(played.store), "--run", str(tmp_path)]
    said = run(*command, "--out", str(tmp_path), "--width", "160")
    assert "up to 0.0 m/s" not in said
    still, later = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("rendered", "between_frames"))
    assert (still != later).any()
