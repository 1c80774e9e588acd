"""The call itself: features by camera, both forms of the meta to the bit, autocast, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from flux4d.rasterize.api import _resolve
from tests.support.scenes.rasterize_compare import BACKENDS, NAMES, draw
from tests.support.scenes.rasterize_reference import Scene, random_scene

MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")


def by_camera(scene: Scene) -> Tensor:
    """Other features for each camera [C, N, D]."""
    g = torch.Generator().manual_seed(0)
    return torch.randn(len(scene.viewmats), len(scene.means), scene.features.shape[1], generator=g)


@pytest.mark.parametrize("backend", BACKENDS)
def test_features_by_camera_equal_one_camera_at_a_time(backend: str) -> None:
    scene = random_scene(80, 40, 30, cameras=3, seed=2)
    own = by_camera(scene).requires_grad_()
    parameters, single = scene.parameters(), scene.parameters()
    parameters[4] = own
    drawn = draw(parameters, scene, render_mode="RGB+D", backend=backend)
    weight = torch.randn(drawn.features.shape, generator=torch.Generator().manual_seed(1))
    (drawn.features * weight).sum().backward()
    wanted = torch.zeros_like(own)
    for camera in range(3):
        shared = own.detach()[camera].requires_grad_()
        seen = [*single[:4], shared, single[5][camera : camera + 1]]
        alone = draw(seen, replace(scene, Ks=scene.Ks[camera : camera + 1]), render_mode="RGB+D", backend=backend)
        assert torch.equal(alone.features[0], drawn.features[camera])
        (alone.features[0] * weight[camera]).sum().backward()
        wanted[camera] = shared.grad
    assert own.grad is not None
    assert torch.equal(own.grad, wanted)
    assert (own.grad != 0).any(dim=-1).sum(dim=1).gt(5).all()  # every camera sees some
    for name, a, b in zip(NAMES, parameters, single, strict=True):
        if name != "features":
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4 * b.grad.abs().max().item(), msg=name)


def test_features_by_camera_and_backgrounds_pass_gradcheck() -> None:
    scene = random_scene(4, 9, 5, channels=1, cameras=2, seed=5, size=0.6)
    fixed = [value.detach() for value in scene.parameters(torch.float64)]

    def image(features: Tensor, backgrounds: Tensor) -> Tensor:
        return draw(
            [*fixed[:4], features, fixed[5]], scene, backgrounds=backgrounds, render_mode="RGB+ED", backend="torch"
        ).features

    features = by_camera(scene).double().requires_grad_()
    assert torch.autograd.gradcheck(image, (features, torch.rand(2, 1, dtype=torch.float64, requires_grad=True)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cameras", [1, 2])
def test_packed_changes_no_bit_of_images_and_gradients(backend: str, mode: str, cameras: int) -> None:
    scene = random_scene(120, 40, 30, cameras=cameras, seed=3)
    background = torch.rand(cameras, 3, generator=torch.Generator().manual_seed(0))
    results = []
    for packed in (True, False):
        parameters = scene.parameters()
        parameters[4] = by_camera(scene).requires_grad_()
        drawn = draw(parameters, scene, render_mode=mode, packed=packed, backgrounds=background, backend=backend)
        assert drawn.meta.packed is packed
        (drawn.features.square().sum() + drawn.alphas.sum()).backward()
        results.append([drawn.features, drawn.alphas, *(p.grad for p in parameters if p.grad is not None)])
    assert len(results[0]) == (7 if mode in ("D", "ED") else 8)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_changes_nothing(backend: str) -> None:
    scene = random_scene(60, 30, 20, seed=1)
    background = torch.rand(1, 3, generator=torch.Generator().manual_seed(0))
    results = []
    for enabled in (False, True):
        parameters = scene.parameters()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            drawn = draw(parameters, scene, backgrounds=background, render_mode="RGB+ED", backend=backend)
            drawn.features.sum().backward()
        results.append([drawn.features, drawn.alphas, *(p.grad for p in parameters)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


class TestRefused:
    @pytest.mark.parametrize(
        ("position", "row", "message"),
        [
            (5, 1, "viewmats of camera 1 is not finite"),
            (4, 1, "features of 3 Gaussians is not finite, first row 0"),
        ],
    )
    def test_values(self, position: int, row: int, message: str) -> None:
        scene = random_scene(3, 20, 20, cameras=2)
        parameters = [p.detach() for p in scene.parameters()]
        parameters[4] = by_camera(scene)
        parameters[position][row] = torch.inf
        with pytest.raises(ValueError, match=message):
            draw(parameters, scene)

    def test_infinities_of_both_signs_do_not_cancel(self) -> None:
        scene = random_scene(3, 20, 20)
        parameters = [p.detach() for p in scene.parameters()]
        parameters[0][:2, 0] = torch.tensor([torch.inf, -torch.inf])
        with pytest.raises(ValueError, match="means of 2 Gaussians is not finite, first row 0"):
            draw(parameters, scene)

    def test_large_finite_values_are_not_refused(self) -> None:
        scene = random_scene(4, 20, 20)
        parameters = [p.detach() for p in scene.parameters()]
        want = draw([p[:2] if len(p) == 4 else p for p in parameters], scene, backend="torch").features
        parameters[4][2:] = 3e38
        parameters[3][2:] = 0  # their sum is infinite, and no pixel sees them
        assert torch.equal(draw(parameters, scene, backend="torch").features, want)

    def test_cameras_and_backgrounds(self) -> None:
        scene = random_scene(3, 20, 20)
        parameters = [p.detach() for p in scene.parameters()]
        with pytest.raises(ValueError, match="Ks of camera 0 is not finite"):
            draw(parameters, replace(scene, Ks=scene.Ks * torch.nan))
        with pytest.raises(ValueError, match="backgrounds of camera 0 is not finite"):
            draw(parameters, scene, backgrounds=torch.full((1, 3), torch.nan))
        with pytest.raises(ValueError, match=r"backgrounds must have shape \(1, 3\), got \(3,\)"):
            draw(parameters, scene, backgrounds=torch.zeros(3))
        parameters[5] = parameters[5].mT
        assert parameters[5][0, 3, :3].any()
        with pytest.raises(ValueError, match=r"viewmats of camera 0 ends in the row .* is it transposed"):
            draw(parameters, scene)

    def test_shapes_and_types(self) -> None:
        scene = random_scene(3, 20, 20, cameras=2)
        parameters = [p.detach() for p in scene.parameters()]
        own = by_camera(scene)
        with pytest.raises(ValueError, match=r"features must have shape \(2, 3, 3\), got \(1, 3, 3\)"):
            draw([*parameters[:4], own[:1], parameters[5]], scene)
        with pytest.raises(ValueError, match=r"features must have shape \(N, D\) or \(C, N, D\), got \(3,\)"):
            draw([*parameters[:4], own[0, 0], parameters[5]], scene)
        with pytest.raises(ValueError, match=r"viewmats must have shape \(C, 4, 4\), got \(4, 4\)"):
            draw([*parameters[:5], parameters[5][0]], scene)
        with pytest.raises(ValueError, match="quats must be a tensor, got ndarray"):
            draw([parameters[0], parameters[1].numpy(), *parameters[2:]], scene)
        with pytest.raises(ValueError, match=r"the tensors are torch.int64; convert them"):
            draw([p.long() for p in parameters], scene)
        with pytest.raises(ValueError, match="packed must be True or False, got None"):
            draw(parameters, scene, packed=None)

    def test_a_device_without_backend_is_named(self) -> None:
        with pytest.raises(ValueError, match="no backend renders fast on meta"):
            _resolve("auto", torch.zeros(1, device="meta"))
