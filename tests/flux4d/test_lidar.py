"""LiDAR rendering against slow plain twins: each Gaussian's moment by bisection, each ray by a loop."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from flux4d.gaussians import Gaussians
from flux4d.lidar import LidarImage, SpinningLidar, render_lidar
from flux4d.motion import move
from flux4d.rasterize.spinning.project import SpinningSplats, project_spinning
from pipelines.geometry.rigid import interpolate_pose

ELEVATIONS = np.radians([20.0, 8.0, 4.0, 1.0, 0.0, -1.0, -2.5, -6.0, -15.0])


def pose(turn: tuple[float, float, float], place: tuple[float, float, float]) -> np.ndarray:
    out = np.eye(4)
    angle = math.hypot(*turn)
    if angle:
        x, y, z = np.array(turn) / angle
        hat = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        out[:3, :3] += math.sin(angle) * hat + (1 - math.cos(angle)) * hat @ hat
    out[:3, 3] = place
    return out


def spinning(columns: int = 48, *, moving: bool = True, clockwise: bool = True) -> SpinningLidar:
    begin = pose((0.02, -0.03, 0.5), (1.0, -2.0, 0.3))
    step = pose((0.01, 0.02, 0.06), (1.2, 0.4, -0.05))
    end = begin @ step if moving else begin
    return SpinningLidar(ELEVATIONS, columns, np.stack([begin, end]), (0.3, 0.4), math.pi / 2, clockwise)


def scene(count: int, *, seed: int = 0, order: int = 1, dtype: torch.dtype = torch.float64) -> Gaussians:
    """Around the sensor, none nearer than 3 m; float32 values."""
    g = torch.Generator().manual_seed(seed)
    angle, distance = torch.rand(count, generator=g) * 2 * torch.pi, 3 + 25 * torch.rand(count, generator=g)
    rise = 0.5 * torch.rand(count, generator=g) - 0.3
    means = torch.stack([distance * angle.cos(), distance * angle.sin(), distance * rise], dim=1)
    return Gaussians(
        means=(means + torch.tensor([1.0, -2.0, 0.3])).to(dtype),
        quats=torch.randn(count, 4, generator=g).to(dtype),
        scales=(0.03 * distance[:, None] * torch.exp(0.5 * torch.randn(count, 3, generator=g))).to(dtype),
        opacities=(0.2 + 0.79 * torch.rand(count, generator=g)).to(dtype),
        rgb=torch.rand(count, 3, generator=g).to(dtype),
        times=torch.rand(count, generator=g).to(dtype),
        velocities=(4 * torch.randn(count, order + 1, 3, generator=g)).to(dtype),
        is_sky=torch.zeros(count, dtype=torch.bool),
        source=torch.arange(count),
    )


def in_dtype(gaussians: Gaussians, dtype: torch.dtype) -> Gaussians:
    fields = ("means", "quats", "scales", "opacities", "rgb", "times", "velocities")
    return replace(gaussians, **{name: getattr(gaussians, name).to(dtype) for name in fields})


def splats_of(gaussians: Gaussians, lidar: SpinningLidar, eps2d: float = 0.05) -> SpinningSplats:
    from flux4d.lidar import _paths

    shape = gaussians.quats, gaussians.scales, gaussians.opacities
    return project_spinning(_paths(gaussians), *shape, lidar, near=0.5, far=100.0, eps2d=eps2d)


def seen(gaussians: Gaussians, row: int, lidar: SpinningLidar, share: float) -> np.ndarray:
    """A Gaussian's centre in sensor axes after a share of the turn, by `motion.move` and a pose."""
    time = lidar.times[0] + share * (lidar.times[1] - lidar.times[0])
    world = move(gaussians, time)[row].numpy()
    sensor = lidar.poses(np.array(share))
    return sensor[:3, :3].T @ (world - sensor[:3, 3])


