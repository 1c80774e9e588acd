"""Check what every backend is given: Gaussians, features and cameras of one dtype on one device."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

ROW_TOLERANCE = 1e-4
"""How far the last row of a view matrix may be from 0 0 0 1: what inverting in float32 leaves."""


@dataclass(frozen=True, slots=True, eq=False)
class RasterInputs:
    """The tensors of one call of `rasterize`; see there for their meaning."""

    means: Tensor  # [N, 3]
    quats: Tensor  # [N, 4]
    scales: Tensor  # [N, 3]
    opacities: Tensor  # [N]
    features: Tensor  # [N, D] or [C, N, D]
    viewmats: Tensor  # [C, 4, 4]
    Ks: Tensor  # [C, 3, 3]
    backgrounds: Tensor | None  # [C, D]

    def named(self) -> dict[str, Tensor]:
        """Tensors by name, without `backgrounds` when there are none."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def features_of(self, camera: int) -> Tensor:
        """Features [N, D] that one camera sees."""
        return self.features if self.features.dim() == 2 else self.features[camera]


def checked(inputs: RasterInputs) -> RasterInputs:
    """The same in float32 or float64, refused when a backend would draw nonsense from it.

    Raises:
        ValueError: not a tensor, a wrong shape, dtypes or devices that differ, a value that is not finite, a zero
            quaternion, or a view matrix whose last row is not 0 0 0 1.
    """
    for name, value in inputs.named().items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a tensor, got {type(value).__name__}; convert it with torch.as_tensor")
    inputs = replace(inputs, **{name: _at_least_single(value) for name, value in inputs.named().items()})
    _check_shapes(inputs)
    _check_values(inputs)
    return inputs


def _at_least_single(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _check_shapes(inputs: RasterInputs) -> None:
    features = inputs.features
    for name, value, dims, form in (
        ("means", inputs.means, (2,), "(N, 3)"),
        ("viewmats", inputs.viewmats, (3,), "(C, 4, 4)"),
        ("features", features, (2, 3), "(N, D) or (C, N, D)"),
    ):
        if value.dim() not in dims:
            raise ValueError(f"{name} must have shape {form}, got {tuple(value.shape)}")
    N, C, D = len(inputs.means), len(inputs.viewmats), features.shape[-1]
    wanted = {
        "means": (N, 3),
        "quats": (N, 4),
        "scales": (N, 3),
        "opacities": (N,),
        "features": (N, D) if features.dim() == 2 else (C, N, D),
        "viewmats": (C, 4, 4),
        "Ks": (C, 3, 3),
        "backgrounds": (C, D),
    }
    means = inputs.means
    for name, value in inputs.named().items():
        if value.shape != wanted[name]:
            raise ValueError(f"{name} must have shape {wanted[name]}, got {tuple(value.shape)}")
        if value.dtype != means.dtype or value.device != means.device:
            raise ValueError(
                f"{name} is {value.dtype} on {value.device} and means is {means.dtype} on {means.device}; convert one"
            )
    if means.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the tensors are {means.dtype}; convert them to float32 or float64")
    if not C or not D:
        raise ValueError(f"need at least one camera and one feature channel, got {C} and {D}")
    if inputs.Ks.requires_grad:
        raise ValueError("no gradient reaches Ks, as in gsplat; detach it")


@torch.no_grad()
def _check_values(inputs: RasterInputs) -> None:
    """One pass and one question to the device when all is well; a second look names the culprit."""
    # A sum is finite only if every summand is: one pass without a temporary.
    sums = torch.stack([value.sum() for value in inputs.named().values()])
    good = sums.isfinite().all() & _affine(inputs.viewmats).all()
    focal = inputs.Ks[:, [0, 1], [0, 1]]
    good &= (focal > 0).all()
    if len(inputs.quats):
        shortest, longest = _lengths(inputs.quats).aminmax()
        least, most = inputs.opacities.aminmax()
        good &= (shortest >= torch.finfo(shortest.dtype).tiny) & longest.isfinite() & (least >= 0) & (most <= 1)
    if not bool(good):
        _name_the_culprit(inputs)


def _lengths(quats: Tensor) -> Tensor:
    """Squared norms [N]; spelled out it takes half the time, and autocast has no say as in a matrix product."""
    w, x, y, z = quats.unbind(dim=1)
    return (w * w).addcmul_(x, x).addcmul_(y, y).addcmul_(z, z)


def _affine(viewmats: Tensor) -> Tensor:
    """Whether each matrix [C, 4, 4] ends in 0 0 0 1. [C] bool."""
    return (viewmats[:, 3] - viewmats.new_tensor([0, 0, 0, 1])).abs().amax(dim=1) <= ROW_TOLERANCE


def _name_the_culprit(inputs: RasterInputs) -> None:
    N = len(inputs.means)
    for name, value in inputs.named().items():
        if name in ("viewmats", "Ks", "backgrounds"):
            bad = _rows(~value.isfinite().flatten(1).all(dim=1))
            if bad:
                raise ValueError(f"{name} of camera {bad[0]} is not finite; check what made it")
            continue
        by_gaussian = value if value.dim() < 3 else value.transpose(0, 1)
        bad = _rows(~by_gaussian.isfinite().reshape(N, -1).all(dim=1)) if N else []
        if bad:
            raise ValueError(f"{name} of {len(bad)} Gaussians is not finite, first row {bad[0]}; check what made them")
    squares = _lengths(inputs.quats)
    bad = _rows(squares < torch.finfo(squares.dtype).tiny)
    if bad:
        raise ValueError(
            f"quats of {len(bad)} Gaussians have norm zero, first row {bad[0]}; no rotation is meant by that"
        )
    bad = _rows(~squares.isfinite())
    if bad:
        raise ValueError(f"quats of {len(bad)} Gaussians are too long to square, first row {bad[0]}; normalise them")
    bad = _rows((inputs.opacities < 0) | (inputs.opacities > 1))
    if bad:
        raise ValueError(
            f"opacities of {len(bad)} Gaussians are not within 0 and 1, first row {bad[0]}: "
            f"{float(inputs.opacities[bad[0]])}; pass them activated (sigmoid)"
        )
    bad = _rows(~(inputs.Ks[:, [0, 1], [0, 1]] > 0).all(dim=1))
    if bad:
        raise ValueError(f"Ks of camera {bad[0]} has a focal length that is not positive; check what made it")
    bad = _rows(~_affine(inputs.viewmats))
    if bad:
        row = inputs.viewmats[bad[0], 3].tolist()
        raise ValueError(f"viewmats of camera {bad[0]} ends in the row {row} and not in 0 0 0 1; is it transposed?")
    # All finite: only their sum was too large for the dtype.


def _rows(flags: Tensor) -> list[int]:
    rows: list[int] = flags.nonzero().squeeze(1).tolist()
    return rows
