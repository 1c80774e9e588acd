"""Checkpoints: exact restore, refusal of what does not fit, damage, kills at every file operation, a full disk."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from flux4d.network.model import Flux4D, NetworkConfig
from flux4d.network.voxelize import VoxelConfig
from flux4d.network.weights import load_network, save_weights
from training.checkpoint.checkpoint import (
    CheckpointError,
    Learner,
    Progress,
    checkpoint_folders,
    load_checkpoint,
    load_initial,
    save_best,
    save_checkpoint,
)
from training.checkpoint.ema import Ema
from training.checkpoint.files import open_sealed

CONFIG = NetworkConfig(channels=(4, 6), blocks=1, head_width=8, conv_backend="torch", voxels=VoxelConfig(size=0.5))
SILENT = pytest.fail  # whoever warns without need


def make(*, ema: bool = True, scaler: bool = True, seed: int = 0, **changes: Any) -> Learner:
    network = Flux4D(replace(CONFIG, seed=seed, **changes))
    return Learner(
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-2),
        ema=Ema(network, 0.99) if ema else None,
        scaler=torch.amp.GradScaler("cpu", growth_interval=3) if scaler else None,
    )


def train(learner: Learner, first: int, last: int) -> None:
    """Steps whose gradients come from torch's generator: they are repeated only if all of the state is."""
    for step in range(first, last):
        learner.optimizer.param_groups[0]["lr"] = 1e-2 / (1 + step)
        for parameter in learner.network.parameters():
            parameter.grad = torch.randn_like(parameter)
        if learner.scaler is None:
            learner.optimizer.step()
        else:
            learner.scaler.scale(torch.ones(()))
            learner.scaler.step(learner.optimizer)
            learner.scaler.update()
        if learner.ema is not None:
            learner.ema.update(learner.network, step)


def progress(step: int) -> Progress:
    best = {"step": step, "metric": "psnr", "value": 20.1 + step}
    return Progress(step=step, stream={"number": 4 * step}, dataset_version="abc", best=best)


def save(run: Path, learner: Learner, step: int, keep: int = 2) -> Path:
    return save_checkpoint(run, learner, progress(step), keep)


def everything(learner: Learner) -> dict[str, Any]:
    """All that a checkpoint restores, as bytes."""
    tensors = {f"network {name}": tensor for name, tensor in learner.network.state_dict().items()}
    if learner.ema is not None:
        tensors |= {f"ema {name}": tensor for name, tensor in learner.ema.state.items()}
    for index, values in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"adam {index} {name}": tensor for name, tensor in values.items()}
    found: dict[str, Any] = {name: tensor.detach().numpy().tobytes() for name, tensor in tensors.items()}
    found["random"] = torch.get_rng_state().numpy().tobytes()
    found["scaler"] = None if learner.scaler is None else learner.scaler.state_dict()
    found["lr"] = learner.optimizer.param_groups[0]["lr"]
    return found


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(3)


@pytest.mark.parametrize("ema", [True, False])
@pytest.mark.parametrize("scaler", [True, False])
def test_a_restored_run_goes_on_bit_for_bit(tmp_path: Path, ema: bool, scaler: bool) -> None:
    whole = make(ema=ema, scaler=scaler)
    train(whole, 0, 5)
    folder = save(tmp_path, whole, 5)
    at_five = everything(whole)
    train(whole, 5, 9)
    again = make(ema=ema, scaler=scaler, seed=7)
    train(again, 0, 2)
    torch.manual_seed(99)
    assert load_checkpoint(tmp_path, again, SILENT) == progress(5)
    assert everything(again) == at_five
    train(again, 5, 9)
    assert everything(again) == everything(whole)
    files = {"weights.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json"}
    assert {path.name for path in folder.iterdir()} == files | ({"ema.safetensors"} if ema else set())
    evaluated = folder / ("ema.safetensors" if ema else "weights.safetensors")
    assert (tmp_path / "weights.safetensors").read_bytes() == evaluated.read_bytes()


