"""The corners: empty and odd images, Gaussians of no, huge and needle-like extent, ties, borders, bad values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from flux4d.rasterize import MAX_ALPHA
from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.cpu.blend import blend as blend_cpu
from tests.support.scenes.rasterize_compare import BACKENDS, NAMES, draw, same_as_brute_force
from tests.support.scenes.rasterize_reference import Scene, random_scene

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def facing(count: int, width: int, height: int, *, seed: int = 0) -> Scene:
    """Gaussians at random depths of 2 m to 8 m in view of a camera in the origin, focal length 32 px.

    Every number of the camera is a power of two, so that means land exactly where they are put.
    """
    scene = random_scene(count, width, height, seed=seed)
    g = torch.Generator().manual_seed(seed)
    z = 2 + 6 * torch.rand(count, generator=g)
    pixel = torch.rand(count, 2, generator=g) * torch.tensor([width, height])
    K = torch.tensor([[32.0, 0, width / 2], [0, 32.0, height / 2], [0, 0, 1]])
    means = torch.cat([(pixel - K[:2, 2]) / 32 * z[:, None], z[:, None]], dim=1)
    return replace(scene, means=means, viewmats=torch.eye(4)[None], Ks=K[None])


SKEW = torch.tensor([0.8, 1.0, 1.3])
"""Three axes: a ball's rotation has no gradient to compare."""


def first_rows(value: torch.Tensor, rows: list) -> torch.Tensor:
    out = value.clone()
    out[: len(rows)] = torch.tensor(rows)
    return out


