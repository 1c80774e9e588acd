"""Structural similarity (Wang et al. 2004) as a differentiable map.

Semantics of torchmetrics >= 1.6 and of the paper's tables: Gaussian window 11x11 with sigma 1.5,
K = (0.01, 0.03), population statistics, reflect padding, one value for every pixel (no border is cropped).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03


@lru_cache(maxsize=16)
def _taps(channels: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Depthwise kernels of the separable window: vertical [channels, 1, 11, 1] and horizontal [channels, 1, 1, 11]."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    taps = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    row = (taps / taps.sum()).to(device=device, dtype=dtype).expand(channels, 1, 1, WINDOW).contiguous()
    return row.transpose(2, 3).contiguous(), row


def _blur(planes: Tensor) -> Tensor:
    """Window means of reflect-padded planes [1, P, H + 10, W + 10] -> [1, P, H, W]."""
    vertical, horizontal = _taps(planes.shape[1], planes.dtype, planes.device)
    # Channels-last makes depthwise convolution several times faster on the CPU.
    planes = planes.contiguous(memory_format=torch.channels_last)
    return F.conv2d(F.conv2d(planes, vertical, groups=planes.shape[1]), horizontal, groups=planes.shape[1])


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
        image: First image, floating point. [*, H, W, 3]
        target: Second image of the same shape, dtype and device. [*, H, W, 3]
        data_range: Largest minus smallest possible value.

    Returns:
        Similarity in [-1, 1]. [*, H, W, 3]

    Raises:
        ValueError: shapes differ, or a side is shorter than the 6 pixels that reflection needs.
    """
    if image.shape != target.shape:
        raise ValueError(f"images to compare must have one shape, got {tuple(image.shape)} and {tuple(target.shape)}")
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