def test_saving_changes_nothing_and_gives_the_same_bytes(tmp_path: Path) -> None:
    learner = make()
    train(learner, 0, 3)
    before = everything(learner)
    folders = [save(tmp_path / name, learner, 3) for name in "ab"]
    assert everything(learner) == before
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes(), path.name


def test_before_the_first_step_and_with_untouched_parameters(tmp_path: Path) -> None:
    learner = make()
    save(tmp_path, learner, 0)
    again = make(seed=1)
    train(again, 0, 1)
    assert load_checkpoint(tmp_path, again, SILENT) == progress(0)
    assert again.optimizer.state_dict()["state"] == {}
    for parameter in list(learner.network.parameters())[1:]:
        parameter.grad = torch.ones_like(parameter)
    learner.optimizer.step()
    save(tmp_path, learner, 1)
    load_checkpoint(tmp_path, again, SILENT)
    assert everything(again) == everything(learner)
    assert 0 not in again.optimizer.state_dict()["state"]


def test_optimizer_state_goes_by_name_not_by_order(tmp_path: Path) -> None:
    learner = make()
    train(learner, 0, 3)
    folder = save(tmp_path, learner, 3)
    tensors = load_file(folder / "optimizer.safetensors")
    names = [name for name, _ in learner.network.named_parameters()]
    assert tensors.keys() == {f"{name}.{field}" for name in names for field in ("exp_avg", "exp_avg_sq", "step")}
    again = make(seed=1)
    again.optimizer = torch.optim.Adam(reversed(list(again.network.parameters())), lr=1e-2)
    load_checkpoint(tmp_path, again, SILENT)
    for (name, mine), theirs in zip(again.network.named_parameters(), learner.network.parameters(), strict=True):
        for field, value in learner.optimizer.state[theirs].items():
            assert torch.equal(again.optimizer.state[mine][field], value), (name, field)


def test_a_new_run_has_none(tmp_path: Path) -> None:
    learner = make()
    before = everything(learner)
    assert load_checkpoint(tmp_path / "none", learner, SILENT) is None
    (tmp_path / "checkpoints" / "best").mkdir(parents=True)
    assert load_checkpoint(tmp_path, learner, SILENT) is None
    assert checkpoint_folders(tmp_path) == []
    assert everything(learner) == before
    assert not (tmp_path / "none").exists()


def test_the_newest_are_kept_and_others_are_no_checkpoints(tmp_path: Path) -> None:
    learner = make()
    save_best(tmp_path, learner, progress(1))
    for step in (99_999_999, 100_000_000, 100_000_001):
        save(tmp_path, learner, step)
    (tmp_path / "checkpoints" / ".tmp-1-step-00000009").mkdir()
    (tmp_path / "checkpoints" / "step-copy").mkdir()
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["step-100000000", "step-100000001"]
    assert load_checkpoint(tmp_path, learner, SILENT) == progress(100_000_001)


def adam(learner: Learner, **options: Any) -> None:
    learner.optimizer = torch.optim.Adam(learner.network.parameters(), **options)


@pytest.mark.parametrize(
    ("other", "messages"),
    [
        (
            lambda: make(channels=(4, 6, 8)),
            [
                r"missing unet\.downs\.1\.conv\.weight",
                r"optimiser: missing unet\.downs\.1\.conv\.weight\.exp_avg_sq",
                r"running mean: missing unet\.downs\.1",
            ],
        ),
        (
            lambda: make(head_width=16),
            [
                r"residual_head\.hidden\.bias: file \(8,\)",
                r"optimiser: residual_head\.hidden\.bias\.exp_avg: file \(8,\)",
            ],
        ),
        (lambda: make(norm="clip", blocks=1, velocity_unit=5.0), ["config norm", r"config velocity_unit: file 3\.0"]),
        (lambda: make(ema=False), ["the checkpoint has one, this run keeps none: give its --ema-decay"]),
        (lambda: make(scaler=False), ["loss scale: the checkpoint has a scale, this run wants no"]),
    ],
)
def test_another_network_or_optimiser_is_refused_whole(
    tmp_path: Path, other: Callable[[], Learner], messages: list[str]
) -> None:
    learner = make()
    train(learner, 0, 2)
    save(tmp_path, learner, 2)
    target = other()
    before = everything(target)
    with pytest.raises(ValueError, match=messages[0]) as caught:
        load_checkpoint(tmp_path, target, SILENT)
    for message in messages:
        assert re.search(message, str(caught.value)), message
    count = int(re.search(r"(\d+) differences:", str(caught.value))[1])  # type: ignore[index]
    assert len(str(caught.value).splitlines()) == count + 2
    assert everything(target) == before


