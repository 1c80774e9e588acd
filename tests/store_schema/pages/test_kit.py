"""The kit of the pages: what it draws, refuses and escapes, and that nothing beside it makes markup."""

from __future__ import annotations

import base64
import io
import re
import tomllib
from pathlib import Path

import jinja2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from PIL import Image

from store_schema.pages import shell
from store_schema.pages.bar_charts import histogram_chart, stacked_chart
from store_schema.pages.histogram import histogram
from store_schema.pages.line_chart import Curve, Line, chart
from store_schema.pages.pictures import encoded, picture_inside, picture_of_file
from store_schema.pages.svg import drawing, element, round_ticks, text
from store_schema.pages.table import Cell, Head, Row, Table, plain_table
from store_schema.pages.values import duration, number, plural, share_text, size_text
from tests.support.html import MARKUP, Page, same_elements, self_contained

REPOSITORY = Path(__file__).parents[3]
PACKAGES = ("store_schema", "pipelines", "flux4d", "evaluation", "training")
KIT = REPOSITORY / "store_schema" / "pages"
TEMPLATES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.html"))
MODULES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py") if path.parent != KIT)
WHOLE = Table(
    heads=(Head("method", left=True), Head("PSNR ↑", "dB", "Full"), Head("SSIM", "", "Full"), Head("frames", "", "x")),
    rows=(
        Row(("a", Cell("20.0", best=True), "n/a", "3")),
        Row((Cell("b", tag="best"), "n/a", "0.5", "1,000"), mark="next"),
    ),
    title="Results",
    notes=("what it rests on",),
)


@pytest.fixture
def page_of(tmp_path, monkeypatch):
    """Render a template that is given as text, with the shell and the kit; returns the checked page."""

    def write(body: str, script: str = "", **values: object) -> Page:
        own = {
            "test/page.html": '{% extends "store_schema.pages/shell.html" %}'
            '{% from "store_schema.pages/kit.html" import facts, fold, img, listed, swatch, table %}'
            "{% block title %}{{ title }}{% endblock %}{% block main %}" + body + "{% endblock %}",
            "test/code.js": script,
        }
        source = shell._source
        monkeypatch.setattr(shell, "_source", lambda name: own[name] if name in own else source(name))
        shell._environment.cache_clear()
        page = shell.render("test/page.html", script="test/code.js" if script else "", **values)
        shell.write_page(tmp_path / "page.html", page)
        return self_contained(tmp_path / "page.html", scripts=1 if script else 0)

    yield write
    shell._environment.cache_clear()


def test_a_table_has_groups_units_marks_and_absent_cells(page_of):
    page_of("{{ table(shown) }}", title="t", shown=WHOLE)
    body = shell._environment().get_template("test/page.html").render(title="t", shown=WHOLE, policy="", script="")
    for part in (
        '<tr><th colspan="1"></th><th class="group first" colspan="2">Full</th>'
        '<th class="group first" colspan="1">x</th></tr>',
        '<th class="l">method</th><th class="first">PSNR\u00a0↑<br><small>dB</small></th><th>SSIM</th>',
        '<tr><td class="l">a</td><td class="first"><b>20.0</b></td><td class="na">n/a</td><td class="first">3</td>',
        '<tr class="next"><td class="l">b <span class="tag good">best</span></td><td class="first na">n/a</td>',
        "<h2>Results</h2>",
        '<p class="soft">what it rests on</p>',
    ):
        assert part in body
    assert "colspan" not in str(plain_table(("a", "b"), [("1", "2")]).groups())


def test_a_row_without_a_cell_for_each_heading_is_refused():
    with pytest.raises(ValueError, match=r"table 'Clips': 1 cells for 2 headings"):
        plain_table(("a", "b"), [("1",)], title="Clips")


def test_no_text_makes_an_element_in_any_part_of_the_kit(page_of):
    body = (
        "<h1>{{ title }}</h1>{{ table(shown) }}{{ facts([(title, title)]) }}{{ listed([title]) }}"
        "{{ img(picture, title) }}{{ swatch('#123456', title) }}{% call fold(title) %}{{ title }}{% endcall %}"
        "{% for one in charts %}{{ one }}{% endfor %}"
    )
    pages = []
    for words in (MARKUP, "x" * len(MARKUP)):
        row = Row((Cell(words, best=True, tag=words),))
        charts = [
            chart(words, [Line(Curve(words, (0, 1), (1.0, float("nan"))), words)], words),
            histogram_chart(words, histogram([1, 2, 3]), words, words),
            histogram_chart(words, None, words),
            stacked_chart(words, {"still": words}, np.ones((2, 1)), words),
            drawing(10, 10, words, [text(0, 0, words), element("path", words, d=words)], words),
        ]
        shown = Table((Head(words, words, words),), (row,), words, (words,))
        picture = encoded(np.zeros((2, 3, 3), np.uint8))
        pages.append(page_of(body, title=words, shown=shown, charts=charts, picture=picture))
    same_elements(*pages)


def test_a_page_runs_no_script_but_its_own(page_of):
    own = "let a = 1 < 2 && '\\'';"
    page = page_of("<p>{{ title }}</p>", script=own, title="t")
    assert own in page.text
    assert page_of("<p>{{ title }}</p>", title=MARKUP).tags.count("script") == 0


