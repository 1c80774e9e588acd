"""What `flux4d-eval` can be asked for; torch is not needed to read a command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from evaluation.metrics.point_set import P0, PointSet
from store_schema.command_line.options import StoreOptions

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LOG_ITSELF = "truth"
"""What the pictures call it (`evaluation.report.pictures.TRUTH`)."""


@dataclass(frozen=True, kw_only=True)
class ShutterOptions:
    """A shutter, as far as it is not the run's (`flux4d.cameras.shutter.Shutter`)."""

    readout: float | None = None
    """s from the first row to the last; negative: the last row comes first. None is the run's."""
    offset: float | None = None
    """s from the view's time to the middle of the exposures; negative is earlier. None is the run's."""


@dataclass(frozen=True, kw_only=True)
class ClipsAndScenes(StoreOptions):
    """Which clips are scored, and where their scenes come from."""

    version: str | None = None
    """Dataset version, a hash or its beginning; None is the newest."""
    run: Path | None = None
    """Run folder of flux4d-train: its weights, scene settings, shutter and the clips it has seen."""
    weights: Path | None = None
    """Weights file, when there is no run folder; then no clip counts as seen."""
    scenes: tuple[str, ...] = ()
    """Score scene files too: NAME=FOLDER, the folder holding {clip id}.safetensors (docs/scene_format.md)."""
    clips: tuple[str, ...] = ()
    """Only these clips (ids); nothing takes the evaluation clips of the split."""
    split: Literal["test", "train", "all"] = "test"
    """Split whose evaluation clips are scored."""
    max_clips: int | None = None
    """Stop after this many clips."""
    device: str = "auto"
    """Where the network works; auto takes CUDA when there is one."""

    def __post_init__(self) -> None:
        StoreOptions.__post_init__(self)
        if self.run is not None and self.weights is not None:
            raise ValueError("name --run RUN_DIR or --weights FILE, not both")
        at_least(self, max_clips=1)
        named_folders("--scenes", self.scenes)


@dataclass(frozen=True, kw_only=True)
class Run(ClipsAndScenes):
    """Evaluate lifted, static and moving Gaussians of a trained network on a dataset version, or anyone's scenes or
    images of its clips.
    """

    out: Path
    """Folder for evaluation.json, table.md, report.html and pictures."""
    renders: tuple[str, ...] = ()
    """Score images too: NAME=FOLDER, the folder holding {clip id}/{camera}-{frame}.png or .jpg of every interpolation
    and future view (frame counts from the clip's first, three digits), at the scored size, and perhaps depth in metres
    as .npy beside each. They have no scene flow."""
    save_scenes: Path | None = None
    """Write each scene that a method makes here to {this folder}/{method}/{clip id}.safetensors."""
    points: Annotated[PointSet, tyro.conf.arg(name="")] = P0
    """Points that scene flow is scored on."""
    shutter: ShutterOptions = ShutterOptions()
    """When image rows are exposed: row r of H at the view's time + offset + ((r + 0.5) / H - 0.5) readout. Colours are
    scored on a rendering through this shutter, depth on one at the view's time, as LiDAR depth is stored. What is left
    out is as the run was trained (its stream.shutter), and 0 with --weights or a run of before there were shutters;
    --shutter.readout 0 --shutter.offset 0 scores any run without a shutter."""
    exposure: Literal["none", "gain", "channels", "affine"] = "none"
    """Correct rendered colours for each camera's exposure before they are scored and drawn: by one factor (gain), a
    factor and an offset a channel (channels) or a 3x4 map (affine), fitted for each method to the input views of each
    clip, never to a scored image. Not comparable with numbers without it."""
    lpips_weights: Path | None = None
    """Folder with the weights of LPIPS: alexnet-owt-7be5be79.pth and alex.pth, or vgg16-397923af.pth and vgg.pth. None
    searches torch.hub's folder, and LPIPS is n/a when they are not there. Nothing is downloaded."""
    lpips_net: Literal["alex", "vgg"] = "alex"
    """Backbone of LPIPS: alex as gsplat and nerfstudio report. Papers on 3D Gaussian splatting report vgg, but their
    code feeds it [0, 1] where this feeds [-1, 1] as LPIPS is defined: not comparable with theirs. A pair of 1920x1080
    takes about 0.5 s with alex and 12 s (and 3 GB) with vgg on two CPU cores."""
    width: int | None = None
    """Rendered width in pixels; None is the stored size (the paper's 1920)."""
    picture_clips: int = 6
    """Clips of which the report shows pictures."""
    backend: Literal["auto", "cpu", "gsplat", "torch"] = "auto"
    """Rasteriser."""

    def __post_init__(self) -> None:
        ClipsAndScenes.__post_init__(self)
        at_least(self, width=1)
        network = self.run is not None or self.weights is not None
        if not (network or self.scenes or self.renders):
            raise ValueError("name either --run RUN_DIR or --weights FILE, or give --scenes or --renders NAME=FOLDER")
        if self.save_scenes is not None and not network:
            raise ValueError("--save-scenes writes what a network makes: name --run RUN_DIR or --weights FILE too")
        both = named_folders("--scenes", self.scenes).keys() & named_folders("--renders", self.renders).keys()
        if both:
            raise ValueError(f"--scenes and --renders share the name {sorted(both)[0]}: give each its own")


@dataclass(frozen=True, kw_only=True)
class Lidar(ClipsAndScenes):
    """Render the held-out LiDAR sweeps of evaluation clips and compare them with what was measured. Without a run or
    weights only the lifted scene and scene files are scored. The store must still hold its frames folder. Range images
    are rendered on the CPU, whatever the device.
    """

    out: Path
    """Folder for lidar.json, lidar.md and lidar.html."""
    every: int = 1
    """Score every so many-th interpolation and future sweep of a clip."""
    picture_clips: int = 2
    """Clips of which lidar.html shows range images."""

    def __post_init__(self) -> None:
        ClipsAndScenes.__post_init__(self)
        at_least(self, every=1, picture_clips=0)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write report.html again from a saved evaluation, for instance with a newer version of this package, or write the
    report of a training run: how it went so far and where it comes from, also while it goes on."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder that an evaluation wrote, or a run folder of flux4d-train."""


def named_folders(option: str, values: tuple[str, ...]) -> dict[str, Path]:
    """NAME=FOLDER, each as given on the command line.

    Raises:
        ValueError: one does not read so, or two have one name.
    """
    folders: dict[str, Path] = {}
    for value in values:
        name, equals, folder = value.partition("=")
        if not (equals and folder and _NAME.fullmatch(name)) or name == _LOG_ITSELF:
            raise ValueError(
                f"{option} takes NAME=FOLDER, got {value!r}: a name has letters, digits and . _ - only, and is not "
                f"{_LOG_ITSELF}"
            )
        if name in folders:
            raise ValueError(f"{option} names {name} twice: give each folder its own name")
        folders[name] = Path(folder)
    return folders


def at_least(options: object, **least: int) -> None:
    """Refuse numbers that are below their least.

    Raises:
        ValueError: names the option.
    """
    for name, lowest in least.items():
        value = getattr(options, name)
        if value is not None and value < lowest:
            raise ValueError(f"{name} must be at least {lowest}, got {value}")
