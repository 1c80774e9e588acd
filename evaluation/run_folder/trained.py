"""A trained network as a run folder or a weights file holds it, with the settings it was trained with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from evaluation.run_folder.files import CONFIG, WEIGHTS, RunFiles
from evaluation.run_folder.settings import said_once
from flux4d.cameras.shutter import Shutter
from flux4d.lift.scene import BEFORE, SceneConfig
from flux4d.network.model import Flux4D
from flux4d.network.weights import load_network
from store_schema.json_dataclass import from_json


@dataclass(frozen=True, slots=True)
class Trained:
    """A network and what its run folder says of it."""

    network: Flux4D
    scene: SceneConfig
    weights: Path
    record: dict[str, object]
    config: str
    shutter: Shutter
    """What colours were learned through; instant where nothing says so."""


def load_trained(run: Path | None, weights: Path | None, device: torch.device | str) -> Trained | None:
    """Network, scene settings and record of a run folder, or what bare weights tell; None where neither is named.

    Raises:
        ValueError: the weights or config are not what they should be.
        FileNotFoundError: there is no run folder or file of that name, or the run has no checkpoint yet.
    """
    if run is not None:
        return _load_run(run, device)
    if weights is None:
        return None
    network = load_network(weights, device)
    scene = SceneConfig(**asdict(network.scale_bounds))
    return Trained(network, scene, weights, {}, "", Shutter())


def _load_run(run: Path, device: torch.device | str) -> Trained:
    record = RunFiles(run).record()
    weights, config = run / WEIGHTS, run / CONFIG
    for path in (weights, config):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: the run has not reached its first checkpoint; let it go on")
    text = config.read_text()
    settings = said_once(json.loads(text))
    try:
        scene = from_json(SceneConfig, {**BEFORE, **settings["scene"]})
        # Old runs have no shutter settings: they were trained without one.
        shutter = from_json(Shutter, settings.get("stream", {}).get("shutter", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{config}: scene or shutter settings do not fit this version of the package ({error})"
        ) from error
    return Trained(load_network(weights, device), scene, weights, record, text, shutter)
