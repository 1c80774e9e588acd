"""Structural similarity (Wang et al. 2004) as a differentiable map.

Semantics of torchmetrics >= 1.6, which gsplat's evaluation uses: Gaussian window 11x11 with sigma 1.5,
K = (0.01, 0.03), population statistics, reflect padding, one value for every pixel (no border is cropped).
Away from the border (5 pixels) the map is scikit-image's; the loss of 3D Gaussian splatting pads with zeros instead.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03


@lru_cache(maxsize=1)
def _weights() -> tuple[float, ...]:
    """Weights of the 11 taps of the Gaussian window along one axis; they sum to 1."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    return tuple((weights / weights.sum()).tolist())


@lru_cache(maxsize=16)
def _kernels(channels: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Depthwise kernels of the separable window: vertical [channels, 1, 11, 1] and horizontal [channels, 1, 1, 11]."""
    row = torch.tensor(_weights(), dtype=dtype, device=device).expand(channels, 1, 1, WINDOW).contiguous()
    return row.transpose(2, 3).contiguous(), row


def _blur(planes: Tensor) -> Tensor:
    """Window means of reflect-padded planes [1, P, H + 10, W + 10] -> [1, P, H, W]."""
    if planes.dtype == torch.float64 and not planes.requires_grad:
        # torch's depthwise convolution in float64 is several times slower than 22 shifted sums.
        return _shifted_sum(_shifted_sum(planes, 2), 3)
    vertical, horizontal = _kernels(planes.shape[1], planes.dtype, planes.device)
    # Channels-last makes depthwise convolution several times faster on the CPU.
    planes = planes.contiguous(memory_format=torch.channels_last)
    return F.conv2d(F.conv2d(planes, vertical, groups=planes.shape[1]), horizontal, groups=planes.shape[1])


def _shifted_sum(planes: Tensor, axis: int) -> Tensor:
    """The window along one axis, which gets 10 shorter."""
    length = planes.shape[axis] - WINDOW + 1
    weights = _weights()
    total = planes.narrow(axis, 0, length) * weights[0]
    for offset in range(1, WINDOW):
        total.add_(planes.narrow(axis, offset, length), alpha=weights[offset])
    return total


def _padded_planes(image: Tensor) -> Tensor:
    """Images [*, H, W, 3] as reflect-padded planes [1, P, H + 10, W + 10]."""
    height, width, channels = image.shape[-3:]
    planes = image.reshape(-1, height, width, channels).permute(0, 3, 1, 2).reshape(1, -1, height, width)
    return F.pad(planes, [WINDOW // 2] * 4, mode="reflect")


def ssim_map(
    image: Tensor,  # [*, H, W, 3]
    target: Tensor,  # [*, H, W, 3]
    *,
    data_range: float = 1.0,
) -> Tensor:
    """SSIM of every pixel and channel; the mean of the map is the SSIM of the image.

    Args:
        image: First image, float32 or float64: the map is computed in that precision. [*, H, W, 3]
        target: Second image of the same shape, dtype and device. [*, H, W, 3]
        data_range: Largest minus smallest possible value.

    Returns:
        Similarity in [-1, 1]. [*, H, W, 3]

    Raises:
        ValueError: shapes or dtypes differ, the values are whole numbers, or a side is shorter than the 6 pixels
            that reflection needs.
    """
    if image.shape != target.shape:
        raise ValueError(f"images to compare must have one shape, got {tuple(image.shape)} and {tuple(target.shape)}")
    if image.dtype != target.dtype or not image.is_floating_point():
        raise ValueError(f"SSIM needs two images of one float dtype, got {image.dtype} and {target.dtype}")
    height, width, channels = image.shape[-3:]
    if min(height, width) <= WINDOW // 2:
        raise ValueError(f"SSIM needs images of at least 6x6 pixels, got {width}x{height}")
    a, b = _padded_planes(image), _padded_planes(target)
    count = a.shape[1]
    # The target carries no graph in training: keep its moments apart so that nothing is stored for them.
    mean_b, mean_bb = torch.split(_blur(torch.cat([b, b * b], dim=1)), count, dim=1)
    mean_a, mean_aa, mean_ab = torch.split(_blur(torch.cat([a, a * a, a * b], dim=1)), count, dim=1)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    variance_a = (mean_aa - mean_a * mean_a).clamp_min(0.0)
    variance_b = (mean_bb - mean_b * mean_b).clamp_min(0.0)
    covariance = mean_ab - mean_a * mean_b
    luminance = (2.0 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    structure = (2.0 * covariance + c2) / (variance_a + variance_b + c2)
    value: Tensor = (luminance * structure).reshape(-1, channels, height, width).permute(0, 2, 3, 1)
    return value.reshape(image.shape)
