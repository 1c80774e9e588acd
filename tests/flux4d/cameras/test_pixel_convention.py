"""The store's pixels are the rasterisers' pixels: a Gaussian at a LiDAR point appears where its depth is stored.

The rasterisers are gsplat's own torch code (its projection and its compositing) and `flux4d.rasterize` on a CPU.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from flux4d.cameras.cameras import Cameras
from flux4d.rasterize import rasterize
from flux4d.supervision.target import scale_depth
from pipelines.features.depth_map import sparse_depth
from pipelines.features.visibility import see
from pipelines.sources.base import CameraFrame, Sweep
from store_schema.clip import View
from tests.support.logs import real_slice

WIDTH, HEIGHT = 1920, 1080
SIGMA_PX = 2.0
WINDOW = 15  # pixels drawn around each point to either side
FREE_PX = 0.1  # points nearer to the edge of a pixel are left out: a skewed blob may be brighter in the next one


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What the store says of G points that stand far apart in the image; positions relative to an origin nearby."""

    view: View
    points: np.ndarray  # [G, 3] m
    pixel: np.ndarray  # [G] row * width + column
    depth: np.ndarray  # [G] m, of the store's float32


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One window of a rendering around each of G points."""

    column: np.ndarray  # [G, S, S]
    row: np.ndarray  # [G, S, S]
    alpha: np.ndarray  # [G, S, S]
    depth: np.ndarray  # [G, S, S] m, of the Gaussians, weighted by alpha


def store(sweep: Sweep, camera: CameraFrame) -> Stored:
    """Run the pipeline's projection and keep one visible return well inside each block of 96 pixels."""
    found = sparse_depth(see(sweep, camera, WIDTH, HEIGHT))
    origin = np.round(camera.cam2world[:3, 3])
    cam2ego0 = camera.cam2world.copy()
    cam2ego0[:3, 3] -= origin
    row, column = np.divmod(found.pixel, WIDTH)
    block = (row // 96) * 1000 + column // 96
    inner = (np.minimum(row % 96, column % 96) >= WINDOW) & (np.maximum(row % 96, column % 96) < 96 - WINDOW)
    inner &= (row < HEIGHT - WINDOW) & (column < WIDTH - WINDOW)
    uv = project_plainly(sweep.points[found.point], camera.cam2world, camera.K)
    inner &= (np.abs(uv % 1 - 0.5) < 0.5 - FREE_PX).all(axis=1)
    usable = np.flatnonzero(found.visible & inner)
    picked = usable[np.unique(block[usable], return_index=True)[1]]
    view = View(
        frame=0,
        camera=camera.camera,
        role="input",
        time=0.0,
        cam2ego0=cam2ego0,
        K=camera.K,
        width=WIDTH,
        height=HEIGHT,
        image=b"",
        depth_pixel=found.pixel[picked],
        depth=found.depth[picked].astype(np.float32),
        depth_visible=np.ones(len(picked), bool),
        moving_mask=None,
    )
    return Stored(view, sweep.points[found.point[picked]] - origin, view.depth_pixel, view.depth)


def project_plainly(points: np.ndarray, cam2world: np.ndarray, K: np.ndarray) -> np.ndarray:
    """[G, 2] pixels, as the textbook has it."""
    x, y, z = np.linalg.solve(cam2world, np.column_stack([points, np.ones(len(points))]).T)[:3]
    return np.stack([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]], axis=1)


@pytest.fixture(scope="module", params=["made", "real"])
def stored(request: pytest.FixtureRequest) -> Stored:
    if request.param == "real":
        return store(real_slice.sweep(20), real_slice.camera("front", 20))
    rng = np.random.default_rng(0)
    K = np.array([[1500.0, 0, 941.3], [0, 1450.0, 533.8], [0, 0, 1]])
    depth = rng.uniform(8, 9, 20_000)  # all within 5 % + 0.5 m: none hides another
    uv = rng.uniform(0, [WIDTH, HEIGHT], (len(depth), 2))
    points = np.column_stack([(uv - K[:2, 2]) / K[[0, 1], [0, 1]], np.ones(len(depth))]) * depth[:, None]
    zero = np.zeros(len(depth))
    sweep = Sweep(0, 0.0, points, zero, zero, zero.astype(np.uint8), zero.astype(np.uint8))
    return store(sweep, CameraFrame(0, "front_camera", 0.0, np.eye(4), K, Path("none.jpg")))


