"""The way into gsplat, on a machine without CUDA: what it is given, what comes back, and what is refused."""

from __future__ import annotations

import inspect
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flux4d.rasterize import Rasterized, gsplat_backend, rasterize
from tests.support.scenes.rasterize_compare import draw
from tests.support.scenes.rasterize_reference import random_scene

MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")
COLUMNS = ("radii", "means2d", "depths", "conics", "opacities", "visible")


class StandIn:
    """gsplat's `rasterization` on a CPU: takes what the real one takes, draws with the plain twin, keeps the call."""

    def __init__(self, signature: inspect.Signature) -> None:
        self.signature = signature
        self.arguments: dict[str, Any] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
        assert not args, "by name only: positions differ between versions"
        assert not torch.is_autocast_enabled("cpu")
        bound = self.signature.bind(**kwargs)  # a TypeError for a name that gsplat does not have
        bound.apply_defaults()
        call = self.arguments = bound.arguments
        assert all(v.dtype == torch.float32 for v in call.values() if isinstance(v, Tensor))
        colors = torch.zeros(len(call["means"]), 1) if call["colors"] is None else call["colors"]
        same = ("means", "quats", "scales", "opacities", "viewmats", "Ks", "width", "height", "near_plane", "far_plane")
        more = ("radius_clip", "eps2d", "packed", "backgrounds", "render_mode")
        drawn = rasterize(features=colors, **{name: call[name] for name in (*same, *more)}, backend="torch")
        info = drawn.meta.as_dict()
        if call["packed"]:
            info |= {"camera_ids": info["camera_ids"].int(), "batch_ids": torch.zeros_like(info["camera_ids"])}
        return drawn.features, drawn.alphas, info | {"isect_ids": torch.zeros(10**4)}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    gsplat = pytest.importorskip("gsplat")
    assert gsplat.__version__ == "1.5.3", "the stand-in is checked against the signature of this version"
    fake = StandIn(inspect.signature(gsplat.rasterization))
    monkeypatch.setattr(gsplat, "rasterization", fake)
    monkeypatch.setattr(gsplat_backend, "DEVICES", ("cpu",))
    return fake


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_gsplat_gets_what_it_wants(stand_in: StandIn, mode: str, packed: bool) -> None:
    scene = random_scene(60, 30, 20, cameras=2, seed=3)
    background = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
    images = []
    for backend in ("gsplat", "torch"):
        parameters = scene.parameters()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            drawn = draw(
                parameters,
                scene,
                packed=packed,
                render_mode=mode,
                backgrounds=background,
                near_plane=0.5,
                far_plane=9.0,
                radius_clip=1.0,
                eps2d=0.2,
                backend=backend,
            )
        drawn.meta.means2d.retain_grad()
        drawn.features.square().sum().backward()
        columns = [getattr(drawn.meta, name) for name in COLUMNS]
        grads = [p.grad for p in parameters if p.grad is not None]
        images.append([drawn.features, drawn.alphas, drawn.meta.means2d.grad, *columns, *grads])
        ids = drawn.meta.camera_ids
        assert (ids is not None and ids.dtype == torch.int64) if packed else ids is None
    assert all(torch.equal(a, b) for a, b in zip(*images, strict=True))
    call = stand_in.arguments
    assert call["packed"] is packed
    assert call["render_mode"] == mode
    assert (call["width"], call["height"]) == (30, 20)
    assert (call["near_plane"], call["far_plane"], call["radius_clip"], call["eps2d"]) == (0.5, 9.0, 1.0, 0.2)
    assert call["sh_degree"] is None
    assert call["rasterize_mode"] == "classic"
    assert (call["backgrounds"] is None) == (mode in ("D", "ED"))


def test_gsplat_gets_float32_and_features_by_camera(stand_in: StandIn) -> None:
    scene = random_scene(40, 30, 20, cameras=2, seed=3)
    parameters = scene.parameters(torch.float64)
    parameters[4] = torch.rand(2, 40, 3, dtype=torch.float64, requires_grad=True)
    drawn = draw(parameters, scene, backend="gsplat")
    assert drawn.features.dtype == torch.float32
    assert stand_in.arguments["colors"].shape == (2, 40, 3)
    drawn.features.sum().backward()
    assert parameters[4].grad is not None
    assert parameters[4].grad.dtype == torch.float64


def test_our_defaults_are_gsplats() -> None:
    gsplat = pytest.importorskip("gsplat")
    theirs, ours = (inspect.signature(f).parameters for f in (gsplat.rasterization, rasterize))
    shared = [name for name in ours if name in theirs]
    assert set(ours) - set(theirs) == {"features", "max_alpha", "backend"}
    assert [ours[name].default for name in shared] == [theirs[name].default for name in shared]
    assert list(ours)[:9] == [{"colors": "features"}.get(name, name) for name in list(theirs)[:9]]


def module(version: str, rasterization: Any, **constants: float) -> dict[str, types.ModuleType]:
    """What `sys.modules` holds of a gsplat of this version."""
    made = {name: types.ModuleType(name) for name in ("gsplat", "gsplat.cuda", "gsplat.cuda._constants")}
    made["gsplat"].__version__ = version
    made["gsplat"].rasterization = rasterization
    made["gsplat"].__path__ = made["gsplat.cuda"].__path__ = []
    for name, value in constants.items():
        setattr(made["gsplat.cuda._constants"], name, value)
    return made if constants else {name: value for name, value in made.items() if "_constants" not in name}


