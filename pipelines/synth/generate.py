"""Whole logs: sweeps, pictures, annotations and exact motion, written at once or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pipelines.synth import config as presets
from pipelines.synth import writer
from pipelines.synth.annotations import Sightings, cuboids, trajectories
from pipelines.synth.config import FRAME_PERIOD, RIG, CameraSpec, Preset, SynthConfig
from pipelines.synth.sensors.camera import render
from pipelines.synth.sensors.lidar import sweep
from pipelines.synth.street.world import World, build_world, euler2matrix

Progress = Callable[[str, int, int], None]
"""Called with the log, jobs done and jobs in all."""


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """Stamps of a log: epoch seconds as written, microseconds round; simulated time is `stamp - epoch`."""

    sweeps: NDArray[np.float64]  # [F]
    cameras: dict[str, NDArray[np.float64]]  # [F] each

    @property
    def epoch(self) -> float:
        """Stamp of the first sweep."""
        return float(self.sweeps[0])


def _clock(seed: int, log: int, frames: int) -> Clock:
    rng = np.random.default_rng(np.random.SeedSequence([seed, log, 1]))
    epoch = 1_557_500_000.0 + float(rng.integers(0, 10_000_000)) + float(rng.uniform(0.2, 0.8))
    sweeps = np.round(epoch + FRAME_PERIOD * np.arange(frames) + rng.uniform(-2e-5, 2e-5, frames), 6)
    cameras = {c.name: np.round(sweeps + c.offset + rng.uniform(-2e-5, 2e-5, frames), 6) for c in RIG}
    return Clock(sweeps, cameras)


def camera2street(world: World, camera: CameraSpec, time: float) -> NDArray[np.float64]:
    """[4, 4] cam2street at a time (s)."""
    return np.asarray(euler2matrix(world.ego.at(time)[0]) @ camera.cam2ego())


@dataclass(frozen=True, slots=True, eq=False)
class _LogJob:
    """One log on its way to disk."""

    folder: Path
    world: World
    config: SynthConfig
    clock: Clock
    seeds: tuple[int, int]

    def picture(self, camera: CameraSpec, frame: int) -> None:
        time = float(self.clock.cameras[camera.name][frame]) - self.clock.epoch
        config = self.config
        pose = camera2street(self.world, camera, time)
        seen = render(self.world, time, pose, config.intrinsics(camera), config.width, config.height)
        data = simplejpeg.encode_jpeg(seen.rgb, quality=config.jpeg_quality, colorspace="RGB", colorsubsampling="420")
        writer.write_bytes(self.folder / "camera" / camera.name / f"{frame:02d}.jpg", data)

    def sweep(self, frame: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Write one sweep; returns which actors each LiDAR met, [O] each."""
        stamp = float(self.clock.sweeps[frame]) - self.clock.epoch
        both = sweep(self.world, self.config, stamp, (*self.seeds, 2, frame))
        turn, shift = self.world.street2world[:3, :3], self.world.street2world[:3, 3]
        points = np.concatenate([r.points for r in both]) @ turn.T + shift
        sensor = np.repeat(np.arange(2, dtype=np.int64), [len(r.points) for r in both])
        time = self.clock.epoch + np.concatenate([r.time for r in both])
        table = writer.point_frame(points, np.concatenate([r.intensity for r in both]), time, sensor)
        name = f"{frame:02d}"
        writer.write_frame(self.folder / "lidar" / f"{name}.pkl.gz", table)
        classes = writer.class_frame(np.concatenate([r.semantic for r in both]))
        writer.write_frame(self.folder / "annotations" / "semseg" / f"{name}.pkl.gz", classes)
        velocity = np.concatenate([r.velocity for r in both]) @ turn.T
        truth = {"velocity": velocity.astype(np.float32), "object": np.concatenate([r.actor for r in both])}
        writer.write_arrays(self.folder / "ground_truth" / f"{name}.npz", truth)
        first, second = (np.bincount(r.actor[r.actor >= 0], minlength=len(self.world.actors)) > 0 for r in both)
        return first, second

    def annotations(self, seen: Sightings) -> None:
        rows = seen.rows(self.world.actors)
        for frame, stamp in enumerate(self.clock.sweeps):
            table = cuboids(self.world, rows, float(stamp) - self.clock.epoch, self.config.forward)
            writer.write_frame(self.folder / "annotations" / "cuboids" / f"{frame:02d}.pkl.gz", table)
        classes = {str(k + 1): name for k, name in enumerate(writer.SEMANTIC_CLASSES)}
        writer.write_json(self.folder / "annotations" / "semseg" / "classes.json", classes, indent=2)
        writer.write_arrays(self.folder / "ground_truth" / "trajectories.npz", trajectories(self.world))

    def poses(self) -> None:
        world, clock = self.world, self.clock
        for camera in RIG:
            base, stamps = self.folder / "camera" / camera.name, clock.cameras[camera.name]
            matrices = [world.street2world @ camera2street(world, camera, float(t) - clock.epoch) for t in stamps]
            writer.write_json(base / "poses.json", [writer.pose_entry(m) for m in matrices])
            writer.write_json(base / "timestamps.json", stamps.tolist())
            names = ("fx", "fy", "cx", "cy")
            writer.write_json(base / "intrinsics.json", dict(zip(names, self.config.intrinsics(camera), strict=True)))
        value, rate = world.ego.at(clock.sweeps - clock.epoch)
        ego2street = euler2matrix(value)
        writer.write_json(
            self.folder / "lidar" / "poses.json", [writer.pose_entry(world.street2world @ m) for m in ego2street]
        )
        local = np.einsum("fji,fj->fi", ego2street[:, :3, :3], rate[:, :3])
        places = (world.street2world @ ego2street)[:, :3, 3]
        origin = writer.gps_origin(*self.seeds)
        gps = [writer.gps_entry(p, v, origin) for p, v in zip(places, local, strict=True)]
        writer.write_json(self.folder / "meta" / "gps.json", gps)
        for name in ("lidar", "meta"):
            writer.write_json(self.folder / name / "timestamps.json", clock.sweeps.tolist())


