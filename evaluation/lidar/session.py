"""What `flux4d-eval lidar` does: read a dataset version and perhaps a network, score its sweeps, write the folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from evaluation.lidar.evaluate import ScoredClip, score_clip
from evaluation.lidar.floors import FLOORS
from evaluation.lidar.page import write_lidar_page
from evaluation.lidar.path import NoLidarTruthError, SensorPath, frames_folder
from evaluation.lidar.pictures import SweepPictures
from evaluation.lidar.results import LidarEvaluation
from evaluation.lidar.rig import RIGS, LidarRig
from evaluation.lidar.tables import NOTES, ROLES, lidar_tables, rich_tables
from evaluation.methods.method import MethodInfo, SceneMethod
from evaluation.methods.standard import lifted_method, standard_methods
from evaluation.metrics.point_set import PointSet
from evaluation.options import Lidar
from evaluation.report.provenance import machine_lines
from evaluation.report.table_text import markdown
from evaluation.run_folder.seen_frames import NOTHING_SEEN, seen_frames
from evaluation.run_folder.trained import Trained, load_trained
from evaluation.scoring.clip_choice import chosen_records
from evaluation.session import scene_folders
from flux4d.device import resolve_device
from flux4d.lift.scene import SceneConfig
from store_schema.command_line.progress import progress_bars
from store_schema.hashing import hash_file
from store_schema.json_dataclass import save_json
from store_schema.version.dataset import open_dataset

RESULT, TABLE, PAGE = "lidar.json", "lidar.md", "lidar.html"
EVERYWHERE = PointSet(view="everywhere")
"""The LiDAR looks all around: scenes are not cropped to what the cameras see."""


def run_lidar(command: Lidar, rigs: Sequence[LidarRig] = RIGS) -> Path:
    """Score and write the result folder; returns the page's path.

    Args:
        command: What to score.
        rigs: Sensors whose beams are known.

    Raises:
        ValueError: no clip is left to score, or none whose held-out sweeps are known; says why.
        FileNotFoundError: a store, run or weights file is missing.
    """
    console = Console(stderr=True)
    device = resolve_device(command.device)
    dataset = open_dataset(command.place, command.version)
    trained = load_trained(command.run, command.weights, device)
    seen = seen_frames(trained.record) if trained else NOTHING_SEEN
    records = chosen_records(dataset, command.clips, command.split, command.max_clips)
    files = scene_folders(command, dataset, records, device)
    frames, methods = frames_folder(dataset), (*_methods(trained, device), *(folder.method for folder in files))
    pictures, notes, scored = SweepPictures(command.picture_clips, command.every), list[str](), list[ScoredClip]()

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    with progress_bars(console) as bars:
        for number, record in enumerate(bars.track("clips", records, len(records)), start=1):
            say(f"clip {number} of {len(records)}: {record.clip_id}")
            try:
                path = SensorPath.of(frames, dataset.read(record.clip_id), rigs)
                known = seen.has_seen(record)
                scored.append(
                    score_clip(path, methods, every=command.every, seen=known, progress=say, observer=pictures)
                )
            except NoLidarTruthError as error:
                notes.append(f"Clip {record.clip_id} is n/a: {error}.")
                say(notes[-1])
    if not scored:
        raise ValueError("no clip could be scored. " + " ".join(notes))
    evaluation = LidarEvaluation(
        dataset_version=dataset.version,
        store=command.store,
        weights=str(trained.weights) if trained else "",
        weights_hash=hash_file(trained.weights) if trained else "",
        machine=machine_lines(device),
        methods=(*(method.info for method in methods), *(MethodInfo(*f) for f in FLOORS.items())),
        every=command.every,
        sensors=tuple(clip.sensor for clip in scored),
        sweeps=tuple(row for clip in scored for row in clip.sweeps),
        notes=tuple(notes),
    )
    _write(command.out, evaluation, pictures)
    out = Console()
    for table in lidar_tables(evaluation)[: len(ROLES)]:
        for printed in rich_tables(table):
            out.print(printed, "")
    return command.out / PAGE


def _write(folder: Path, evaluation: LidarEvaluation, pictures: SweepPictures) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_json(folder / RESULT, evaluation)
    tables = [markdown(table) for table in lidar_tables(evaluation)]
    listed = "".join(f"- {note}\n" for note in (*evaluation.notes, *NOTES))
    (folder / TABLE).write_text("\n".join([*tables, listed]))
    write_lidar_page(folder / PAGE, evaluation, pictures.pictures)


def _methods(trained: Trained | None, device: torch.device) -> Sequence[SceneMethod]:
    """The three standard methods, or without a network the first of them."""
    if trained is not None:
        return standard_methods(trained.network, trained.scene, device, EVERYWHERE)
    return (lifted_method(SceneConfig(), device, EVERYWHERE),)
