"""Front-to-back blending in plain PyTorch: the slow twin of `cpu/blend.py`, for any dtype and device."""

from __future__ import annotations

import torch
from torch import Tensor

from flux4d.rasterize.constants import ALPHA_THRESHOLD, TRANSMITTANCE_STOP, RasterSettings
from flux4d.rasterize.projection import SPLAT_GEOMETRY

PAIRS_AT_ONCE = 2_000_000
"""Splat-pixel pairs handled in one go: what bounds the memory."""


def blend(
    splats: Tensor,  # [M, 6 + D]
    boxes: Tensor,  # [M, 4]
    settings: RasterSettings,
    row_centers: Tensor | None = None,  # [H]
) -> tuple[Tensor, Tensor]:
    """Blend splats into an image; arguments and results as `flux4d.rasterize.cpu.blend.blend`."""
    if row_centers is None:
        row_centers = torch.arange(settings.height, dtype=splats.dtype, device=splats.device) + 0.5
    colours, lefts = [], []
    for first, last in _bands(boxes, settings.height):
        colour, left = _band(splats, boxes, row_centers, first, last, settings)
        colours.append(colour)
        lefts.append(left)
    shape = (settings.height, settings.width, -1)
    return torch.cat(colours).reshape(shape), 1 - torch.cat(lefts).reshape(shape)


def _bands(boxes: Tensor, height: int) -> list[tuple[int, int]]:
    """Ranges of image rows with about `PAIRS_AT_ONCE` pairs each, at least one row."""
    widths = (boxes[:, 1] - boxes[:, 0]).to(torch.int64)
    change = torch.zeros(height + 1, dtype=torch.int64, device=boxes.device)
    change.index_add_(0, boxes[:, 2].long(), widths).index_add_(0, boxes[:, 3].long(), -widths)
    pairs = change.cumsum(0)[:height].tolist()
    bands, first, total = [], 0, 0
    for row, count in enumerate(pairs):
        if row > first and total + count > PAIRS_AT_ONCE:
            bands.append((first, row))
            first, total = row, 0
        total += count
    return [*bands, (first, height)]


def _pairs(boxes: Tensor, first: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
    """(splat, x, y) of every pixel in a box and in rows first..last, by splat."""
    x0, x1, y0, y1 = boxes.long().unbind(dim=1)
    y0, y1 = y0.clamp(first, last), y1.clamp(first, last)
    counts = (x1 - x0) * (y1 - y0)
    splat = torch.repeat_interleave(counts)
    within = torch.arange(len(splat), device=boxes.device) - (counts.cumsum(0) - counts)[splat]
    width = (x1 - x0)[splat]
    return splat, x0[splat] + within % width, y0[splat] + within // width


def _band(
    splats: Tensor, boxes: Tensor, row_centers: Tensor, first: int, last: int, settings: RasterSettings
) -> tuple[Tensor, Tensor]:
    """Blended features [P, D] and light left [P] of the rows first..last."""
    splat, px, py = _pairs(boxes, first, last)
    u, v, a, b, c, opacity = splats[:, :SPLAT_GEOMETRY].index_select(0, splat).unbind(dim=1)
    dx, dy = px + 0.5 - u, row_centers[py] - v
    sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    alpha = torch.clamp(opacity * torch.exp(-sigma), max=settings.max_alpha)
    hit = ((sigma >= 0) & (alpha >= ALPHA_THRESHOLD)).nonzero().squeeze(1)
    pixel = ((py - first) * settings.width + px)[hit]
    order = torch.sort(pixel, stable=True).indices  # pairs come by splat, that is by depth
    hit, pixel = hit[order], pixel[order]
    alpha, splat = alpha[hit], splat[hit]
    pixels = (last - first) * settings.width
    # log of the light left behind each pair; float64, as it is a difference of sums over the band
    logs = torch.log1p(-alpha.double())
    total = torch.cat([logs.new_zeros(1), logs.cumsum(0)])
    starts = torch.searchsorted(pixel, torch.arange(pixels, device=pixel.device))
    start = total[starts][pixel]
    before, after = torch.exp(total[:-1] - start), torch.exp(total[1:] - start)
    # the light only falls, so "stop at the first" and "leave out all" are the same
    open_ = after.detach() > TRANSMITTANCE_STOP
    weight = torch.where(open_, alpha * before.to(alpha.dtype), 0)
    features = splats[:, SPLAT_GEOMETRY:].index_select(0, splat)
    colour = splats.new_zeros(pixels, features.shape[1]).index_add(0, pixel, weight[:, None] * features)
    logs_kept = logs.new_zeros(pixels).index_add(0, pixel, torch.where(open_, logs, 0))
    return colour, torch.exp(logs_kept).to(splats.dtype)
