"""Pages as a browser would read them: well-formed, from nowhere else, and with no element that a text made."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

MARKUP = """<script>x</script>"'><img src=x onerror=y>"""
"""What a text from outside may hold; shown as it is it opens an element inside a text, an attribute or a script."""
VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """Checks that every tag is closed; gathers elements, addresses and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        """Names of elements with those of their attributes."""
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    @property
    def addresses(self) -> list[str]:
        """Everything the page would load or lead to."""
        named = ("src", "href", "srcset", "xlink:href", "data", "action", "formaction", "poster")
        return [value for name, value in self.attributes if name in named]

    def values(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(name, str(value)) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def self_contained(path: Path, scripts: int = 0) -> Page:
    """The page of a file, checked to need nothing from elsewhere and to say so to the browser."""
    text = path.read_text()
    page = Page(text)
    plain = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    policy = next(value for value in page.values("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'")
    assert page.tags.count("script") == scripts == policy.count("script-src 'sha256-")
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert all(re.match(r"data:image/(png|jpeg|webp);base64,", address) for address in page.addresses)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp", plain)
    assert "prefers-color-scheme: dark" in plain
    return page


def same_elements(page: Page, harmless: Page) -> None:
    """No text of the one page made an element or an attribute: those of both are the same, one by one."""
    assert "<script>" in page.text
    assert "<script>" not in harmless.text
    assert page.elements == harmless.elements
