"""The training loop of one process: its share of each step, checkpoints, early evaluation, a clean stop."""

from __future__ import annotations

import math
import resource
import time
from dataclasses import asdict, replace
from typing import Any

import torch

from flux4d.device import resolve_device
from flux4d.network import Flux4D
from store_schema.dataset import open_dataset
from training.checkpoint import Learner, Progress, load_checkpoint, load_initial, save_best, save_checkpoint
from training.config import StreamConfig, TrainConfig
from training.culprit import dump_culprits
from training.distributed import Ranks
from training.early import EarlyEvaluation
from training.ema import Ema
from training.interrupt import StopRequest
from training.memory import explain, out_of_memory
from training.metrics_log import JsonLines
from training.profiling import StepProfiler
from training.report import StepReport
from training.run_folder import EVALUATIONS, METRICS, check_folder, write_folder
from training.sample import Damaged, Sample
from training.step import Means, Sums, clip_losses, means
from training.stream import ClipStream, local_cache
from training.watcher import Silent, Watcher

SPEEDS_EVERY = 50
"""Steps between histograms of speed."""
_MOST_SKIPPED = 100
"""fp16 steps in a row whose gradients overflow, after which the loss scale is not the reason."""


class TrainingStoppedError(RuntimeError):
    """Training cannot go on; the message names step and clip."""


