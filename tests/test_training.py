"""The trainer on toy clips: order, learning, exact resume, clear refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import tyro
from safetensors.torch import load_file

from evaluation.options import Run
from evaluation.session import load_trained
from flux4d.losses import LossConfig, view_loss
from flux4d.render import render
from flux4d.scene import SceneConfig
from flux4d.shutter import Shutter
from flux4d.sky import SkyConfig
from store_schema.dataset import open_dataset
from tests.rolling import street
from tests.toy import make_clip
from tests.toy_store import write_store
from training.config import OptimizerConfig, StreamConfig, TrainConfig, presets
from training.loop import Trainer, TrainingStoppedError, clip_losses
from training.stream import ClipStream, Sample

ROLLING = Shutter(0.03, -0.012)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    write_store(folder, [make_clip(), make_clip(setting="train_interpolation"), make_clip(setting="train_future")])
    return folder


def small(store: Path, out: Path, **changes: object) -> TrainConfig:
    base = presets()["demo"][1]
    network = replace(base.network, channels=(8, 16))
    stream = StreamConfig(settings=("train_interpolation", "train_future"), width=48)
    optimizer = OptimizerConfig(lr=1e-2, warmup_steps=5)
    config = replace(base, store=store, out=out, network=network, stream=stream, optimizer=optimizer, steps=6)
    return replace(config, checkpoint_every=3, **changes)  # type: ignore[arg-type]


def test_every_clip_comes_once_per_epoch_and_every_target_in_turn(store: Path) -> None:
    dataset = open_dataset(store)
    config = StreamConfig(views_per_step=2)
    stream = ClipStream(dataset, config, presets()["demo"][1].scene, 0, torch.device("cpu"))
    clips = len(stream.records)
    assert clips == 2
    places = [stream.place(step) for step in range(5 * clips)]
    for epoch in range(5):
        assert {record.clip_id for record, _ in places[epoch * clips : (epoch + 1) * clips]} == {
            record.clip_id for record in stream.records
        }
    for record in stream.records:
        seen = [index for place, indices in places if place == record for index in indices]
        count = len(record.target_frames)
        assert sorted(seen[:count]) == list(range(count))
    assert places == [stream.place(step) for step in range(5 * clips)]
    other = ClipStream(dataset, config, presets()["demo"][1].scene, 1, torch.device("cpu"))
    assert places != [other.place(step) for step in range(5 * clips)]
    for each in (stream, other):
        each.close()


def test_samples_carry_targets_only_never_inputs(store: Path) -> None:
    dataset = open_dataset(store)
    stream = ClipStream(dataset, StreamConfig(width=48), presets()["demo"][1].scene, 0, torch.device("cpu"))
    for step in range(6):
        for target in stream.sample(step).targets:
            assert target.view.role in ("interpolation", "future")
            assert target.rgb.shape == (27, 48, 3)
            assert target.depth_pixel.max() < 27 * 48
    stream.close()


def test_training_learns_a_toy_clip(store: Path, tmp_path: Path) -> None:
    stream = StreamConfig(settings=("train_interpolation",), width=48)
    config = replace(small(store, tmp_path / "run"), steps=40, stream=stream)
    reports = []
    Trainer(config).run(reports.append)
    first, last = reports[:5], reports[-5:]
    assert sum(r.psnr for r in last) / 5 > sum(r.psnr for r in first) / 5 + 1.0
    assert sum(r.loss for r in last) < sum(r.loss for r in first)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 41))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["dataset_version"] == open_dataset(store).version
    assert record["clips_seen"] == ["toy-train_interpolation-s000"]


def test_a_resumed_run_ends_bitwise_where_an_uninterrupted_one_does(store: Path, tmp_path: Path) -> None:
    Trainer(small(store, tmp_path / "whole")).run()
    stopped = Trainer(small(store, tmp_path / "parts"))
    with pytest.raises(KeyboardInterrupt):
        stopped.run(lambda report: (_ for _ in ()).throw(KeyboardInterrupt) if report.step == 5 else None)
    Trainer(small(store, tmp_path / "parts", resume=True)).run()
    whole, parts = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    metrics = [
        [{k: v for k, v in json.loads(line).items() if k in ("step", "clip", "loss", "psnr")} for line in text]
        for text in ((tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts"))
    ]
    assert metrics[0] == metrics[1]


def test_a_run_is_continued_as_it_began(store: Path, tmp_path: Path) -> None:
    first = replace(small(store, tmp_path / "run"), steps=2, checkpoint_every=2)
    Trainer(first).run()
    again = replace(first, steps=3, resume=True)
    for changed, message in (
        (replace(again, seed=1), "seed was 0, is 1"),
        (replace(again, scene=replace(again.scene, scale_factor=0.5)), r"scene\.scale_factor was .*, is 0\.5"),
        (
            replace(again, stream=replace(again.stream, shutter=Shutter(0.03))),
            r"stream\.shutter\.readout was 0\.0, is 0\.03",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            Trainer(changed)
    # A run of before there were these settings was made without what they do.
    path = tmp_path / "run" / "config.json"
    old = json.loads(path.read_text())
    del old["scene"]["max_spread"], old["scene"]["camera_clearance"], old["stream"]["shutter"]
    path.write_text(json.dumps(old))
    with pytest.raises(ValueError, match=r"scene\.max_spread was None, is 1\.0"):
        Trainer(again)
    as_then = replace(again.scene, max_spread=None, camera_clearance=0.0)
    Trainer(replace(again, scene=as_then, optimizer=replace(again.optimizer, lr=1e-4))).run()


def test_old_checkpoints_go_and_runs_are_not_overwritten(store: Path, tmp_path: Path) -> None:
    Trainer(replace(small(store, tmp_path / "run"), checkpoint_every=1)).run()
    names = [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())]
    assert names == ["step-00000005", "step-00000006"]
    with pytest.raises(ValueError, match="already holds a run"):
        Trainer(small(store, tmp_path / "run"))
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume from"):
        Trainer(small(store, tmp_path / "empty", resume=True))


def test_what_cannot_be_trained_on_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not in dataset version"):
        Trainer(small(store, tmp_path / "a", stream=StreamConfig(clips=("nowhere",))))
    with pytest.raises(ValueError, match="has no clip with split test"):
        Trainer(small(store, tmp_path / "b", stream=StreamConfig(split="test")))


def test_a_loss_that_is_not_finite_stops_with_the_clip_named(store: Path, tmp_path: Path) -> None:
    trainer = Trainer(small(store, tmp_path / "run"))
    with torch.no_grad():
        for parameter in trainer.network.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises((TrainingStoppedError, ValueError), match=r"nan|finite|NaN"):
        trainer.run()


@pytest.fixture(scope="module")
def rolling_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip whose images were taken with `ROLLING`."""
    folder = tmp_path_factory.mktemp("rolling")
    write_store(folder, [street(ROLLING, setting="train_interpolation")[0]])
    return folder


