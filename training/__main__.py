"""Command line of the trainer: ``flux4d-train`` and ``python -m training``."""

from __future__ import annotations

import sys
import warnings

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.config import TrainConfig, presets


def train(config: TrainConfig, console: Console) -> None:
    """Run the training with a progress bar and a summary."""
    from training.loop import StepReport, Trainer

    trainer = Trainer(config)
    clips = len(trainer.stream.records)
    console.print(f"dataset version {trainer.dataset.version[:12]}, {clips} clips, on {trainer.device}")
    columns = (TextColumn("train"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as progress:
        task = progress.add_task("train", total=config.steps, completed=trainer.step, note="")
        history: list[StepReport] = []

        def on_step(report: StepReport) -> None:
            history.append(report)
            recent = history[-20:]
            psnr = sum(item.psnr for item in recent) / len(recent)
            wait = sum(item.data_seconds for item in recent) / sum(item.seconds for item in recent)
            note = f"loss {report.loss:.3f}  psnr {psnr:.2f} dB  {report.seconds:.2f} s/step  data wait {wait:.0%}"
            progress.update(task, completed=report.step, note=note)
            if report.step % max(1, config.steps // 10) == 0:
                console.print(f"step {report.step:6d}  {note}", highlight=False)

        trainer.run(on_step)
    print(config.out)


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and train; returns the exit status."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="spconv")
    config = tyro.extras.overridable_config_cli(presets(), args=arguments, prog="flux4d-train")
    console = Console(stderr=True)
    try:
        train(config, console)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        console.print(f"[red]error:[/red] {error}", highlight=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