def gaussians(stored: Stored, cameras: Cameras) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Means [G, 3], scales [G, 3] that are 2 pixels wide in the image, opacities [G]."""
    scale = SIGMA_PX * stored.depth / float(cameras.Ks[0, 0, 0])
    means = torch.from_numpy(stored.points).float()
    return means, torch.from_numpy(np.repeat(scale[:, None], 3, axis=1)).float(), torch.full((len(means),), 0.9)


def window(pixel: np.ndarray, width: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows [G, S, S] around pixels."""
    steps = np.arange(-reach, reach + 1)
    row, column = np.divmod(pixel, width)
    shape = (len(pixel), len(steps), len(steps))
    return (
        np.broadcast_to(column[:, None, None] + steps[None, None, :], shape),
        np.broadcast_to(row[:, None, None] + steps[None, :, None], shape),
    )


def draw_own(stored: Stored, cameras: Cameras, pixel: np.ndarray, reach: int) -> Drawn:
    means, scales, opacities = gaussians(stored, cameras)
    quats = torch.tensor([1.0, 0, 0, 0]).repeat(len(means), 1)
    nothing = torch.zeros(len(means), 1)
    size = cameras.width, cameras.height
    out = rasterize(
        means, quats, scales, opacities, nothing, cameras.viewmats, cameras.Ks, *size, render_mode="ED", backend="cpu"
    )
    column, row = window(pixel, cameras.width, reach)
    inside = (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height)
    c, r = column.clip(0, cameras.width - 1), row.clip(0, cameras.height - 1)
    alpha = np.where(inside, out.alphas[0, r, c, 0].numpy(), 0)
    return Drawn(column, row, alpha, out.features[0, r, c, 0].numpy())


def draw_gsplat(stored: Stored, cameras: Cameras, pixel: np.ndarray, reach: int) -> Drawn:
    oracle = pytest.importorskip("gsplat.cuda._torch_impl")
    means, scales, opacities = gaussians(stored, cameras)
    count, size = len(means), (cameras.width, cameras.height)
    covars = torch.diag_embed(scales**2)
    _, means2d, depths, conics, _ = oracle._fully_fused_projection(means, covars, cameras.viewmats, cameras.Ks, *size)
    column, row = window(pixel, cameras.width, reach)
    inside = (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height)
    pixel_ids = torch.from_numpy((row * cameras.width + column)[inside])
    owner = torch.arange(count)[:, None, None].expand(column.shape)[torch.from_numpy(inside)]
    colours = torch.eye(1).expand(1, count, 1) * depths[0][None, :, None]
    image, alphas = oracle.accumulate(
        means2d, conics, opacities[None], colours, owner, pixel_ids, torch.zeros_like(owner), *size
    )
    c, r = column.clip(0, cameras.width - 1), row.clip(0, cameras.height - 1)
    alpha = np.where(inside, alphas[0, r, c, 0].numpy(), 0)
    return Drawn(column, row, alpha, image[0, r, c, 0].numpy() / np.maximum(alpha, 1e-12))


@pytest.fixture(autouse=True)
def nerfacc(monkeypatch: pytest.MonkeyPatch) -> None:
    """gsplat's compositing asks a package that is not installed for two sums; here no pixel has two Gaussians."""

    def weights(alphas: torch.Tensor, *, ray_indices: torch.Tensor, n_rays: int) -> tuple[torch.Tensor, torch.Tensor]:
        assert len(ray_indices.unique()) == len(ray_indices)
        return alphas, torch.ones_like(alphas)

    def along_rays(
        weights: torch.Tensor, values: torch.Tensor | None, *, ray_indices: torch.Tensor, n_rays: int
    ) -> torch.Tensor:
        values = torch.ones(len(weights), 1) if values is None else values
        return torch.zeros(n_rays, values.shape[1]).index_add(0, ray_indices, weights[:, None] * values)

    module = types.SimpleNamespace(render_weight_from_alpha=weights, accumulate_along_rays=along_rays)
    monkeypatch.setitem(sys.modules, "nerfacc", module)


def brightest(drawn: Drawn, width: int) -> np.ndarray:
    """Pixel [G] with the largest alpha of each window."""
    flat = drawn.alpha.reshape(len(drawn.alpha), -1).argmax(axis=1)
    pick = np.arange(len(flat)), flat
    return (drawn.row.reshape(len(flat), -1) * width + drawn.column.reshape(len(flat), -1))[pick]