def pixel(local: np.ndarray, lidar: SpinningLidar) -> np.ndarray:
    turned = math.atan2(local[1], local[0]) - lidar.start_azimuth
    x = (-turned if lidar.clockwise else turned) / lidar.column_width
    return np.array([x, -math.asin(local[2] / np.linalg.norm(local)) / lidar.column_width])


def gap(share: float, gaussians: Gaussians, row: int, lidar: SpinningLidar, whole: int) -> float:
    """How many columns the beam is behind the Gaussian, on the `whole`-th turn."""
    x = pixel(seen(gaussians, row, lidar, share), lidar)[0]
    behind = x - share * lidar.columns
    return behind - lidar.columns * round((behind - whole) / lidar.columns)


@pytest.mark.parametrize("clockwise", [True, False])
@pytest.mark.parametrize("moving", [True, False])
def test_splats_are_where_the_beam_meets_the_gaussian(moving: bool, clockwise: bool) -> None:
    lidar, gaussians = spinning(moving=moving, clockwise=clockwise), scene(60)
    found = splats_of(gaussians, lidar)
    assert len(found.index) > 40
    assert (np.diff(found.ranges.numpy()) >= 0).all()
    R = np.stack([quat_matrix(q) for q in gaussians.quats.numpy()])
    for m, row in enumerate(found.index.tolist()):
        x, y = found.means2d[m].tolist()
        near = x / lidar.columns
        share = brentq(gap, near - 0.02, near + 0.02, args=(gaussians, row, lidar, 0), xtol=1e-14)
        local = seen(gaussians, row, lidar, share)
        want = pixel(local, lidar)
        assert x == pytest.approx(share * lidar.columns, abs=1e-6)
        assert y == pytest.approx(want[1], abs=1e-6)
        assert float(found.ranges[m]) == pytest.approx(np.linalg.norm(local), abs=1e-6)
        step = 1e-6 * np.linalg.norm(local)
        J = np.stack(
            [(pixel(local + step * e, lidar) - pixel(local - step * e, lidar)) / (2 * step) for e in np.eye(3)]
        ).T
        M = J @ lidar.poses(np.array(share))[:3, :3].T @ R[row] @ np.diag(gaussians.scales[row].numpy())
        inverse = np.linalg.inv(M @ M.T + 0.05 * np.eye(2))
        got = found.conics[m].numpy()
        np.testing.assert_allclose(got, [inverse[0, 0], inverse[0, 1], inverse[1, 1]], rtol=2e-4, atol=1e-7)


def quat_matrix(q: np.ndarray) -> np.ndarray:
    w, x, y, z = q / np.linalg.norm(q)
    v, hat = np.array([x, y, z]), np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return (w * w - v @ v) * np.eye(3) + 2 * np.outer(v, v) + 2 * w * hat


def plain_image(splats: SpinningSplats, values: np.ndarray, lidar: SpinningLidar) -> tuple[np.ndarray, ...]:
    """Every splat at every ray: blended values, alpha, median range, and rays that rounding may tip."""
    shape = (len(lidar.elevations), lidar.columns)
    image, light, median = np.zeros((*shape, values.shape[1])), np.ones(shape), np.full(shape, np.nan)
    tipped = np.zeros(shape, bool)
    x = np.arange(lidar.columns) + 0.5
    for m, (a, b, c) in enumerate(splats.conics.detach().numpy()):
        u, v = splats.means2d[m].tolist()
        dx, dy = x[None] - u, lidar.row_centers[:, None] - v
        alpha = np.minimum(0.999, float(splats.opacities[m]) * np.exp(-0.5 * (a * dx**2 + c * dy**2) - b * dx * dy))
        tipped |= np.abs(alpha * 255 - 1) < 1e-4
        alpha = np.where((alpha < 1 / 255) | (np.abs(dx) > lidar.columns / 2), 0, alpha)
        after = light * (1 - alpha)
        alpha, after = np.where(after > 1e-4, alpha, 0), np.where(after > 1e-4, after, light)
        tipped |= np.abs(after - 0.5) < 1e-4
        median[(light > 0.5) & (after <= 0.5)] = float(splats.ranges[m])
        image += (alpha * light)[..., None] * values[m]
        light = after
    return image, 1 - light, median, tipped


