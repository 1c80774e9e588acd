"""One image to rasterise: a clip's Gaussians at the time of a view, as the tensors of one call of `rasterize`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.gpu.subject import Check, camera, targets, uneven
from flux4d.motion import move, velocity_at
from flux4d.rasterize import MAX_ALPHA, Rasterized, rasterize
from flux4d.rasterize.gsplat_backend import built_in_max_alpha, load_gsplat
from store_schema.clip import Clip


def max_alpha(check: Check) -> float:
    """The one built into gsplat, so that both sides mean the same image."""
    return built_in_max_alpha(load_gsplat()) if check.raster_backend == "gsplat" else MAX_ALPHA


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Colour and velocity of N Gaussians, one camera, and what the image's gradient is."""

    means: Tensor  # [N, 3]
    quats: Tensor  # [N, 4]
    scales: Tensor  # [N, 3]
    opacities: Tensor  # [N]
    features: Tensor  # [N, 6]
    viewmats: Tensor  # [1, 4, 4]
    Ks: Tensor  # [1, 3, 3]
    width: int
    height: int
    weights: Tensor  # [1, H, W, 6]
    max_alpha: float

    @staticmethod
    def of(check: Check, clip: Clip, device: torch.device) -> Case:
        """The middle target view of a clip, lifted on the CPU so that every device gets the same."""
        scene = uneven(replace(check, device=torch.device("cpu")).lift(clip))
        views = targets(clip)
        cameras = camera(views[len(views) // 2], check.width_of(clip))
        time = cameras.times[0]
        tensors = (
            move(scene, time),
            scene.quats,
            scene.scales,
            scene.opacities,
            torch.cat([scene.rgb, velocity_at(scene, time)], dim=1),
            cameras.viewmats,
            cameras.Ks,
        )
        g = torch.Generator().manual_seed(4)
        weights = torch.randn(1, cameras.height, cameras.width, 6, generator=g).to(device)
        size = cameras.width, cameras.height
        return Case(*(tensor.detach().to(device) for tensor in tensors), *size, weights, max_alpha(check))

    def leaves(self) -> list[Tensor]:
        """Fresh leaves: means, quats, scales, opacities, features."""
        values = (self.means, self.quats, self.scales, self.opacities, self.features)
        return [value.clone().requires_grad_() for value in values]


def rasterize_case(case: Case, leaves: list[Tensor], backend: str, packed: bool) -> Rasterized:
    """The call that is checked and timed."""
    return rasterize(
        *leaves,
        case.viewmats,
        case.Ks,
        case.width,
        case.height,
        packed=packed,
        max_alpha=case.max_alpha,
        backend=backend,  # type: ignore[arg-type]
    )
