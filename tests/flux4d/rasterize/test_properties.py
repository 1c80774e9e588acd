"""What must hold for any scene: order of rows, rigid motion, linearity, what is hidden, crops, bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.scenes.rasterize_compare import BACKENDS, NAMES, draw, relative, same_as_brute_force
from tests.support.scenes.rasterize_reference import Scene, project_matrices, random_scene

FEW = settings(max_examples=12, deadline=None)
SEEDS = st.integers(0, 2**31)
NEAR = 0.2
"""A needle of 20 m nearer than this m is lost in the rounding of its determinant, float64 or not."""


@st.composite
def scenes(draw_: st.DrawFn) -> Scene:
    """Up to 120 Gaussians, round to needle-like, faint to opaque, in an image of 1 to 50 pixels a side."""
    seed, count = draw_(SEEDS), draw_(st.integers(1, 120))
    width, height = draw_(st.integers(1, 50)), draw_(st.integers(1, 50))
    scene = random_scene(count, width, height, seed=seed, size=draw_(st.sampled_from([0.01, 0.1, 1.0])))
    g = torch.Generator().manual_seed(seed)
    spread = draw_(st.sampled_from([0.0, 1.0, 2.0]))
    scales = (scene.scales * torch.exp(spread * torch.randn(count, 3, generator=g))).clamp(max=20)
    opacities = scene.opacities ** draw_(st.sampled_from([4.0, 1.0, 0.1]))
    return replace(scene, scales=scales, opacities=opacities)


def rows_of(scene: Scene, rows: Tensor) -> Scene:
    return replace(scene, **{name: getattr(scene, name)[rows] for name in NAMES[:5]})


def together(*parts: Scene) -> Scene:
    return replace(parts[0], **{name: torch.cat([getattr(p, name) for p in parts]) for name in NAMES[:5]})


def images(scene: Scene, dtype: torch.dtype = torch.float32, **options) -> tuple[Tensor, Tensor]:
    drawn = draw(
        [p.detach() for p in scene.parameters(dtype)],
        scene,
        render_mode="RGB+D",
        near_plane=NEAR,
        backend="cpu",
        **options,
    )
    return drawn.features[0], drawn.alphas[0]


@FEW
@given(scenes(), st.sampled_from(BACKENDS), st.sampled_from([0.999, 0.9]))
def test_any_scene_equals_brute_force(scene, backend, max_alpha):
    same_as_brute_force(
        scene,
        backend,
        dtype=torch.float64,
        value=1e-6,
        gradient=1e-5,
        doubt=1e-6,
        doubtful_share=1,
        near_plane=NEAR,
        max_alpha=max_alpha,
    )


@FEW
@given(scenes(), SEEDS)
def test_the_order_of_the_rows_does_not_matter(scene, seed):
    z = scene.means @ scene.viewmats[0, 2, :3] + scene.viewmats[0, 2, 3]
    scene = rows_of(scene, torch.from_numpy(np.unique(z.numpy(), return_index=True)[1]))  # no two of one depth
    order = torch.randperm(len(scene.means), generator=torch.Generator().manual_seed(seed))
    results = []
    for case in (scene, rows_of(scene, order)):
        parameters = case.parameters()
        drawn = draw(parameters, case, render_mode="RGB+D", near_plane=NEAR, backend="cpu")
        (drawn.features.square().sum() + drawn.alphas.sum()).backward()
        results.append((drawn.features, drawn.alphas, [p.grad for p in parameters]))
    (image, alpha, grads), (image_turned, alpha_turned, grads_turned) = results
    assert torch.equal(image, image_turned)
    assert torch.equal(alpha, alpha_turned)
    for grad, turned in zip(grads[:5], grads_turned[:5], strict=True):
        assert relative(turned, grad[order]) <= 1e-6
    assert relative(grads_turned[5], grads[5]) <= 1e-4


@FEW
@given(scenes(), SEEDS)
def test_world_and_camera_moved_together(scene, seed):
    g = torch.Generator().manual_seed(seed)
    half = torch.nn.functional.normalize(torch.randn(4, generator=g, dtype=torch.float64), dim=0)
    shift = 10 * torch.randn(3, generator=g, dtype=torch.float64)
    turn = torch.stack([turned(half, axis) for axis in torch.eye(3, dtype=torch.float64)], dim=1)
    move = torch.eye(4, dtype=torch.float64)
    move[:3, :3], move[:3, 3] = turn, shift
    moved = replace(
        scene,
        means=scene.means.double() @ turn.T + shift,
        quats=product(half, scene.quats.double()),
        viewmats=scene.viewmats.double() @ torch.linalg.inv(move),
    )
    for a, b in zip(images(scene, torch.float64), images(moved, torch.float64), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton's product of one quaternion and many, wxyz."""
    scalar = a[0] * b[:, :1] - (b[:, 1:] @ a[1:])[:, None]
    vector = a[0] * b[:, 1:] + b[:, :1] * a[1:] + torch.linalg.cross(a[1:].expand(len(b), 3), b[:, 1:])
    return torch.cat([scalar, vector], dim=1)


def turned(quat: Tensor, vector: Tensor) -> Tensor:
    pure, inverse = torch.cat([torch.zeros(1), vector])[None].double(), quat * torch.tensor([1, -1, -1, -1])
    return product(product(quat, pure)[0], inverse[None])[0, 1:]