class Trainer:
    """Network, optimiser and samples of one run on one of its processes; `run` drives it to the end.

    Args:
        config: The run.
        ranks: Which of its processes this is; they must have joined (`Ranks.joined`).
        watcher: Is told how it goes.

    Raises:
        ValueError: settings, store or run folder do not allow it; says what to do.
        FileNotFoundError: no such store or weights.
    """

    def __init__(self, config: TrainConfig, ranks: Ranks | None = None, watcher: Watcher | None = None) -> None:
        self.config, self.ranks = config, ranks or Ranks()
        self.watcher = watcher if watcher is not None and self.ranks.is_main else Silent()
        self.device = self.ranks.device(resolve_device(config.device))
        _require_possible(config, self.ranks, self.device)
        check_folder(config, self.watcher.note)
        loader = config.loader
        self.dataset = open_dataset(config.store, config.version, cache=local_cache(loader))
        torch.manual_seed(config.seed)
        self.learner = _learner(config, self.device)
        self.profiler = StepProfiler(config.out, config.profile and self.ranks.is_main, self.device)
        self.early = EarlyEvaluation(self.dataset, config, self.ranks, self.device) if config.evaluation.every else None
        self.stream = ClipStream(
            self.dataset,
            effective_stream(config),
            loader,
            config.scene,
            seed=config.seed,
            device=self.device,
            rank=self.ranks.rank,
            world_size=self.ranks.world_size,
            fixed_target_frame=config.fixed_target_frame,
        )
        self.step = 0
        self.best: dict[str, Any] | None = None
        self._skipped = 0
        try:
            self._begin_or_resume()
        except BaseException:
            self.stream.close()
            raise

    @property
    def network(self) -> Flux4D:
        """The network that learns."""
        return self.learner.network

    def _begin_or_resume(self) -> None:
        config = self.config
        progress = load_checkpoint(config.out, self.learner, self.watcher.note) if config.resume else None
        if progress is not None:
            self.stream.load_state_dict(progress.stream)
            self.step, self.best = progress.step, progress.best
        elif config.init_from is not None:
            load_initial(config.init_from, self.network)
            if self.learner.ema is not None:
                self.learner.ema = Ema(self.network, self.learner.ema.decay)
        self.ranks.barrier(self.device)
        if self.ranks.is_main:
            clips = sorted(record.clip_id for record in self.stream.records)
            write_folder(config, self.step, self.dataset.version, clips, self.ranks, self.device)
        self.ranks.barrier(self.device)

    def run(self) -> str | None:
        """Train to the configured number of steps; returns the signal that stopped it before, if one did.

        Raises:
            TrainingStoppedError: a loss or gradient is not finite; what reproduces it is in the run folder.
            CheckpointError: a checkpoint cannot be written.
            OutOfMemory: with what to lower.
        """
        log = JsonLines(self.config.out / METRICS) if self.ranks.is_main else None
        report: StepReport | None = None
        try:
            with StopRequest() as request:
                while self.step < self.config.steps:
                    report, stop = self.train_step(stop=request.asked is not None)
                    if log is not None:
                        log.append(asdict(report))
                    if self.early is not None and self.step % self.config.evaluation.every == 0:
                        self._evaluate()
                    last = stop or self.step == self.config.steps
                    if last or self.step % self.config.checkpoint.every == 0:
                        self._save()
                    if stop:
                        return request.asked or "signal"
            return None
        except Exception as error:
            if out_of_memory(error):
                count = report.gaussians if report is not None else None
                raise explain(
                    error, config=self.config, gaussians=count, device=self.device, step=self.step + 1
                ) from error
            raise
        finally:
            self.profiler.close()
            self.stream.close()
            if log is not None:
                log.close()

    def train_step(self, *, stop: bool = False) -> tuple[StepReport, bool]:
        """One optimiser step; with its report, whether any process was asked to stop (`stop`: this one was)."""
        started, waited = time.perf_counter(), 0.0
        config, network = self.config, self.network
        lr = config.optimizer.lr_at(self.step, config.steps)
        for group in self.learner.optimizer.param_groups:
            group["lr"] = lr
        network.train()
        self.learner.optimizer.zero_grad(set_to_none=True)
        sums, speeds = Sums(self.device), None
        numbers: list[int] = []
        first = self.stream.position
        for _ in range(config.clips_per_step // self.ranks.world_size):
            before = time.perf_counter()
            with self.profiler.phase("data"):
                sample = next(self.stream)
            waited += time.perf_counter() - before
            if isinstance(sample, Damaged):
                self.watcher.note(f"step {self.step + 1}: left out, {sample.reason}")
                continue
            numbers.append(sample.number)
            velocities = self._accumulate(sample, sums)
            if velocities is not None and self.step % SPEEDS_EVERY == 0:
                speeds = velocities[~sample.gaussians.is_sky, 0].norm(dim=1)
        found, norm = self._reduce(sums, stop)
        self._require_finite(found, norm, numbers)
        with self.profiler.phase("optimizer"):
            self._update(norm)
        self.step += 1
        seconds = time.perf_counter() - started
        report = self._report(found, first, lr, norm, seconds, waited)
        self.watcher.step(report, speeds)
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
            self.watcher.note(f"step {self.step + 1}, clip {sample.clip_id}: {error}")
            sums.add_broken()
            return None
        sums.add(losses, psnr, len(sample.gaussians))
        total = torch.stack([loss.total for loss in losses]).mean() / self.config.clips_per_step
        with self.profiler.phase("backward"):
            scaler = self.learner.scaler
            (total if scaler is None else scaler.scale(total)).backward()
        return velocities

    def _reduce(self, sums: Sums, stop: bool) -> tuple[Means, float]:
        """Means over all ranks, and the gradient's norm before it was clipped. The step's one wait for the device."""
        parameters = list(self.network.parameters())
        for parameter in parameters:
            if parameter.grad is None:  # every clip of this process was left out
                parameter.grad = torch.zeros_like(parameter)
        with self.profiler.phase("reduce"):
            vector = self.ranks.sum_gradients(parameters, sums.vector(stop))
            if self.config.stream.on_corrupt == "skip":
                # The mean over the clips that are left, not a step that is smaller for those that are not.
                weight = self.config.clips_per_step / vector[Sums.CLIPS].clamp_min(1.0)
                torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], weight)
            if self.learner.scaler is not None:
                self.learner.scaler.unscale_(self.learner.optimizer)
            norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.optimizer.max_grad_norm)
            *values, norm_value = torch.cat([vector, norm[None]]).tolist()
        return means(values), norm_value

    def _require_finite(self, found: Means, norm: float, numbers: list[int]) -> None:
        if found.clips == 0:
            raise TrainingStoppedError(f"step {self.step + 1}: every clip is damaged, none is left to train on")
        overflow = self.learner.scaler is not None and found.broken == 0 and not math.isfinite(norm)
        self._skipped = self._skipped + 1 if overflow else 0
        if (found.broken == 0 and math.isfinite(norm)) or (overflow and self._skipped < _MOST_SKIPPED):
            return
        step, run = self.step + 1, self.config.out
        dumps = dump_culprits(run, step, self.ranks.rank, self.network, self.stream, numbers, self.config)
        what = "loss" if found.broken else "gradient"
        named = "; ".join(f"clip {clip}: flux4d-train replay {folder}" for clip, folder in dumps)
        raise TrainingStoppedError(
            f"the {what} of step {step} is not finite. {named or 'Another process names the clip'}. "
            "Lower --optimizer.lr and continue from the last checkpoint with --resume"
        )

    def _update(self, norm: float) -> None:
        learner = self.learner
        if learner.scaler is None:
            learner.optimizer.step()
        else:
            learner.scaler.step(learner.optimizer)
            learner.scaler.update()
        if learner.ema is not None and math.isfinite(norm):
            learner.ema.update(self.network, self.step)

    def _report(self, found: Means, first: int, lr: float, norm: float, seconds: float, waited: float) -> StepReport:
        places = [self.stream.order.place(number) for number in range(first, first + self.config.clips_per_step)]
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        gpu = torch.cuda.max_memory_allocated(self.device) / 1e6 if self.device.type == "cuda" else 0.0
        seconds, waited, rss, gpu = self.ranks.largest([seconds, waited, rss, gpu], self.device)
        return StepReport(
            step=self.step,
            epoch=places[0].epoch,
            clips=tuple(place.clip_id for place in places),
            loss=found.loss,
            l1=found.l1,
            ssim=found.ssim,
            depth=found.depth,
            velocity=found.velocity,
            psnr=found.psnr,
            lr=lr,
            grad_norm=norm,
            gaussians=round(found.gaussians),
            left_out=self.config.clips_per_step - found.clips,
            seconds=seconds,
            data_seconds=waited,
            samples_per_second=self.config.clips_per_step / seconds,
            max_rss_mb=rss,
            gpu_mb=gpu if self.device.type == "cuda" else None,
        )

    def _evaluate(self) -> None:
        assert self.early is not None
        ema = self.learner.ema
        if ema is None:
            scores = self.early.run(self.step, self.network)
        else:
            with ema.copy_to(self.network):
                scores = self.early.run(self.step, self.network)
        score = scores.validation.score
        better = score is not None and (self.best is None or score > self.best["value"])
        if better:
            self.best = {"step": self.step, "metric": scores.validation.best_metric, "value": score}
        if not self.ranks.is_main:
            return
        if better:
            save_best(self.config.out, self.learner, self._progress())
        row: dict[str, Any] = {
            "step": self.step,
            "weights": "network" if ema is None else "ema",
            "metrics": dict(scores.validation.metrics),
            "counts": dict(scores.validation.counts),
            "clips": list(scores.validation.clips),
        }
        log = JsonLines(self.config.out / EVALUATIONS)
        log.append(row)
        log.close()
        self.watcher.evaluation(self.step, scores, better)

    def _progress(self) -> Progress:
        return Progress(
            step=self.step, stream=self.stream.state_dict(), dataset_version=self.dataset.version, best=self.best
        )

    def _save(self) -> None:
        if self.ranks.is_main:
            self.watcher.checkpoint(self.step)
            save_checkpoint(self.config.out, self.learner, self._progress(), self.config.checkpoint.keep)
        self.ranks.barrier(self.device)