def install(monkeypatch: pytest.MonkeyPatch, modules: dict[str, types.ModuleType]) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "gsplat"]:
        monkeypatch.delitem(sys.modules, name)
    for name, value in modules.items():
        monkeypatch.setitem(sys.modules, name, value)
    monkeypatch.setattr(gsplat_backend, "DEVICES", ("cpu",))


def test_gsplat_1_6_takes_no_colours_for_depth_and_has_its_own_max_alpha(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, module("1.6.0", stand_in, MAX_ALPHA=0.99))
    scene = random_scene(40, 30, 20)
    parameters = [p.detach() for p in scene.parameters()]
    for mode in MODES:
        draw(parameters, scene, render_mode=mode, max_alpha=0.99, backend="gsplat")
        assert (stand_in.arguments["colors"] is None) == (mode in ("D", "ED"))
    with pytest.raises(ValueError, match=r"gsplat 1\.6\.0 has max_alpha 0\.99 built in, got 0\.999; pass max_alpha=0"):
        draw(parameters, scene, backend="gsplat")


@pytest.mark.parametrize(
    ("version", "constants", "max_alpha"),
    [
        ("1.5.3", {}, 0.999),
        ("1.5.3", {"ALPHA_THRESHOLD": 1 / 255}, 0.999),
        ("1.5.3", {"MAX_ALPHA": 0.99}, 0.99),  # from source, between the releases
        ("1.6.0+cu130", {"MAX_ALPHA": 0.99}, 0.99),
        ("1.6rc1", {}, 0.99),
    ],
)
def test_max_alpha_is_read_from_gsplat(
    monkeypatch: pytest.MonkeyPatch, version: str, constants: dict[str, float], max_alpha: float
) -> None:
    install(monkeypatch, module(version, None, **constants))
    assert gsplat_backend.built_in_max_alpha(gsplat_backend.load_gsplat()) == max_alpha


class TestGsplatRefusals:
    """Each says why and what to do; nothing else is tried instead."""

    def drawn(self, **options: Any) -> Rasterized:
        scene = random_scene(5, 20, 10)
        parameters = [p.detach() for p in scene.parameters()]
        return draw(parameters, replace(scene, **options), backend="gsplat")

    def test_cpu_tensors(self) -> None:
        with pytest.raises(ValueError, match="needs CUDA tensors, got cpu; use backend='cpu'"):
            self.drawn()

    def test_gradient_of_intrinsics(self, stand_in: StandIn) -> None:
        with pytest.raises(ValueError, match="no gradient reaches Ks, as in gsplat"):
            self.drawn(Ks=random_scene(5, 20, 10).Ks.requires_grad_())

    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        install(monkeypatch, {})
        monkeypatch.setattr(sys, "path", [])
        with pytest.raises(RuntimeError, match=r"needs gsplat, which is not installed: pip install '\.\[cuda\]'"):
            self.drawn()

    @pytest.mark.parametrize("error", ["ImportError('no .so')", "OSError('CUDA_HOME is not set')", "TypeError('_C')"])
    def test_import_that_raises(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: str) -> None:
        install(monkeypatch, {})
        (tmp_path / "gsplat").mkdir()
        (tmp_path / "gsplat" / "__init__.py").write_text(f"raise {error}\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        with pytest.raises(RuntimeError, match=r"gsplat cannot be imported \(.*CUDA toolkit.*backend='torch'"):
            self.drawn()

    def test_too_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        install(monkeypatch, module("1.4.0", None))
        with pytest.raises(RuntimeError, match=r"gsplat 1\.4\.0 culls by other rules: pip install"):
            self.drawn()

    @pytest.mark.parametrize(
        "error",
        [
            ImportError("gsplat_cuda.so: cannot open shared object file"),
            AttributeError("'NoneType' object has no attribute 'CameraModelType'"),
            RuntimeError("Error building extension 'gsplat_cuda': nvcc fatal"),
        ],
    )
    def test_kernels_that_cannot_be_built(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        def broken(**_: Any) -> None:
            raise error

        install(monkeypatch, module("1.5.3", broken))
        with pytest.raises(RuntimeError, match=r"could not build or load its CUDA kernels .* set CUDA_HOME") as caught:
            self.drawn()
        assert caught.value.__cause__ is error

    @pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), AttributeError("typo"), AssertionError()])
    def test_other_errors_are_left_as_they_are(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        def broken(**_: Any) -> None:
            raise error

        install(monkeypatch, module("1.5.3", broken))
        with pytest.raises(type(error)) as caught:
            self.drawn()
        assert caught.value is error


def test_the_real_gsplat_says_that_it_has_no_kernels_here(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gsplat")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    monkeypatch.setattr(gsplat_backend, "DEVICES", ("cpu",))
    with pytest.raises(RuntimeError, match="could not build or load its CUDA kernels"):
        TestGsplatRefusals().drawn()
