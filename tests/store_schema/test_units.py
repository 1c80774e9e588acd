"""Quantisation: every stated bound is in the schema and holds, up to the rounding of the float64 that goes in."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from store_schema import tables
from store_schema.codec import QUATERNION_STEP, decode_boxes, decode_points, quats_to_rotations
from store_schema.units import DEPTH, FLOW, POSITION, QUATERNION, SCALE, TIME, Grid
from store_schema.version.manifest import schema_json

GRIDS = [POSITION, SCALE, TIME, FLOW, DEPTH, QUATERNION]
ON_GRID = {
    "points.arrow": {
        **dict.fromkeys(["x", "y", "z"], POSITION),
        **dict.fromkeys([f"{kind}_{axis}" for kind in ("flow", "smooth") for axis in "xyz"], FLOW),
        "scale": SCALE,
        "time": TIME,
    },
    "depth.arrow": {"depth": DEPTH},
    "boxes.arrow": {
        **dict.fromkeys(["x", "y", "z", "width", "length", "height"], POSITION),
        **dict.fromkeys(["qw", "qx", "qy", "qz"], QUATERNION),
    },
}
FLOAT64_ROUNDING = 2.0**-51
"""Relative: the value times steps a unit is rounded once, and so is the decoded value."""
by_name = pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)


def check_bound(grid: Grid, values: np.ndarray, bound: float) -> None:
    """Encoding and decoding in float64 moves no value by more than `bound`; in exact arithmetic."""
    stored = grid.encode(values)
    assert stored.dtype == grid.dtype
    steps = round(1 / grid.step)
    for value, step, decoded in zip(values.tolist(), stored.tolist(), grid.decode(stored, np.float64), strict=True):
        exact = Fraction(value)
        slack = abs(exact) * Fraction(FLOAT64_ROUNDING)
        assert abs(Fraction(step, steps) - exact) <= Fraction(str(bound)) + slack
        assert abs(Fraction(float(decoded)) - exact) <= Fraction(str(bound)) + slack


def test_every_grid_column_states_step_unit_and_largest_error() -> None:
    described = json.loads(schema_json())["tables"]
    found = {}
    for table, columns in described.items():
        for column in columns:
            field = tables.FILES[table].field(column["name"])
            assert {k.decode(): v.decode() for k, v in field.metadata.items()}.items() <= column.items()
            if "grid" in column:
                found.setdefault(table, {})[column["name"]] = column
            else:
                # The rest are counts, names and codes: only the index of logs has floats.
                assert ("float" not in column["type"] and "double" not in column["type"]) or table == "logs.parquet"
    assert {table: set(columns) for table, columns in found.items()} == {t: set(c) for t, c in ON_GRID.items()}
    for table, columns in ON_GRID.items():
        for name, grid in columns.items():
            column = found[table][name]
            assert (column["grid"], column["unit"]) == (grid.name, grid.unit)
            assert (float(column["step"]), float(column["max_error"])) == (grid.step, grid.max_error)
            assert grid.max_error == grid.step / 2
            assert tables.FILES[table].field(name).type == pa.from_numpy_dtype(grid.dtype)


@by_name
@given(share=hnp.arrays(np.float64, st.integers(0, 20), elements=st.floats(0, 1)))
def test_no_value_inside_the_range_moves_by_more_than_the_stated_error(grid: Grid, share: np.ndarray) -> None:
    check_bound(grid, np.clip(grid.low + share * (grid.high - grid.low), grid.low, grid.high), grid.max_error)


@by_name
@given(near=st.floats(-3, 3), edge=st.booleans())
def test_the_bound_holds_at_ties_and_at_both_ends(grid: Grid, near: float, edge: bool) -> None:
    ends = [grid.low, grid.high, 0.5 * grid.step, 1.5 * grid.step, 2.5 * grid.step]
    if edge:
        ends += [grid.high - abs(near) * grid.step, grid.low + abs(near) * grid.step]
    else:
        ends += [min(max(near * grid.step, grid.low), grid.high)]
    check_bound(grid, np.array(ends), grid.max_error)


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-2000, 2000)))
def test_positions_are_within_half_a_millimetre(values: np.ndarray) -> None:
    check_bound(POSITION, values, 5e-4)


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-32.7, 32.7)))
def test_flow_is_within_half_a_millimetre(values: np.ndarray) -> None:
    check_bound(FLOW, values, 5e-4)


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 65) | st.floats(65, 70) | st.floats(70, 4e6)))
def test_depth_is_within_half_a_millimetre_below_65_m_and_beyond(values: np.ndarray) -> None:
    check_bound(DEPTH, values, 5e-4)


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-2000, 2000)))
def test_times_are_within_half_a_microsecond(values: np.ndarray) -> None:
    check_bound(TIME, values, 5e-7)


@by_name
@given(beyond=st.floats(0.51, 1e9), below=st.booleans(), rows=st.integers(0, 5))
def test_values_outside_the_range_raise_or_saturate_as_declared(
    grid: Grid, beyond: float, below: bool, rows: int
) -> None:
    # 0.51 steps behind the last integer no longer round to it; far out, float64's own spacing has to be passed.
    step = max(beyond * grid.step, 2 * np.spacing(grid.high))
    value = grid.low - step if below else grid.high + step
    values = [0.0] * rows + [value]
    if grid.saturate:
        info = np.iinfo(grid.dtype)
        assert grid.encode(values)[-1] == (info.min if below else info.max)
        assert not grid.encode(values)[:-1].any()
    else:
        with pytest.raises(ValueError, match=rf"{grid.name}: values span .*the grid holds"):
            grid.encode(values)


def test_only_the_scale_saturates() -> None:
    assert [grid.name for grid in GRIDS if grid.saturate] == ["scale"]
    assert SCALE.decode(SCALE.encode([70.0]))[0] == np.float32(65.535)


@by_name
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(grid: Grid, value: float) -> None:
    with pytest.raises(ValueError, match=f"{grid.name}: 1 of 2 values are not finite"):
        grid.encode([0.0, value])


@by_name
def test_no_values_are_no_values(grid: Grid) -> None:
    assert grid.encode(np.zeros((0, 3))).shape == (0, 3)
    assert grid.decode(grid.encode(np.zeros((0, 3)))).shape == (0, 3)


@by_name
@given(data=st.data())
def test_encoding_a_decoded_value_changes_nothing(grid: Grid, data: st.DataObject) -> None:
    stored = data.draw(hnp.arrays(grid.dtype, st.integers(1, 30)))
    np.testing.assert_array_equal(grid.encode(grid.decode(stored, np.float64)), stored)


@pytest.mark.parametrize(("metres", "added"), [(64, 2e-6), (128, 4e-6), (256, 8e-6), (300, 1.6e-5), (512, 1.6e-5)])
@pytest.mark.parametrize("grid", [POSITION, DEPTH], ids=lambda grid: grid.name)
def test_decoding_to_float32_adds_half_its_spacing(grid: Grid, metres: int, added: float) -> None:
    """float32 holds 24 bits: 2e-6 m up to 64 m, 1.6e-5 m at 300 m, 3 % of the grid's own half millimetre."""
    stored = np.arange((metres - 30) * 1000, metres * 1000 + 1, dtype=grid.dtype)
    moved = np.abs(grid.decode(stored).astype(np.float64) - stored / 1000)
    assert grid.decode(stored).dtype == np.float32
    assert moved.max() <= added
    assert moved.max() > added / 4
    # So within 0.52 mm of what was measured, everywhere a LiDAR reaches.
    assert grid.max_error + moved.max() < 0.52e-3