@pytest.mark.parametrize("backend", BACKENDS)
class TestNothingToSee:
    def test_no_gaussian(self, backend):
        scene = random_scene(0, 20, 10)
        parameters = scene.parameters()
        drawn = draw(parameters, scene, backgrounds=torch.tensor([[0.1, 0.2, 0.3]]), backend=backend)
        assert torch.equal(drawn.features, torch.tensor([0.1, 0.2, 0.3]).expand(1, 10, 20, 3))
        drawn.features.sum().backward()
        assert parameters[0].grad.shape == (0, 3)

    @pytest.mark.parametrize("mean", [(0.0, 0.0, -5.0), (0.0, 0.0, 0.0), (300.0, 0.0, 3.0), (0.0, -300.0, 3.0)])
    def test_all_behind_in_or_beside_the_camera(self, backend, mean):
        scene = facing(20, 20, 10)
        scene = replace(scene, means=torch.tensor(mean).repeat(20, 1))
        parameters = scene.parameters()
        drawn = draw(parameters, scene, render_mode="RGB+ED", backend=backend)
        assert not drawn.features.any()
        assert not drawn.alphas.any()
        assert drawn.meta.visible.tolist() == [0]
        (drawn.features.sum() + drawn.alphas.sum()).backward()
        assert all(not p.grad.any() for p in parameters)

    @pytest.mark.parametrize("opacity", [0.0, 0.0039])
    def test_all_too_faint(self, backend, opacity):
        scene = replace(facing(20, 20, 10), opacities=torch.full((20,), opacity))
        parameters = scene.parameters()
        drawn = draw(parameters, scene, backend=backend)
        assert not drawn.alphas.any()
        drawn.features.sum().backward()
        assert all(not p.grad.any() for p in parameters)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (1, 40), (40, 1), (16, 16), (17, 33), (3, 65), (4100, 3)], ids=str
)
def test_image_sizes(backend, width, height):
    scene = facing(60, width, height)
    scene = replace(scene, scales=scene.scales * (20 if width > 4096 else 1))
    alphas = same_as_brute_force(scene, backend, value=5e-5 if width > 4096 else 2e-6, gradient=1e-4, depth=2e-4)
    assert alphas.reshape(height, width)[-1, -width // 4 :].max() > 0.05
    assert alphas.max() > 0.3


@DTYPES
@pytest.mark.parametrize("backend", BACKENDS)
class TestExtents:
    def test_huge(self, backend, dtype):
        scene = facing(8, 40, 30)
        scene = replace(scene, scales=first_rows(scene.scales, [[1e4, 2e4, 3e4], [3e4, 1e4, 2e4]]))
        alphas = same_as_brute_force(scene, backend, dtype=dtype, gradient=2e-3 if dtype == torch.float32 else 1e-6)
        assert alphas.min() > 0.1  # they cover all

    @pytest.mark.parametrize("scale", [0.0, 1e-7])
    def test_none_or_tiny(self, backend, dtype, scale):
        """What is left is the blur of 0.3 px^2."""
        scene = facing(200, 40, 30)
        scene = replace(scene, scales=scale * SKEW.repeat(200, 1))
        assert same_as_brute_force(scene, backend, dtype=dtype, value=2e-5, gradient=1e-4).max() > 0.3

    def test_needles(self, backend, dtype):
        """Thin lines in every direction, across many tiles, some of them far longer than the image."""
        scene = facing(60, 70, 50)
        needle = torch.tensor([2.0, 1e-4, 1e-4])
        scene = replace(scene, scales=needle.repeat(60, 1) * torch.logspace(-1, 1, 60)[:, None])
        tolerance = {"value": 2e-2, "gradient": 0.1, "depth": 0.2, "doubtful_share": 0.3, "doubt": 1e-2}
        tolerance = tolerance if dtype == torch.float32 else {"value": 1e-7, "gradient": 1e-6}
        assert same_as_brute_force(scene, backend, dtype=dtype, **tolerance).max() > 0.5

    def test_flat_and_on_edge(self, backend, dtype):
        scene = facing(80, 40, 30)
        flat = torch.tensor([0.3, 0.3, 0.0]).repeat(80, 1)
        scene = replace(scene, scales=flat)
        float32 = dtype == torch.float32
        same_as_brute_force(scene, backend, dtype=dtype, value=1e-5 if float32 else 1e-7, gradient=1e-4, depth=1e-4)

    def test_far_outside_the_image_and_reaching_in(self, backend, dtype):
        scene = facing(6, 40, 30)
        means = first_rows(scene.means, [[-30.0, 0, 3], [30.0, 5, 3], [0, 40.0, 4], [2, -35.0, 3]])
        scene = replace(scene, means=means, scales=first_rows(scene.scales, [[9.0, 10, 11]] * 4))
        scene = replace(scene, opacities=torch.full((6,), 0.9))
        tolerance = {"value": 1e-4, "gradient": 1e-3, "depth": 1e-3} if dtype == torch.float32 else {"value": 1e-7}
        assert same_as_brute_force(scene, backend, dtype=dtype, **tolerance).min() > 0.01

    def test_enormous_needle_stays_finite(self, backend, dtype):
        """Its determinant is lost in rounding: what is drawn is arbitrary, but never NaN."""
        scene = facing(6, 40, 30)
        scene = replace(scene, scales=first_rows(scene.scales, [[1e4, 1e-4, 1e-4], [1e-6, 1e5, 1e5], [1e9, 1, 1]]))
        parameters = scene.parameters(dtype)
        drawn = draw(parameters, scene, render_mode="RGB+ED", backend=backend)
        (drawn.features.sum() + drawn.alphas.sum()).backward()
        assert drawn.features.isfinite().all()
        assert (drawn.alphas >= 0).all()
        assert all(p.grad.isfinite().all() for p in parameters)


@pytest.mark.parametrize("backend", BACKENDS)
class TestPlaces:
    @pytest.mark.parametrize("pixel", [(8.5, 8.5), (16.0, 16.0), (15.5, 32.0), (0.0, 0.0), (40.0, 33.0), (16.5, 3.5)])
    def test_exactly_on_a_pixel_centre_or_a_tile_border(self, backend, pixel):
        scene = facing(1, 40, 33)
        x, y = ((p - c) / 32 * 4 for p, c in zip(pixel, (20.0, 16.5), strict=True))
        scene = replace(
            scene, means=torch.tensor([[x, y, 4.0]]), scales=0.5 * SKEW[None], opacities=torch.tensor([0.9])
        )
        alphas = same_as_brute_force(scene, backend).reshape(33, 40)
        if pixel == (8.5, 8.5):
            assert alphas[8, 8].item() == pytest.approx(0.9, abs=1e-6)

    def test_at_the_near_and_the_far_plane(self, backend):
        """Both planes belong to what is seen."""
        scene = facing(4, 20, 20)
        inf = torch.tensor(torch.inf)
        z = [torch.nextafter(torch.tensor(0.25), -inf), torch.tensor(0.25), torch.tensor(2.5)]
        z = torch.stack([*z, torch.nextafter(z[-1], inf)])
        scene = replace(scene, means=torch.stack([0 * z, 0 * z, z], dim=1), opacities=torch.full((4,), 0.3))
        drawn = draw(scene.parameters(), scene, near_plane=0.25, far_plane=2.5, packed=False, backend=backend)
        assert (drawn.meta.radii[0, :, 0] > 0).tolist() == [False, True, True, False]
        same_as_brute_force(scene, backend, near_plane=0.25, far_plane=2.5)

    def test_nearly_in_the_camera(self, backend):
        scene = facing(10, 30, 20)
        means = first_rows(scene.means, [[0.001, 0.0, 0.01], [-0.05, 0.002, 0.02], [0.3, 0.2, 0.0101]])
        same_as_brute_force(replace(scene, means=means), backend, dtype=torch.float64, value=1e-6)

    def test_equal_depths_blend_in_row_order(self, backend):
        scene = facing(70, 40, 33)
        means = scene.means.clone()
        means[:, :2] *= 4 / means[:, 2:]
        means[:, 2] = 4.0
        scene = replace(scene, means=means, scales=3 * scene.scales)
        assert same_as_brute_force(scene, backend, value=5e-6, depth=5e-5).max() > 0.9
        turned = replace(scene, **{name: getattr(scene, name).flip(0) for name in NAMES[:5]})
        images = [draw(s.parameters(), s, backend=backend).features for s in (scene, turned)]
        assert (images[0] - images[1]).abs().max() > 0.1, "the order does not show in this scene"


@pytest.mark.parametrize("backend", BACKENDS)
class TestOpacities:
    def test_zero_and_one(self, backend):
        scene = facing(3, 33, 33)
        means = torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, 4.0], [0.0, 0.0, 5.0]])
        scene = replace(
            scene, means=means, scales=5 * SKEW.repeat(3, 1), opacities=torch.tensor([0.0, 1.0, 1.0]), width=33
        )
        alphas = same_as_brute_force(scene, backend).reshape(33, 33)
        # the second one would leave too little light: it is left out where both are opaque
        assert alphas[16, 16].item() == pytest.approx(MAX_ALPHA, abs=1e-6)
        parameters = scene.parameters()
        drawn = draw(parameters, scene, packed=False, backend=backend)
        assert (drawn.meta.radii[0, :, 0] > 0).tolist() == [False, True, True]
        drawn.features.sum().backward()
        assert parameters[3].grad[0] == 0
        assert parameters[3].grad[2] != 0

    def test_ten_thousand_on_one_pixel(self, backend):
        """Faint ones: about a thousand of them share a pixel before it is finished."""
        count = 10_000
        scene = facing(count, 12, 12)
        z = torch.linspace(3, 4, count)
        scene = replace(
            scene,
            means=torch.stack([0.001 * z, -0.002 * z, z], dim=1),
            scales=0.1 * SKEW.repeat(count, 1),
            opacities=0.005 + 0.01 * torch.rand(count, generator=torch.Generator().manual_seed(0)),
        )
        alphas = same_as_brute_force(
            scene, backend, value=5e-6, gradient=1e-4, depth=5e-5, doubt=1e-5, doubtful_share=0.3
        )
        assert alphas.max() > 0.9998
        parameters = scene.parameters()
        draw(parameters, scene, backend=backend).features[0, 5, 6].square().sum().backward()
        blended = int((parameters[4].grad != 0).any(dim=1).sum())
        assert 500 < blended < 2000
        assert not parameters[4].grad[2000:].any()  # no light reaches the last ones

    def test_ten_thousand_opaque_on_one_pixel(self, backend):
        count = 10_000
        scene = facing(count, 12, 12)
        z = torch.linspace(3, 4, count)
        scene = replace(
            scene,
            means=torch.stack([0 * z, 0 * z, z], dim=1),
            scales=0.02 * SKEW.repeat(count, 1),
            opacities=torch.full((count,), 0.5),
        )
        same_as_brute_force(scene, backend, value=5e-6, camera_gradient=1e-3, doubtful_share=0.1)


