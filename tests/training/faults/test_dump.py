"""What reproduces a loss that is not finite: it comes back to the bit, NaN included, and gives that loss again."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from flux4d.cameras.cameras import Cameras
from flux4d.cameras.shutter import Shutter
from flux4d.gaussians import Gaussians
from flux4d.network.model import Flux4D, NetworkConfig
from flux4d.supervision.losses.total import LossConfig, view_loss
from flux4d.supervision.recorded import render_recorded
from flux4d.supervision.target import Target
from store_schema.codec import ViewHeader
from training.data.sample import Sample
from training.faults.dump import flatten, load_dump, save_dump, unflatten

CONFIG = NetworkConfig(channels=(4, 6), blocks=1, head_width=8, conv_backend="torch")


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, of the same types."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        alike = (a.shape, a.dtype) == (b.shape, b.dtype)
        return alike and a.detach().numpy().tobytes() == b.detach().numpy().tobytes()
    if isinstance(a, np.ndarray):
        return (a.shape, a.dtype) == (b.shape, b.dtype) and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if is_dataclass(a):
        return all(same(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def sample() -> Sample:
    """A scene before a camera with a shutter, NaN and infinity among its values."""
    count, generator = 40, torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    means = draw(count, 3) * 4 + torch.tensor([-2.0, -2.0, 4.0])
    gaussians = Gaussians(
        means=means,
        quats=draw(count, 4) + 0.1,
        scales=draw(count, 3) * 0.2 + 0.1,
        opacities=draw(count),
        rgb=draw(count, 3),
        times=draw(count),
        velocities=draw(count, 1, 3),
        is_sky=draw(count) > 0.9,
        source=torch.arange(count),
    )
    K = np.array([[30.0, 0, 16], [0, 30, 12], [0, 0, 1]])
    view = ViewHeader(frame=1, camera="front", time=0.1, cam2ego0=np.eye(4), K=K, width=32, height=24)
    plain = Cameras(
        viewmats=torch.eye(4)[None],
        Ks=torch.from_numpy(K)[None].float(),
        width=32,
        height=24,
        times=torch.tensor([0.1]),
    )
    rolling = replace(plain, twists=draw(1, 6), shutter=Shutter(0.03, -0.01))
    targets = tuple(
        Target(
            view=view,
            role="interpolation",
            cameras=cameras,
            rgb=draw(24, 32, 3),
            depth_pixel=torch.tensor([3, 50]),
            depth=torch.tensor([5.0, 6.0]),
        )
        for cameras in (plain, rolling)
    )
    return Sample(number=7, epoch=1, clip_id="c", duration=1.5, gaussians=gaussians, targets=targets)


def test_a_sample_comes_back_to_the_bit(tmp_path: Path) -> None:
    before = sample()
    before.gaussians.means[3, 1] = float("nan")
    before.targets[0].rgb.view(torch.int32)[0, 0, 0] = 0x7FC0_1234  # a NaN with a payload
    before = replace(before, duration=float("nan"))
    network = Flux4D(CONFIG)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = float("inf")
    tensors, form = flatten(before)
    about = {"step": 4, "sample": form, "loss": float("nan")}
    folder = save_dump(tmp_path / "dumps" / "step-00000004-rank0", network=network, sample_tensors=tensors, about=about)
    loaded, tensors_again, about_again = load_dump(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["about.json", "sample.safetensors", "weights.safetensors"]
    assert same(unflatten(tensors_again, about_again["sample"]), before)
    assert about_again["step"] == 4
    assert math.isnan(about_again["loss"])
    assert loaded.training
    assert loaded.config == CONFIG
    assert same(dict(loaded.state_dict()), dict(network.state_dict()))


def test_the_loss_is_that_of_before(tmp_path: Path) -> None:
    """Tensors of a graph, on a grid that others share, are fine too."""

    def losses(net: Flux4D, each: Sample) -> list[float]:
        gaussians = net(each.gaussians, each.duration)
        return [
            float(view_loss(render_recorded(gaussians, target.cameras), target, gaussians, LossConfig()).total.detach())
            for target in each.targets
        ]

    network, before = Flux4D(CONFIG), sample()
    first, second = before.targets
    before = replace(
        before, targets=(first, replace(second, rgb=first.rgb, cameras=replace(second.cameras, Ks=first.cameras.Ks)))
    )
    before = replace(before, gaussians=replace(before.gaussians, rgb=before.gaussians.rgb.clone().requires_grad_()))
    tensors, form = flatten(before)
    loaded, again, about = load_dump(
        save_dump(tmp_path / "d", network=network, sample_tensors=tensors, about={"sample": form})
    )
    values = losses(network, before)
    assert losses(loaded, unflatten(again, about["sample"])) == values
    assert all(math.isfinite(value) for value in values)
    assert values[0] != values[1]


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from([torch.zeros(()), torch.ones(0, 3), torch.tensor([True, False]), torch.arange(4)[::2]]),
    st.sampled_from([np.eye(2), np.zeros((0, 2), np.float32), np.array([3], np.int32), np.arange(6).reshape(2, 3).T]),
    st.builds(Shutter, st.floats(-0.2, 0.2), st.just(0.0)),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["a", "b", "a.b", "a.0", "float", "", "'"]), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(VALUES)
def test_whatever_goes_in_comes_out(value: Any) -> None:
    tensors, form = flatten(value)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    assert same(unflatten(contiguous, json.loads(json.dumps(form, allow_nan=False))), value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {2}]}, r"a\.1 is a set"),
        ({"a": {3: 1}}, "a is a dict"),
        (Flux4D, "the value is a type"),
        ((1, 2j), "1 is a complex"),
        ([CONFIG], "0 is a NetworkConfig"),
    ],
)
def test_what_has_no_place_in_a_dump_is_named(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        flatten(value)


@pytest.mark.parametrize(
    "form", [{"Path": {"a": 1}}, {"os.system": "ls"}, {"float": "1", "tensor": "a"}, {}, [1], {"NetworkConfig": {}}]
)
def test_nothing_else_is_made_of_a_description(form: Any) -> None:
    with pytest.raises(ValueError, match="nothing that flatten writes"):
        unflatten({}, form)


def test_a_dump_that_is_missing_or_damaged(tmp_path: Path) -> None:
    folder = save_dump(tmp_path / "d", network=Flux4D(CONFIG), sample_tensors={"a": torch.ones(3)}, about={})
    for name in ("weights.safetensors", "sample.safetensors", "about.json"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-1])
        with pytest.raises(ValueError, match=r"is damaged|not a readable safetensors"):
            load_dump(folder)
        (folder / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
            load_dump(folder)
        (folder / name).write_bytes(data)
    load_dump(folder)


def test_a_dump_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save_dump(tmp_path / "d", network=Flux4D(CONFIG), sample_tensors={}, about={"bad": object()})
    assert list(tmp_path.iterdir()) == []
    for step in (1, 2):
        save_dump(tmp_path / "d", network=Flux4D(CONFIG), sample_tensors={}, about={"step": step})
    assert load_dump(tmp_path / "d")[2] == {"step": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