def test_a_running_mean_or_loss_scale_that_is_not_there_is_refused(tmp_path: Path) -> None:
    save(tmp_path, make(ema=False, scaler=False), 2)
    with pytest.raises(ValueError, match="leave --ema-decay out") as caught:
        load_checkpoint(tmp_path, make(), SILENT)
    assert "this run wants a" in str(caught.value)


def test_another_optimiser_is_refused_but_not_another_learning_rate(tmp_path: Path) -> None:
    learner = make()
    train(learner, 0, 2)
    save(tmp_path, learner, 2)
    target = make()
    adam(target, lr=0.5)
    load_checkpoint(tmp_path, target, SILENT)
    assert target.optimizer.param_groups[0]["lr"] == learner.optimizer.param_groups[0]["lr"]
    adam(target, betas=(0.8, 0.99), amsgrad=True)
    before = everything(target)
    with pytest.raises(
        ValueError, match=r"optimiser betas: checkpoint \[0\.9, 0\.999\], this run \[0\.8, 0\.99\]"
    ) as caught:
        load_checkpoint(tmp_path, target, SILENT)
    assert "optimiser amsgrad: checkpoint False, this run True" in str(caught.value)
    target.optimizer = torch.optim.AdamW(target.network.parameters())  # type: ignore[assignment]
    with pytest.raises(ValueError, match="optimiser: checkpoint Adam, this run AdamW"):
        load_checkpoint(tmp_path, target, SILENT)
    first, *rest = target.network.parameters()
    target.optimizer = torch.optim.Adam([{"params": [first]}, {"params": rest}])
    with pytest.raises(ValueError, match="optimiser groups: checkpoint 1, this run 2"):
        load_checkpoint(tmp_path, target, SILENT)
    assert {k: v for k, v in everything(target).items() if k.startswith("network")} == {
        k: v for k, v in before.items() if k.startswith("network")
    }


def test_checkpoints_of_other_versions_are_refused(tmp_path: Path) -> None:
    learner = make()
    folder = save(tmp_path, learner, 2)
    state = folder / "state.json"
    state.write_text(json.dumps({"step": 2, "optimizer": {"param_groups": []}}))
    with pytest.raises(ValueError, match=r"older version .* --init-from"):
        load_checkpoint(tmp_path, learner, SILENT)