@pytest.mark.parametrize("backend", BACKENDS)
class TestBadValues:
    @pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
    @pytest.mark.parametrize("position", range(5), ids=NAMES[:5])
    def test_what_is_not_finite_is_named(self, backend, position, bad):
        scene = random_scene(5, 20, 20)
        parameters = [p.detach() for p in scene.parameters()]
        parameters[position][3] = bad
        with pytest.raises(ValueError, match=rf"{NAMES[position]} of 1 Gaussians is not finite, first row 3"):
            draw(parameters, scene, backend=backend)

    def test_zero_quaternion_is_named(self, backend):
        scene = random_scene(5, 20, 20)
        parameters = [p.detach() for p in scene.parameters()]
        parameters[1][2] = 0
        with pytest.raises(ValueError, match="norm zero, first row 2"):
            draw(parameters, scene, backend=backend)


def test_values_that_mean_nothing_are_refused():
    scene = random_scene(5, 20, 20)
    parameters = [p.detach() for p in scene.parameters()]
    for row, value in ((2, 1.01), (3, -0.1)):
        wrong = [p.clone() for p in parameters]
        wrong[3][row] = value
        with pytest.raises(ValueError, match=rf"opacities of 1 Gaussians are not within 0 and 1, first row {row}"):
            draw(wrong, scene)
    for norm, message in ((1e-25, "norm zero, first row 1"), (1e25, "too long to square, first row 1")):
        wrong = [p.clone() for p in parameters]
        wrong[1][1] = norm
        with pytest.raises(ValueError, match=message):
            draw(wrong, scene)
    for backend in ("cpu", "torch"):
        scene.Ks.requires_grad_()
        with pytest.raises(ValueError, match="no gradient reaches Ks"):
            draw(parameters, scene, backend=backend)
        scene.Ks.requires_grad_(False)
    flat = replace(scene, Ks=scene.Ks * torch.tensor([[0.0], [1.0], [1.0]]))
    with pytest.raises(ValueError, match="Ks of camera 0 has a focal length that is not positive"):
        draw(parameters, flat)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@pytest.mark.parametrize("norm", [1e-18, 1e-13, 1e18])
