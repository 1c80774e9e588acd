"""The project's own backends: project every camera's Gaussians, then blend them; gsplat's modes and meta around it."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor

from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.inputs import RasterInputs
from flux4d.rasterize.meta import Rasterized, RasterMeta
from flux4d.rasterize.projection import Projected


class Project(Protocol):
    """Gaussians to splats of one camera in depth order: with `Blend`, what `cpu` and `torch` differ in."""

    def __call__(
        self,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        viewmat: Tensor,
        K: Tensor,
        settings: RasterSettings,
        /,
    ) -> Projected:
        """N Gaussians to the splats that can be seen."""


class Blend(Protocol):
    """Front-to-back blending of splats in depth order."""

    def __call__(
        self, splats: Tensor, boxes: Tensor, settings: RasterSettings, row_centers: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Splats [M, 6 + D] and their pixel boxes [M, 4] to features [H, W, D] and alphas [H, W, 1]."""


def own_blend(name: Literal["cpu", "torch"], means: Tensor) -> Blend:
    """The blending of one of the project's own backends.

    Raises:
        ValueError: "cpu" for tensors on another device.
    """
    if name == "torch":
        from flux4d.rasterize.blend_torch import blend as plain

        return plain
    if means.device.type != "cpu":
        raise ValueError(f"backend 'cpu' needs CPU tensors, got {means.device}; use backend='auto' or move the tensors")
    from flux4d.rasterize.cpu.blend import blend as compiled  # numba takes a second to import

    return compiled


def draw(
    inputs: RasterInputs, render_mode: str, settings: RasterSettings, packed: bool, project: Project, blend: Blend
) -> Rasterized:
    """Render every camera; the images do not depend on `packed`.

    Args:
        inputs: Gaussians and C cameras.
        render_mode: As `rasterize`.
        settings: Image size, planes, clips.
        packed: Form of the meta; both forms hold the `means2d` that the images are made from.
        project: The projection to use.
        blend: The blending to use.

    Returns:
        Rasterized: Images and meta.
    """
    geometry = inputs.means, inputs.quats, inputs.scales, inputs.opacities
    seen = [_visible(project(*geometry, *view, settings)) for view in zip(inputs.viewmats, inputs.Ks, strict=True)]
    means2d, by_camera = _in_graph(seen, len(inputs.means), packed)
    images = [
        _image(inputs, camera, seen[camera], by_camera[camera], render_mode, settings, blend)
        for camera in range(len(seen))
    ]
    features, alphas = (_stack(list(values)) for values in zip(*images, strict=True))
    meta = RasterMeta(
        means2d,
        settings.width,
        settings.height,
        n_cameras=len(seen),
        n_gaussians=len(inputs.means),
        packed=packed,
        column=partial(_column, seen, len(inputs.means), packed),
    )
    return Rasterized(features, alphas, meta)


def _visible(seen: Projected) -> Projected:
    """Without the splats that were culled."""
    keep = (seen.radii > 0).all(dim=1)
    if bool(keep.all()):
        return seen
    rows = keep.nonzero().squeeze(1)
    return Projected(**{field.name: getattr(seen, field.name).index_select(0, rows) for field in fields(Projected)})


def _in_graph(seen: list[Projected], gaussians: int, packed: bool) -> tuple[Tensor, list[Tensor]]:
    """The meta's means2d, and what each camera draws [M, 2], taken from it: so its gradient is the images'."""
    if packed:
        together = _cat([camera.means2d for camera in seen])
        return together, list(together.split([len(camera.index) for camera in seen])) if len(seen) > 1 else [together]
    dense = _dense(seen, gaussians, [camera.means2d for camera in seen])
    return dense, [dense[camera].index_select(0, splats.index) for camera, splats in enumerate(seen)]


def _image(
    inputs: RasterInputs,
    camera: int,
    seen: Projected,
    means2d: Tensor,
    render_mode: str,
    settings: RasterSettings,
    blend: Blend,
) -> tuple[Tensor, Tensor]:
    """Features [H, W, X] and alphas [H, W, 1] of one camera."""
    columns = [means2d, seen.conics, seen.opacities[:, None]]
    if render_mode in ("RGB", "RGB+D", "RGB+ED"):
        columns.append(inputs.features_of(camera).index_select(0, seen.index))
    if render_mode != "RGB":
        columns.append(seen.depths[:, None])
    image, alpha = blend(torch.cat(columns, dim=1), seen.boxes, settings)
    if inputs.backgrounds is not None and render_mode not in ("D", "ED"):
        behind = inputs.backgrounds[camera]
        behind = torch.nn.functional.pad(behind, (0, image.shape[-1] - len(behind)))
        image = image + (1 - alpha) * behind
    if render_mode in ("ED", "RGB+ED"):
        body, depth = image.split([image.shape[-1] - 1, 1], dim=-1)
        image = torch.cat([body, depth / alpha.clamp(min=1e-10)], dim=-1)
    return image, alpha


def _column(seen: list[Projected], gaussians: int, packed: bool, name: str) -> Tensor | None:
    """A column of the meta: cameras one after the other, or scattered to [C, N, ...]."""
    if name in ("camera_ids", "gaussian_ids"):
        if not packed:
            return None
        if name == "gaussian_ids":
            return _cat([camera.index for camera in seen])
        return _cat([torch.full_like(camera.index, number) for number, camera in enumerate(seen)])
    values = [getattr(camera, name) for camera in seen]
    return _cat(values) if packed else _dense(seen, gaussians, values)


def _dense(seen: list[Projected], gaussians: int, values: list[Tensor]) -> Tensor:
    """Values [M, ...] of each camera's splats at their Gaussians' rows, zero elsewhere. [C, N, ...]."""
    scattered = [
        value.new_zeros(gaussians, *value.shape[1:]).index_copy(0, camera.index, value)
        for camera, value in zip(seen, values, strict=True)
    ]
    return _stack(scattered)


def _cat(values: list[Tensor]) -> Tensor:
    return torch.cat(values) if len(values) > 1 else values[0]


def _stack(values: list[Tensor]) -> Tensor:
    """As `torch.stack`, without a copy of a single one."""
    return torch.stack(values) if len(values) > 1 else values[0][None]
