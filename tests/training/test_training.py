"""The trainer on toy clips: learning, exact resume, options that do what they say, clear refusals."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evaluation.run_folder.files import CONFIG, WEIGHTS
from evaluation.run_folder.trained import load_trained
from evaluation.run_report.page import write_run_report
from flux4d.cameras.shutter import Shutter
from flux4d.gaussians import ScaleBounds
from flux4d.lift.scene import SceneConfig
from flux4d.lift.sky import SkyConfig
from flux4d.network.weights import load_network
from flux4d.render import render
from flux4d.supervision.losses.total import LossConfig, view_loss
from store_schema.version.dataset import open_dataset
from tests.support.processes.training_runs import command, damage, metrics, numbered, same_weights, small, write_clips
from tests.support.scenes.rolling import street
from tests.support.scenes.toy import make_clip
from tests.support.stores.toy_store import write_store
from training.checkpoint.checkpoint import Learner
from training.command import parse, run
from training.config import CheckpointConfig, EvaluationConfig, LoaderConfig, StreamConfig, TrainConfig, presets
from training.data.clip_stream import ClipStream
from training.data.sample import Sample
from training.loop import Trainer
from training.monitor.callbacks import Silent
from training.optimisation.step import clip_losses
from training.optimisation.step_report import StepReport
from training.optimisation.update import make_learner

ROLLING = Shutter(0.03, -0.012)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("store"))


class Reports(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[StepReport] = []
        self.notes: list[str] = []

    def step(self, report: StepReport, speeds: torch.Tensor | None) -> None:
        self.steps.append(report)

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_training_learns_a_toy_clip(store: Path, tmp_path: Path) -> None:
    reports = Reports()
    config = small(store, tmp_path / "run", steps=30, overfit="toy1-train_interpolation-s000")
    Trainer(config, callback=reports).run()
    first, last = reports.steps[:5], reports.steps[-5:]
    assert sum(r.psnr for r in last) / 5 > sum(r.psnr for r in first) / 5 + 1.0
    assert sum(r.loss for r in last) < sum(r.loss for r in first)
    lines = metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(1, 31))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["dataset_version"] == open_dataset(store).version
    assert record["clips_seen"] == ["toy1-train_interpolation-s000"]
    assert record["frames_seen"] == {"toy1": [[0, 10]]}


class _Interrupted(Silent):
    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, report: StepReport, speeds: torch.Tensor | None) -> None:
        if report.step == self.at:
            raise KeyboardInterrupt


def test_a_resumed_run_ends_bitwise_where_an_uninterrupted_one_does(store: Path, tmp_path: Path) -> None:
    """Mid-epoch (five clips, two a step), with a running mean of the weights and early evaluations."""
    changes = {"ema_decay": 0.9, "clips_per_step": 2, "evaluation": EvaluationConfig(every=2, max_clips=1, pictures=0)}
    Trainer(small(store, tmp_path / "whole", **changes)).run()
    stopped = Trainer(small(store, tmp_path / "parts", **changes), callback=_Interrupted(5))
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    loader = LoaderConfig(workers=1, prefetch=5, memory_clips=1)
    Trainer(small(store, tmp_path / "parts", resume=True, loader=loader, **changes)).run()
    for name in ("weights.safetensors", "checkpoints/step-00000006/optimizer.safetensors"):
        assert same_weights(tmp_path / "whole", tmp_path / "parts", name)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")
    evaluations = [(tmp_path / name / "evaluations.jsonl").read_text() for name in ("whole", "parts")]
    assert evaluations[0] == evaluations[1]
    assert [json.loads(line)["step"] for line in evaluations[0].splitlines()] == [2, 4, 6]
    (again,) = json.loads((tmp_path / "parts/run.json").read_text())["resumed"]
    assert again["step"] == 3
    assert not {"dataset_version", "clips_seen", "frames_seen"} & again.keys()


def test_a_run_that_has_no_checkpoint_yet_begins_with_the_same_command(store: Path, tmp_path: Path) -> None:
    config = small(store, tmp_path / "run", resume=True)
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, callback=_Interrupted(2)).run()
    Trainer(config).run()
    assert [line["step"] for line in metrics(tmp_path / "run")] == list(range(1, 7))


def test_a_run_is_continued_as_it_began(store: Path, tmp_path: Path) -> None:
    first = small(store, tmp_path / "run", steps=2, checkpoint=CheckpointConfig(every=2))
    Trainer(first).run()
    again = replace(first, steps=3, resume=True)
    for changed, message in (
        (replace(again, seed=1), "seed was 0, is 1"),
        (replace(again, scene=replace(again.scene, scale_factor=0.5)), r"scene\.scale_factor was .*, is 0\.5"),
        (replace(again, clips_per_step=2), "clips_per_step was 1, is 2"),
        (
            replace(again, stream=replace(again.stream, shutter=Shutter(0.03))),
            r"stream\.shutter\.readout was 0\.0, is 0\.03",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            Trainer(changed)
    reports = Reports()
    Trainer(replace(again, optimizer=replace(again.optimizer, lr=1e-4)), callback=reports).run()
    assert any("optimizer.lr was 0.01, is 0.0001" in note for note in reports.notes)


def test_a_run_does_not_go_on_with_another_dataset_version(store: Path, tmp_path: Path) -> None:
    first = small(store, tmp_path / "run", steps=2, checkpoint=CheckpointConfig(every=2))
    Trainer(first).run()
    other = write_clips(tmp_path / "other", 4)
    with pytest.raises(ValueError, match=r"version was '[0-9a-f]{64}', is '[0-9a-f]{64}'"):
        Trainer(replace(first, store=str(other), steps=3, resume=True))


def test_old_checkpoints_go_and_runs_are_not_overwritten(store: Path, tmp_path: Path) -> None:
    Trainer(small(store, tmp_path / "run", checkpoint=CheckpointConfig(every=1))).run()
    names = [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())]
    assert names == ["step-00000005", "step-00000006"]
    with pytest.raises(ValueError, match="already holds a run"):
        Trainer(small(store, tmp_path / "run"))


def test_the_best_weights_of_early_evaluations_are_kept(store: Path, tmp_path: Path) -> None:
    changes = {"evaluation": EvaluationConfig(every=1, max_clips=1, pictures=1), "steps": 5}
    Trainer(small(store, tmp_path / "run", **changes)).run()
    rows = [json.loads(line) for line in (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()]
    scores = [row["metrics"]["interpolation/psnr"] for row in rows]
    best = rows[scores.index(max(scores))]
    state = json.loads((tmp_path / "run" / "checkpoints" / "best" / "state.json").read_text())
    assert state["step"] == best["step"]
    assert state["best"] == {"step": best["step"], "metric": "interpolation/psnr", "value": max(scores)}
    assert [row["clips"] for row in rows] == [["toy5-evaluation-s000"]] * 5
    assert len(list((tmp_path / "run" / "pictures").glob("step-*_toy5-evaluation-s000_*.jpg"))) == 5


def test_a_run_can_begin_with_the_weights_of_another(store: Path, tmp_path: Path) -> None:
    Trainer(small(store, tmp_path / "first")).run()
    second = Trainer(small(store, tmp_path / "second", init_from=tmp_path / "first", steps=1))
    first = load_network(tmp_path / "first" / "weights.safetensors").state_dict()
    assert all(torch.equal(value, first[name]) for name, value in second.network.state_dict().items())
    second.run()
    wider = replace(presets()["cpu"][1].network, channels=(8, 24))
    with pytest.raises(ValueError, match="does not fit the network"):
        Trainer(small(store, tmp_path / "third", init_from=tmp_path / "first", network=wider))


def test_one_clip_and_one_frame_can_be_trained_on(store: Path, tmp_path: Path) -> None:
    clip = "toy5-evaluation-s000"
    trainer = Trainer(small(store, tmp_path / "run", overfit=clip, fixed_target_frame=13, steps=3))
    sample = trainer.stream.reload(2)
    assert [target.view.frame for target in sample.targets] == [13]
    trainer.run()
    assert {row["clips"][0] for row in metrics(tmp_path / "run")} == {clip}


def test_accumulated_clips_are_one_step_of_their_mean(store: Path, tmp_path: Path) -> None:
    """The gradient of a step of two clips is the mean of theirs; so is the loss."""
    both = Trainer(small(store, tmp_path / "both", clips_per_step=2, steps=1))
    gradients = []
    losses = []
    for number in (0, 1):
        both.network.zero_grad(set_to_none=True)
        terms, _, _ = clip_losses(both.network, both.stream.reload(number), LossConfig())
        total = torch.stack([loss.total for loss in terms]).mean()
        total.backward()
        losses.append(float(total.detach()))
        gradients.append([p.grad.clone() for p in both.network.parameters()])
    norm = torch.stack([((a + b) / 2).square().sum() for a, b in zip(*gradients, strict=True)]).sum().sqrt()
    both.run()
    [row] = metrics(tmp_path / "both")
    assert row["loss"] == pytest.approx(sum(losses) / 2, rel=1e-6)
    assert row["grad_norm"] == pytest.approx(float(norm), rel=1e-5)


def test_mixed_precision_trains(store: Path, tmp_path: Path) -> None:
    network = replace(presets()["cpu"][1].network, channels=(8, 16), conv_backend="torch")
    reports = Reports()
    config = small(store, tmp_path / "run", precision="bf16", network=network, steps=12)
    Trainer(replace(config, overfit="toy0-train_future-s000"), callback=reports).run()
    assert reports.steps[-1].loss < reports.steps[0].loss
    plain = Reports()
    full = small(store, tmp_path / "full", network=network, steps=1, overfit="toy0-train_future-s000")
    Trainer(full, callback=plain).run()
    assert plain.steps[0].grad_norm != reports.steps[0].grad_norm
    assert plain.steps[0].grad_norm == pytest.approx(reports.steps[0].grad_norm, rel=0.1)


def test_the_running_mean_is_what_is_evaluated(store: Path, tmp_path: Path) -> None:
    trainer = Trainer(small(store, tmp_path / "run", ema_decay=0.9))
    trainer.run()
    stored = load_network(tmp_path / "run" / "weights.safetensors").state_dict()
    assert trainer.learner.ema is not None
    for name, value in trainer.learner.ema.state.items():
        assert torch.equal(stored[name], value)
    assert any(not torch.equal(stored[name], value) for name, value in trainer.network.state_dict().items())


def test_a_damaged_clip_is_left_out_of_its_step(tmp_path: Path) -> None:
    store = write_clips(tmp_path / "store", 4)
    victim = "toy1-train_interpolation-s000"
    damage(store, victim)
    base = small(store, tmp_path / "run", clips_per_step=2, steps=2)
    with pytest.raises(RuntimeError, match=f"clip {victim}, member points.arrow"):
        Trainer(replace(base, out=tmp_path / "strict")).run()
    reports = Reports()
    Trainer(replace(base, stream=replace(base.stream, on_corrupt="skip")), callback=reports).run()
    assert [report.left_out for report in reports.steps] in ([1, 0], [0, 1])
    assert any(victim in note for note in reports.notes)
    alone = replace(base, out=tmp_path / "alone", clips_per_step=1, stream=replace(base.stream, on_corrupt="skip"))
    with pytest.raises(RuntimeError, match="every clip of an epoch is damaged"):
        Trainer(replace(alone, overfit=victim)).run()
    # One clip a step: the step of the damaged one changes nothing, and the run goes on.
    single = Reports()
    Trainer(replace(alone, out=tmp_path / "single", steps=8), callback=single).run()
    assert [report.left_out for report in single.steps].count(1) == 2
    assert [math.isnan(report.loss) for report in single.steps] == [r.left_out == 1 for r in single.steps]


def test_steps_without_a_clip_are_shown_reported_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, folder = write_clips(tmp_path / "store", 3), tmp_path / "run"
    damage(store, "toy1-train_interpolation-s000")
    options = ("--stream.on-corrupt", "skip", "--steps", "6", "--tensorboard")
    assert run(command(store, folder, *options)) == 0
    assert "left out" in capsys.readouterr().err
    assert [row["loss"] is None for row in metrics(folder)].count(True) == 2
    assert "Clips left out" in write_run_report(folder).read_text()
    assert run(["compare", str(folder), str(folder)]) == 0
    assert "identical over 6 common steps" in capsys.readouterr().out


def test_a_step_with_a_clip_left_out_is_the_mean_of_the_others(tmp_path: Path) -> None:
    """Loss and gradient are those of the clip that is left, not half of them."""
    store = write_clips(tmp_path / "store", 2)
    damage(store, "toy1-train_interpolation-s000")
    base = small(store, tmp_path / "both", clips_per_step=2, steps=1)
    both, alone = Reports(), Reports()
    Trainer(replace(base, stream=replace(base.stream, on_corrupt="skip")), callback=both).run()
    Trainer(
        replace(base, out=tmp_path / "one", clips_per_step=1, overfit="toy0-train_future-s000"), callback=alone
    ).run()
    assert both.steps[0].left_out == 1
    assert both.steps[0].loss == alone.steps[0].loss
    assert both.steps[0].grad_norm == pytest.approx(alone.steps[0].grad_norm, rel=1e-6)


def test_a_loss_scale_changes_nothing_in_fp32(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of fp16, with a scaler on the CPU: powers of two scale exactly, and an overflow skips its step."""
    Trainer(small(store, tmp_path / "plain")).run()

    def scaled(config: TrainConfig, device: torch.device) -> Learner:
        learner = make_learner(config, device)
        learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        learner.scaler.scale(torch.zeros(()))
        return learner

    monkeypatch.setattr("training.loop.make_learner", scaled)
    Trainer(small(store, tmp_path / "scaled")).run()
    assert same_weights(tmp_path / "plain", tmp_path / "scaled")
    trainer = Trainer(small(store, tmp_path / "over", steps=1))
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    assert trainer.learner.scaler is not None
    trainer.learner.scaler.load_state_dict({**trainer.learner.scaler.state_dict(), "scale": 2.0**127 * 1.5})
    trainer.learner.scaler.scale(torch.zeros(()))
    report, _ = trainer.train_step()
    assert not math.isfinite(report.grad_norm)
    assert all(torch.equal(value, before[name]) for name, value in trainer.network.state_dict().items())
    assert trainer.learner.scaler.get_scale() < 2.0**127 * 1.5
    trainer.close()


