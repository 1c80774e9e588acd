"""The compiled projection and its depth order against the plain ones."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from flux4d.rasterize import projection
from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.cpu import project as project_cpu
from flux4d.rasterize.cpu.depth_order import depth_order
from flux4d.rasterize.projection import Projected
from tests.support.scenes.rasterize_reference import Scene, random_scene

NAMES = ("means", "quats", "scales", "opacities", "viewmat")


def projected(module, scene: Scene, dtype: torch.dtype, options: RasterSettings) -> tuple[Projected, list[Tensor]]:
    """What is not culled, and the leaves it comes from."""
    means, quats, scales, opacities, _, viewmats = scene.parameters(dtype)
    viewmat = viewmats.detach()[0].requires_grad_()
    leaves = [means, quats, scales, opacities, viewmat]
    seen = module.project(*leaves, scene.Ks[0].to(dtype), options)
    rows = (seen.radii > 0).all(dim=1).nonzero().squeeze(1)
    kept = Projected(**{field.name: getattr(seen, field.name)[rows] for field in fields(Projected)})
    return kept, leaves


def random_sum(seen: Projected) -> Tensor:
    g = torch.Generator().manual_seed(1)
    values = (seen.means2d, seen.conics, seen.depths, seen.opacities)
    return sum((value * torch.randn(value.shape, generator=g).to(value)).sum() for value in values)


@pytest.mark.parametrize(
    "options",
    [
        RasterSettings(60, 40),
        RasterSettings(60, 40, near_plane=2.0, far_plane=6.0, radius_clip=3.0, eps2d=0.0),
        RasterSettings(61, 1, eps2d=1.5),
    ],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_equals_the_plain_projection_in_value_and_gradient(options, dtype, tolerance):
    scene = random_scene(600, options.width, options.height, seed=3, size=0.4)
    scene.scales[:20] = 3.0  # reach in from beyond the clamp
    scene.means[5] = scene.means[6]
    (plain, wanted), (seen, leaves) = (projected(module, scene, dtype, options) for module in (projection, project_cpu))
    assert torch.equal(seen.index, plain.index)
    assert len(seen.index) > 20
    assert torch.equal(seen.radii, plain.radii)
    assert torch.equal(seen.boxes, plain.boxes)
    for name in ("means2d", "conics", "depths", "opacities"):
        torch.testing.assert_close(getattr(seen, name), getattr(plain, name), rtol=tolerance, atol=tolerance)
    random_sum(plain).backward()
    random_sum(seen).backward()
    for name, leaf, want in zip(NAMES, leaves, wanted, strict=True):
        error = (leaf.grad - want.grad).norm() / want.grad.norm()
        assert error <= tolerance, (name, error)


def test_gradcheck():
    scene = random_scene(8, 30, 20, seed=5, size=0.4)
    options = RasterSettings(30, 20)
    _, leaves = projected(project_cpu, scene, torch.float64, options)

    def values(*leaves):
        seen = project_cpu.project(*leaves, scene.Ks[0].double(), options)
        return seen.means2d, seen.conics, seen.depths, seen.opacities

    assert len(values(*leaves)[0]) >= 3
    assert torch.autograd.gradcheck(values, leaves, eps=1e-6, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("eps2d", "scale"), [(0.0, [0.0, 0.0, 0.0]), (0.3, [20.0, 1e-3, 1e-3])])
def test_singular_covariances_are_culled_without_a_trace(eps2d, scale):
    """A point without blur, and a needle whose float32 determinant is not positive."""
    scene = random_scene(300, 1000, 600, seed=8)
    scene.scales[::2] = torch.tensor(scale)
    scene.means[::2, 2] = 2.0
    K = scene.Ks[0]
    options = RasterSettings(1000, 600, eps2d=eps2d)
    grads = []
    for module in (projection, project_cpu):
        seen, leaves = projected(module, scene, torch.float32, options)
        random_sum(seen).backward()
        grads.append([leaf.grad for leaf in leaves])
        everything = module.project(*[leaf.detach() for leaf in leaves], K, options)
    assert (everything.radii == 0).any()
    for name, want, got in zip(NAMES, *grads, strict=True):
        assert got.isfinite().all(), name
        if not eps2d:  # rounding decides which needles are culled
            assert (got - want).norm() <= 1e-4 * want.norm(), name


def test_rows_changed_in_place_are_noticed():
    scene = random_scene(20, 30, 20, size=0.4)
    leaves = scene.parameters()
    seen = project_cpu.project(*leaves[:4], leaves[5][0], scene.Ks[0], RasterSettings(30, 20))
    seen.index.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        seen.means2d.sum().backward()


def test_nothing_in_view():
    scene = random_scene(10, 30, 20)
    scene.means[:, 2] = -5
    seen, leaves = projected(project_cpu, scene, torch.float32, RasterSettings(30, 20))
    assert len(seen.index) == 0
    random_sum(seen).backward()
    assert all(not leaf.grad.any() for leaf in leaves)


def test_bitwise_equal_for_any_thread_count():
    scene = random_scene(3000, 100, 70, seed=2)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            seen, leaves = projected(project_cpu, scene, torch.float32, RasterSettings(100, 70))
            random_sum(seen).backward()
            results.append([*(getattr(seen, field.name) for field in fields(Projected)), *(x.grad for x in leaves)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.integers(0, 300),
        elements=st.one_of(
            st.just(0.0), st.sampled_from([0.25, 1.0, 1e-30, 1e10, 1e30]), st.floats(0.125, 1e4, width=32)
        ),
    )
)
def test_depth_order_is_a_stable_sort_of_what_is_not_zero(depths):
    rows = np.flatnonzero(depths)
    want = rows[np.argsort(depths[rows], kind="stable")]
    np.testing.assert_array_equal(depth_order(depths), want)


def test_depth_order_of_many():
    depths = np.random.default_rng(0).lognormal(2, 2, 100_000).astype(np.float32).round(1)
    want = np.flatnonzero(depths)
    np.testing.assert_array_equal(depth_order(depths), want[np.argsort(depths[want], kind="stable")])