def test_a_value_that_a_template_lacks_is_an_error_that_names_it(page_of):
    with pytest.raises(jinja2.UndefinedError, match="'nothing' is undefined"):
        page_of("{{ nothing }}", title="t")


def test_halves_of_characters_are_written_as_they_were(tmp_path):
    shell.write_page(tmp_path / "page.html", "a\ud800b")
    assert (tmp_path / "page.html").read_text() == "a\\ud800b"


@given(
    st.text() | st.floats(allow_nan=True) | st.integers(),
    st.text(alphabet=st.characters(exclude_characters="\r", exclude_categories=["Cs", "Cc"])),
)
def test_an_element_is_one_element_whatever_it_holds(value: object, words: str) -> None:
    page = Page(element("g", words, element("a", x=value), class_=words))
    assert page.elements == [("g", ("class",)), ("a", ("x",))]
    assert page.values("class") == [words]
    assert page.text == words


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.booleans())
def test_ticks_are_round_and_span_the_values(low: float, span: float, whole: bool) -> None:
    ticks = np.array(round_ticks(low, low + span, whole=whole))
    slack = 1e-6 * span + 4 * np.spacing(abs(low) + span)  # far from 0 a tick is rounded to the next float
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + span - slack
    assert 2 <= len(ticks) <= 8
    assert not whole or (ticks % 1 == 0).all()


def test_counts_have_whole_ticks():
    assert round_ticks(0, 1, whole=True) == [0, 1]
    assert round_ticks(0, 2, whole=True) == [0, 1, 2]
    assert round_ticks(0, 7, whole=True) == [0, 2, 4, 6, 8]
    assert round_ticks(0, 1000, whole=True) == [0, 200, 400, 600, 800, 1000]


@pytest.mark.parametrize(("kind", "apart"), [("png", 0), ("jpeg", 12), ("webp", 30)])
def test_a_picture_is_what_was_encoded(kind, apart):
    pixels = np.indices((24, 32)).sum(0)[..., None].repeat(3, axis=2).astype(np.uint8) * 4
    picture = encoded(pixels, kind, quality=95)
    assert (picture.width, picture.height) == (32, 24)
    head, data = picture.uri.split(",")
    assert head == f"data:image/{kind};base64"
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    assert np.abs(read.astype(int) - pixels).max() <= apart


def test_a_picture_file_is_taken_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (40, 30), (9, 8, 7)).save(path)
    data = path.read_bytes()
    assert base64.b64decode(picture_of_file(path).uri.split(",")[1]) == data
    assert picture_inside(tmp_path, "a.jpg") == picture_of_file(path)
    path.write_bytes(data[:-20])
    with pytest.raises(ValueError, match=r"a.jpg: no whole PNG, JPEG or WebP picture"):
        picture_of_file(path)
    Image.new("RGB", (4, 3)).save(tmp_path / "b.gif")
    with pytest.raises(ValueError, match=r"b.gif: no whole PNG"):
        picture_of_file(tmp_path / "b.gif")
    with pytest.raises(FileNotFoundError):
        picture_inside(tmp_path, "c.png")


def test_numbers_for_people():
    values = [None, float("nan"), 0, 1234567, np.int64(10**10), 10**10, 1234.5, float("inf"), -float("inf"), 1e300]
    shown = ["n/a", "n/a", "0", "1,234,567", "10,000,000,000", "10,000,000,000", "1,234.50", "∞", "-∞", "1e+300"]
    assert [number(value, 2) for value in values] == shown
    assert [plural(count, "clip") for count in (0, 1, 2000)] == ["0 clips", "1 clip", "2,000 clips"]
    assert [duration(s) for s in (9, 90, 11_100, float("nan"), 1e300)] == ["9 s", "2 min", "3 h 05 min", "n/a", "n/a"]
    assert [size_text(size) for size in (None, 999, 20_000)] == ["n/a", "999 B", "20.0 kB"]
    assert [share_text(*pair) for pair in ((0.2, 1), (1e18, 1), (None, 1))] == ["20.0%", "1e+20%", "n/a"]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_templates_leave_escaping_on_and_quote_every_attribute(path):
    source = path.read_text()
    assert not re.search(r"\|\s*safe|autoescape|xmlattr|\bjavascript:|\son\w+=", source)
    assert not re.search(r"""=\s*\{\{|=\s*[^"'\s>={}][^\s>]*\{\{""", re.sub(r"\{%.*?%\}", "", source, flags=re.S))
    assert shell._environment().autoescape is True


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_nothing_beside_the_kit_makes_markup(path):
    source = path.read_text()
    assert not re.search(
        r"base64|from html import|import html|Markup\(|</?(html|table|tr|td|svg|div|img|figure)\b", source
    )


def test_what_the_pages_read_is_part_of_an_installation():
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packed = settings["tool"]["setuptools"]["package-data"]["*"]
    for file in (*TEMPLATES, *KIT.glob("*.css"), *(REPOSITORY / "pipelines").rglob("*.js")):
        assert f"*{file.suffix}" in packed


def test_the_guards_find_what_they_look_for():
    assert TEMPLATES
    assert any(path.name == "shell.html" for path in TEMPLATES)
    assert len(MODULES) > 200
    assert isinstance(element("g"), Markup)