@FEW
@given(scenes(), st.sampled_from([-4.0, 0.25, 1024.0]), SEEDS)
def test_images_are_linear_in_features(scene, factor, seed):
    image, alpha = images(scene)
    scaled, same = images(replace(scene, features=factor * scene.features))  # a power of two rounds nothing
    assert torch.equal(scaled[..., :3], factor * image[..., :3])
    assert torch.equal(scaled[..., 3], image[..., 3])
    assert torch.equal(same, alpha)
    other = torch.randn(scene.features.shape, generator=torch.Generator().manual_seed(seed))
    parts = image[..., :3] + images(replace(scene, features=other))[0][..., :3]
    both = images(replace(scene, features=scene.features + other))[0][..., :3]
    torch.testing.assert_close(both, parts, rtol=0, atol=2e-5)


@FEW
@given(scenes())
def test_alpha_is_bounded_and_shares_add_up_to_it(scene):
    image, alpha = images(replace(scene, features=torch.softmax(scene.features, dim=1)))
    assert alpha.min() >= 0
    assert alpha.max() < 1 - 0.99e-4
    torch.testing.assert_close(image[..., :3].sum(dim=-1, keepdim=True), alpha, rtol=0, atol=2e-6)
    seen = alpha > 1e-3
    depth = image[..., 3:] / alpha
    assert (depth[seen] >= 0.99 * NEAR).all()
    assert (depth[seen] <= 14).all()  # the scenes' largest


@FEW
@given(scenes(), SEEDS)
def test_hidden_gaussians_change_nothing(scene, seed):
    count = 40
    g = torch.Generator().manual_seed(seed)
    more = random_scene(count, scene.width, scene.height, seed=seed, size=0.2)
    world = torch.linalg.inv(scene.viewmats[0])
    places = torch.rand(count, 3, generator=g) * torch.tensor([2.0, 2.0, 4.0]) + torch.tensor([-1.0, -1.0, 1.0])

    def at(local: Tensor, opacity: float) -> Scene:
        """The scene's Gaussians and others at places in camera axes, in mixed order."""
        means = local @ world[:3, :3].T + world[:3, 3]
        case = together(scene, replace(more, means=means, opacities=torch.full((count,), opacity)))
        return rows_of(case, torch.randperm(len(case.means), generator=g))

    image, alpha = images(scene, far_plane=14.0)
    hidden = {
        "behind": at(places * torch.tensor([1.0, 1.0, -1.0]), 1.0),
        "too far": at(places + torch.tensor([0.0, 0.0, 14.0]), 1.0),
        "too faint": at(places, 0.0039),
        "beside": at(places + torch.tensor([500.0, 0.0, 0.0]), 1.0),
    }
    for name, case in hidden.items():
        got, got_alpha = images(case, far_plane=14.0)
        assert torch.equal(got, image), name
        assert torch.equal(got_alpha, alpha), name


@FEW
@given(scenes())
def test_nothing_shines_through_a_wall(scene):
    """Two layers of opacity 0.989 leave 1.2e-4 of the light; the third would leave less, and ends the pixel."""
    wall = random_scene(3, scene.width, scene.height)
    world = torch.linalg.inv(scene.viewmats[0])
    local = torch.tensor([[0.0, 0.0, 0.3], [0.0, 0.0, 0.31], [0.0, 0.0, 0.32]])
    wall = replace(
        wall,
        means=local @ world[:3, :3].T + world[:3, 3],
        scales=torch.full((3, 3), 1000.0),
        opacities=torch.tensor([0.989, 0.989, 0.989]),
        viewmats=scene.viewmats,
    )
    z = scene.means @ scene.viewmats[0, 2, :3] + scene.viewmats[0, 2, 3]
    behind = rows_of(scene, z > 0.4)
    image, alpha = images(wall)
    assert alpha.min() > 0.9998
    for a, b in zip(images(together(behind, wall)), (image, alpha), strict=True):
        assert torch.equal(a, b)


@FEW
@given(scenes(), st.data())
def test_a_crop_is_the_crop_of_the_image(scene, data):
    """Also across tile borders: a crop's tiles are others."""
    left, top = (data.draw(st.integers(0, size - 1)) for size in (scene.width, scene.height))
    width, height = (data.draw(st.integers(1, n)) for n in (scene.width - left, scene.height - top))
    Ks = scene.Ks.double()
    Ks[:, 0, 2] -= left
    Ks[:, 1, 2] -= top
    crop = replace(scene, Ks=Ks, width=width, height=height)
    # The Jacobian's clamp goes by the image's size: only Gaussians clamped in neither show the same splat.
    splats = [
        project_matrices(
            *(getattr(s, name).double() for name in NAMES[:3]),
            s.viewmats[0].double(),
            s.Ks[0].double(),
            s.width,
            s.height,
            0.3,
        )
        for s in (scene, crop)
    ]
    same = torch.isclose(splats[0][1], splats[1][1], rtol=1e-9, atol=0).flatten(1).all(dim=1)
    scene, crop = rows_of(scene, same), rows_of(crop, same)
    for whole, part in zip(images(scene, torch.float64), images(crop, torch.float64), strict=True):
        torch.testing.assert_close(whole[top : top + height, left : left + width], part, rtol=0, atol=1e-9)
