"""Every command that a page shows can be given: verbs, options, targets of make, benchmarks and their options."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from functools import cache

import pytest

from tests.support.pages import REPOSITORY, Page, pages

PAGES = pages()
MAKEFILE = Page(REPOSITORY / "Makefile", f"```\n{(REPOSITORY / 'Makefile').read_text()}\n```\n")
DOORS = {"flux4d-build": "pipelines", "flux4d-train": "training", "flux4d-eval": "evaluation"}
FRONT_OF = {package: door for door, package in DOORS.items()}
OTHERS = {
    "torchrun": ("--nnodes", "--rdzv-endpoint", "--standalone", "--nproc-per-node"),
    "sbatch": ("--nodes", "--gpus-per-node", "--signal", "--requeue"),
    "dask worker": ("--nworkers", "--nthreads"),
    "tensorboard": ("--logdir",),
    "pre-commit": ("--all-files",),
    "docs.tools.wings": ("--write",),
}
"""Options of programs that are not looked at here."""
OPTION = re.compile(r"(?<![\w-])--[a-z][\w.-]*[a-z0-9]")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@cache
def help_of(door: str, *verb: str) -> str:
    """What a front door prints for --help, asked for in this process."""
    main = importlib.import_module(f"{DOORS[door]}.__main__").main
    with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
        main([*verb, "--help"])
    return printed.getvalue()


@cache
def verbs(door: str) -> set[str]:
    usage = re.match(r"usage: [^{]*\{([^}]+)\}", help_of(door))
    assert usage is not None
    return {verb.strip() for verb in usage[1].split(",")}


@cache
def options(door: str, verb: str) -> set[str]:
    return set(OPTION.findall(help_of(door, verb)))


def stale_commands(page: Page) -> list[str]:
    """Verbs and options of the three front doors that a page shows and that are not there."""
    stale = []
    for line in page.code:
        code = re.sub(r"-m (pipelines|training|evaluation)\b(?!\.)", lambda match: FRONT_OF[match[1]], line)
        for door, rest in re.findall(r"\b(flux4d-(?:build|train|eval))((?: [^|;]*)?)", code.split("#")[0]):
            listed, *_ = rest.partition(" --")
            named = re.match(r" ([a-z][a-z-]*(?:(?: / |/|\|)[a-z][a-z-]*)*)", listed)
            if named is None:  # the name of the program alone
                continue
            named_verbs = re.split(r" / |/", named[1])
            stale += [f"{door} {verb}" for verb in named_verbs if verb not in verbs(door)]
            known = set().union(*(options(door, verb) for verb in named_verbs if verb in verbs(door)))
            shown = OPTION.findall(rest) if known else []
            stale += [f"{door} {named[1]} {option}" for option in shown if option not in known]
    return stale


@pytest.fixture(autouse=True)
def a_wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.mark.parametrize("page", [*PAGES, MAKEFILE], ids=lambda page: page.name)
def test_every_verb_and_option_on_a_page_exists(page: Page) -> None:
    assert stale_commands(page) == []


@pytest.mark.parametrize(
    ("text", "stale"),
    [
        ("`flux4d-build biuld --root X`", ["flux4d-build biuld"]),
        ("`flux4d-build build --root X --wokers 3`", ["flux4d-build build --wokers"]),
        ("`flux4d-build ls / shwo / verify STORE`", ["flux4d-build shwo"]),
        ("```\nflux4d-train cpu --store X \\\n    --sead 1\n```\n", ["flux4d-train cpu --sead"]),
        ("`torchrun -m training papr --store X`, `python -m evaluation --help`", ["flux4d-train papr"]),
        ("`flux4d-eval` reads, `flux4d-eval report RUN`", []),
    ],
)
def test_a_stale_command_is_found(text: str, stale: list[str]) -> None:
    assert stale_commands(Page(REPOSITORY / "README.md", text)) == stale


@each_page
def test_every_option_on_a_page_is_one_of_some_command(page: Page) -> None:
    """Also those that stand alone, and those of benchmarks, examples and other programs."""
    if page.path.name in ("decisions.md", "CHANGELOG.md"):
        pytest.skip("it names options that are gone")
    known = known_options() | {option.rpartition(".")[0] for option in known_options()}  # --flow.* stands for its group
    assert {option for code in page.code for option in OPTION.findall(code)} - known == set()


@cache
def known_options() -> set[str]:
    ours = set().union(*(options(door, verb) for door in DOORS for verb in verbs(door)))
    sources = [*(REPOSITORY / "benchmarks").rglob("*.py"), *(REPOSITORY / "examples").glob("*.py")]
    of_scripts = set(re.findall(r'"(--[a-z][\w-]*)"', "".join(file.read_text() for file in sources)))
    return ours | of_scripts | set().union(*OTHERS.values())


@each_page
def test_every_target_of_make_on_a_page_exists(page: Page) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.M))
    named = {target for code in page.code for target in re.findall(r"(?:^|[;&] *)make ([a-z][a-z-]*)", code)}
    assert named - targets == set()


@each_page
def test_every_program_of_python_on_a_page_exists(page: Page) -> None:
    named = set(re.findall(r"python -m ([a-z_][\w.]*\w)", page.text))
    ours = [name.split(".") for name in named if name.split(".")[0] in {*DOORS.values(), "benchmarks", "docs"}]
    files = [
        (REPOSITORY.joinpath(*name).with_suffix(".py"), REPOSITORY.joinpath(*name, "__main__.py")) for name in ours
    ]
    assert [module for module, main in files if not (module.is_file() or main.is_file())] == []