def damage_bit(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped early": lambda path: damage_bit(path, 0.01),
    "flipped in the middle": lambda path: damage_bit(path, 0.5),
    "flipped late": lambda path: damage_bit(path, 0.99),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "gone": lambda path: path.unlink(),
}
FILES = ("weights.safetensors", "ema.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path: Path, file: str, damage: str) -> None:
    learner = make()
    train(learner, 0, 2)
    older = save(tmp_path, learner, 2)
    at_two = everything(learner)
    train(learner, 2, 4)
    newer = save(tmp_path, learner, 4)
    DAMAGES[damage](newer / file)
    warnings: list[str] = []
    again = make(seed=1)
    assert load_checkpoint(tmp_path, again, warnings.append) == progress(2)
    assert everything(again) == at_two
    assert len(warnings) == 1
    assert f"{newer}: {file} " in warnings[0]
    assert "going on from step-00000002" in warnings[0]
    # The run's weights are those of the step it goes on from, and the next save makes the newest checkpoint.
    assert (tmp_path / "weights.safetensors").read_bytes() == (older / "ema.safetensors").read_bytes()
    train(again, 2, 3)
    save(tmp_path, again, 3, keep=1)
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["step-00000003"]
    assert load_checkpoint(tmp_path, make(), SILENT) == progress(3)


def test_a_damaged_checkpoint_is_written_again(tmp_path: Path) -> None:
    learner = make()
    save(tmp_path, learner, 2)
    newer = save(tmp_path, learner, 4)
    damage_bit(newer / "weights.safetensors", 0.5)
    save(tmp_path, learner, 4)
    assert load_checkpoint(tmp_path, learner, SILENT) == progress(4)


def test_when_all_are_damaged_each_is_listed(tmp_path: Path) -> None:
    learner = make()
    folders = [save(tmp_path, learner, step) for step in (2, 4)]
    damage_bit(folders[0] / "rng.safetensors", 0.5)
    (folders[1] / "ema.safetensors").unlink()
    before = everything(learner)
    with pytest.raises(ValueError, match=r"no checkpoint of .* is whole") as caught:
        load_checkpoint(tmp_path, learner, SILENT)
    assert f"{folders[0]}: rng.safetensors is not what was written" in str(caught.value)
    assert f"{folders[1]}: ema.safetensors cannot be read (No such file or directory)" in str(caught.value)
    assert everything(learner) == before


@pytest.mark.parametrize("ema", [True, False])
def test_weights_behind_the_checkpoint_are_put_right(tmp_path: Path, ema: bool) -> None:
    learner = make(ema=ema)
    save(tmp_path, learner, 2)
    stale = (tmp_path / "weights.safetensors").read_bytes()
    train(learner, 2, 4)
    save(tmp_path, learner, 4)
    right = (tmp_path / "weights.safetensors").read_bytes()
    assert right != stale
    for wrong in (stale, right[:-1], None):
        (tmp_path / "weights.safetensors").unlink()
        if wrong is not None:
            (tmp_path / "weights.safetensors").write_bytes(wrong)
        load_checkpoint(tmp_path, learner, SILENT)
        assert (tmp_path / "weights.safetensors").read_bytes() == right


@pytest.mark.parametrize("ema", [True, False])
def test_the_best_weights_are_those_to_evaluate(tmp_path: Path, ema: bool) -> None:
    learner = make(ema=ema)
    for step in (2, 4):
        train(learner, step - 2, step)
        folder = save_best(tmp_path, learner, progress(step))
    assert folder == tmp_path / "checkpoints" / "best"
    assert sorted(path.name for path in folder.iterdir()) == ["state.json", "weights.safetensors"]
    state = json.loads((folder / "state.json").read_text())
    assert state["best"] == progress(4).best
    assert state["weights"] == ("ema" if ema else "network")
    wanted = learner.network.state_dict() if learner.ema is None else learner.ema.state
    assert all(
        torch.equal(tensor, wanted[name])
        for name, tensor in load_network(folder / "weights.safetensors").state_dict().items()
    )


def test_init_from_a_run_or_a_file(tmp_path: Path) -> None:
    learner = make()
    train(learner, 0, 3)
    folder = save(tmp_path, learner, 3)
    assert learner.ema is not None
    network = Flux4D(replace(CONFIG, seed=5))
    load_initial(tmp_path, network)
    assert all(torch.equal(tensor, learner.ema.state[name]) for name, tensor in network.state_dict().items())
    load_initial(folder / "weights.safetensors", network)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), learner.network.parameters(), strict=True))
    with pytest.raises(ValueError, match="does not fit the network"):
        load_initial(tmp_path, Flux4D(replace(CONFIG, head_width=16)))
    for nothing in (tmp_path / "none", tmp_path / "checkpoints"):
        with pytest.raises(FileNotFoundError, match="--init-from wants a run folder"):
            load_initial(nothing, network)


class Killed(BaseException):
    pass