def centroid(drawn: Drawn) -> np.ndarray:
    """Centre [G, 2] of each blob, pixel centres at +0.5.

    Weighted with alpha**4, a Gaussian of the same centre, which is next to nothing where a rasteriser cuts it off.
    """
    weight = drawn.alpha.astype(np.float64) ** 4
    total = weight.sum(axis=(1, 2))
    parts = [((axis + 0.5) * weight).sum(axis=(1, 2)) / total for axis in (drawn.column, drawn.row)]
    return np.stack(parts, axis=1)


Draw = Callable[[Stored, Cameras, np.ndarray, int], Drawn]
RASTERISERS = pytest.mark.parametrize("draw", [draw_own, draw_gsplat], ids=["own", "gsplat"])


def with_principal_point(view: View, shift: float) -> Cameras:
    """The view's camera with its principal point moved by as many pixels, right and down."""
    cameras = Cameras.from_views([view])
    Ks = cameras.Ks.clone()
    Ks[:, :2, 2] += shift
    return Cameras(cameras.viewmats, Ks, cameras.width, cameras.height, cameras.times)


@RASTERISERS
def test_a_point_is_drawn_in_the_pixel_that_stores_its_depth(stored: Stored, draw: Draw) -> None:
    assert len(stored.pixel) > 60
    cameras = Cameras.from_views([stored.view])
    drawn = draw(stored, cameras, stored.pixel, WINDOW)
    np.testing.assert_array_equal(brightest(drawn, WIDTH), stored.pixel)
    uv = project_plainly(stored.points, stored.view.cam2ego0, stored.view.K)
    np.testing.assert_allclose(centroid(drawn), uv, atol=1e-3)
    np.testing.assert_array_equal(np.floor(uv[:, 1]) * WIDTH + np.floor(uv[:, 0]), stored.pixel)
    np.testing.assert_allclose(drawn.depth[:, WINDOW, WINDOW], stored.depth, rtol=2e-6)


@RASTERISERS
@pytest.mark.parametrize("shift", [-0.5, 0.5])
def test_conventions_half_a_pixel_off_are_told_apart(stored: Stored, draw: Draw, shift: float) -> None:
    """Centres at whole pixels (K shifted by half a one): other pixels, and centroids off by just that."""
    drawn = draw(stored, with_principal_point(stored.view, shift), stored.pixel, WINDOW)
    uv = project_plainly(stored.points, stored.view.cam2ego0, stored.view.K)
    np.testing.assert_allclose(centroid(drawn) - uv, shift, atol=1e-3)
    assert (brightest(drawn, WIDTH) != stored.pixel).mean() > 0.5


def test_rounding_to_a_pixel_is_told_apart(stored: Stored) -> None:
    uv = np.round(project_plainly(stored.points, stored.view.cam2ego0, stored.view.K))
    drawn = draw_own(stored, Cameras.from_views([stored.view]), stored.pixel, WINDOW)
    assert (brightest(drawn, WIDTH) != uv[:, 1] * WIDTH + uv[:, 0]).mean() > 0.5


@RASTERISERS
@pytest.mark.parametrize("width", [960, 640, 480])
def test_depth_brought_to_a_smaller_size_stays_under_its_point(stored: Stored, draw: Draw, width: int) -> None:
    cameras = Cameras.from_views([stored.view], width)
    pixel, depth = scale_depth(stored.view, cameras.width, cameras.height)
    scale = width / WIDTH
    uv = project_plainly(stored.points, stored.view.cam2ego0, stored.view.K) * scale
    # Points of one small pixel or of blobs that touch would be drawn over each other: they stand 30 pixels apart.
    expected = (np.floor(uv[:, 1]) * width + np.floor(uv[:, 0])).astype(int)
    order = np.argsort(expected)
    np.testing.assert_array_equal(pixel, expected[order])
    np.testing.assert_array_equal(depth, stored.depth[order])
    reach = int((WINDOW - 1) * scale)
    drawn = draw(stored, cameras, expected, reach)
    sure = (np.abs(uv % 1 - 0.5) < 0.5 - FREE_PX).all(axis=1)
    assert sure.sum() > 40
    np.testing.assert_array_equal(brightest(drawn, width)[sure], expected[sure])
    np.testing.assert_allclose(drawn.depth[:, reach, reach], stored.depth, rtol=2e-6)
