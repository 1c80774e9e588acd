"""What only the compiled backend has: threads, forked workers, vector instructions."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
import torch
from numba import njit
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from flux4d.rasterize import MAX_ALPHA
from flux4d.rasterize.cpu import kernels, simd
from tests.support.scenes.rasterize_compare import draw
from tests.support.scenes.rasterize_reference import random_scene


@pytest.fixture(params=[1, 2], ids=["1thread", "2threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_bitwise_equal_on_repeat_and_for_any_thread_count():
    scene = random_scene(4000, 150, 90, seed=9)
    results = []
    before = torch.get_num_threads()
    try:
        for count in (1, 2, 2, 3):
            torch.set_num_threads(count)
            parameters = scene.parameters()
            drawn = draw(parameters, scene, render_mode="RGB+ED", backend="cpu")
            drawn.features.square().sum().backward()
            results.append([drawn.features, drawn.alphas, *(p.grad for p in parameters[:5])])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_calls_from_several_threads_do_not_meet(threads):
    """Two callers at once share the pool, not the results."""
    scenes = [random_scene(2000, 150, 90, seed=seed) for seed in range(4)]

    def work(scene) -> list[Tensor]:
        parameters = scene.parameters()
        drawn = draw(parameters, scene, render_mode="RGB+ED", backend="cpu")
        drawn.features.square().sum().backward()
        return [drawn.features.detach(), *(p.grad for p in parameters[:5])]

    alone = [work(scene) for scene in scenes]
    together: dict[int, list[Tensor]] = {}
    callers = [
        threading.Thread(target=lambda i=i: together.__setitem__(i, work(scenes[i]))) for i in range(len(scenes))
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for i, want in enumerate(alone):
        assert all(torch.equal(a, b) for a, b in zip(together[i], want, strict=True))


class _Renders(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Tensor:
        scene = random_scene(200, 50, 40, seed=index)
        parameters = scene.parameters()
        draw(parameters, scene, backend="cpu").features.square().sum().backward()
        return parameters[0].grad


def test_works_in_forked_workers(threads):
    here = [_Renders()[i] for i in range(2)]  # starts this process's threads first
    there = list(DataLoader(_Renders(), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60))
    assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


@pytest.mark.parametrize("kernel", [kernels.forward, kernels.backward], ids=["forward", "backward"])
def test_compiled_kernels_are_vector_code(kernel):
    """Sums of products of lanes are fused vector instructions, and no piece is left to be called."""
    scene = random_scene(50, 40, 30)
    draw(scene.parameters(), scene, backend="cpu").features.sum().backward()
    signature = next(s for s in kernel.signatures if "float32" in str(s))
    options = {name: value for name, value in kernel.targetoptions.items() if name != "nopython"}
    fresh = njit(**options)(kernel.py_func)
    fresh.compile(signature)  # numba shows no assembly of cached code
    assembly = fresh.inspect_asm(signature)
    if "%rax" not in assembly:
        pytest.skip("not an x86 processor")
    assert len(re.findall(r"vf?n?madd\d+ps\s.*%[yz]mm", assembly)) >= 15
    # a call to another piece would bind to whichever copy is loaded first
    called = set(re.findall(r"\$_ZN6flux4d9rasterize7kernels\d+([a-z_]+)", assembly))
    assert called <= {kernel.py_func.__name__}


@njit
def _falloff(u, k, out):
    for at in range(0, len(u), simd.LANES):
        simd.store(out, at, kernels.exp_minus_8(simd.load(u, at), k))


def test_exp_polynomial():
    u = np.linspace(0, 0.7, 2000)
    k = kernels.constants(np.dtype(np.float64), MAX_ALPHA)
    out = np.empty_like(u)
    _falloff(u, k, out)
    assert np.abs(out / np.exp(-8 * u) - 1).max() < 2e-8
    _falloff(np.array([0.7, 1.0, 1e30, np.inf] * 4), k, out[:16])
    assert (out[:16] < 1 / 255).all()
