"""Every sparse convolution backend against dense torch convolution, forward and gradients."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from flux4d.lift.scene import SceneConfig, lift_clip
from flux4d.lift.sky import SkyConfig
from flux4d.network.model import Flux4D, small
from flux4d.network.sparse_conv import initialise_weight, make_backend
from flux4d.network.sparse_unet import SparseUNet
from flux4d.network.voxelize import VoxelConfig, voxelize
from tests.support.scenes.toy import make_clip

SHAPE = (6, 8, 10)
BACKENDS = [
    "torch",
    pytest.param("spconv", marks=pytest.mark.skipif(importlib.util.find_spec("spconv") is None, reason="no spconv")),
]


def sites(fraction: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coords = (torch.rand(SHAPE, generator=generator) < fraction).nonzero()
    return coords[torch.randperm(len(coords), generator=generator)]  # arrival order must not matter


def scatter(features: Tensor, coords: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Rows [M, C] at coordinates -> dense [1, C, z, y, x]."""
    dense = features.new_zeros(*shape, features.shape[1])
    return dense.index_put(tuple(coords.T), features).permute(3, 0, 1, 2)[None]


def gather(dense: Tensor, coords: Tensor) -> Tensor:
    return dense[0].permute(1, 2, 3, 0)[tuple(coords.T)]


def weighted_gradients(out: Tensor, *inputs: Tensor) -> list[Tensor]:
    probe = torch.sin(torch.arange(out.numel(), dtype=out.dtype)).reshape(out.shape)
    return list(torch.autograd.grad((out * probe).sum(), inputs))


def dense_weight(module: Any) -> Tensor:
    return module.weight.permute(0, 4, 1, 2, 3)  # [out, kz, ky, kx, in] -> [out, in, kz, ky, kx]