@pytest.mark.parametrize(("backend", "dtype"), [("torch", torch.float64), ("cpu", torch.float32)])
def test_image_is_that_of_every_splat_at_every_ray(backend: str, dtype: torch.dtype) -> None:
    lidar, gaussians = spinning(), scene(400, seed=1)
    drop = torch.linspace(0, 1, 400, dtype=torch.float64)
    splats = splats_of(gaussians, lidar)
    values = torch.cat([splats.ranges[:, None], drop[splats.index, None], gaussians.rgb[splats.index]], dim=1)
    want, alpha, median, tipped = plain_image(splats, values.numpy(), lidar)
    given_ = in_dtype(gaussians, dtype)
    got = render_lidar(
        given_, lidar, features=given_.rgb, drop=drop.to(dtype), with_median=True, far=100.0, backend=backend
    )
    assert tipped.mean() < 0.1
    assert min((alpha > 0.7).sum(), (alpha < 0.1).sum(), np.isnan(median).sum()) > 50
    fine, tolerance = ~tipped, 1e-9 if dtype == torch.float64 else 2e-4
    np.testing.assert_allclose(got.alpha.numpy()[fine], alpha[fine], atol=tolerance)
    np.testing.assert_allclose((got.range * got.alpha).numpy()[fine], want[fine, 0], atol=30 * tolerance)
    np.testing.assert_allclose(got.drop.numpy()[fine], (1 - alpha + want[..., 1])[fine], atol=tolerance)
    assert got.features is not None
    np.testing.assert_allclose(got.features.numpy()[fine], want[fine, 2:], atol=tolerance)
    assert got.median_range is not None
    assert np.isfinite(median[fine]).sum() > 100
    np.testing.assert_allclose(got.median_range.numpy()[fine], median[fine], atol=1e-4)


@settings(max_examples=12, deadline=None)
@given(columns=st.integers(1, 47), clockwise=st.booleans())
def test_the_seam_is_nowhere(columns: int, clockwise: bool) -> None:
    lidar = spinning(moving=False, clockwise=clockwise)
    lidar = replace(lidar, lidar2world=np.stack([np.eye(4)] * 2))
    gaussians = scene(120, seed=2).static()
    gaussians = replace(gaussians, scales=2 * gaussians.scales)
    angle = columns * lidar.column_width * (-1 if clockwise else 1)
    turn = torch.from_numpy(pose((0, 0, angle), (0, 0, 0))[:3, :3])
    half = torch.tensor([math.cos(angle / 2), 0, 0, math.sin(angle / 2)], dtype=torch.float64)
    w, x, y, z = gaussians.quats.T
    a, d = half[0], half[3]
    quats = torch.stack([a * w - d * z, a * x - d * y, a * y + d * x, a * z + d * w], dim=1)
    rotated = replace(gaussians, means=gaussians.means @ turn.T, quats=quats)
    one, other = (render_lidar(g, lidar, with_median=True, backend="torch") for g in (gaussians, rotated))
    assert one.alpha[:, [0, -1]].max() > 0.3  # something lies on the seam
    np.testing.assert_allclose(other.alpha, one.alpha.roll(columns, dims=1), atol=1e-6)
    np.testing.assert_allclose(other.range, one.range.roll(columns, dims=1), atol=1e-4)


