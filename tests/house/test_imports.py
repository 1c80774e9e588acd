"""What must not be needed: torch on CPU nodes, a GPU library on any import."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCKED = "import sys; sys.modules.update(dict.fromkeys({names}, None)); {code}"


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (
            ["torch", "spconv", "gsplat"],
            "import pipelines.__main__, pipelines.build.run, pipelines.build.tasks, pipelines.synth",
        ),
        (
            ["torch", "spconv", "gsplat"],
            "import store_schema.version.dataset, store_schema.codec, store_schema.frame_store",
        ),
        (
            ["jinja2", "markupsafe", "PIL", "simplejpeg"],
            "import store_schema, store_schema.pages, store_schema.pages.values, store_schema.version.dataset",
        ),
        (
            ["torch", "PIL", "simplejpeg", "pandas", "pyarrow"],
            "import store_schema.pages.shell, store_schema.pages.pictures, store_schema.pages.line_chart, "
            "store_schema.pages.bar_charts, store_schema.pages.table",
        ),
        (
            ["spconv", "gsplat", "spconv_triton"],
            "import flux4d.network.model, flux4d.render, training.loop, evaluation.session",
        ),
    ],
    ids=[
        "pipelines without torch",
        "store without torch",
        "store without what pages need",
        "pages without what draws their pictures",
        "model without spconv and gsplat",
    ],
)
def test_modules_import_without(names: list[str], code: str) -> None:
    command = [sys.executable, "-c", BLOCKED.format(names=names, code=code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["pipelines", "training", "evaluation"])
def test_help_of_every_front_door_teaches(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    assert len(done.stdout.splitlines()) > 8
