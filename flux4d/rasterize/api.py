"""One call for every backend: Gaussians and cameras in, feature images out, with gsplat's words and semantics."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from flux4d.rasterize.constants import MAX_ALPHA, RasterSettings
from flux4d.rasterize.draw import Blend, Project, draw, own_blend
from flux4d.rasterize.gsplat_backend import rasterize_gsplat
from flux4d.rasterize.inputs import RasterInputs, checked
from flux4d.rasterize.meta import Rasterized

Backend = Literal["auto", "gsplat", "cpu", "torch"]
RenderMode = Literal["RGB", "D", "ED", "RGB+D", "RGB+ED"]


def rasterize(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4]
    scales: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    features: Tensor,  # [N, D] or [C, N, D]
    viewmats: Tensor,  # [C, 4, 4]
    Ks: Tensor,  # [C, 3, 3]
    width: int,
    height: int,
    *,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    packed: bool = True,
    backgrounds: Tensor | None = None,  # [C, D]
    render_mode: RenderMode = "RGB",
    max_alpha: float = MAX_ALPHA,
    backend: Backend = "auto",
) -> Rasterized:
    """Render N Gaussians with D features each into C pinhole cameras.

    The arguments, their defaults and the result are those of gsplat's `rasterization`, `features` being its `colors`
    without spherical harmonics; ``features, alphas, meta = rasterize(...)`` works as there.

    Args:
        means: Centres in world axes, m.
        quats: Rotations wxyz, any norm but zero.
        scales: Standard deviations, m.
        opacities: In [0, 1].
        features: What is blended, the same for all cameras or one by one: colours, velocities, anything.
        viewmats: World to camera (OpenCV axes).
        Ks: Intrinsics in pixels, pixel centres at +0.5.
        width: Image width in pixels.
        height: Image height in pixels.
        near_plane: Gaussians with a smaller z-depth are left out, m.
        far_plane: Gaussians with a larger z-depth are left out, m.
        radius_clip: Gaussians of this 2D radius or less are left out, px.
        eps2d: Added to the diagonal of the 2D covariance, px^2.
        packed: Form of the meta, see `RasterMeta`; gsplat saves memory by it. On cpu and torch the images are bitwise
            the same for both.
        backgrounds: Features behind everything; depth has none.
        render_mode: Features ("RGB"), accumulated depth ("D"), expected depth ("ED" = D / alpha), or both.
        max_alpha: Alphas are clamped here; the gsplat backend takes only the value built into it.
        backend: "auto" is gsplat for CUDA tensors and cpu for CPU tensors, and nothing else is tried when that fails;
            "torch" is the slow plain twin, for any device.

    float16 and bfloat16 are rendered in float32, float64 stays (gsplat: always float32). A scene without Gaussians
    needs no kernels and is drawn by "torch" for every backend.

    Returns:
        Rasterized: Images, differentiable in every tensor argument but `Ks`, and the meta.

    Raises:
        ValueError: a wrong shape or dtype, a value that is not finite, a zero quaternion, a view matrix that is none,
            an unknown word, or a backend that cannot render tensors of this device.
        RuntimeError: gsplat is wanted and is not installed or cannot build its kernels.
    """
    settings = RasterSettings(width, height, near_plane, far_plane, radius_clip, eps2d, max_alpha)
    if render_mode not in get_args(RenderMode):
        raise ValueError(f"render_mode {render_mode!r} is not one of {', '.join(get_args(RenderMode))}")
    if not isinstance(packed, bool):
        raise ValueError(f"packed must be True or False, got {packed!r}")
    inputs = checked(RasterInputs(means, quats, scales, opacities, features, viewmats, Ks, backgrounds))
    name = _resolve(backend, inputs.means)
    if name == "gsplat" and len(inputs.means):
        return rasterize_gsplat(inputs, render_mode, settings, packed)
    return draw(inputs, render_mode, settings, packed, *_own(name, inputs.means))


def _resolve(backend: Backend, means: Tensor) -> Literal["gsplat", "cpu", "torch"]:
    if backend not in get_args(Backend):
        raise ValueError(f"backend {backend!r} is not one of {', '.join(get_args(Backend))}")
    if backend != "auto":
        return backend
    if means.device.type not in ("cuda", "cpu"):
        raise ValueError(
            f"no backend renders fast on {means.device}; move the Gaussians to cuda or cpu, or use 'torch'"
        )
    return "gsplat" if means.device.type == "cuda" else "cpu"


def _own(name: Literal["gsplat", "cpu", "torch"], means: Tensor) -> tuple[Project, Blend]:
    blend = own_blend("cpu" if name == "cpu" else "torch", means)
    if name != "cpu":
        from flux4d.rasterize.projection import project as plain_project

        return plain_project, blend
    from flux4d.rasterize.cpu.project import project

    return project, blend