def _run(job: _LogJob, log_id: str, workers: int, progress: Progress | None) -> None:
    frames = range(len(job.clock.sweeps))
    with ThreadPoolExecutor(workers) as pool:
        sweeps = [pool.submit(job.sweep, f) for f in frames]
        pictures = [pool.submit(job.picture, camera, f) for f in frames for camera in RIG]
        futures: list[Future] = [*sweeps, *pictures]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress:
                    progress(log_id, done, len(futures))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    seen = np.array([s.result() for s in sweeps])  # [F, 2, O]
    job.annotations(Sightings(*(np.logical_or.reduce(seen[:, d]) for d in range(2))))
    job.poses()


def generate_log(
    folder: Path,
    log: int,
    frames: int,
    seed: int,
    config: SynthConfig,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Path:
    """Write log number `log` of a seed to `folder`; its content depends on (seed, log, frames, config) only.

    Raises:
        ValueError: the folder exists.
    """
    if folder.exists():
        raise ValueError(f"{folder} exists; delete it or choose another output folder")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    world = build_world(seed, log, frames * FRAME_PERIOD)
    job = _LogJob(partial, world, config, _clock(seed, log, frames), (seed, log))
    try:
        _run(job, folder.name, workers or os.cpu_count() or 1, progress)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def generate(
    out: Path, *, logs: int, seconds: float, seed: int, preset: Preset = "small", progress: Progress | None = None
) -> list[Path]:
    """Write logs ``out/synth000 ...`` in PandaSet layout, 10 frames a second, with exact motion beside them.

    A log is there complete or not at all. Beside PandaSet's files, ``ground_truth/{frame}.npz`` holds
    `velocity` [P, 3] m/s (world) and `object` [P] of the sweep's points in file order, and
    ``ground_truth/trajectories.npz`` what `annotations.trajectories` describes.

    Raises:
        ValueError: a count is not positive, or a log's folder exists.
    """
    config, frames = presets.preset(preset), round(seconds / FRAME_PERIOD)
    if logs < 1 or frames < 1 or seed < 0:
        raise ValueError(
            f"nothing to write for logs={logs}, seconds={seconds}, seed={seed}; use logs >= 1, "
            "seconds >= 0.1 and seed >= 0"
        )
    folders = [Path(out) / f"synth{log:03d}" for log in range(logs)]
    for folder in folders:
        if folder.exists():
            raise ValueError(f"{folder} exists; delete it or choose another output folder")
    return [generate_log(folder, log, frames, seed, config, progress) for log, folder in enumerate(folders)]
