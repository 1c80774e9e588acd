"""What `flux4d-eval` does: read a dataset version and a network, evaluate, write the result folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from evaluation.methods.observer import Observers
from evaluation.methods.render_folder import RenderFolder
from evaluation.methods.save_scenes import SceneSaver
from evaluation.methods.scene_folder import SceneFolder
from evaluation.methods.standard import standard_methods
from evaluation.metrics.lpips_weights import load_lpips
from evaluation.options import ClipsAndScenes, Run, named_folders
from evaluation.report.page import write_report
from evaluation.report.pictures import PictureBook, PictureIndex
from evaluation.report.provenance import RunInfo, flat_record, machine_lines
from evaluation.report.table_text import markdown, rich_tables
from evaluation.report.tables import all_tables
from evaluation.run_folder.files import METRICS, PICTURES, REPORT, RunFiles
from evaluation.run_folder.seen_frames import seen_frames
from evaluation.run_folder.trained import Trained, load_trained
from evaluation.run_report.log import read_curves
from evaluation.run_report.page import write_run_report
from evaluation.scoring.clip_choice import chosen_records
from evaluation.scoring.config import ScoringConfig
from evaluation.scoring.dataset_options import shutter_notes, unusual_options
from evaluation.scoring.imaging import Imaging
from evaluation.scoring.loop import evaluate
from evaluation.scoring.results import Evaluation
from flux4d.cameras.shutter import Shutter
from flux4d.device import resolve_device
from flux4d.supervision.exposure_fit import ExposureConfig
from store_schema.clip import Clip, ClipRecord
from store_schema.command_line.progress import progress_bars
from store_schema.hashing import hash_file
from store_schema.json_dataclass import load_json, save_json
from store_schema.version.dataset import Dataset, open_dataset

EVALUATION, RUN_INFO = "evaluation.json", "run_info.json"
TABLE = "table.md"


def run_evaluation(command: Run) -> Path:
    """Evaluate and write the result folder; returns the report's path.

    Raises:
        ValueError: no clip is left to score, or the weights, config or clips are not what they should be.
        FileNotFoundError: a store, run or weights file is missing.
    """
    console = Console(stderr=True)
    device = resolve_device(command.device)
    dataset = open_dataset(command.place, command.version)
    trained = load_trained(command.run, command.weights, device)
    cameras = imaging(command, trained)
    record = trained.record if trained else {}
    seen = tuple(str(clip) for clip in record.get("clips_seen", ()))  # type: ignore[attr-defined]
    records = chosen_records(dataset, command.clips, command.split, command.max_clips)
    folders: list[SceneFolder | RenderFolder] = [
        *scene_folders(command, dataset, records, device),
        *_render_folders(command, records),
    ]
    if command.run is not None and record.get("dataset_version") != dataset.version:
        console.print(f"note: the run was trained on dataset {record.get('dataset_version')}", highlight=False)
    if cameras.in_words:
        console.print(f"note: {cameras.in_words}", highlight=False)
    config = dataset.manifest.config
    twice = shutter_notes(config.get("features", {}), cameras)
    for note in twice:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    if command.run is not None and trained and cameras.shutter != trained.shutter:
        console.print(f"note: the run was trained with {trained.shutter}", highlight=False)
    info = RunInfo(
        dataset_version=dataset.version,
        store=command.store,
        weights=str(trained.weights) if trained else "",
        weights_hash=hash_file(trained.weights) if trained else "",
        config=trained.config if trained else "",
        record=flat_record(record),
        machine=machine_lines(device),
        clips_seen=seen,
        scene=json.dumps(asdict(trained.scene), indent=1) if trained else "",
        curves=read_curves(command.run / METRICS) if command.run is not None else (),
        files={each.name: each.origin([record.clip_id for record in records]) for each in folders},
    )
    command.out.mkdir(parents=True, exist_ok=True)
    book = PictureBook(command.out / PICTURES, command.picture_clips)
    scoring = ScoringConfig(
        width=command.width,
        lpips=load_lpips(command.lpips_net, command.lpips_weights, device),
        points=command.points,
        backend=command.backend,
        imaging=cameras,
        seen_frames=seen_frames(record),
        dataset_options="; ".join(words for words in (unusual_options(config), *twice) if words),
    )
    methods = standard_methods(trained.network, trained.scene, device, command.points) if trained else ()
    with progress_bars(console) as bars:
        evaluation = evaluate(
            bars.track("clips", _clips(dataset, records), len(records)),
            [*methods, *(each.method for each in folders)],
            scoring,
            progress=lambda line: console.print(line, highlight=False, soft_wrap=True),
            observer=Observers([book, *_saver(command, info)]),
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


def scene_folders(
    command: ClipsAndScenes, dataset: Dataset, records: list[ClipRecord], device: torch.device
) -> list[SceneFolder]:
    """The folders of scene files that the command names, each with a file of every clip.

    Raises:
        FileNotFoundError: a folder or a clip's file is missing; names them.
    """
    named = named_folders("--scenes", command.scenes)
    folders = [SceneFolder(name, folder, dataset.version, device) for name, folder in named.items()]
    for each in folders:
        each.check(record.clip_id for record in records)
    return folders


def _render_folders(command: Run, records: list[ClipRecord]) -> list[RenderFolder]:
    folders = [RenderFolder(name, folder) for name, folder in named_folders("--renders", command.renders).items()]
    for each in folders:
        each.check(record.clip_id for record in records)
    return folders


def _saver(command: Run, info: RunInfo) -> list[SceneSaver]:
    if command.save_scenes is None:
        return []
    made = {"weights": f"blake3 {info.weights_hash}", "scene settings": info.scene, **info.machine}
    return [SceneSaver(command.save_scenes, info.dataset_version, made)]


def imaging(command: Run, trained: Trained | None) -> Imaging:
    """Shutter and exposures to score with: what the command says, and the run's shutter where it says nothing.

    Raises:
        ValueError: a time is not that of a shutter, or the kind of exposure is not known.
    """
    readout, offset = command.shutter.readout, command.shutter.offset
    learned = trained.shutter if trained else Shutter()
    shutter = Shutter(
        readout=learned.readout if readout is None else readout,
        offset=learned.offset if offset is None else offset,
    )
    return Imaging(shutter, None if command.exposure == "none" else ExposureConfig(kind=command.exposure))


def _clips(dataset: Dataset, records: list[ClipRecord]) -> Iterator[Clip]:
    for record in records:
        yield dataset.read(record.clip_id)
