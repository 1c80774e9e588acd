"""Whether cameras' exposures explain what renderings get wrong: gains at lifting, and affine maps fitted to inputs.

Run with ``python -m benchmarks.exposure --store STORE [--weights FILE] [--quick] [--json]``. Every variant is fitted
to input views alone and scored on target views, against the same rendering without it; the spread is over frames.

- gain, channels, affine: one factor, a factor and offset a channel, a 3x4 map for each camera, fitted to its input
  views; with "/frame" one for each input frame, joined linearly.
- rig: the gains of the cameras from the points that two of them coloured, taken out of the lifted colours and put back
  for the camera that is rendered; nothing is fitted to an image. With "+channels" a fit comes on top.
- With weights, the same for their network. It has learnt from colours as they are, so "rig" says only what a
  network that was not trained for it makes of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.exposure.scenes import Shot, common_colours, contrast, exposed, shoot, with_truth_of
from flux4d.lift.camera_gains import GainConfig, gains_of, overlaps
from flux4d.lift.scene import SceneConfig
from flux4d.network.model import Flux4D
from flux4d.network.weights import load_network
from flux4d.reconstruct import reconstruct
from flux4d.supervision.exposure import Exposure
from flux4d.supervision.exposure_fit import ExposureConfig, fit_exposure
from store_schema.clip import Clip
from store_schema.version.dataset import open_dataset

FITS = {
    "gain": ExposureConfig(kind="gain"),
    "channels": ExposureConfig(kind="channels"),
    "affine": ExposureConfig(kind="affine"),
    "gain/frame": ExposureConfig(kind="gain", per_frame=True),
    "affine/frame": ExposureConfig(kind="affine", per_frame=True),
}
ROLES = ("interpolation", "future")


def fitted(shots: Sequence[Shot], config: ExposureConfig) -> Exposure:
    """Exposures of the cameras, fitted to the input views among the shots."""
    return fit_exposure([shot.compared() for shot in shots if shot.view.role == "input"], config)


def scores(shots: Sequence[Shot], exposure: Exposure | None) -> NDArray[np.float64]:
    """PSNR and SSIM of each target view. [F, 2]"""
    return np.array([shot.score(exposure) for shot in shots if shot.view.role != "input"])


def measure(clip: Clip, network: Flux4D | None, width: int, quick: bool) -> dict[str, Any]:
    """All variants on one clip: differences by camera and role, contrast, and the cameras' gains."""
    scene, static = SceneConfig(), network is None
    shots = shoot(clip, reconstruct(clip, network, scene, static=static), width)
    variants = {"none": scores(shots, None)}
    flatness = {"none": contrast(shots, None)}
    for name, config in list(FITS.items())[: 1 if quick else None]:
        exposure = fitted(shots, config)
        variants[name], flatness[name] = scores(shots, exposure), contrast(shots, exposure)
    gain_config = GainConfig()
    found = overlaps(clip.points, len(clip.rig_cameras), gain_config)
    gains = gains_of(found, len(clip.rig_cameras), gain_config.ridge)
    common, back = common_colours(clip, gains)
    levelled = exposed(shoot(common, reconstruct(common, network, scene, static=static), width), back)
    levelled = with_truth_of(levelled, shots)
    variants["rig"], flatness["rig"] = scores(levelled, None), contrast(levelled, None)
    exposure = fitted(levelled, FITS["channels"])
    variants["rig+channels"], flatness["rig+channels"] = scores(levelled, exposure), contrast(levelled, exposure)
    targets = [shot.view for shot in shots if shot.view.role != "input"]
    groups = [(camera, role) for camera in clip.view_cameras for role in ROLES]
    groups += [("all", role) for role in ROLES] if len(clip.view_cameras) > 1 else []
    rows = []
    for camera, role in groups:
        own = [view.role == role and camera in (view.camera, "all") for view in targets]
        rows += [_row(camera, role, name, values[own], variants["none"][own]) for name, values in variants.items()]
    return {
        "clip": clip.record.clip_id,
        "method": "lifted" if network is None else "flux4d",
        "rows": rows,
        "contrast": flatness,
        "gains": dict(zip(clip.rig_cameras, (gains / gains[0]).tolist(), strict=True)),
        "overlaps": [
            {
                "cameras": [clip.rig_cameras[one.first], clip.rig_cameras[one.second]],
                "pairs": one.pairs,
                "ratio": np.exp(one.log_ratio).tolist(),
                "spread": one.spread,
            }
            for one in found
        ],
    }


def _row(
    camera: str, role: str, variant: str, values: NDArray[np.float64], base: NDArray[np.float64]
) -> dict[str, Any]:
    change = values - base
    return {
        "camera": camera,
        "role": role,
        "variant": variant,
        "frames": len(values),
        "psnr": float(values[:, 0].mean()),
        "ssim": float(values[:, 1].mean()),
        "d_psnr": float(change[:, 0].mean()),
        "d_psnr_std": float(change[:, 0].std()),
        "d_psnr_min": float(change[:, 0].min()),
        "d_psnr_max": float(change[:, 0].max()),
        "d_ssim": float(change[:, 1].mean()),
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Tables for people."""
    table = Table(title=f"{result['method']}, {result['clip']}")
    for name in ("camera", "views", "variant", "PSNR", "change", "spread", "least", "most", "SSIM change", "contrast"):
        table.add_column(name, justify="left" if name in ("camera", "views", "variant") else "right")
    for row in result["rows"]:
        signed = [f"{row[name]:+.3f}" for name in ("d_psnr", "d_psnr_min", "d_psnr_max")]
        table.add_row(
            *(row["camera"], row["role"], row["variant"], f"{row['psnr']:.2f}", signed[0], f"{row['d_psnr_std']:.3f}"),
            *(*signed[1:], f"{row['d_ssim']:+.4f}", f"{result['contrast'][row['variant']]:.3f}"),
        )
    console.print(table)
    for camera, gain in result["gains"].items():
        console.print(f"{camera}: gain {' '.join(f'{value:.3f}' for value in gain)} of the first camera's")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="a store with evaluation clips")
    parser.add_argument("--clips", nargs="*", help="clips to measure; all of the evaluation setting without it")
    parser.add_argument("--weights", type=Path, help="weights.safetensors of a trained run: measure its network too")
    parser.add_argument("--width", type=int, default=960, help="pixels to render at")
    parser.add_argument("--quick", action="store_true", help="the first clip, 240 pixels wide, one fit")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    args = parser.parse_args(arguments)
    dataset = open_dataset(args.store)
    clips = args.clips or [record.clip_id for record in dataset.select(setting="evaluation")]
    if not clips:
        raise SystemExit(f"{args.store} holds no evaluation clip: name others with --clips")
    clips, width = (clips[:1], 240) if args.quick else (clips, args.width)
    networks = [None] if args.weights is None else [None, load_network(args.weights, torch.device("cpu"))]
    console, results = Console(stderr=True, width=120), []
    for clip_id in clips:
        clip = dataset.read(clip_id)
        for network in networks:
            results.append(measure(clip, network, width, args.quick))
            show(results[-1], console)
    if args.json:
        print(json.dumps({"store": str(args.store), "width": width, "results": results}))


if __name__ == "__main__":
    main()
