"""The training loop of one process: steps, checkpoints, early evaluation, a clean stop."""

from __future__ import annotations

import time
from typing import Any

import torch

from flux4d.device import resolve_device
from flux4d.network.model import Flux4D
from store_schema.version.dataset import open_dataset
from training.checkpoint.checkpoint import Progress, load_checkpoint, load_initial, save_best, save_checkpoint
from training.checkpoint.ema import Ema
from training.config import TrainConfig
from training.data.clip_stream import ClipStream, effective_stream, local_cache
from training.data.sample import Damaged, Sample
from training.distributed import Ranks
from training.faults.checks import require_possible
from training.faults.errors import TrainingStoppedError
from training.faults.interrupt import StopRequest
from training.faults.memory import explain, out_of_memory
from training.faults.nonfinite import dump_nonfinite
from training.monitor.callbacks import Callback, OtherRank, Silent
from training.monitor.early_evaluation import EarlyEvaluation
from training.optimisation.profiling import StepProfiler
from training.optimisation.step import StepMeans, Sums, clip_losses, mean_total
from training.optimisation.step_report import StepReport, reported
from training.optimisation.update import Updates, make_learner
from training.run_folder.folder import RunFolder

SPEEDS_EVERY = 50
"""Steps between histograms of speed."""


class Trainer:
    """Network, optimiser and samples of one run on one of its processes; `run` drives it to the end.

    Args:
        config: The run.
        ranks: Which of its processes this is; they must have joined (`Ranks.joined`).
        callback: Is told how it goes, on the process that writes the run folder.

    Raises:
        ValueError: settings, store or run folder do not allow it; says what to do.
        FileNotFoundError: no such store or weights.
    """

    def __init__(self, config: TrainConfig, ranks: Ranks | None = None, callback: Callback | None = None) -> None:
        self.config, self.ranks = config, ranks or Ranks()
        self.callback = (callback or Silent()) if self.ranks.is_main else OtherRank(self.ranks.rank)
        self.device = self.ranks.device(resolve_device(config.device))
        require_possible(config, self.ranks, self.device)
        self.folder = RunFolder(config, self.ranks, self.callback.note)
        try:
            self._open()
            self._begin_or_resume()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        config, ranks = self.config, self.ranks
        loader = config.loader
        self.dataset = open_dataset(config.store, config.version, cache=local_cache(loader), retry=loader.retry)
        torch.manual_seed(config.seed)
        self.learner = make_learner(config, self.device)
        self.profiler = StepProfiler(config.out, config.profile and ranks.is_main, self.device)
        self.updates = Updates(config, self.learner, ranks, self.profiler)
        self.early = EarlyEvaluation(self.dataset, config, ranks, self.device) if config.evaluation.every else None
        self.stream = ClipStream(
            self.dataset,
            effective_stream(config),
            config.loader,
            config.scene,
            seed=config.seed,
            device=self.device,
            rank=ranks.rank,
            world_size=ranks.world_size,
            fixed_target_frame=config.fixed_target_frame,
        )
        self.step, self.evaluated, self.saved = 0, 0, 0
        self.best: dict[str, Any] | None = None
        self._without_clip = 0
        self._at: tuple[str, int] | None = None
        """Clip in work and its Gaussians, for what is said when memory runs out."""

    @property
    def network(self) -> Flux4D:
        """The network that learns."""
        return self.learner.network

    def _begin_or_resume(self) -> None:
        config = self.config
        progress = load_checkpoint(config.out, self.learner, self.callback.note) if config.resume else None
        if progress is not None:
            self.stream.load_state_dict(progress.stream)
            self.step = self.saved = progress.step
            self.evaluated, self.best = progress.evaluated, progress.best
        elif config.init_from is not None:
            load_initial(config.init_from, self.network)
            if self.learner.ema is not None:
                self.learner.ema = Ema(self.network, self.learner.ema.decay)
        state = self.stream.state_dict()
        self.ranks.require_same(
            {"step": self.step, "samples": state, "weights": self.network.state_dict()}, self.device
        )
        if self.early is not None:
            self.early.check()
        self.folder.begin(self.step, self.evaluated, self.dataset.version, self.stream.records, self.device)
        self.ranks.barrier(self.device)

    def run(self) -> str | None:
        """Train to the configured number of steps; returns the signal that stopped it before, if one did.

        Raises:
            TrainingStoppedError: a loss or gradient is not finite; what reproduces it is in the run folder.
            CheckpointError: no space left for a checkpoint or the log of steps.
            OutOfMemory: with what to lower.
        """
        try:
            with StopRequest() as request:
                stop = False
                while True:
                    stopping = stop and self.step < self.config.steps
                    if not stopping:
                        self._evaluate_if_due()
                    self._save_if_due(stopping)
                    if self.step >= self.config.steps:
                        return None
                    if stopping:
                        return request.asked or "a signal to another process"
                    stop = self._guarded_step(request)
        finally:
            self.close()

    def close(self) -> None:
        """Stop threads and give the run folder back."""
        for name in ("profiler", "stream", "folder"):
            if (part := getattr(self, name, None)) is not None:
                part.close()

    def _guarded_step(self, request: StopRequest) -> bool:
        try:
            report, stop = self.train_step(request)
        except Exception as error:
            if not out_of_memory(error):
                raise
            clip, gaussians = self._at or (None, None)
            raise explain(
                error,
                config=self.config,
                gaussians=gaussians,
                device=self.device,
                step=self.step + 1,
                clip=clip,
            ) from error
        self.folder.log_step(self.step, report.row())
        return stop

    def train_step(self, request: StopRequest | None = None) -> tuple[StepReport, bool]:
        """One optimiser step; with its report, whether any process was asked to stop."""
        started, waited = time.perf_counter(), 0.0
        config, first = self.config, self.stream.position
        lr = self.updates.begin(self.step)
        sums, speeds, numbers = Sums(self.device), None, list[int]()
        for _ in range(config.clips_per_step // self.ranks.world_size):
            before, self._at = time.perf_counter(), None
            with self.profiler.phase("data"):
                sample = next(self.stream)
            waited += time.perf_counter() - before
            if isinstance(sample, Damaged):
                self.callback.note(f"step {self.step + 1}: left out, {sample.reason}")
                continue
            numbers.append(sample.number)
            self._at = sample.clip_id, len(sample.gaussians)
            velocities = self._accumulate(sample, sums)
            if velocities is not None and self.step % SPEEDS_EVERY == 0:
                speeds = velocities[~sample.gaussians.is_sky, 0].norm(dim=1)
        # Asked for as late as possible: a scheduler that sends a signal does not wait long.
        found, norm = self.updates.reduce(sums, request is not None and request.asked is not None)
        self._require_trainable(found, norm, numbers)
        if found.clips:
            self.updates.apply(self.step, norm)
        self.step += 1
        places = [self.stream.order.place(number) for number in range(first, first + config.clips_per_step)]
        seconds = time.perf_counter() - started
        report = reported(self.step, places, found, lr, norm, seconds, waited, self.ranks, self.device)
        self.callback.step(report, speeds)
        self.profiler.step_done()
        return report, found.stop

    def _accumulate(self, sample: Sample, sums: Sums) -> torch.Tensor | None:
        """Count a clip and add up its gradients; its velocities [N, L + 1, 3], None when it could not be rendered."""
        try:
            losses, psnr, velocities = clip_losses(
                self.network, sample, self.config.loss, precision=self.config.precision, profiler=self.profiler
            )
        except ValueError as error:
            # What the network made cannot be rendered. Not raised before all processes know of it: the others would
            # wait for this one's gradients.
            self.callback.note(f"step {self.step + 1}, clip {sample.clip_id}: {error}")
            sums.add_broken()
            return None
        sums.add(losses, psnr, len(sample.gaussians))
        self.updates.add(mean_total(losses))
        return velocities

    def _require_trainable(self, found: StepMeans, norm: float, numbers: list[int]) -> None:
        self._without_clip = 0 if found.clips else self._without_clip + self.config.clips_per_step
        if self._without_clip >= len(self.stream.order):
            raise TrainingStoppedError(
                f"step {self.step + 1}: every clip of an epoch is damaged, none is left to train on; flux4d-build "
                "verify STORE names what is, and flux4d-build build repairs it from the logs"
            )
        if found.clips == 0 or not self.updates.is_broken(found, norm):
            return
        step, run = self.step + 1, self.config.out
        dumps = dump_nonfinite(run, step, self.ranks.rank, self.network, self.stream, numbers, self.config)
        named = "; ".join(f"clip {clip} ({reason}): flux4d-train replay {folder}" for clip, reason, folder in dumps)
        others = "no clip of this process alone shows it"
        raise TrainingStoppedError(
            f"the {'loss' if found.broken else 'gradient'} of step {step} is not finite. {named or others}. Lower "
            "--optimizer.lr and continue from the last checkpoint with --resume"
        )

    def _evaluate_if_due(self) -> None:
        every = self.config.evaluation.every
        if self.early is None or self.step == 0 or self.step % every or self.evaluated == self.step:
            return
        ema = self.learner.ema
        if ema is None:
            scores = self.early.run(self.step, self.network)
        else:
            with ema.copy_to(self.network):
                scores = self.early.run(self.step, self.network)
        score, self.evaluated = scores.validation.score, self.step
        better = score is not None and (self.best is None or score > self.best["value"])
        if better:
            self.best = {"step": self.step, "metric": scores.validation.best_metric, "value": score}
        if not self.ranks.is_main:
            return
        if better:
            save_best(self.config.out, self.learner, self._progress())
        self.folder.log_evaluation(self.step, scores.validation, "network" if ema is None else "ema")
        self.callback.evaluation(self.step, scores, better)

    def _progress(self) -> Progress:
        return Progress(
            step=self.step,
            stream=self.stream.state_dict(),
            dataset_version=self.dataset.version,
            best=self.best,
            evaluated=self.evaluated,
        )

    def _save_if_due(self, stopping: bool) -> None:
        last = stopping or self.step == self.config.steps
        if self.step == self.saved or not (last or self.step % self.config.checkpoint.every == 0):
            return
        if self.ranks.is_main:
            self.callback.checkpoint(self.step)
            self.folder.sync()
            save_checkpoint(self.config.out, self.learner, self._progress(), self.config.checkpoint.keep)
        self.saved = self.step
        self.ranks.barrier(self.device)
