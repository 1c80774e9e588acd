"""The projection against gsplat's own formulas in value and gradient, and its radii against gsplat's CUDA rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.projection import Projected, project
from tests.support.scenes.rasterize_reference import CUT, Scene, project_matrices, random_scene
from tests.support.scenes.real_gaussians import real_scene

REAL_CAMERAS = ("front", "left", "back")


def large(scene: Scene) -> Scene:
    """Opaque, and large enough to reach in from beyond the Jacobian's clamp."""
    return replace(scene, scales=3 * scene.scales, opacities=torch.ones(len(scene.means)))


def scenes() -> dict[str, Scene]:
    """A random scene and the real one as cameras of different fx and fy see it."""
    out = {"random": large(random_scene(500, 60, 40, seed=3, size=0.15))}
    for camera, (width, stretch) in zip(REAL_CAMERAS, ((1920, 1.0), (960, 0.8), (480, 1.3)), strict=True):
        scene = real_scene(60_000, width, camera=camera)
        Ks = scene.Ks.clone()
        Ks[:, 1] *= stretch
        out[camera] = large(replace(scene, Ks=Ks))
    return out


def ours(scene: Scene, dtype: torch.dtype) -> tuple[Projected, list[Tensor]]:
    leaves = scene.parameters(dtype)
    settings = RasterSettings(scene.width, scene.height)
    return project(*leaves[:4], leaves[5][0], scene.Ks[0].to(dtype), settings), leaves


def gsplats(scene: Scene, dtype: torch.dtype) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """means2d, depths and conics, radii, and the leaves."""
    oracle = pytest.importorskip("gsplat.cuda._torch_impl")
    leaves, K = scene.parameters(dtype), scene.Ks.to(dtype)
    covars, _ = oracle._quat_scale_to_covar_preci(leaves[1], leaves[2], compute_preci=False)
    radii, means2d, depths, conics, _ = oracle._fully_fused_projection(
        leaves[0], covars, leaves[5], K, scene.width, scene.height
    )
    return [means2d[0], depths[0], conics[0]], radii[0], leaves


