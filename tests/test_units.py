import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store_schema.units import DEPTH, FLOW, POSITION, SCALE, TIME, Grid

GRIDS = [POSITION, SCALE, TIME, FLOW, DEPTH]


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
@given(share=st.floats(0, 1))
def test_round_trip_error_is_at_most_half_a_step(grid: Grid, share: float) -> None:
    value = grid.low + share * (grid.high - grid.low)
    error = abs(float(grid.decode(grid.encode(value), dtype=np.float64)) - value)
    # The value itself is a rounded float64: allow its own spacing on top.
    assert error <= grid.step / 2 + np.spacing(abs(value))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="position: 1 of 2 values are not finite"):
        POSITION.encode([0.0, value])


def test_overflow_is_refused_unless_the_grid_saturates() -> None:
    with pytest.raises(ValueError, match="flow: values span"):
        FLOW.encode([0.0, 40.0])
    assert SCALE.encode([100.0]) == np.iinfo(np.uint16).max


@given(st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=50))
def test_encoding_a_decoded_value_changes_nothing(values: list[float]) -> None:
    once = POSITION.encode(values)
    np.testing.assert_array_equal(POSITION.encode(POSITION.decode(once, np.float64)), once)
