"""Quantisation grids: how physical values become the integers that are stored and hashed.

Floats that come out of arithmetic may differ in their last bits between CPUs; integers on a declared
grid do not. Every stored physical column is therefore an integer times a step given here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Grid:
    """A uniform grid ``value = step * integer``.

    The largest round-trip error is ``step / 2`` for values inside ``[low, high]``.
    """

    name: str
    """Quantity, used in error messages."""
    step: float
    """Grid step in `unit`."""
    dtype: np.dtype
    """Integer type on disk."""
    unit: str
    """Physical unit of the decoded value."""
    saturate: bool = False
    """Clip values outside the range instead of refusing them."""

    @property
    def max_error(self) -> float:
        """Largest round-trip error in `unit`, for values inside ``[low, high]`` decoded in float64."""
        return self.step / 2

    @property
    def low(self) -> float:
        """Smallest value that can be stored, in `unit`."""
        return float(np.iinfo(self.dtype).min) * self.step

    @property
    def high(self) -> float:
        """Largest value that can be stored, in `unit`."""
        return float(np.iinfo(self.dtype).max) * self.step

    def encode(self, values: ArrayLike) -> NDArray[np.integer]:
        """Round `values` (any shape, in `unit`) to the grid.

        Raises:
            ValueError: a value is NaN, infinite or, unless the grid saturates, outside ``[low, high]``.
        """
        array = np.asarray(values, dtype=np.float64)
        if not np.isfinite(array).all():
            raise ValueError(f"{self.name}: {int((~np.isfinite(array)).sum())} of {array.size} values are not finite")
        # Division by the step's reciprocal is exact in the number of steps a metre holds (1000, 1e6).
        steps = np.rint(array * round(1.0 / self.step))
        info = np.iinfo(self.dtype)
        if self.saturate:
            steps = np.clip(steps, info.min, info.max)
        elif array.size and (steps.min() < info.min or steps.max() > info.max):
            raise ValueError(
                f"{self.name}: values span [{array.min():.4g}, {array.max():.4g}] {self.unit}, "
                f"the grid holds [{self.low:.4g}, {self.high:.4g}]"
            )
        return steps.astype(self.dtype)

    def decode(self, steps: NDArray[np.integer], dtype: type = np.float32) -> NDArray[np.floating]:
        """Physical values of stored integers, in `unit`."""
        return (np.asarray(steps, dtype=np.float64) / round(1.0 / self.step)).astype(dtype)


POSITION = Grid("position", 1e-3, np.dtype("<i4"), "m")
SCALE = Grid("scale", 1e-3, np.dtype("<u2"), "m", saturate=True)
TIME = Grid("time", 1e-6, np.dtype("<i4"), "s")
FLOW = Grid("flow", 1e-3, np.dtype("<i2"), "m")
DEPTH = Grid("depth", 1e-3, np.dtype("<u4"), "m")
QUATERNION = Grid("quaternion", 1e-6, np.dtype("<i4"), "1")
