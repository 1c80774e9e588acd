"""Which settings a run may be continued with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from flux4d.cameras.shutter import Shutter
from training.config import CheckpointConfig, EvaluationConfig, LoaderConfig, TrainConfig, presets
from training.run_folder.resume import FIXED, NOTED, require_same_settings


def record(config: TrainConfig, change: Callable[[dict[str, Any]], object] = lambda settings: None) -> None:
    settings = json.loads(json.dumps(asdict(config), default=str))
    change(settings)
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "config.json").write_text(json.dumps(settings))


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return replace(presets()["cpu"][1], out=tmp_path / "run", overfit="a", ema_decay=0.9)


CHANGES: dict[str, tuple[Callable[[TrainConfig], TrainConfig], str]] = {
    "scene": (
        lambda c: replace(c, scene=replace(c.scene, scale_factor=0.5)),
        r"scene\.scale_factor was 0\.35, is 0\.5",
    ),
    "sky": (
        lambda c: replace(c, scene=replace(c.scene, sky=replace(c.scene.sky, enabled=False))),
        r"scene\.sky\.enabled was True, is False",
    ),
    "network": (lambda c: replace(c, network=replace(c.network, blocks=3)), r"network\.blocks was 1, is 3"),
    "channels": (
        lambda c: replace(c, network=replace(c.network, channels=(4, 8))),
        r"network\.channels was \[16, 32, 48, 64\], is \[4, 8\]",
    ),
    "loss": (lambda c: replace(c, loss=replace(c.loss, depth=0.5)), r"loss\.depth was .*, is 0\.5"),
    "stream": (lambda c: replace(c, stream=replace(c.stream, width=64)), r"stream\.width was None, is 64"),
    "corrupt": (lambda c: replace(c, stream=replace(c.stream, on_corrupt="skip")), "stream.on_corrupt was 'error'"),
    "shutter": (
        lambda c: replace(c, stream=replace(c.stream, shutter=Shutter(0.03))),
        r"stream\.shutter\.readout was 0\.0, is 0\.03",
    ),
    "seed": (lambda c: replace(c, seed=1), "seed was 0, is 1"),
    "clips_per_step": (lambda c: replace(c, clips_per_step=2), "clips_per_step was 1, is 2"),
    "precision": (lambda c: replace(c, precision="bf16"), "precision was 'fp32', is 'bf16'"),
    "ema_decay": (lambda c: replace(c, ema_decay=None), r"ema_decay was 0\.9, is None"),
    "overfit": (lambda c: replace(c, overfit="b"), "overfit was 'a', is 'b'"),
    "fixed_target_frame": (lambda c: replace(c, fixed_target_frame=3), "fixed_target_frame was None, is 3"),
}


def test_every_fixed_setting_is_tried() -> None:
    assert set(FIXED) <= CHANGES.keys()
    names = set(asdict(TrainConfig()))
    assert set(FIXED) | set(NOTED) <= names
    assert not set(FIXED) & set(NOTED)


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_run_is_may_not_change(config: TrainConfig, name: str) -> None:
    record(config)
    change, message = CHANGES[name]
    with pytest.raises(ValueError, match=message) as caught:
        require_same_settings(change(config))
    assert "give its own, or start a new --out" in str(caught.value)


def test_all_differences_are_in_one_message(config: TrainConfig) -> None:
    record(config)
    other = replace(config, seed=1, scene=replace(config.scene, scale_factor=0.5, seed=4), steps=9)
    with pytest.raises(ValueError, match="seed was") as caught:
        require_same_settings(other)
    for part in ("scene.scale_factor was 0.35, is 0.5", "scene.seed was 0, is 4", "; seed was 0, is 1"):
        assert part in str(caught.value)
    assert "steps" not in str(caught.value)


def test_the_same_settings_go_on_without_a_word(config: TrainConfig) -> None:
    record(config)
    elsewhere = replace(
        config,
        store="s3://other/store",
        resume=True,
        device="cpu",
        profile=True,
        tensorboard=False,
        checkpoint=CheckpointConfig(every=7, keep=1),
        loader=LoaderConfig(workers=5, cache=Path("/tmp/cache")),
    )
    assert require_same_settings(config) == []
    assert require_same_settings(elsewhere) == []


def test_a_change_of_the_schedule_is_allowed_and_told(config: TrainConfig) -> None:
    record(config)
    longer = replace(config, steps=999, optimizer=replace(config.optimizer, lr=1e-4))
    assert require_same_settings(longer) == ["optimizer.lr was 0.005, is 0.0001", "steps was 240, is 999"]
    scored = replace(config, evaluation=EvaluationConfig(every=5), init_from=Path("x"))
    assert require_same_settings(scored) == ["evaluation.every was 0, is 5", "init_from was None, is 'x'"]


def test_a_run_of_before_a_setting_was_made_as_then(config: TrainConfig) -> None:
    def older(settings: dict[str, Any]) -> None:
        for name in ("max_spread", "camera_clearance"):
            del settings["scene"][name]
        del settings["stream"]["shutter"], settings["stream"]["on_corrupt"], settings["network"]["max_offset"]
        for name in ("clips_per_step", "precision", "fixed_target_frame", "evaluation", "loader"):
            del settings[name]
        settings |= {"checkpoint_every": 500, "keep_checkpoints": 2}
        settings["stream"]["cached_clips"] = 4

    record(config, older)
    with pytest.raises(ValueError, match=r"scene\.max_spread was None, is 1\.0") as caught:
        require_same_settings(config)
    assert "scene.camera_clearance was 0.0, is 1.5" in str(caught.value)
    as_then = replace(config, scene=replace(config.scene, max_spread=None, camera_clearance=0.0))
    assert require_same_settings(as_then) == []
    for changed, message in (
        (replace(as_then, stream=replace(as_then.stream, shutter=Shutter(0.03))), r"readout was 0\.0, is 0\.03"),
        (replace(as_then, clips_per_step=4), "clips_per_step was 1, is 4"),
        (replace(as_then, network=replace(as_then.network, max_offset=2.0)), r"max_offset was 1\.0, is 2\.0"),
    ):
        with pytest.raises(ValueError, match=message):
            require_same_settings(changed)


def test_a_loss_term_that_a_run_does_not_name_had_no_weight(config: TrainConfig) -> None:
    """Its default would be another training than that of the first steps."""
    record(config, lambda settings: settings["loss"].pop("velocity"))
    with pytest.raises(ValueError, match=r"loss\.velocity was 0\.0, is 0\.005"):
        require_same_settings(config)
    assert require_same_settings(replace(config, loss=replace(config.loss, velocity=0.0))) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda s: s.update(shiny=1), "shiny"),
        (lambda s: s["loss"].update(beauty=1.0), r"loss\.beauty"),
        (lambda s: s["stream"].update(mirror=True), r"stream\.mirror"),
        (lambda s: s["scene"]["sky"].update(colour=1), r"scene\.sky\.colour"),
        (lambda s: s["loader"].update(magic=1), r"loader\.magic"),
    ],
)
def test_settings_of_a_newer_version_are_refused(config: TrainConfig, change: Any, name: str) -> None:
    record(config, change)
    with pytest.raises(ValueError, match=rf"does not know \({name}\): continue the run with the version"):
        require_same_settings(config)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "is missing"), ('{"seed": ', "is torn"), ("", "is torn"), ("[1]", "no JSON object")]
)
def test_a_run_whose_settings_are_lost_is_not_continued(config: TrainConfig, content: str | None, message: str) -> None:
    (config.out / "checkpoints" / "step-00000005").mkdir(parents=True)
    if content is not None:
        (config.out / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        require_same_settings(config)
    assert "config.json" in str(caught.value)
    assert f"--init-from {config.out}" in str(caught.value)


def test_a_run_that_has_nothing_yet_begins(config: TrainConfig) -> None:
    assert require_same_settings(config) == []
    config.out.mkdir()
    (config.out / "config.json").write_text('{"seed"')
    assert require_same_settings(config) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(scene=3), "scene must be an object, a SceneConfig, got 3"),
        (lambda s: s["scene"]["sky"].update(enabled="yes"), r"scene\.sky\.enabled must be true or false, got 'yes'"),
        (lambda s: s["network"].update(norm="mean"), r"network\.norm must be one of .*, got 'mean'"),
        (lambda s: s["loader"].update(workers=0), "loader: workers, prefetch"),
    ],
)
def test_a_setting_of_another_kind_is_named(config: TrainConfig, change: Any, message: str) -> None:
    record(config, change)
    with pytest.raises(ValueError, match=rf"config\.json holds a setting that .*\({message}"):
        require_same_settings(config)


def said_twice(settings: dict[str, Any], **changes: Any) -> None:
    """As runs recorded it that set motion order and scale bounds for scene and network."""
    settings["scene"]["motion_order"] = settings["network"]["motion_order"]
    settings["network"] |= {name: settings["scene"][name] for name in ("min_scale", "max_scale")}
    for name, value in changes.items():
        part, key = name.split("__")
        settings[part][key] = value


def test_a_run_that_recorded_a_setting_twice_goes_on(config: TrainConfig) -> None:
    config = replace(config, network=replace(config.network, motion_order=1))
    record(config, said_twice)
    assert require_same_settings(config) == []
    with pytest.raises(ValueError, match=r"network\.motion_order was 1, is 0"):
        require_same_settings(replace(config, network=replace(config.network, motion_order=0)))


@pytest.mark.parametrize("change", [{"scene__motion_order": 1}, {"network__max_scale": 0.5}])
def test_a_run_whose_two_recordings_contradict_is_not_continued(config: TrainConfig, change: dict[str, Any]) -> None:
    record(config, lambda settings: said_twice(settings, **change))
    with pytest.raises(ValueError, match=rf"does not know \({next(iter(change)).replace('__', '.')}\)"):
        require_same_settings(config)