def test_float32_keeps_every_integer_of_the_narrow_grids_apart() -> None:
    for grid in (SCALE, FLOW):
        info = np.iinfo(grid.dtype)
        stored = np.arange(info.min, info.max + 1, dtype=np.int64).astype(grid.dtype)
        np.testing.assert_array_equal(grid.encode(grid.decode(stored)), stored)
    # A clip lasts 1.6 s: its times keep their microseconds in float32, up to 8 s.
    stored = np.arange(-200_000, 8_000_000, 7, dtype=TIME.dtype)
    np.testing.assert_array_equal(TIME.encode(TIME.decode(stored)), stored)


def point_columns(rgb: np.ndarray) -> dict[str, np.ndarray]:
    types = {field.name: field.type.to_pandas_dtype() for field in tables.POINTS}
    columns = {name: np.zeros(len(rgb), kind) for name, kind in types.items()}
    return {**columns, **{name: rgb[:, channel] for channel, name in enumerate("rgb")}}


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 40), st.just(3))))
def test_colours_are_exact_bytes(rgb: np.ndarray) -> None:
    columns = tables.from_ipc(tables.POINTS, tables.to_ipc(tables.POINTS, point_columns(rgb)))
    np.testing.assert_array_equal(decode_points(columns).rgb, rgb)
    assert decode_points(columns).rgb.dtype == np.uint8


@pytest.mark.parametrize("colour", [np.array([256]), np.array([-1]), np.array([0.5])])
def test_values_that_do_not_fit_a_column_are_refused(colour: np.ndarray) -> None:
    columns = {**point_columns(np.zeros((1, 3), np.uint8)), "r": colour}
    with pytest.raises((pa.ArrowInvalid, ValueError)):
        tables.to_ipc(tables.POINTS, columns)


@given(hnp.arrays(np.float64, (5, 4), elements=st.floats(-1, 1)))
def test_a_stored_rotation_is_within_two_millionths_of_a_radian(quats: np.ndarray) -> None:
    norm = np.linalg.norm(quats, axis=1, keepdims=True)
    quats = np.where(norm > 0.1, quats / np.where(norm > 0, norm, 1), [1.0, 0, 0, 0])
    stored = QUATERNION.encode(quats)
    assert QUATERNION.step == QUATERNION_STEP
    columns = {
        **dict.fromkeys(["frame", "sensor", "moving"], np.zeros(5, np.int8)),
        **dict.fromkeys(["track", "label"], ["a"] * 5),
        **dict.fromkeys(["x", "y", "z", "width", "length", "height"], np.zeros(5, np.int32)),
        **{f"q{axis}": stored[:, i] for i, axis in enumerate("wxyz")},
    }
    rotation = decode_boxes(columns).box2ego0[:, :3, :3].astype(np.float64)
    # Four components are off by half a step each: the turn between the two quaternions is at most twice that norm,
    # and float32 adds its own 6e-8 to each matrix entry.
    turn = np.linalg.norm(rotation - quats_to_rotations(quats), axis=(1, 2)) / np.sqrt(2)
    assert turn.max() <= 2e-6 + 3e-7