@pytest.mark.parametrize("clockwise", [True, False])
def test_the_seam_is_nowhere_for_what_covers_a_third_of_the_turn(clockwise: bool) -> None:
    """Faint balls of 1 to 2 m at 2 to 4 m, far from the seam with their centres; the turn begins elsewhere."""
    lidar = replace(spinning(360, moving=False, clockwise=clockwise), lidar2world=np.stack([np.eye(4)] * 2))
    g = torch.Generator().manual_seed(7)
    one, count = scene(1, order=0).static(), 12
    angle = torch.linspace(0, 2 * math.pi, count + 1, dtype=torch.float64)[:-1]
    distance, size = (low + high * torch.rand(count, generator=g).double() for low, high in ((2, 2), (1, 1)))
    balls = one.select(torch.zeros(count, dtype=torch.long))
    balls = replace(
        balls,
        means=torch.stack([distance * angle.cos(), distance * angle.sin(), 0 * angle], dim=1),
        scales=size[:, None] * torch.tensor([1.0, 0.8, 1.2], dtype=torch.float64),
        opacities=torch.full((count,), 0.03, dtype=torch.float64),
    )
    turned = (-90 if clockwise else 90) * lidar.column_width
    for chosen in (*(balls.select(torch.tensor([k])) for k in range(count)), balls):
        here, there = (
            render_lidar(chosen, replace(lidar, start_azimuth=start), backend="torch")
            for start in (lidar.start_azimuth, lidar.start_azimuth + turned)
        )
        assert (here.alpha > 0).any(dim=0).sum() > 60
        np.testing.assert_allclose(there.alpha, here.alpha.roll(-90, dims=1), atol=1e-9)
        np.testing.assert_allclose(there.range, here.range.roll(-90, dims=1), atol=1e-6)