def gradients(values: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    """Of a random weighted sum, each value in units of itself, so that no near Gaussian outweighs all others."""
    noise = torch.Generator().manual_seed(0)
    loss = torch.zeros(())
    for value in values:
        flat = value.reshape(len(value), -1)
        weight = torch.randn(flat.shape, generator=noise, dtype=torch.float64).to(flat.dtype)
        loss = loss + (flat * weight / flat.detach().norm(dim=1, keepdim=True)).sum()
    loss.backward()
    return [leaves[0].grad, leaves[1].grad, leaves[2].grad, leaves[5].grad[0]]


def row_errors(got: Tensor, want: Tensor) -> Tensor:
    """L2 error of each row relative to the row, or to the median row where that is longer."""
    got, want = (v.detach().double().reshape(len(v), -1) for v in (got, want))
    length = want.norm(dim=1)
    return (got - want).norm(dim=1) / length.clamp(min=length[length > 0].median())


@pytest.mark.parametrize("name", ["random", *REAL_CAMERAS])
def test_values_and_gradients_in_float64(name):
    scene = scenes()[name]
    seen, leaves = ours(scene, torch.float64)
    values, radii, their_leaves = gsplats(scene, torch.float64)
    kept = (seen.radii > 0).all(dim=1)
    rows = seen.index[kept]
    assert set(rows.tolist()) == set((radii > 0).all(dim=1).nonzero().squeeze(1).tolist())
    assert 0.05 * len(radii) < len(rows) < 0.95 * len(radii)
    u, v = seen.means2d[kept].detach().T
    for beyond in (u < -0.15 * scene.width, u > 1.15 * scene.width, v > 1.15 * scene.height):
        assert beyond.any(), "no Gaussian tests the clamp"
    assert (torch.diff(seen.depths) >= 0).all()
    mine = [seen.means2d[kept], seen.depths[kept], seen.conics[kept]]
    theirs = [value[rows] for value in values]
    for a, b in zip(mine, theirs, strict=True):
        assert row_errors(a, b).max() <= 1e-9
    for a, b in zip(gradients(mine, leaves), gradients(theirs, their_leaves), strict=True):
        assert row_errors(a, b).max() <= 1e-7
        assert b.any()


@pytest.mark.parametrize("name", ["random", *REAL_CAMERAS])
def test_float32_rounds_no_worse_than_gsplats_formulas(name):
    """Against the same formulas in float64: the 99.9th percentile and the median of the rows' errors."""
    scene = scenes()[name]
    exact, radii, exact_leaves = gsplats(scene, torch.float64)
    theirs, _, their_leaves = gsplats(scene, torch.float32)
    seen, leaves = ours(scene, torch.float32)
    place = torch.full((len(radii),), -1)
    place[seen.index] = torch.arange(len(seen.index))
    rows = ((radii > 0).all(dim=1) & (place >= 0)).nonzero().squeeze(1)
    assert len(rows) >= 0.9999 * (radii > 0).all(dim=1).sum()
    mine = [value[place[rows]] for value in (seen.means2d, seen.depths, seen.conics)]
    theirs, exact = [v[rows] for v in theirs], [v[rows] for v in exact]
    share = torch.tensor([0.5, 0.999], dtype=torch.float64)
    mine += gradients(mine, leaves)
    theirs += gradients(theirs, their_leaves)
    exact += gradients(exact, exact_leaves)
    for a, b, c in zip(mine, theirs, exact, strict=True):
        ours_off, theirs_off = (row_errors(v, c).quantile(share) for v in (a, b))
        assert (ours_off <= 2 * theirs_off + 1e-6).all()


def cuda_radii(scene: Scene, settings: RasterSettings) -> tuple[Tensor, Tensor]:
    """Radii [N, 2] as gsplat's CUDA kernel cuts and culls them, and Gaussians that rounding may tip [N] bool."""
    means, quats, scales, opacities, _, viewmats = (p.detach() for p in scene.parameters(torch.float64))
    size = torch.tensor([settings.width, settings.height])
    means2d, cov, depth = project_matrices(
        means, quats, scales, viewmats[0], scene.Ks[0].double(), settings.width, settings.height, settings.eps2d
    )
    extend = torch.sqrt(2 * torch.log(opacities / CUT)).clamp(max=3.33)
    exact = extend[:, None] * torch.diagonal(cov, dim1=1, dim2=2).sqrt()
    radii = torch.ceil(exact)
    keep = (depth >= settings.near_plane) & (depth <= settings.far_plane) & (opacities >= CUT)
    keep &= torch.linalg.det(cov) > 0
    keep &= ((means2d + radii > 0) & (means2d - radii < size)).all(dim=1) & (radii > settings.radius_clip).any(dim=1)
    tipped = ((exact - exact.round()).abs() < 1e-9 * exact.abs()).any(dim=1)
    return torch.where(keep[:, None], radii, 0), tipped


@pytest.mark.parametrize("clip", [0.0, 4.0])
@pytest.mark.parametrize("name", ["random", *REAL_CAMERAS])
def test_radii_are_those_of_the_cuda_kernel(name, clip):
    scene = scenes()[name]
    count = len(scene.means)
    faint = torch.rand(count, generator=torch.Generator().manual_seed(0)) ** 4  # a quarter below the threshold
    scene = replace(scene, opacities=faint)
    settings = RasterSettings(scene.width, scene.height, near_plane=0.5, far_plane=60.0, radius_clip=clip)
    leaves = [p.detach() for p in scene.parameters(torch.float64)]
    seen = project(*leaves[:4], leaves[5][0], scene.Ks[0].double(), settings)
    got = torch.zeros(count, 2, dtype=torch.int32).index_copy(0, seen.index, seen.radii)
    want, tipped = cuda_radii(scene, settings)
    assert tipped.sum() <= 2
    assert torch.equal(got[~tipped], want[~tipped].int())
    assert 0.02 * count < (want > 0).all(dim=1).sum() < 0.9 * count