def effective_stream(config: TrainConfig) -> StreamConfig:
    """The samples of a run: one clip with `overfit`."""
    return config.stream if config.overfit is None else replace(config.stream, clips=(config.overfit,))


def _learner(config: TrainConfig, device: torch.device) -> Learner:
    network = Flux4D(config.network, device)
    return Learner(
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=config.optimizer.lr),
        ema=None if config.ema_decay is None else Ema(network, config.ema_decay),
        scaler=torch.amp.GradScaler(device.type) if config.precision == "fp16" else None,
    )


def _require_possible(config: TrainConfig, ranks: Ranks, device: torch.device) -> None:
    """Options that this machine would have to ignore are errors."""
    if config.clips_per_step % ranks.world_size:
        raise ValueError(
            f"clips_per_step={config.clips_per_step} cannot be shared by {ranks.world_size} processes: use a multiple, "
            f"for instance --clips-per-step {ranks.world_size}"
        )
    if device.type == "cpu" and config.precision == "fp16":
        raise ValueError("precision fp16 needs CUDA: use fp32, or bf16 with --network.conv-backend torch")
    if device.type == "cpu" and config.precision == "bf16" and config.network.conv_backend != "torch":
        raise ValueError("spconv computes in fp32 only on a CPU: use --precision fp32 or --network.conv-backend torch")
