"""What the pages name exists: paths, modules, functions, tests, links. The house in them is the house there is."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

from docs.tools.wings import ARCHITECTURE, table, table_in, wings
from pipelines.build.run import FRAMES_PER_TASK
from tests.support.pages import REPOSITORY, Page, docstrings, is_defined, pages, stale_paths, undefined_names

PAGES = pages()
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@each_page
def test_every_path_on_a_page_exists(page: Page) -> None:
    assert stale_paths(page.text) == []


@pytest.mark.parametrize(
    ("text", "stale"),
    [
        ("`flux4d/render.py` and `cpu/blend.py`", ["cpu/blend.py"]),
        ("`flux4d/rasterize/api.py`, `cpu/blend.py`, then `tiles.py`.", []),
        ("`lift.py` of old", ["lift.py"]),
        ("see pipelines/lift.py, or tests/test_rasterize*.py.", ["pipelines/lift.py", "tests/test_rasterize*.py"]),
        ("`pytest -m slow tests/flux4d/nothing`", ["tests/flux4d/nothing"]),
        ("`tests/flux4d/rasterize/test_*.py`, https://x.org/docs/gone.md, run/docs/gone.md", []),
    ],
)
def test_a_stale_path_is_found(text: str, stale: list[str]) -> None:
    assert stale_paths(text) == stale


@each_page
def test_every_module_and_function_on_a_page_exists(page: Page) -> None:
    assert undefined_names(page.text) == set()


@each_page
def test_what_a_page_says_is_in_a_file_is_there(page: Page) -> None:
    """`a/b.py`: `name`, and in a table | `a/b.py` | `Type`, `Type` |."""
    said = re.findall(r"`(\w+(?:/\w+)+)\.py`: ((?:`[\w.]+`(?:, )?)+)", page.text)
    said += re.findall(r"^\| `(\w+(?:/\w+)+)\.py`[^|]*\| ((?:`[A-Z]\w+`(?:, |, then )?)+) \|", page.text, re.M)
    names = [f"{path.replace('/', '.')}.{name}" for path, listed in said for name in re.findall(r"`([\w.]+)`", listed)]
    assert [name for name in names if not is_defined(name)] == []
    assert page.name != "docs/architecture.md" or len(names) > 30


@pytest.mark.parametrize("package", ["store_schema", "pipelines", "flux4d", "training", "evaluation", "benchmarks"])
def test_docstrings_name_what_exists(package: str) -> None:
    stale = {}
    for file in sorted((REPOSITORY / package).rglob("*.py")):
        text = "\n\n".join(docstrings(file))
        in_backticks = " ".join(re.findall(r"`+([^`]+)`+", text))
        if found := {*stale_paths(text, file.parent), *undefined_names(in_backticks)}:
            stale[str(file.relative_to(REPOSITORY))] = sorted(found)
    assert stale == {}


@each_page
def test_every_import_in_a_page_s_code_works(page: Page) -> None:
    imported = re.findall(
        r"^from ((?:store_schema|pipelines|flux4d|training|evaluation)[\w.]*) import (.+)$", page.text, re.M
    )
    assert [
        f"{module}.{name}"
        for module, names in imported
        for name in names.split(", ")
        if not is_defined(f"{module}.{name}")
    ] == []


@each_page
def test_every_test_that_a_page_names_exists(page: Page) -> None:
    defined = set(re.findall(r"^\s*def (test_\w+)", "".join(file.read_text() for file in TESTS), re.M))
    named = {span for span in page.spans if re.fullmatch(r"test_\w+", span)} - {"test_logs"}  # an option of builds
    assert named - defined == set()


TESTS = sorted((REPOSITORY / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("page", [*PAGES, Page(REPOSITORY / "CHANGELOG.md", (REPOSITORY / "CHANGELOG.md").read_text())])
def test_every_link_within_the_repository_leads_somewhere(page: Page) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]+`", "", page.text, flags=re.DOTALL | re.MULTILINE)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", link)]
    assert [link for link in links if not leads_somewhere(page.path, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


@cache
def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\s-]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_the_reading_order_names_whole_paths() -> None:
    readme = next(page for page in PAGES if page.name == "README.md")
    order = readme.text.split("## Where to read\n")[1].split("\n\nNo import")[0]
    named = re.findall(r"`([^`]+\.py)`", order)
    assert len(named) > 10
    assert [name for name in named if "/" not in name] == []


def test_the_table_of_wings_is_that_of_the_code() -> None:
    text = ARCHITECTURE.read_text()
    assert table_in(text) == table(wings()), "python -m docs.tools.wings --write"


@pytest.mark.parametrize("wing", [wing for wing in wings() if wing.face], ids=lambda wing: wing.name)
def test_a_face_names_what_is_there(wing) -> None:
    assert [name for name in wing.face if not is_defined(name)] == []


def test_a_build_s_page_says_how_many_frames_a_task_makes() -> None:
    assert f"one per {FRAMES_PER_TASK} frames" in (REPOSITORY / "docs" / "cluster.md").read_text()


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert {key: citation[key] for key in ("title", "version", "license")} == {
        "title": project["name"],
        "version": project["version"],
        "license": project["license"]["text"],
    }


def test_commits_are_checked_by_what_lint_runs() -> None:
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    hooks = [hook["entry"].replace(" --force-exclude", "") for repo in config["repos"] for hook in repo["hooks"]]
    rule = (REPOSITORY / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    commands = [line.strip().replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in rule.splitlines()[1:]]
    assert len(commands) == 4
    assert hooks[: len(commands)] == commands