def test_no_gaussian_is_missed_beside_the_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide and narrow, near and fast, seen from a sensor that moves: as if all were looked for at both ends."""
    lidar, gaussians = spinning(360), scene(600, seed=8, order=0)
    centre = torch.tensor([1.0, -2.0, 0.3], dtype=torch.float64)
    near = replace(
        gaussians,
        means=centre + 0.2 * (gaussians.means - centre),
        scales=gaussians.scales * torch.tensor([0.1, 1.0, 2.0], dtype=torch.float64).repeat(200)[:, None],
        times=0 * gaussians.times + 0.35,
        velocities=4 * gaussians.velocities,
    )
    found = splats_of(near, lidar)
    monkeypatch.setattr("flux4d.rasterize.spinning.project.SEAM_SHARE", 1.0)
    every = splats_of(near, lidar)
    drawn, wanted = (splats.boxes[:, 1] > splats.boxes[:, 0] for splats in (found, every))
    assert sorted(found.means2d[drawn, 0].tolist()) == sorted(every.means2d[wanted, 0].tolist())


def gaussian_at(place: tuple[float, float, float], velocity: tuple[float, float, float] = (0, 0, 0)) -> Gaussians:
    one = scene(1, order=0)
    return replace(
        one,
        means=torch.tensor([place], dtype=torch.float64),
        scales=torch.full((1, 3), 0.02, dtype=torch.float64),
        times=torch.full((1,), 0.3, dtype=torch.float64),
        velocities=torch.tensor([[velocity]], dtype=torch.float64),
        opacities=torch.ones(1, dtype=torch.float64),
    )


def test_what_crosses_the_seam_is_seen_at_both_ends_or_never() -> None:
    still = replace(spinning(360, moving=False), lidar2world=np.stack([np.eye(4)] * 2))  # begins at +y, clockwise
    # Begins 0.1 m past the seam, is first seen there, and is back before it when the turn ends: seen again.
    twice = splats_of(gaussian_at((0.1, 5.0, 0.0), (-4.0, 0.0, 0.0)), still)
    drawn = (twice.boxes[:, 1] > twice.boxes[:, 0]).numpy()
    assert sorted(np.floor(twice.means2d[drawn, 0].numpy() / 180).tolist()) == [0, 1]
    # The other way: before the seam as the turn begins, past it at the end.
    never = splats_of(gaussian_at((-0.2, 5.0, 0.0), (4.0, 0.0, 0.0)), still)
    assert not (never.boxes[:, 1] > never.boxes[:, 0]).any()


def test_points_of_the_image_are_projected_back_into_it() -> None:
    lidar = spinning()
    g = np.random.default_rng(0)
    rows, columns = g.integers(0, len(ELEVATIONS), 40), g.integers(0, lidar.columns, 40)
    ranges = np.zeros((len(ELEVATIONS), lidar.columns))
    ranges[rows, columns] = g.uniform(3, 60, 40)
    places = lidar.points(ranges)[rows, columns]
    for place, row, column in zip(places, rows, columns, strict=True):
        found = splats_of(gaussian_at(tuple(place)), lidar)
        best = int((found.means2d[:, 0] - column - 0.5).abs().argmin())
        assert found.means2d[best].tolist() == pytest.approx([column + 0.5, lidar.row_centers[row]], abs=1e-6)
        assert float(found.ranges[best]) == pytest.approx(ranges[row, column], abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    turn=st.tuples(*[st.floats(-0.4, 0.4)] * 3), place=st.tuples(*[st.floats(-3, 3)] * 3), share=st.floats(-0.2, 1.2)
)
def test_the_sensor_moves_on_a_screw(turn: tuple, place: tuple, share: float) -> None:
    begin = pose((0.1, 0.2, -0.7), (5.0, 1.0, 2.0))
    lidar = replace(spinning(), lidar2world=np.stack([begin, begin @ pose(turn, place)]))
    want = interpolate_pose(*lidar.lidar2world, share)
    np.testing.assert_allclose(lidar.poses(np.array(share)), want, atol=1e-8)


def test_gradients() -> None:
    lidar, start = spinning(24), scene(5, seed=4)
    start = replace(start, scales=4 * start.scales)
    names = ("means", "quats", "scales", "opacities", "times", "velocities")

    def render(rgb: torch.Tensor, drop: torch.Tensor, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        gaussians = replace(start, **dict(zip(names, values, strict=True)))
        image = render_lidar(gaussians, lidar, features=rgb, drop=drop, backend="torch")
        assert image.features is not None
        return image.range * image.alpha, image.alpha, image.drop, image.features

    leaves = [start.rgb, torch.linspace(0.1, 0.9, 5, dtype=torch.float64), *(getattr(start, name) for name in names)]
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    assert (render(*leaves)[1] > 0.1).sum() > 20
    assert torch.autograd.gradcheck(render, leaves, eps=1e-6, atol=2e-5, fast_mode=True)


def test_gradients_of_the_compiled_blend() -> None:
    lidar, gaussians = spinning(), scene(150, seed=5)
    fields = ("means", "scales", "opacities", "velocities")
    found = []
    for backend, dtype in (("torch", torch.float64), ("cpu", torch.float32)):
        given_ = in_dtype(gaussians, dtype)
        leaves = {name: getattr(given_, name).clone().requires_grad_() for name in fields}
        image = render_lidar(replace(given_, **leaves), lidar, backend=backend)
        ((image.range * image.alpha).sum() + image.alpha.square().sum()).backward()
        found.append({name: leaf.grad.double() for name, leaf in leaves.items()})
    for name in fields:
        largest = found[0][name].abs().max()
        assert largest > 0
        assert (found[1][name] - found[0][name]).abs().max() < 2e-4 * largest


def test_a_wall_is_as_far_as_it_is() -> None:
    """A tight wall 8 m ahead of a sensor that drives by: ranges are 8 / cos of the ray to the wall's normal."""
    lidar = replace(spinning(360), lidar2world=np.stack([pose((0, 0, 0), (0, 0, 0)), pose((0, 0, 0), (0, 2.0, 0))]))
    z, y = torch.meshgrid(torch.arange(-3, 3, 0.05), torch.arange(-10, 10, 0.05), indexing="ij")
    one = gaussian_at((0, 0, 0))
    wall = one.select(torch.zeros(z.numel(), dtype=torch.long))
    means = torch.stack([torch.full_like(z, 8.0), y, z], dim=-1).reshape(-1, 3).double()
    wall = replace(wall, means=means, scales=0 * wall.scales + 0.03, opacities=0 * wall.opacities + 0.9)
    image = render_lidar(in_dtype(wall, torch.float32), lidar, with_median=True)
    want = 8.0 / lidar.directions()[..., 0]
    middle = (lidar.directions()[..., 0] > 0.85) & (np.abs(want * lidar.directions()[..., 2]) < 2.5)
    assert middle.sum() > 200
    assert (image.alpha.numpy()[middle] > 0.95).all()
    np.testing.assert_allclose(image.range.numpy()[middle], want[middle], atol=0.05)
    assert image.median_range is not None
    np.testing.assert_allclose(image.median_range.numpy()[middle], want[middle], atol=0.05)