def sample_of(store: Path, **changes: Shutter) -> Sample:
    config = StreamConfig(settings=("train_interpolation",), views_per_step=5, **changes)
    stream = ClipStream(open_dataset(store), config, SceneConfig(), 0, torch.device("cpu"))
    sample = stream.sample(0)
    stream.close()
    return sample


def as_lifted(sample: Sample) -> list:
    """Losses of the scene as it was lifted."""
    return clip_losses(lambda gaussians, _: gaussians, sample, LossConfig())[0]  # type: ignore[arg-type]


def test_colours_are_learned_through_the_shutter_and_depth_without(rolling_store: Path) -> None:
    plain, rolling = as_lifted(sample_of(rolling_store)), as_lifted(sample_of(rolling_store, shutter=ROLLING))
    assert len(plain) == len(rolling) == 5
    for before, after in zip(plain, rolling, strict=True):
        assert after.l1 < before.l1
        assert after.ssim < before.ssim
        assert torch.equal(after.depth, before.depth)


def test_without_a_shutter_the_loss_is_that_of_one_plain_rendering(
    rolling_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = sample_of(rolling_store)
    calls: list[int] = []
    monkeypatch.setattr("flux4d.recorded.render", lambda *a, **k: calls.append(1) or render(*a, **k))
    losses = as_lifted(sample)
    assert len(calls) == len(sample.targets)
    for loss, target in zip(losses, sample.targets, strict=True):
        assert target.cameras.twists is None
        plain = view_loss(render(sample.gaussians, target.cameras), target, sample.gaussians, LossConfig())
        assert torch.equal(loss.total, plain.total)


def test_depth_teaches_places_also_with_a_shutter(rolling_store: Path) -> None:
    sample = sample_of(rolling_store, shutter=ROLLING)
    means = sample.gaussians.means.clone().requires_grad_()
    moved = replace(sample, gaussians=replace(sample.gaussians, means=means))
    torch.stack([loss.depth for loss in as_lifted(moved)]).sum().backward()
    assert means.grad is not None
    assert means.grad.abs().max() > 0


def test_a_run_with_a_shutter_is_evaluated_with_it(rolling_store: Path, tmp_path: Path) -> None:
    stream = StreamConfig(settings=("train_interpolation",), width=48, shutter=ROLLING)
    Trainer(small(rolling_store, tmp_path / "run", stream=stream)).run()
    command = Run(store=rolling_store, run=tmp_path / "run", out=tmp_path / "out")
    assert load_trained(command, torch.device("cpu")).shutter == ROLLING


def test_the_command_line_takes_a_shutter(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["demo", "--stream.shutter.readout", "0.03", "--stream.shutter.offset", "-0.012"]
    assert tyro.extras.overridable_config_cli(presets(), args=arguments).stream.shutter == ROLLING
    assert all(config.stream.shutter.instant for _, config in presets().values())
    with pytest.raises(SystemExit):
        tyro.extras.overridable_config_cli(presets(), args=["demo", "--stream.shutter.readout", "30"])
    assert "give seconds, not milliseconds" in " ".join(capsys.readouterr().err.split())


def test_a_clip_with_a_single_view_cannot_be_trained_on_with_a_shutter(tmp_path: Path) -> None:
    clip = make_clip(setting="train_interpolation", per_frame=30)
    record = replace(clip.record, interpolation_frames=(1,))
    write_store(tmp_path, [replace(clip, record=record, views=clip.views[1:2])])
    scene, data = SceneConfig(sky=SkyConfig(enabled=False)), open_dataset(tmp_path)
    plain, rolling = (
        ClipStream(
            data, StreamConfig(settings=("train_interpolation",), shutter=shutter), scene, 0, torch.device("cpu")
        )
        for shutter in (Shutter(), ROLLING)
    )
    assert len(plain.sample(0).targets) == 1
    with pytest.raises(ValueError, match=r"clip toy-.*front_camera has no view but that of frame 1: .*leave the shutt"):
        rolling.sample(0)
    for each in (plain, rolling):
        each.close()
