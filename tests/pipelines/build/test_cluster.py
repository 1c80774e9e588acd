"""The clusters of docs/cluster.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from pipelines.build.plan import BuildConfig
from pipelines.build.run import build
from tests.support.logs.fake_log import write_log

SCRIPT = re.search(
    r"```python\n(.*?)```", (Path(__file__).parents[3] / "docs" / "cluster.md").read_text(), flags=re.DOTALL
)


def test_the_slurm_script_of_the_docs_builds_on_a_job_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    from dask_jobqueue.local import LocalCluster as LocalQueue

    write_log(tmp_path / "logs" / "log0", frames=16, points=60, semseg=False)
    expected = build(BuildConfig(root=tmp_path / "logs", out=tmp_path / "here", workers=0)).version

    class Queue(LocalQueue):  # type: ignore[misc]
        """Runs the job script as a process of this machine instead of submitting it."""

        def __init__(self, *, queue: str, **options: object) -> None:
            small = {"cores": 1, "processes": 1, "memory": "1GB"}
            super().__init__(**(options | small), interface="lo", local_directory=str(tmp_path))

    monkeypatch.setattr(jobqueue, "SLURMCluster", Queue)
    assert SCRIPT is not None
    code = SCRIPT[1].replace("/data/pandaset", str(tmp_path / "logs")).replace("/data/store", str(tmp_path / "store"))
    exec(compile(code.replace("jobs=8", "jobs=1"), "docs/cluster.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1] == expected


def test_the_options_of_the_docs_make_a_slurm_job() -> None:
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    assert SCRIPT is not None
    found = re.search(r"SLURMCluster\((.*?)\) as", SCRIPT[1])
    assert found is not None
    keywords = ast.parse(f"f({found[1]})", mode="eval").body.keywords  # type: ignore[attr-defined]
    options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in keywords}
    with jobqueue.SLURMCluster(**options, interface="lo") as cluster:
        job = cluster.job_script()
    assert "#SBATCH -p cpu" in job
    assert "#SBATCH --cpus-per-task=16" in job
    assert "dask_worker" in job
