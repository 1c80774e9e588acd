"""Mosaic Streaming, imported where PyTorch is a build without CUDA.

It imports torchvision for vision data sets that are not used here, and the package index has torchvision's CUDA build
only, whose kernels do not load beside such a PyTorch. Naming two of its operators is enough to import it.
"""

from __future__ import annotations

import torch

if torch.version.cuda is None:
    for _name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{_name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from streaming import MDSWriter, StreamingDataset

__all__ = ["MDSWriter", "StreamingDataset"]
