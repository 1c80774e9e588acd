"""Write a run to TensorBoard: scalars, images, a histogram of speeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from evaluation.run_folder.files import BOARD
from flux4d.supervision.losses.total import TERMS
from training.optimisation.step_report import StepReport

SPEED_EDGES = np.concatenate([[0.0], np.geomspace(0.01, 40.0, 37)])
"""Edges of the speeds' bins, m/s: ten a factor of ten, and one below 1 cm/s. What is faster than 40 m/s gets a bin."""
SPEED_QUANTILES = (0.5, 0.9, 0.99, 1.0)
_FLUSH_SECONDS = 10


class Board:
    """Event files of a run. Those of a run that is continued are added to the old ones.

    Args:
        run: run folder.
        start: steps done before. What the event files hold of later steps does not count any more: those steps are run
            again.

    Raises:
        ValueError: TensorBoard is not installed.
    """

    def __init__(self, run: Path, start: int) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise ValueError(
                f"TensorBoard cannot be imported ({error}): install it with pip install 'tensorboard>=2.16', or train "
                "with --no-tensorboard"
            ) from error
        self._start = start
        # Steps are numbered from 1: after `start` steps, the first that comes again is the next one.
        purge = start + 1 if start else 0
        self._writer: Any = SummaryWriter(str(run / BOARD), purge_step=purge, flush_secs=_FLUSH_SECONDS)

    def step(self, report: StepReport) -> None:
        """Scalars of a step; what is None is left out."""
        scalars = {
            "loss/total": report.loss,
            **{f"loss/{TERMS[name].board_tag}": value for name, value in report.terms.items()},
            "train/psnr_db": report.psnr,
            "train/lr": report.lr,
            "train/grad_norm": report.grad_norm,
            "train/epoch": report.epoch,
            "train/gaussians": report.gaussians,
            "train/clips_left_out": report.left_out,
            "pace/samples_per_second": report.samples_per_second,
            "pace/seconds_per_step": report.seconds,
            "pace/data_wait_share": report.data_seconds / report.seconds if report.seconds else None,
            "memory/rss_mb": report.max_rss_mb,
            "memory/gpu_mb": report.gpu_mb,
        }
        self._scalars(report.step, scalars)

    def evaluation(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Metrics of an early evaluation; what is None is left out."""
        self._scalars(step, {f"evaluation/{name}": value for name, value in metrics.items()})

    def images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Pictures by name, uint8 [H, W, 3].

        Raises:
            ValueError: a picture has another shape or type.
        """
        for name, image in images.items():
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"picture {name}: uint8 [H, W, 3] is needed, got {image.dtype} {list(image.shape)}")
            self._writer.add_image(f"pictures/{name}", image, step, dataformats="HWC")

    def speeds(
        self,
        step: int,
        speeds: Tensor,  # [N]
    ) -> None:
        """Histogram and quantiles of the speed of what may move, m/s; with N = 0 only that there is nothing.

        Raises:
            ValueError: a speed is not finite.
        """
        values = speeds.detach().float().cpu().numpy()
        wrong = int(np.count_nonzero(~np.isfinite(values)))
        if wrong:
            raise ValueError(f"step {step}: {wrong:,} of {len(values):,} speeds are not finite")
        self._scalars(step, {"speed/count": len(values)})
        if len(values) == 0:
            return
        # Without a last bin up to the fastest, what is beyond 40 m/s would be missing from the counts.
        fastest = float(values.max())
        edges = np.append(SPEED_EDGES, fastest) if fastest > SPEED_EDGES[-1] else SPEED_EDGES
        self._writer.add_histogram("speed/m_per_s", values, step, bins=edges)
        names = ("speed/median", "speed/p90", "speed/p99", "speed/max")
        self._scalars(step, dict(zip(names, np.quantile(values, SPEED_QUANTILES).tolist(), strict=True)))

    def config(self, text: str) -> None:
        """The resolved configuration, as text."""
        indented = "\n".join(f"    {line}" for line in text.splitlines())
        self._writer.add_text("config", indented, self._start)

    def flush(self) -> None:
        """Bring to disk what was given; to be called with a checkpoint, which later steps can be resumed from."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is left and close the files."""
        self._writer.close()

    def _scalars(self, step: int, scalars: Mapping[str, float | None]) -> None:
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)