def test_the_norm_of_a_quaternion_does_not_matter(backend, norm):
    scene = random_scene(60, 40, 30, seed=4)
    scene.scales[:, 0] *= 4
    parameters = [p.detach() for p in scene.parameters()]
    unit = torch.nn.functional.normalize(parameters[1], dim=1)
    want, got = (draw([parameters[0], q, *parameters[2:]], scene, backend=backend) for q in (unit, unit * norm))
    torch.testing.assert_close(got.features, want.features, rtol=1e-4, atol=1e-5)


def test_blending_refuses_what_lies_outside_its_arrays():
    splats = torch.rand(3, 8)
    boxes = torch.tensor([[0, 5, 0, 5]] * 3, dtype=torch.int32)
    settings = RasterSettings(20, 10)
    blend_cpu(splats, boxes, settings)
    for row, column, value in ((0, 0, -400_000), (1, 1, 21), (2, 3, 11)):
        wrong = boxes.clone()
        wrong[row, column] = value
        with pytest.raises(ValueError, match="beyond 20x10 pixels"):
            blend_cpu(splats, wrong, settings)
    with pytest.raises(ValueError, match=r"row_centers must have shape \(10,\)"):
        blend_cpu(splats, boxes, settings, torch.arange(4.0))
    with pytest.raises(ValueError, match="boxes must be integers"):
        blend_cpu(splats, boxes.float(), settings)


def test_a_splat_with_an_empty_box_has_no_gradient():
    splats = torch.tensor([[5, 5, 0.1, 0, 0.1, 0.5, 1.0], [5, 5, float("inf"), 0, 1, 0.0, 1.0]]).requires_grad_()
    boxes = torch.tensor([[0, 10, 0, 10], [0, 0, 0, 0]], dtype=torch.int32)
    blend_cpu(splats, boxes, RasterSettings(16, 16))[0].sum().backward()
    assert splats.grad[0].any()
    assert torch.equal(splats.grad[1], torch.zeros(7))