def test_only_one_process_writes_a_run(store: Path, tmp_path: Path) -> None:
    config = small(store, tmp_path / "run", resume=True)
    first = Trainer(config)
    with pytest.raises(ValueError, match="is being written by another process"):
        Trainer(config)
    first.close()
    Trainer(config).run()


def test_a_run_that_begins_anew_says_of_which_data(store: Path, tmp_path: Path) -> None:
    """Stopped before the first checkpoint, continued on another version: the record is that of what was trained on."""
    config = small(store, tmp_path / "run", resume=True)
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, callback=_Interrupted(2)).run()
    other = write_clips(tmp_path / "other", 3)
    Trainer(replace(config, store=str(other))).run()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["dataset_version"] == open_dataset(other).version
    assert len(record["clips_seen"]) == 3


def test_a_damaged_evaluation_clip_is_found_before_the_first_step(tmp_path: Path) -> None:
    store = write_clips(tmp_path / "store", 2)
    damage(store, "toy2-evaluation-s000")
    with pytest.raises(RuntimeError, match=r"before the first early evaluation: .*clip toy2-evaluation-s000"):
        Trainer(small(store, tmp_path / "run", evaluation=EvaluationConfig(every=2)))


def test_what_cannot_be_trained_on_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not in dataset version"):
        Trainer(small(store, tmp_path / "a", overfit="nowhere"))
    only = write_clips(tmp_path / "store", 1)
    with pytest.raises(ValueError, match=r"no clip with split train and settings \['train_interpolation'\]"):
        Trainer(small(only, tmp_path / "b", stream=StreamConfig(settings=("train_interpolation",))))
    with pytest.raises(ValueError, match=r"no target frame 2, but \[1, 3"):
        Trainer(small(store, tmp_path / "c", fixed_target_frame=2))
    with pytest.raises(ValueError, match="evaluation clips"):
        Trainer(small(store, tmp_path / "d", evaluation=EvaluationConfig(every=1, clips=("nowhere",))))
    write_store(tmp_path / "none", [numbered(0)])
    with pytest.raises(ValueError, match="has no evaluation clip of the test split"):
        Trainer(small(tmp_path / "none", tmp_path / "e", evaluation=EvaluationConfig(every=1)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none", "store"]


def test_options_that_would_do_nothing_are_errors(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fp16 needs CUDA"):
        Trainer(small(store, tmp_path / "a", precision="fp16", device="cpu"))
    with pytest.raises(ValueError, match=r"fp32 or fp16, or --network\.conv-backend torch"):
        Trainer(small(store, tmp_path / "b", precision="bf16", device="cpu"))
    with pytest.raises(ValueError, match="never reached in 6 steps"):
        Trainer(small(store, tmp_path / "c", evaluation=EvaluationConfig(every=7)))
    for wrong, message in (
        ({"cache_gb": 1.0}, r"no effect without --loader\.cache"),
        ({"workers": 0}, "must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            LoaderConfig(**wrong)
    for clips in (("a", "a"), ("a", "b", "c")):
        with pytest.raises(ValueError, match="name each clip once"):
            EvaluationConfig(every=1, clips=clips, max_clips=2 if len(clips) == 3 else 4)
    with pytest.raises(ValueError, match=r"no effect without --evaluation\.every"):
        EvaluationConfig(max_clips=2)
    with pytest.raises(ValueError, match="both name the clips"):
        TrainConfig(overfit="a", stream=StreamConfig(clips=("b",)))


def test_the_network_keeps_to_the_scales_that_scenes_are_lifted_with(store: Path, tmp_path: Path) -> None:
    config = small(store, tmp_path / "run", steps=1, scene=SceneConfig(min_scale=0.02, max_scale=0.1))
    config = replace(config, network=replace(config.network, motion_order=1))
    trainer = Trainer(config)
    assert trainer.network.scale_bounds == config.scene.scale_bounds
    trainer.run()
    network = load_network(tmp_path / "run" / WEIGHTS)
    assert (network.scale_bounds, network.config.motion_order) == (ScaleBounds(0.02, 0.1), 1)
    settings = json.loads((tmp_path / "run" / CONFIG).read_text())
    assert "motion_order" not in settings["scene"]
    assert not {"min_scale", "max_scale"} & settings["network"].keys()


def test_the_command_line_knows_its_options(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("paper", "small", "cpu"):
        assert parse([name]) == presets()[name][1]
    for wrong in (["cpu", "--learning-rate", "1"], ["cpu", "--stream.cached-clips", "4"], ["nothing"]):
        with pytest.raises(SystemExit):
            parse(wrong)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in ("paper", "small", "cpu", "compare", "replay"))


def test_clips_that_are_lifted_again_and_again_are_told_of(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = command(store, tmp_path / "few", "--steps", "1", "--loader.memory-clips", "2")
    assert run(few) == 0
    assert "no --loader.cache: every clip is lifted again in every epoch" in " ".join(capsys.readouterr().err.split())
    assert run(command(store, tmp_path / "all", "--steps", "1")) == 0
    assert "lifted again" not in capsys.readouterr().err


def test_the_command_line_reports_errors(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cpu", "--store", str(tmp_path / "none"), "--out", str(tmp_path / "run")]) == 1
    assert "holds no dataset version" in " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def rolling_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip whose images were taken with `ROLLING`."""
    folder = tmp_path_factory.mktemp("rolling")
    write_store(folder, [street(ROLLING, setting="train_interpolation")[0]])
    return folder


def sample_of(store: Path, **changes: Shutter) -> Sample:
    config = StreamConfig(settings=("train_interpolation",), views_per_step=5, **changes)
    stream = make_stream(store, config, SceneConfig())
    sample = next(stream)
    stream.close()
    assert isinstance(sample, Sample)
    return sample


def make_stream(store: Path, config: StreamConfig, scene: SceneConfig) -> ClipStream:
    loader = LoaderConfig(workers=1, prefetch=1)
    return ClipStream(open_dataset(store), config, loader, scene, seed=0, device=torch.device("cpu"))


def as_lifted(sample: Sample) -> list:
    """Losses of the scene as it was lifted."""
    return clip_losses(lambda gaussians, _: gaussians, sample, LossConfig())[0]  # type: ignore[arg-type]


def test_colours_are_learned_through_the_shutter_and_depth_without(rolling_store: Path) -> None:
    plain, rolling = as_lifted(sample_of(rolling_store)), as_lifted(sample_of(rolling_store, shutter=ROLLING))
    assert len(plain) == len(rolling) == 5
    for before, after in zip(plain, rolling, strict=True):
        assert after.terms["l1"] < before.terms["l1"]
        assert after.terms["ssim"] < before.terms["ssim"]
        assert torch.equal(after.terms["depth"], before.terms["depth"])


def test_without_a_shutter_the_loss_is_that_of_one_plain_rendering(
    rolling_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = sample_of(rolling_store)
    calls: list[int] = []
    monkeypatch.setattr("flux4d.supervision.recorded.render", lambda *a, **k: calls.append(1) or render(*a, **k))
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
    torch.stack([loss.terms["depth"] for loss in as_lifted(moved)]).sum().backward()
    assert means.grad is not None
    assert means.grad.abs().max() > 0


def test_a_run_with_a_shutter_is_evaluated_with_it(rolling_store: Path, tmp_path: Path) -> None:
    stream = StreamConfig(settings=("train_interpolation",), width=48, shutter=ROLLING)
    Trainer(small(rolling_store, tmp_path / "run", stream=stream)).run()
    trained = load_trained(tmp_path / "run", None, "cpu")
    assert trained is not None
    assert trained.shutter == ROLLING


def test_the_command_line_takes_a_shutter(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["cpu", "--stream.shutter.readout", "0.03", "--stream.shutter.offset", "-0.012"]
    parsed = parse(arguments)
    assert isinstance(parsed, TrainConfig)
    assert parsed.stream.shutter == ROLLING
    assert all(config.stream.shutter.instant for _, config in presets().values())
    with pytest.raises(SystemExit):
        parse(["cpu", "--stream.shutter.readout", "30"])
    assert "give seconds, not milliseconds" in " ".join(capsys.readouterr().err.split())


def test_a_clip_with_a_single_view_cannot_be_trained_on_with_a_shutter(tmp_path: Path) -> None:
    clip = make_clip(setting="train_interpolation", per_frame=30)
    record = replace(clip.record, interpolation_frames=(1,))
    write_store(tmp_path, [replace(clip, record=record, views=clip.views[1:2])])
    scene = SceneConfig(sky=SkyConfig(enabled=False))
    plain, rolling = (
        make_stream(tmp_path, StreamConfig(settings=("train_interpolation",), shutter=shutter), scene)
        for shutter in (Shutter(), ROLLING)
    )
    first = next(plain)
    assert isinstance(first, Sample)
    assert len(first.targets) == 1
    with pytest.raises(ValueError, match=r"clip toy-.*front_camera has no view but that of frame 1: .*leave the shutt"):
        next(rolling)
    for each in (plain, rolling):
        each.close()
