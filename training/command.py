"""What ``flux4d-train`` does: read the configuration, train, show how it goes."""

from __future__ import annotations

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.config import TrainConfig, presets
from training.loop import StepReport, Trainer

AVERAGED_STEPS = 20


def run(arguments: list[str] | None) -> int:
    """Train as the command line says; returns the exit status."""
    config = tyro.extras.overridable_config_cli(presets(), args=arguments, prog="flux4d-train")
    console = Console(stderr=True)
    try:
        train(config, console)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        console.print(f"[red]error:[/red] {error}", highlight=False)
        return 1
    print(config.out)
    return 0


def train(config: TrainConfig, console: Console) -> None:
    """Run the training with a progress bar; a line every tenth of the way stays on screen."""
    trainer = Trainer(config)
    clips = len(trainer.stream.records)
    console.print(f"dataset version {trainer.dataset.version[:12]}, {clips} clips, on {trainer.device}")
    columns = (TextColumn("train"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    recent: list[StepReport] = []
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as progress:
        task = progress.add_task("train", total=config.steps, completed=trainer.step, note="")

        def on_step(report: StepReport) -> None:
            recent.append(report)
            del recent[:-AVERAGED_STEPS]
            note = summary(recent)
            progress.update(task, completed=report.step, note=note)
            if report.step % max(1, config.steps // 10) == 0:
                console.print(f"step {report.step:6d}  {note}", highlight=False)

        trainer.run(on_step)


def summary(reports: list[StepReport]) -> str:
    """Means over some steps in one line."""
    seconds = sum(report.seconds for report in reports)
    wait = sum(report.data_seconds for report in reports) / seconds
    loss, psnr = (sum(getattr(report, name) for report in reports) / len(reports) for name in ("loss", "psnr"))
    return f"loss {loss:.3f}  psnr {psnr:.2f} dB  {seconds / len(reports):.2f} s/step  data wait {wait:.0%}"