def test_sky_and_what_is_near_or_far_return_nothing() -> None:
    lidar, gaussians = spinning(), scene(80, seed=6, dtype=torch.float32)
    half = torch.arange(80) % 2 == 0
    one = render_lidar(replace(gaussians, is_sky=half), lidar, features=gaussians.rgb)
    other = render_lidar(gaussians.select(~half), lidar, features=gaussians.rgb[~half])
    assert one.alpha.max() > 0.5
    for name in ("range", "alpha", "drop", "features"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0)
    nothing = render_lidar(gaussians, lidar, near=0.5, far=1.0, with_median=True)
    assert_empty(nothing)
    assert_empty(render_lidar(gaussians.select(half & ~half), lidar, with_median=True))


def assert_empty(image: LidarImage) -> None:
    assert not image.alpha.any()
    assert not image.range.any()
    assert (image.drop == 1).all()
    assert image.median_range is not None
    assert image.median_range.isnan().all()


def test_above_and_below_no_beam_reaches() -> None:
    lidar = replace(spinning(), lidar2world=np.stack([np.eye(4)] * 2))
    assert len(splats_of(gaussian_at((0.0, 0.0, 6.0)), lidar).index) == 0
    assert len(splats_of(gaussian_at((0.3, 0.0, -6.0)), lidar).index) == 0


def test_what_is_wrong_is_said() -> None:
    lidar, gaussians = spinning(), scene(4)
    with pytest.raises(ValueError, match="descend"):
        replace(lidar, elevations=ELEVATIONS[::-1])
    with pytest.raises(ValueError, match="80 degrees"):
        replace(lidar, elevations=np.array([1.5]))
    with pytest.raises(ValueError, match="must end after"):
        replace(lidar, times=(0.4, 0.4))
    with pytest.raises(ValueError, match="rotations"):
        replace(lidar, lidar2world=2 * lidar.lidar2world)
    with pytest.raises(ValueError, match="two finite poses"):
        replace(lidar, lidar2world=lidar.lidar2world[:1])
    with pytest.raises(ValueError, match="columns=3"):
        replace(lidar, columns=3)
    with pytest.raises(ValueError, match="turns by 150 degrees"):
        render_lidar(gaussians, replace(lidar, lidar2world=np.stack([np.eye(4), pose((0, 0, 2.618), (0, 0, 0))])))
    with pytest.raises(ValueError, match=r"shape \(9, 48\)"):
        lidar.points(np.zeros((3, 48)))
    with pytest.raises(ValueError, match="features must have shape"):
        render_lidar(gaussians, lidar, features=torch.ones(3, 1))
    with pytest.raises(ValueError, match="drop must have shape"):
        render_lidar(gaussians, lidar, drop=torch.ones(3))
    with pytest.raises(ValueError, match="probabilities"):
        render_lidar(gaussians, lidar, drop=torch.full((4,), 1.5))
    with pytest.raises(ValueError, match="not finite"):
        render_lidar(replace(gaussians, means=gaussians.means / 0), lidar)
    with pytest.raises(ValueError, match="norm zero"):
        render_lidar(replace(gaussians, quats=0 * gaussians.quats), lidar)
    with pytest.raises(ValueError, match="backend"):
        render_lidar(gaussians, lidar, backend="gsplat")  # type: ignore[arg-type]