class Killer:
    """The process dies before a file operation: that and all later ones, cleaning up included, do not happen.

    A file that is being written then has half of its bytes.
    """

    OPERATIONS = ("fsync", "link", "mkdir", "rename", "replace", "rmdir", "unlink")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, point: int) -> None:
        self.done, self.point = 0, point
        for name in self.OPERATIONS:
            monkeypatch.setattr(os, name, self.counted(getattr(os, name)))
        write = Path.write_bytes

        def write_bytes(path: Path, data: bytes) -> int:
            if self.done + 1 == self.point:
                write(path, data[: len(data) // 2])
            self.count()
            return write(path, data)

        monkeypatch.setattr(Path, "write_bytes", write_bytes)

    def count(self) -> None:
        self.done += 1
        if self.done >= self.point:
            raise Killed

    def counted(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.count()
            return operation(*arguments, **options)

        return call


def killed_at_every_operation(act: Callable[[], object], prepare: Callable[[], object]) -> Iterator[int]:
    """Yields after each kill; ends when `act` is through without one."""
    for point in range(1, 500):
        prepare()
        with pytest.MonkeyPatch.context() as monkeypatch:
            killer = Killer(monkeypatch, point)
            try:
                act()
            except Killed:
                assert killer.done >= point
            else:
                return
        yield point
    raise AssertionError("never done")


@pytest.mark.parametrize("existing", [False, True])
def test_killed_before_any_operation_of_a_save(tmp_path: Path, existing: bool) -> None:
    """The next start finds the old state or the new one, never an error, never a mix."""
    start, run = tmp_path / "start", tmp_path / "run"
    learner = make()
    train(learner, 0, 2)
    save(start, learner, 2, keep=1)
    old = everything(learner)
    if existing:  # the very folder is replaced
        new_step = 2
    else:
        new_step = 3
        train(learner, 2, 3)
    new = everything(learner)

    def prepare() -> None:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(start, run)

    points, outcomes = 0, []
    for _ in killed_at_every_operation(lambda: save(run, learner, new_step, keep=1), prepare):
        points += 1
        for folder in checkpoint_folders(run):
            open_sealed(folder)  # nothing that is half there, or half gone, has a checkpoint's name
        assert all(path.name.startswith((".tmp-", "step-")) for path in (run / "checkpoints").iterdir())
        again = make(seed=1)
        found = load_checkpoint(run, again, SILENT)
        assert found in (progress(2), progress(new_step))
        assert found is not None
        outcomes.append(found.step)
        assert everything(again) == (old if found.step == 2 else new)
        newest = checkpoint_folders(run)[-1]
        assert (run / "weights.safetensors").read_bytes() == (newest / "ema.safetensors").read_bytes()
        # The next save leaves nothing but its own.
        state = torch.get_rng_state()
        save(run, again, 5, keep=1)
        torch.set_rng_state(state)
        assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000005"]
        assert sorted(path.name for path in run.iterdir()) == ["checkpoints", "weights.safetensors"]
        torch.set_rng_state(torch.frombuffer(bytearray(new["random"]), dtype=torch.uint8))
    assert points > 20
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {2, new_step}


def test_killed_before_any_operation_of_saving_the_best(tmp_path: Path) -> None:
    start, run = tmp_path / "start", tmp_path / "run"
    learner = make()
    save_best(start, learner, progress(2))
    save(start, learner, 2)

    def prepare() -> None:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(start, run)

    steps = []
    for _ in killed_at_every_operation(lambda: save_best(run, learner, progress(4)), prepare):
        assert load_checkpoint(run, learner, SILENT) == progress(2)
        state = json.loads((run / "checkpoints" / "best" / "state.json").read_text())
        steps.append(state["step"])
        load_network(run / "checkpoints" / "best" / "weights.safetensors")
    assert set(steps) == {2, 4}


def test_an_interrupt_while_saving_leaves_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make()
    save(tmp_path, learner, 2)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("training.checkpoint.random_state.states", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, learner, 4)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert load_checkpoint(tmp_path, learner, SILENT) == progress(2)


WRITER = """
import sys
from pathlib import Path
import torch
from tests.training.checkpoint.test_checkpoint import make, save, train
learner = make()
torch.manual_seed(3)
for step in range(10 ** 6):
    train(learner, step, step + 1)
    save(Path(sys.argv[1]), learner, step + 1)
    print(step, flush=True)
"""


def kill_a_writer(run: Path, delay: float) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(run)], stdout=subprocess.PIPE, env=environment)
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(delay)
    writer.kill()
    writer.communicate()
    assert writer.returncode == -signal.SIGKILL


def check_killed(run: Path) -> None:
    """What was found is what an undisturbed run has at that step."""
    again, reference = make(seed=1), make()
    found = load_checkpoint(run, again, SILENT)
    assert found is not None
    restored = everything(again)
    torch.manual_seed(3)
    train(reference, 0, found.step)
    assert restored == everything(reference)


def test_kill_9_of_a_writer(tmp_path: Path) -> None:
    kill_a_writer(tmp_path, 0.123)
    check_killed(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.01 + 0.0137 * number for number in range(12)])
