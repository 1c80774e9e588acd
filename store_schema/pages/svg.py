"""Drawing as inline SVG: elements whose every text and attribute is escaped, and round numbers for an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from markupsafe import Markup, escape


def element(tag: str, *content: str, **attributes: object) -> Markup:
    """An element.

    Args:
        tag: its name, never from outside.
        content: texts, which are escaped, and elements.
        attributes: by name, with ``_`` for ``-`` and ``class_`` for ``class``; fractions are cut to two decimals and
            None is left out.
    """
    named = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items() if value is not None)
    head = Markup("").join(Markup(' {}="{}"').format(name, _short(value)) for name, value in named)
    if not content:
        return Markup("<{}{}/>").format(tag, head)
    return Markup("<{0}{1}>{2}</{0}>").format(tag, head, Markup("").join(escape(part) for part in content))


def drawing(width: float, height: float, label: str, parts: Iterable[str], class_: str | None = None) -> Markup:
    """A picture of elements, as wide as the page lets it be; `label` says what is drawn to those who cannot see it."""
    size = f"0 0 {_short(width)} {_short(height)}"
    return element("svg", *parts, class_=class_, viewBox=size, role="img", aria_label=label)


def text(x: float, y: float, words: str, anchor: str = "start", **attributes: object) -> Markup:
    """Words that start, end or have their middle at a place."""
    return element("text", words, x=x, y=y, text_anchor=anchor, **attributes)


def note(words: str) -> Markup:
    """What is shown when the reader points at the element around it."""
    return element("title", words)


def figure(title: str, body: str, aside: str = "") -> Markup:
    """A chart with its title, and behind that what is to be said of it."""
    said = element("small", aside) if aside else Markup("")
    return element("figure", element("figcaption", title, Markup(" "), said), body, class_="chart")


def key(names: Mapping[str, str]) -> Markup:
    """Names of colours, by the style class that has the colour."""
    swatches = (element("span", element("i", Markup(""), class_=style), words) for style, words in names.items())
    return element("p", *swatches, class_="key")


def round_ticks(low: float, high: float, count: int = 5, whole: bool = False) -> list[float]:
    """About `count` round numbers that span the values; with `whole` no fractions."""
    span = (high - low) or abs(high) or 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / count))
    if whole:
        magnitude = max(magnitude, 1.0)
    steps = (m * magnitude for m in (1, 2, 2.5, 5, 10))
    step = next(s for s in steps if span / s <= count and not (whole and s % 1))
    first, last = math.floor(low / step), math.ceil(high / step)
    digits = 2 - math.floor(math.log10(step))
    return [round(step * k, digits) for k in range(first, last + 1)]


def short_number(value: float) -> str:
    """A number for an axis: ``1.2M``."""
    for limit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.4g}{sign}"
    return f"{value:.4g}"


def _short(value: object) -> str:
    # A comparison also holds for numpy's own floats.
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
