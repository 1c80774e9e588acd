"""Any scene a file can hold, for property tests, and one small one with everything in it."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st

from flux4d.gaussians import Gaussians
from flux4d.scenes.scene import Scene, SceneCamera
from store_schema.camera_model import PINHOLE, OpenCVDistortion, OpenCVFisheye


def make_gaussians(
    count: int, *, terms: int = 1, seed: int = 0, lifetime: bool = True, instance: bool = True
) -> Gaussians:
    g = torch.Generator().manual_seed(seed)
    sigma_t = 0.05 + torch.rand(count, generator=g)
    sigma_t[::3] = torch.inf
    return Gaussians(
        means=10 * torch.randn(count, 3, generator=g),
        quats=torch.randn(count, 4, generator=g) + 0.1,
        scales=torch.rand(count, 3, generator=g),
        opacities=torch.rand(count, generator=g),
        rgb=torch.rand(count, 3, generator=g),
        times=torch.rand(count, generator=g),
        velocities=torch.randn(count, terms, 3, generator=g),
        is_sky=torch.rand(count, generator=g) < 0.3,
        source=torch.randint(-1, 1000, (count,), generator=g),
        sigma_t=sigma_t if lifetime else None,
        instance=torch.randint(-1, 9, (count,), generator=g).int() if instance else None,
    )


def turned(angle: float, shift: tuple[float, float, float]) -> np.ndarray:
    out = np.eye(4)
    out[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    out[:3, 3] = shift
    return out


def make_scene(count: int = 5, **changes: object) -> Scene:
    camera = SceneCamera("front", 0.05, turned(0.3, (1.0, 2.0, 3.0)), np.diag([50.0, 51.0, 1.0]), 64, 48, agent="car")
    values: dict[str, object] = {
        "gaussians": make_gaussians(count),
        "duration": 1.5,
        "cameras": (camera,),
        "ego02world": turned(-1.1, (1e6, -2e6, 10.123456789)),
        "clip_id": "a-evaluation-s000",
        "log_id": "a",
        "dataset_version": "ab" * 32,
        "method": "test",
        "made": {"steps": "300", "<b>": "ü"},
    }
    return Scene(**{**values, **changes})  # type: ignore[arg-type]


finite = st.floats(-1e6, 1e6, allow_nan=False)


LENSES = (PINHOLE, OpenCVFisheye(0.1, -0.02, 0.0, 1e-3), OpenCVDistortion(0.1, 0.0, 0.0, -0.1))


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    gaussians = make_gaussians(
        draw(st.integers(1, 20)),
        terms=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 99)),
        lifetime=draw(st.booleans()),
        instance=draw(st.booleans()),
    )
    cameras = tuple(
        SceneCamera(
            draw(st.text(max_size=5)),
            draw(finite),
            turned(draw(finite), (draw(finite), draw(finite), draw(finite))),
            np.array([[draw(st.floats(0.1, 1e4)), 0, draw(finite)], [0, draw(st.floats(0.1, 1e4)), 1], [0, 0, 1]]),
            draw(st.integers(1, 9999)),
            draw(st.integers(1, 9999)),
            draw(st.text(max_size=5)),
            draw(
                st.sampled_from([PINHOLE, OpenCVFisheye(0.1, -0.02, 0.0, 1e-3), OpenCVDistortion(0.1, 0.0, 0.0, -0.1)])
            ),
        )
        for _ in range(draw(st.integers(0, 3)))
    )
    place = st.builds(turned, finite, st.tuples(finite, finite, finite))
    return make_scene(
        gaussians=gaussians,
        cameras=cameras,
        duration=draw(st.floats(0, 1e3)),
        ego02world=draw(st.none() | place),
        clip_id=draw(st.text(max_size=9)),
        method=draw(st.text(max_size=9)),
        made=draw(st.dictionaries(st.text(max_size=4), st.text(max_size=9), max_size=3)),
    )
