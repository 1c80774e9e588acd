"""Score a training run, or rebuild the report of a saved evaluation: `flux4d-eval run|report`."""

from __future__ import annotations

import os
import sys

import tyro

from evaluation.options import Report, Run


def main(arguments: list[str] | None = None) -> None:
    """Console entry `flux4d-eval`."""
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            {"run": Run, "report": Report},
            prog="flux4d-eval",
            description=__doc__,
            args=arguments,
        )
        # Before torch is loaded: idle OpenMP threads must not spin while the CPU rasteriser's own threads work.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        # Imported late so that --help does not wait for torch.
        from evaluation.session import rebuild_report, run_evaluation

        report = run_evaluation(command) if isinstance(command, Run) else rebuild_report(command.folder)
    except (ValueError, FileNotFoundError, KeyError, RuntimeError) as error:
        sys.exit(f"flux4d-eval: {error.args[0] if isinstance(error, KeyError) else error}")
    print(report)


if __name__ == "__main__":
    main()
