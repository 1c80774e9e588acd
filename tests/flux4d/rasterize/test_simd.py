"""Lanes against numpy: each operation, both float types, and that a kernel of them is vector code."""

from __future__ import annotations

import hashlib
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numba.core.errors import TypingError

from flux4d.rasterize.cpu import kernels, projection_kernels, simd, simd_rows
from flux4d.rasterize.cpu.simd import (
    LANES,
    bits,
    fma,
    greatest,
    least,
    load,
    lowest_bit,
    minus_magnitude,
    prefetch,
    spread,
    store,
    where,
)
from flux4d.rasterize.cpu.simd_rows import add_product, dot, load_rows, scalars, store_rows, store_totals, zero_rows

DTYPES = [np.float32, np.float64]


@njit
def _elementwise(a, b, c, s, out):
    x, y, z = load(a, 0), load(b, 0), load(c, 0)
    results = (
        x + y,
        x - y,
        x * y,
        x / z,
        s - x,
        x * s,
        fma(x, y, z),
        fma(x, s, y),
        least(x, y),
        greatest(x, s),
        where((x < y) & (y >= z), x, s),
        where(x <= y, x, y),
        where(x > s, x, z),
        minus_magnitude(x),
        spread(s),
    )
    store_rows(out, 0, results)
    return bits(x < y)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_elementwise(dtype, seed):
    rng = np.random.default_rng(seed)
    x, y, z = (rng.normal(size=LANES).astype(dtype) for _ in range(3))
    y[::3] = x[::3]  # equal values too
    s = dtype(rng.normal())
    out = np.empty(15 * LANES, dtype)
    mask = _elementwise(x, y, z, s, out)
    wide = [v.astype(np.float64) for v in (x, y, z)]
    exact = [x + y, x - y, x * y, x / z, s - x, x * s, None, None, np.minimum(x, y), np.maximum(x, s)]
    exact += [np.where((x < y) & (y >= z), x, s), np.where(x <= y, x, y), np.where(x > s, x, z), -np.abs(x)]
    exact += [np.full(LANES, s)]
    rows = out.reshape(15, LANES)
    for row, want in zip(rows, exact, strict=True):
        if want is not None:
            np.testing.assert_array_equal(row, want)
    np.testing.assert_allclose(rows[6], wide[0] * wide[1] + wide[2], rtol=0, atol=8 * np.finfo(dtype).eps)
    np.testing.assert_allclose(rows[7], wide[0] * float(s) + wide[1], rtol=0, atol=8 * np.finfo(dtype).eps)
    assert mask == sum(1 << i for i in range(LANES) if x[i] < y[i])


@njit
def _rows(a, weights, like, out):
    rows = load_rows(a, 3, like)
    prefetch(a, 10**9)  # never a fault
    factors = scalars(weights, 1, like)
    weight = load(a, 0)
    store_rows(out, 1, add_product(rows, weight, factors))
    store(out, 1 + len(like) * LANES, dot(rows, factors))
    store(out, 1 + (len(like) + 1) * LANES, dot(rows, rows))
    store_totals(out, 1 + (len(like) + 2) * LANES, rows)
    store_rows(out, 0, (zero_rows(like)[0],)) if weights[0] > 1e30 else None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 2, 7, 16, 17, 33])
def test_rows(dtype, count):
    """Any number of rows, at any offset, their sums one after the other and padded with zeros."""
    rng = np.random.default_rng(count)
    a = rng.normal(size=3 + count * LANES).astype(dtype)
    weights = rng.normal(size=count + 1).astype(dtype)
    padded = -(-count // LANES) * LANES
    out = np.full(1 + (count + 2) * LANES + padded + 1, np.nan, dtype)
    _rows(a, weights, (dtype(0),) * count, out)
    rows, wide = a[3:].reshape(count, LANES), a[3:].reshape(count, LANES).astype(np.float64)
    tolerance = {"rtol": 0, "atol": 100 * np.finfo(dtype).eps}
    got = out[1 : 1 + count * LANES].reshape(count, LANES)
    np.testing.assert_allclose(got, wide + weights[1:, None] * a[:LANES].astype(np.float64), **tolerance)
    got = out[1 + count * LANES :][: 2 * LANES].reshape(2, LANES)
    np.testing.assert_allclose(got[0], (wide * weights[1:, None]).sum(axis=0), **tolerance)
    np.testing.assert_allclose(got[1], (wide * wide).sum(axis=0), **tolerance)
    got = out[1 + (count + 2) * LANES :]
    np.testing.assert_allclose(got[:count], rows.sum(axis=1, dtype=np.float64), **tolerance)
    assert not got[count:padded].any()
    assert np.isnan(got[padded])  # nothing is written past the end
    assert np.isnan(out[0])


@njit
def _count_bits(value):
    places = []
    while value != 0:
        places.append(lowest_bit(value))
        value &= value - 1
    return places


@pytest.mark.parametrize("value", [1, 2, 0xFFFF, 0x8001, 0b1010100])
def test_bits_are_walked_from_the_lowest(value):
    assert _count_bits(value) == [i for i in range(16) if value >> i & 1]


def test_types_do_not_mix():
    @njit
    def mixed(a):
        return bits(load(a, 0) * 2.0 > load(a, 0))

    assert mixed(np.ones(LANES)) == 0xFFFF
    with pytest.raises(TypingError):
        mixed(np.ones(LANES, np.float32))


def test_not_a_number_is_never_a_hit():
    @njit
    def hits(a, limit):
        return bits(load(a, 0) <= limit), bits(least(load(a, 0), limit) <= limit)

    a = np.full(LANES, np.nan, np.float32)
    a[3] = 1
    assert hits(a, np.float32(2)) == (1 << 3, 0xFFFF)


@pytest.mark.parametrize("module", [kernels, projection_kernels], ids=["kernels", "projection_kernels"])
def test_kernels_know_which_lanes_they_were_compiled_with(module):
    """numba's cache of a kernel notices a change of the kernel's own file only."""
    digest = hashlib.sha256((inspect.getsource(simd) + inspect.getsource(simd_rows)).encode()).hexdigest()[:16]
    assert digest == module.SIMD_SOURCE, (
        f'the lanes have changed: set SIMD_SOURCE = "{digest}" in {module.__file__}, so that kernels in numba\'s cache '
        "are compiled anew"
    )
