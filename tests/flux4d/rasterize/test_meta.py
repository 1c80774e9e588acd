"""What `rasterize` tells besides the images: packed and dense, and means2d as a part of the graph."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flux4d.rasterize import RasterMeta
from tests.support.scenes.rasterize_compare import BACKENDS, draw
from tests.support.scenes.rasterize_reference import random_scene

COLUMNS = ("radii", "means2d", "depths", "conics", "opacities")


def test_both_forms_of_the_meta_say_the_same() -> None:
    scene = random_scene(150, 40, 30, cameras=2, seed=7)
    packed, dense = (draw(scene.parameters(), scene, packed=form, backend="torch").meta for form in (True, False))
    C, N = 2, 150
    nnz = int(packed.visible.sum())
    assert torch.equal(packed.visible, dense.visible)
    assert 10 < nnz < C * N
    for meta in (packed, dense):
        assert (meta.width, meta.height, meta.n_cameras, meta.n_gaussians) == (40, 30, C, N)
        assert meta.radii.dtype == torch.int32
    assert packed.camera_ids is not None
    assert packed.gaussian_ids is not None
    assert dense.camera_ids is dense.gaussian_ids is None
    assert packed.camera_ids.dtype == packed.gaussian_ids.dtype == torch.int64
    assert (packed.radii > 0).all()
    rows = packed.camera_ids * N + packed.gaussian_ids
    assert len(rows.unique()) == nnz
    assert (packed.camera_ids.diff() >= 0).all()
    for name, trail in zip(COLUMNS, ((2,), (2,), (), (3,), ()), strict=True):
        short, full = getattr(packed, name), getattr(dense, name)
        assert short.shape == (nnz, *trail)
        assert full.shape == (C, N, *trail)
        flat = full.reshape(C * N, *trail)
        assert torch.equal(flat[rows], short)
        left = torch.ones(C * N, dtype=torch.bool).index_fill(0, rows, False)
        assert not flat[left].any()
    assert torch.equal(packed.opacities, scene.opacities[packed.gaussian_ids])


def test_columns_are_made_when_asked_for() -> None:
    scene = random_scene(30, 20, 10)
    meta = draw(scene.parameters(), scene, packed=False, backend="torch").meta
    assert not set(COLUMNS).intersection(vars(meta)) - {"means2d"}
    assert meta.depths is meta.depths


def test_unpacks_as_gsplats_triple() -> None:
    scene = random_scene(30, 20, 10, cameras=2)
    drawn = draw(scene.parameters(), scene, backend="torch")
    features, alphas, meta = drawn
    assert features is drawn.features
    assert alphas is drawn.alphas
    assert isinstance(meta, RasterMeta)


def composite(meta: RasterMeta, means2d: Tensor, features: Tensor) -> Tensor:
    """Image [H, W, D] of one camera from the packed columns of its meta: every splat at every pixel."""
    order = meta.depths.argsort()
    y, x = torch.meshgrid(torch.arange(meta.height) + 0.5, torch.arange(meta.width) + 0.5, indexing="ij")
    delta = torch.stack([x, y], dim=-1)[None] - means2d[order][:, None, None]
    xx, xy, yy = meta.conics[order].T[:, :, None, None]
    sigma = 0.5 * (xx * delta[..., 0] ** 2 + yy * delta[..., 1] ** 2) + xy * delta[..., 0] * delta[..., 1]
    alpha = torch.clamp(meta.opacities[order][:, None, None] * torch.exp(-sigma), max=0.999)
    alpha = torch.where(alpha < 1 / 255, 0, alpha)
    left = torch.cumprod(1 - alpha, dim=0)
    weight = torch.where(left > 1e-4, alpha * torch.cat([torch.ones_like(left[:1]), left[:-1]]), 0)
    return torch.einsum("ghw,gd->hwd", weight, features[order])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("packed", [True, False])
def test_means2d_are_what_the_image_is_made_from(backend: str, packed: bool) -> None:
    scene = random_scene(40, 24, 16, seed=4)
    parameters = scene.parameters(torch.float64)
    drawn = draw(parameters, scene, packed=packed, backend=backend)
    drawn.meta.means2d.retain_grad()
    weight = torch.randn(drawn.features.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (drawn.features * weight).sum().backward()
    grad = drawn.meta.means2d.grad
    assert grad is not None

    columns = draw([p.detach() for p in parameters], scene, packed=True, backend="torch").meta
    assert columns.gaussian_ids is not None
    assert len(columns.gaussian_ids) > 10
    if packed:  # own order
        assert drawn.meta.gaussian_ids is not None
        grad = torch.zeros(40, 2, dtype=torch.float64).index_copy(0, drawn.meta.gaussian_ids, grad)
    else:
        grad = grad[0]
    seen = columns.gaussian_ids
    assert set(grad.any(dim=1).nonzero().flatten().tolist()) <= set(seen.tolist())
    assert grad.any(dim=1).sum() > 10
    features = scene.features.double()[seen]
    image = composite(columns, columns.means2d, features)
    torch.testing.assert_close(image, drawn.features[0].detach(), rtol=1e-7, atol=1e-9)
    step = 1e-6
    for row, gaussian in enumerate(seen.tolist()):
        for axis in range(2):
            moved = []
            for sign in (1, -1):
                means2d = columns.means2d.clone()
                means2d[row, axis] += sign * step
                moved.append((composite(columns, means2d, features) * weight[0]).sum())
            difference = (moved[0] - moved[1]) / (2 * step)
            assert grad[gaussian, axis].item() == pytest.approx(difference.item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("packed", [True, False])
def test_depths_and_opacities_of_the_meta_have_gradients(packed: bool) -> None:
    scene = random_scene(40, 24, 16, seed=6)
    parameters = scene.parameters()
    meta = draw(parameters, scene, packed=packed, backend="torch").meta
    (meta.depths.sum() + meta.opacities.sum()).backward()
    visible = int(meta.visible)
    assert parameters[3].grad is not None
    assert int(parameters[3].grad.sum()) == visible
    assert parameters[5].grad is not None
    assert parameters[5].grad[0, 2, 3].item() == pytest.approx(visible)  # depth = ... + t_z


@pytest.mark.parametrize("packed", [True, False])
def test_gsplats_densification_takes_the_meta(packed: bool) -> None:
    strategies = pytest.importorskip("gsplat.strategy")
    scene = random_scene(60, 40, 20, cameras=2, seed=8)
    parameters = scene.parameters()
    drawn = draw(parameters, scene, packed=packed, backend="torch")
    strategy, info = strategies.DefaultStrategy(), drawn.meta.as_dict()
    state = strategy.initialize_state()
    strategy.step_pre_backward({}, {}, state, 0, info)
    drawn.features.square().sum().backward()
    strategy._update_state({"means": parameters[0]}, state, info, packed=packed)
    dense = draw(scene.parameters(), scene, packed=False, backend="torch").meta
    assert torch.equal(state["count"], (dense.radii > 0).all(dim=-1).sum(dim=0).float())
    grad = drawn.meta.means2d.grad
    assert grad is not None
    scaled = (grad * torch.tensor([40 / 2 * 2, 20 / 2 * 2])).norm(dim=-1)
    assert state["grad2d"].sum().item() == pytest.approx(scaled.sum().item(), rel=1e-5)
    assert state["grad2d"].sum() > 0
