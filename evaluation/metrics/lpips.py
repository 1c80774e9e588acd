"""LPIPS (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", version 0.1).

The backbone is the convolutional part of torchvision's AlexNet or VGG16, the heads are those that the authors of LPIPS
trained. `evaluation.metrics.lpips_weights` reads both from files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

Net = Literal["alex", "vgg"]
# ImageNet's mean and deviation for images in [-1, 1], as the authors wrote them.
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPS = 1e-8  # under the root, as in torchmetrics; the authors add 1e-10 to the root


@dataclass(frozen=True, slots=True)
class BackboneStage:
    """Layers up to the next ReLU that LPIPS compares; every convolution is followed by a ReLU."""

    channels: int
    convolutions: tuple[tuple[int, int, int, int], ...]
    """Index in torchvision's `features`, kernel, stride and padding."""
    pool: tuple[int, int] | None = None
    """Size and stride of the max pooling in front."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """A torchvision network."""

    title: str
    file: str
    """torchvision's name of the weights; it ends with the beginning of the file's SHA-256."""
    heads_sha256: str
    """Of the file with the authors' heads (version 0.1) as torchmetrics ships it."""
    smallest: int
    """Shortest image side that leaves a pixel in every stage."""
    stages: tuple[BackboneStage, ...]


BACKBONES: dict[Net, Backbone] = {
    "alex": Backbone(
        title="AlexNet",
        file="alexnet-owt-7be5be79.pth",
        heads_sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        smallest=31,
        stages=(
            BackboneStage(64, ((0, 11, 4, 2),)),
            BackboneStage(192, ((3, 5, 1, 2),), pool=(3, 2)),
            BackboneStage(384, ((6, 3, 1, 1),), pool=(3, 2)),
            BackboneStage(256, ((8, 3, 1, 1),)),
            BackboneStage(256, ((10, 3, 1, 1),)),
        ),
    ),
    "vgg": Backbone(
        title="VGG16",
        file="vgg16-397923af.pth",
        heads_sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        smallest=16,
        stages=(
            BackboneStage(64, tuple((index, 3, 1, 1) for index in (0, 2))),
            BackboneStage(128, tuple((index, 3, 1, 1) for index in (5, 7)), pool=(2, 2)),
            BackboneStage(256, tuple((index, 3, 1, 1) for index in (10, 12, 14)), pool=(2, 2)),
            BackboneStage(512, tuple((index, 3, 1, 1) for index in (17, 19, 21)), pool=(2, 2)),
            BackboneStage(512, tuple((index, 3, 1, 1) for index in (24, 26, 28)), pool=(2, 2)),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why LPIPS is n/a."""

    reason: str


NOT_LOADED = Unavailable("LPIPS is n/a: no network was loaded for it.")


@dataclass(frozen=True, slots=True, eq=False)
class Lpips:
    """A backbone with its heads; compares two images."""

    backbone: Backbone
    features: Mapping[str, Tensor]
    """`features.N.weight` and `features.N.bias` of torchvision."""
    heads: tuple[Tensor, ...]
    """Weight of each channel of each stage. [1, C, 1, 1]"""
    description: str
    """Backbone and heads, to stand under the numbers."""

    def fits(self, height: int, width: int) -> bool:
        """Is an image large enough for every stage?"""
        return min(height, width) >= self.backbone.smallest

    @torch.no_grad()
    def layers(self, image: Tensor, target: Tensor) -> list[Tensor]:
        """Weighted squared distance of the unit-length features, stage by stage.

        Args:
            image: RGB in [0, 1]. [H, W, 3]
            target: RGB in [0, 1]. [H, W, 3]

        Returns:
            One map a stage, each of the stage's own size. [h, w]

        Raises:
            ValueError: the shapes differ, or a side is too short for the network.
        """
        if image.shape != target.shape or not self.fits(*image.shape[:2]):
            raise ValueError(
                f"LPIPS on {self.backbone.title} needs two images of one size with sides of at least "
                f"{self.backbone.smallest} pixels, got {tuple(image.shape)} and {tuple(target.shape)}"
            )
        with _full_precision(self.heads[0].device.type):
            return self._layers(self._input(image), self._input(target))

    def _layers(self, a: Tensor, b: Tensor) -> list[Tensor]:
        maps = []
        for stage, head in zip(self.backbone.stages, self.heads, strict=True):
            a, b = self._stage(a, stage), self._stage(b, stage)
            maps.append(((_unit(a) - _unit(b)).square_() * head).sum(1)[0])
        return maps

    def _input(self, image: Tensor) -> Tensor:
        like = self.heads[0]
        scaled = (2.0 * image.to(like) - 1.0 - like.new_tensor(_SHIFT)) / like.new_tensor(_SCALE)
        return scaled.permute(2, 0, 1)[None].contiguous()

    def _stage(self, x: Tensor, stage: BackboneStage) -> Tensor:
        if stage.pool is not None:
            x = F.max_pool2d(x, *stage.pool)
        for index, _, stride, padding in stage.convolutions:
            weight, bias = self.features[f"features.{index}.weight"], self.features[f"features.{index}.bias"]
            x = F.conv2d(x, weight, bias, stride=stride, padding=padding).relu_()
        return x


@contextmanager
def _full_precision(device: str) -> Iterator[None]:
    """Neither TF32, which cuDNN takes for convolutions unless told not to, nor a caller's autocast."""
    # `enabled` is written out: its default would switch cuDNN off.
    flags = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with torch.autocast(device, enabled=False), flags:
        yield


def _unit(features: Tensor) -> Tensor:
    return features / torch.sqrt(_EPS + (features * features).sum(1, keepdim=True))


def distance(layers: list[Tensor]) -> float:
    """LPIPS of the whole image: the mean of each stage's map, summed (equation 1 of the paper)."""
    return sum(float(layer.double().mean()) for layer in layers)


def distance_map(layers: list[Tensor], height: int, width: int) -> Tensor:
    """LPIPS of every pixel: each stage's map brought to image size bilinearly, summed. [H, W] float64."""
    total = layers[0].new_zeros((height, width), dtype=torch.float64)
    for layer in layers:
        total += F.interpolate(layer[None, None].double(), (height, width), mode="bilinear", align_corners=False)[0, 0]
    return total


def fitting(lpips: Lpips | Unavailable, width: int, height: int) -> Lpips | Unavailable:
    """The network when it can compare images of that size, or why it cannot."""
    if isinstance(lpips, Unavailable) or lpips.fits(height, width):
        return lpips
    least = lpips.backbone.smallest
    return Unavailable(
        f"LPIPS is n/a: {lpips.backbone.title} needs sides of {least} pixels, views are {width}x{height}."
    )
