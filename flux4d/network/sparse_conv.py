"""Which library does the sparse convolutions: spconv, spconv-triton or plain torch.

All of them build modules with one parameter `weight` of layout `[out, kz, ky, kx, in]` and the same
meaning, so a checkpoint trained with one runs with the others. The libraries are imported only here and
only when asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
import warnings
from collections.abc import Iterable
from types import ModuleType
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from flux4d.network.sparse_torch import Shape, TorchBackend

BackendName = Literal["auto", "spconv", "spconv_triton", "torch"]


class SparseBackend(Protocol):
    """Builds sparse layers. A tensor of it has `features` [M, C], `indices` [M, 4] and `replace_feature`."""

    name: str

    def subm(self, in_channels: int, out_channels: int, key: str) -> nn.Module:
        """3x3x3 convolution whose output sites are its input sites; layers with one key share their site table."""

    def down(self, in_channels: int, out_channels: int, key: str) -> nn.Module:
        """2x2x2 convolution of stride 2."""

    def up(self, in_channels: int, out_channels: int, key: str) -> nn.Module:
        """Inverse of the `down` with the same key: back to its input sites, in their order."""

    def tensor(self, features: Tensor, coords: Tensor, shape: Shape) -> Any:
        """Features [M, C] at distinct coordinates [M, 3] int64 (z, y, x) of a grid of `shape` (even sides)."""

    def place(self, layers: Iterable[nn.Module], device: torch.device) -> None:
        """Make layers ready to run on `device`, where their weights are by now."""


class SpconvBackend:
    """Layers of spconv 2.x, or of spconv-triton, which has the same interface."""

    def __init__(self, name: Literal["spconv", "spconv_triton"]) -> None:
        self.name: str = name

    @property
    def _module(self) -> Any:
        # Not kept in an attribute: a network with its backend must stay copyable.
        return _import(f"{self.name}.pytorch")

    def subm(self, in_channels: int, out_channels: int, key: str) -> nn.Module:
        """3x3x3 submanifold convolution."""
        layer: nn.Module = self._module.SubMConv3d(in_channels, out_channels, 3, bias=False, indice_key=key)
        return layer

    def down(self, in_channels: int, out_channels: int, key: str) -> nn.Module:
        """2x2x2 convolution of stride 2."""
        layer: nn.Module = self._module.SparseConv3d(in_channels, out_channels, 2, stride=2, bias=False, indice_key=key)
        return layer

    def up(self, in_channels: int, out_channels: int, key: str) -> nn.Module:
        """Inverse of the `down` with the same key."""
        layer: nn.Module = self._module.SparseInverseConv3d(in_channels, out_channels, 2, bias=False, indice_key=key)
        return layer

    def tensor(self, features: Tensor, coords: Tensor, shape: Shape) -> Any:
        """Features [M, C] at coordinates [M, 3] int64 (z, y, x) of a grid of `shape`."""
        indices = nn.functional.pad(coords, (1, 0)).int().contiguous()
        return self._module.SparseConvTensor(features, indices, list(shape), 1)

    def place(self, layers: Iterable[nn.Module], device: torch.device) -> None:
        """Choose the algorithm: implicit GEMM, the library's default, exists on CUDA only."""
        if self.name == "spconv_triton":
            return
        algorithms = _import("spconv.core").ConvAlgo
        algo = algorithms.Native if device.type == "cpu" else algorithms.MaskImplicitGemm
        for layer in layers:
            if hasattr(layer, "algo"):
                layer.algo = algo


def _import(name: str) -> ModuleType:
    with warnings.catch_warnings():
        # spconv 2.3 decorates with torch.cuda.amp.custom_fwd, which newer torch announces to rename.
        warnings.filterwarnings("ignore", category=FutureWarning, message=r".*torch\.cuda\.amp.*")
        # It also asks torch.fx for a name that will change; torch logs that once per process.
        logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
        return importlib.import_module(name)


_INSTALL = {
    "spconv": "pip install spconv-cu120==2.3.6` (Linux, Python <= 3.11)",
    "spconv_triton": "pip install spconv-triton` (CUDA)",
}


def _library(name: Literal["spconv", "spconv_triton"], device: torch.device) -> SpconvBackend:
    if name == "spconv_triton" and device.type != "cuda":
        raise ValueError(f"backend 'spconv_triton' needs a CUDA device, not {device}: choose 'spconv' or 'torch'")
    try:
        _import(f"{name}.pytorch")
    except ImportError as error:
        raise ValueError(
            f"backend {name!r} cannot be imported ({error}): `{_INSTALL[name]}, "
            "or choose conv_backend='torch', which needs nothing"
        ) from error
    return SpconvBackend(name)


def make_backend(name: BackendName, device: torch.device | str) -> SparseBackend:
    """The backend `name` for layers that will live on `device`.

    "auto" takes spconv if it is installed, else spconv-triton on CUDA, else plain torch.

    Raises:
        ValueError: an unknown name, or a named backend that is not installed or cannot run there.
    """
    device = torch.device(device)
    if name == "auto":
        if importlib.util.find_spec("spconv") is not None:
            name = "spconv"
        elif device.type == "cuda" and importlib.util.find_spec("spconv_triton") is not None:
            name = "spconv_triton"
        else:
            name = "torch"
    if name == "spconv" or name == "spconv_triton":
        return _library(name, device)
    if name == "torch":
        return TorchBackend()
    raise ValueError(f"unknown sparse convolution backend {name!r}: use 'auto', 'spconv', 'spconv_triton' or 'torch'")


def initialise_weight(weight: Tensor, generator: torch.Generator) -> None:
    """Fill a convolution weight [out, kz, ky, kx, in] (He, uniform), the same for every backend.

    A submanifold convolution sees a surface: of 27 neighbours about a third exist, so fan-in counts a third.
    """
    kernel = math.prod(weight.shape[1:4])
    fan_in = weight.shape[4] * (kernel / 3.0 if kernel == 27 else 1.0)
    bound = math.sqrt(6.0 / fan_in)
    with torch.no_grad():
        values = torch.rand(weight.shape, generator=generator, dtype=torch.float64) * 2.0 - 1.0
        weight.copy_(values * bound)
