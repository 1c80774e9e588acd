"""What `flux4d-eval` does: read a dataset version and a network, evaluate, write the result folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console

from evaluation.metrics.lpips_weights import load_lpips
from evaluation.options import Run
from evaluation.report.page import write_report
from evaluation.report.pictures import PictureBook, PictureIndex
from evaluation.report.provenance import RunInfo, flat_record, machine_lines
from evaluation.report.table_text import markdown, rich_tables
from evaluation.report.tables import all_tables
from evaluation.run_folder.files import CONFIG, METRICS, PICTURES, REPORT, WEIGHTS, RunFiles
from evaluation.run_folder.settings import said_once
from evaluation.run_report.log import read_curves
from evaluation.run_report.page import write_run_report
from evaluation.scoring.clip_choice import chosen_records
from evaluation.scoring.dataset_options import shutter_notes, unusual_options
from evaluation.scoring.evaluate import evaluate
from evaluation.scoring.imaging import Imaging
from evaluation.scoring.methods import standard_methods
from evaluation.scoring.results import Evaluation
from evaluation.scoring.seen_frames import seen_frames
from flux4d.cameras.shutter import Shutter
from flux4d.device import resolve_device
from flux4d.lift.scene import BEFORE, SceneConfig
from flux4d.network.model import Flux4D
from flux4d.network.weights import load_network
from flux4d.supervision.exposure_fit import ExposureConfig
from store_schema.clip import Clip, ClipRecord
from store_schema.command_line.progress import progress_bars
from store_schema.hashing import hash_file
from store_schema.json_dataclass import from_json, load_json, save_json
from store_schema.version.dataset import Dataset, open_dataset

EVALUATION, RUN_INFO = "evaluation.json", "run_info.json"
TABLE = "table.md"


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


def run_evaluation(command: Run) -> Path:
    """Evaluate and write the result folder; returns the report's path.

    Raises:
        ValueError: no clip is left to score, or the weights, config or clips are not what they should be.
        FileNotFoundError: a store, run or weights file is missing.
    """
    console = Console(stderr=True)
    device = resolve_device(command.device)
    dataset = open_dataset(command.place, command.version)
    trained = load_trained(command, device)
    cameras = imaging(command, trained)
    seen = tuple(str(clip) for clip in trained.record.get("clips_seen", ()))  # type: ignore[attr-defined]
    records = chosen_records(dataset, command.clips, command.split, command.max_clips)
    if command.run is not None and trained.record.get("dataset_version") != dataset.version:
        console.print(f"note: the run was trained on dataset {trained.record.get('dataset_version')}", highlight=False)
    if cameras.in_words:
        console.print(f"note: {cameras.in_words}", highlight=False)
    config = dataset.manifest.config
    twice = shutter_notes(config.get("features", {}), cameras)
    for note in twice:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    if command.run is not None and cameras.shutter != trained.shutter:
        console.print(f"note: the run was trained with {trained.shutter}", highlight=False)
    lpips = load_lpips(command.lpips_net, command.lpips_weights, device)
    command.out.mkdir(parents=True, exist_ok=True)
    book = PictureBook(command.out / PICTURES, command.picture_clips)
    with progress_bars(console) as bars:
        evaluation = evaluate(
            bars.track("clips", _clips(dataset, records), len(records)),
            standard_methods(trained.network, trained.scene, device, command.points),
            width=command.width,
            lpips=lpips,
            points=command.points,
            backend=command.backend,
            imaging=cameras,
            seen_frames=seen_frames(trained.record),
            dataset_options="; ".join(words for words in (unusual_options(config), *twice) if words),
            progress=lambda line: console.print(line, highlight=False, soft_wrap=True),
            observer=book,
        )
    info = RunInfo(
        dataset_version=dataset.version,
        store=command.store,
        weights=str(trained.weights),
        weights_hash=hash_file(trained.weights),
        config=trained.config,
        record=flat_record(trained.record),
        machine=machine_lines(device),
        clips_seen=seen,
        scene=json.dumps(asdict(trained.scene), indent=1),
        curves=read_curves(command.run / METRICS) if command.run is not None else (),
    )
    evaluation.save(command.out / EVALUATION)
    save_json(command.out / RUN_INFO, info)
    (command.out / TABLE).write_text("\n".join(markdown(table) for table in all_tables(evaluation)))
    write_report(command.out / REPORT, evaluation, book.close(), command.out / PICTURES, info)
    out = Console()
    for table in rich_tables(evaluation):
        out.print(table)
    return command.out / REPORT


def rebuild_report(folder: Path) -> Path:
    """Write the report of a saved evaluation again, or that of a training run.

    Raises:
        FileNotFoundError: the folder holds neither.
        ValueError: the folder holds both, it was written by another version of this package, or a log is damaged.
    """
    if not (folder / EVALUATION).is_file():
        if RunFiles(folder).is_run:
            return write_run_report(folder)
        raise FileNotFoundError(
            f"{folder / EVALUATION} is missing: give the --out folder of `flux4d-eval run`, or a run folder of "
            "flux4d-train"
        )
    if RunFiles(folder).is_run:
        raise ValueError(
            f"{folder} holds a training run and an evaluation, and both reports are {REPORT}: move {EVALUATION}, "
            f"{RUN_INFO}, {TABLE} and {PICTURES} of the evaluation to a folder of their own"
        )
    evaluation = Evaluation.load(folder / EVALUATION)
    info = load_json(folder / RUN_INFO, RunInfo)
    write_report(folder / REPORT, evaluation, PictureIndex.load(folder / PICTURES), folder / PICTURES, info)
    return folder / REPORT


def load_trained(command: Run, device: torch.device) -> Trained:
    """Network, scene settings and record of what the command names."""
    if command.run is None:
        assert command.weights is not None
        network = load_network(command.weights, device)
        scene = SceneConfig(**asdict(network.scale_bounds))
        return Trained(network, scene, command.weights, {}, "", Shutter())
    record = RunFiles(command.run).record()
    weights, config = command.run / WEIGHTS, command.run / CONFIG
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


def imaging(command: Run, trained: Trained) -> Imaging:
    """Shutter and exposures to score with: what the command says, and the run's shutter where it says nothing.

    Raises:
        ValueError: a time is not that of a shutter, or the kind of exposure is not known.
    """
    readout, offset = command.shutter.readout, command.shutter.offset
    shutter = Shutter(
        readout=trained.shutter.readout if readout is None else readout,
        offset=trained.shutter.offset if offset is None else offset,
    )
    return Imaging(shutter, None if command.exposure == "none" else ExposureConfig(kind=command.exposure))


def _clips(dataset: Dataset, records: list[ClipRecord]) -> Iterator[Clip]:
    for record in records:
        yield dataset.read(record.clip_id)