def test_kill_9_of_a_writer_at_many_moments(tmp_path: Path, delay: float) -> None:
    kill_a_writer(tmp_path, delay)
    check_killed(tmp_path)


def check_full_disk(run: Path, learner: Learner, before: dict[Path, bytes]) -> None:
    """After a save of step 4 that had no space."""
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    again = make(seed=1)
    assert load_checkpoint(run, again, SILENT) == progress(2)


def contents(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


MESSAGE = (
    r"no space left while writing the checkpoint of step 4 in .*checkpoints .*; the last whole one is step 2; free"
)


def test_a_file_size_limit_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    learner = make()
    train(learner, 0, 2)
    save(tmp_path, learner, 2)
    before = contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(len(data) for data in before.values())
    for limit in (100, largest // 2, largest - 1):
        # The file size limit is the disk that this process may fill.
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(CheckpointError, match=MESSAGE):
                save(tmp_path, learner, 4)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        check_full_disk(tmp_path, learner, before)
    save(tmp_path, learner, 4)
    assert load_checkpoint(tmp_path, learner, SILENT) == progress(4)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a small disk here (not root); the file size limit is tested instead")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_the_old_checkpoint(tiny_disk: Path) -> None:
    learner, run = make(), tiny_disk / "run"
    train(learner, 0, 2)
    folder = save(run, learner, 2)
    before = contents(run)
    needed = sum(path.stat().st_size for path in folder.iterdir())
    for share in (0.0, 0.3, 0.6, 0.9):
        status = os.statvfs(tiny_disk)
        ballast = tiny_disk / "ballast"
        ballast.write_bytes(bytes(status.f_bavail * status.f_bsize - int(share * needed) // 4096 * 4096))
        with pytest.raises(CheckpointError, match=MESSAGE):
            save(run, learner, 4)
        check_full_disk(run, learner, before)
        with (
            pytest.raises(CheckpointError, match="best weights of step 4")
            if share < 0.2
            else pytest.MonkeyPatch.context()
        ):
            save_best(run, learner, progress(4))
        shutil.rmtree(run / "checkpoints" / "best", ignore_errors=True)
        ballast.unlink()
    save(run, learner, 4)
    assert load_checkpoint(run, learner, SILENT) == progress(4)


def test_a_full_disk_at_the_first_checkpoint_and_other_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> Callable[..., None]:
        def raising(*_: Any) -> None:
            raise OSError(number, os.strerror(number))

        return raising

    learner = make()
    for number in (28, 122):  # ENOSPC, EDQUOT
        monkeypatch.setattr("training.checkpoint.checkpoint.to_bytes", fail(number))
        with pytest.raises(CheckpointError, match="there is no whole one yet"):
            save(tmp_path, learner, 4)
    monkeypatch.setattr("training.checkpoint.checkpoint.to_bytes", fail(5))
    with pytest.raises(OSError, match="Input/output"):
        save(tmp_path, learner, 4)


def test_weights_can_be_written_for_other_tensors(tmp_path: Path) -> None:
    learner = make()
    train(learner, 0, 2)
    assert learner.ema is not None
    save_weights(tmp_path / "w", learner.network, learner.ema.state)
    loaded = load_network(tmp_path / "w").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in learner.ema.state.items())