def randomise(module: torch.nn.Module, seed: int) -> None:
    initialise_weight(next(iter(module.parameters())), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("fraction", [0.02, 0.4, 1.0])
def test_subm_is_dense_convolution_read_at_the_sites(name: Any, fraction: float) -> None:
    backend, coords = make_backend(name, "cpu"), sites(fraction)
    features = torch.randn(len(coords), 5, requires_grad=True)
    layer = backend.subm(5, 7, "a")
    backend.place([layer], features.device)
    randomise(layer, 1)
    sparse = layer(backend.tensor(features, coords, SHAPE)).features
    dense = gather(F.conv3d(scatter(features, coords, SHAPE), dense_weight(layer), padding=1), coords)
    assert torch.allclose(sparse, dense, atol=1e-5)
    for a, b in zip(
        weighted_gradients(sparse, features, layer.weight),
        weighted_gradients(dense, features, layer.weight),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("fraction", [0.02, 0.4, 1.0])
def test_down_and_up_are_strided_and_transposed_dense_convolution(name: Any, fraction: float) -> None:
    backend, coords = make_backend(name, "cpu"), sites(fraction, seed=2)
    features = torch.randn(len(coords), 5, requires_grad=True)
    down, up = backend.down(5, 7, "d"), backend.up(7, 4, "d")
    backend.place([down, up], features.device)
    randomise(down, 3)
    randomise(up, 4)
    coarse = down(backend.tensor(features, coords, SHAPE))
    fine = up(coarse)
    where = coarse.indices[:, 1:].long()
    dense_coarse = F.conv3d(scatter(features, coords, SHAPE), dense_weight(down), stride=2)
    assert {tuple(row) for row in where.tolist()} == {tuple(row) for row in (coords // 2).tolist()}
    assert torch.allclose(coarse.features, gather(dense_coarse, where), atol=1e-5)
    # Dense down has a value at every coarse cell; the sparse one only at cells with a child, the rest is zero.
    dense_fine = F.conv_transpose3d(dense_coarse, dense_weight(up).transpose(0, 1), stride=2)
    expected = gather(dense_fine, coords)
    assert torch.equal(fine.indices[:, 1:].long(), coords)
    assert torch.allclose(fine.features, expected, atol=1e-5)
    inputs = (features, down.weight, up.weight)
    for a, b in zip(weighted_gradients(fine.features, *inputs), weighted_gradients(expected, *inputs), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_torch_backend_gradcheck() -> None:
    backend, coords = make_backend("torch", "cpu"), sites(0.1)
    layers = [backend.subm(2, 3, "a"), backend.down(3, 2, "d"), backend.up(2, 2, "d")]
    for seed, layer in enumerate(layers):
        randomise(layer, seed)
        layer.double()

    def run(features: Tensor) -> Tensor:
        x = backend.tensor(features, coords, SHAPE)
        for layer in layers:
            x = layer(x)
        return x.features

    assert torch.autograd.gradcheck(run, (torch.randn(len(coords), 2, dtype=torch.float64, requires_grad=True),))


def test_autocast_stays_near_float32_and_trains() -> None:
    scene = lift_clip(make_clip(), SceneConfig(sky=SkyConfig(spacing=0.02)))
    network = Flux4D(small(conv_backend="torch"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for head in (network.residual_head, network.velocity_head):
            head.out.weight.copy_(torch.randn(head.out.weight.shape, generator=generator) * 0.1)
    full = network(scene, 1.0).detach()
    with torch.autocast("cpu", torch.bfloat16):
        half = network(scene, 1.0)
    trained = ("means", "quats", "scales", "opacities", "rgb", "velocities")
    for name in trained:
        before, exact, found = (getattr(gaussians, name) for gaussians in (scene, full, half))
        assert found.dtype == torch.float32, name
        assert not torch.equal(found, exact), name  # else nothing was of lower precision
        assert bool((found - exact).norm() < 0.05 * (exact - before).norm()), name
    loss: Any = sum(getattr(half, name).square().sum() for name in trained)
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == torch.float32, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool(parameter.grad.any()), name


@pytest.mark.skipif(importlib.util.find_spec("spconv") is None, reason="no spconv")
@pytest.mark.parametrize("norm", ["batch", "clip", "layer"])
def test_unet_weights_move_between_backends(norm: Any) -> None:
    means = torch.randn(400, 3, generator=torch.Generator().manual_seed(5)) * torch.tensor([8.0, 8.0, 1.0])
    voxels = voxelize(means, VoxelConfig(size=0.7))
    nets = [SparseUNet(6, (8, 12, 16), 2, norm, make_backend(name, "cpu")) for name in ("spconv", "torch")]  # type: ignore[arg-type]
    nets[0].initialise(torch.Generator().manual_seed(0))
    nets[1].load_state_dict(nets[0].state_dict(), strict=True)
    features = torch.randn(len(voxels), 6)
    outs, grads = [], []
    for net in nets:
        x = features.clone().requires_grad_()
        out = net(x, voxels)
        (out * torch.cos(torch.arange(out.numel()).reshape(out.shape))).sum().backward()
        outs.append(out)
        grads.append([x.grad, *(p.grad for p in net.parameters())])
    assert outs[0].shape == (len(voxels), 8)
    assert torch.allclose(outs[0], outs[1], atol=1e-4)
    for a, b in zip(*grads, strict=True):
        assert (a - b).norm() <= 1e-3 * b.norm() + 1e-5


def test_same_seed_same_weights() -> None:
    nets = [SparseUNet(3, (4, 6), 1, "clip", make_backend("torch", "cpu")) for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        net.initialise(torch.Generator().manual_seed(seed))
    first, second, other = (torch.cat([p.flatten() for p in net.parameters()]) for net in nets)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_unusable_backends_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown sparse convolution backend 'cuda'"):
        make_backend("cuda", "cpu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a CUDA device"):
        make_backend("spconv_triton", "cpu")
    monkeypatch.setitem(__import__("sys").modules, "spconv.pytorch", None)
    with pytest.raises(ValueError, match="pip install spconv-cu120"):
        make_backend("spconv", "cpu")


def test_auto_falls_back_to_torch_without_spconv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert make_backend("auto", "cpu").name == "torch"
