"""The GPU check's comparison and timing of rasterisers, tried out on a CPU: it notices what is wrong."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import parity as gpu_parity
from benchmarks.gpu import raster_times as gpu_raster_times
from benchmarks.gpu import subject as gpu_subject
from benchmarks.gpu.raster_case import Case, rasterize_case
from benchmarks.gpu.subject import Check, uneven
from flux4d.rasterize.blend_torch import blend
from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.projection import project
from tests.support.processes.gpu_check_size import CPU, TINY, one_thread


@pytest.fixture
def check() -> Check:
    return Check(CPU, TINY, quick=True)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def drawn() -> dict[str, tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]:
    """What both backends make of the toy clip, kept to be altered."""
    kept = {}
    original = gpu_parity._drawn

    def keep(scene, cameras, backend, max_alpha):
        kept[backend] = original(scene, cameras, backend, max_alpha)
        return kept[backend]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_parity, "_drawn", keep)
        assert gpu.run_section("raster", Check(CPU, TINY))["status"] == "ok"
    return kept


def raster_with(check: Check, drawn: dict, images: dict, gradients: dict, patch: pytest.MonkeyPatch) -> list[str]:
    """Problems found when the first backend gives other images and gradients."""
    own = (drawn["torch"][0] | images, drawn["torch"][1] | gradients)
    patch.setattr(gpu_parity, "_drawn", lambda scene, cameras, backend, _: own if backend == "torch" else drawn["cpu"])
    section = gpu.run_section("raster", check)
    assert section["status"] == "exceeded"
    return section["problems"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("rgb", "rgb p99"), ("alpha", "alpha p99"), ("depth", "depth p99"), ("velocity", "velocity p99")],
)
def test_another_image_is_out_of_tolerance(
    check: Check, drawn: dict, monkeypatch: pytest.MonkeyPatch, name: str, problem: str
) -> None:
    (line,) = raster_with(check, drawn, {name: drawn["torch"][0][name] * 1.05}, {}, monkeypatch)
    assert problem in line


@pytest.mark.parametrize("name", gpu_parity.PARAMETERS)
def test_another_gradient_is_out_of_tolerance(
    check: Check, drawn: dict, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    gradient = drawn["torch"][1][name]
    (line,) = raster_with(check, drawn, {}, {name: gradient * 1.05}, monkeypatch)
    assert f"gradient of {name}, relative L2" in line
    flipped = raster_with(check, drawn, {}, {name: -gradient}, monkeypatch)
    assert any(f"gradient of {name}, 1 - cosine" in line for line in flipped)
    lost = raster_with(check, drawn, {}, {name: gradient * float("nan")}, monkeypatch)
    assert len(lost) == 2


def test_a_form_that_loses_a_gradient_is_out_of_tolerance(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    rasterize_case = gpu_parity.rasterize_case

    def lossy(case, leaves, backend, packed):
        return rasterize_case(
            case, [leaves[0].detach() + 0 * leaves[0], *leaves[1:]] if packed else leaves, backend, packed
        )

    monkeypatch.setattr(gpu_parity, "rasterize_case", lossy)
    problems = gpu.run_section("raster", check)["problems"]
    assert [line.split(" is ")[0] for line in problems] == [
        f"toy: {form} against dense, gradients, relative L2" for form in ("packed", "packed_in_autocast")
    ]


def test_parts_that_draw_another_image_are_out_of_tolerance(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    own_parts = gpu_raster_times.own_parts
    monkeypatch.setattr(gpu_raster_times, "own_parts", lambda *args: own_parts(*args) * 1.01)
    section = gpu.run_section("raster_times", check)
    assert section["status"] == "exceeded"
    assert len(section["problems"]) == 2
    assert "cpu, parts: relative L2 to the image of the whole" in section["problems"][1]


class PlainGsplat:
    """gsplat's functions of one pass each, computed by the plain twin; its own signatures check the calls."""

    def __init__(self, case: Case) -> None:
        self.gsplat = pytest.importorskip("gsplat")
        self.settings = RasterSettings(case.width, case.height)

    def bound(self, name: str, *args, **kwargs) -> dict:
        call = inspect.signature(getattr(self.gsplat, name)).bind(*args, **kwargs)
        call.apply_defaults()
        assert all(v.dtype != torch.float64 for v in call.arguments.values() if isinstance(v, torch.Tensor))
        return call.arguments

    def fully_fused_projection(self, **kwargs):
        a = self.bound("fully_fused_projection", **kwargs)
        assert (a["near_plane"], a["far_plane"], a["eps2d"], a["radius_clip"]) == (0.01, 1e10, 0.3, 0.0)
        seen = project(a["means"], a["quats"], a["scales"], a["opacities"], a["viewmats"][0], a["Ks"][0], self.settings)
        self.seen, zeros = seen, torch.zeros_like(seen.index)
        values = [seen.radii, seen.means2d, seen.depths, seen.conics]
        if a["packed"]:
            return zeros, zeros, seen.index, *values, None
        return *(v.new_zeros(len(a["means"]), *v.shape[1:]).index_copy(0, seen.index, v)[None] for v in values), None

    def isect_tiles(self, *args, **kwargs):
        a = self.bound("isect_tiles", *args, **kwargs)
        assert a["tile_width"] * a["tile_size"] >= self.settings.width
        assert a["packed"] == (a["image_ids"] is not None) == (a["n_images"] == 1)
        return None, self.seen.index, self.seen.index.int()

    def isect_offset_encode(self, *args):
        a = self.bound("isect_offset_encode", *args)
        return torch.zeros(a["n_images"], a["tile_height"], a["tile_width"])

    def rasterize_to_pixels(self, *args, **kwargs):
        a = self.bound("rasterize_to_pixels", *args, **kwargs)
        columns = [a["means2d"], a["conics"], a["opacities"][..., None], a["colors"]]
        splats = torch.cat(columns, dim=-1)
        splats = splats if a["packed"] else splats[0, self.seen.index]
        image, alpha = blend(splats, self.seen.boxes, self.settings)
        return image[None], alpha[None]


@pytest.mark.parametrize("packed", [True, False])
def test_gsplats_parts_are_called_as_gsplat_wants_them(check: Check, packed: bool) -> None:
    case = Case.of(check, check.toy, CPU)
    watch = gpu_subject.Stopwatch(CPU)
    image = gpu_raster_times.gsplat_parts(case, watch, PlainGsplat(case), packed)
    assert torch.equal(image, rasterize_case(case, case.leaves(), "torch", packed).features)
    parts = ["projection", "tiles", "blend", "backward_blend", "backward_projection"]
    assert list(watch.seconds) == parts


def test_uneven_scene_gives_every_parameter_a_gradient(check: Check) -> None:
    lifted = check.lift(check.toy)
    scene = uneven(lifted)
    assert torch.equal(scene.means, lifted.means)
    assert (scene.scales[:, 0] != scene.scales[:, 1]).all()
    assert torch.equal(scene.quats, uneven(lifted).quats)
    assert torch.equal(scene.velocities.any(dim=2).any(dim=1), ~lifted.is_sky)
