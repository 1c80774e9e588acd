"""Templates to pages: one environment that escapes everything, one shell, one way to write the file."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from store_schema.files.atomic import write_atomic
from store_schema.pages.values import ABSENT, number, plural, share_text, size_text

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(template: str, *, script: str = "", **values: object) -> str:
    """A page.

    Args:
        template: ``package/file`` that extends ``store_schema.pages/shell.html``.
        script: ``package/file`` of the one script that the page may run; whatever else is a script is refused by the
            page's own policy.
        values: what the template shows. Only `markupsafe.Markup` made by this kit is taken as markup.

    Raises:
        jinja2.TemplateError: the template is wrong, or asks for a value that it was not given.
    """
    code = _source(script) if script else ""
    policy = f"{_POLICY}; script-src {_digest(code)}" if script else _POLICY
    return _environment().get_template(template).render(**values, script=Markup(code), policy=policy)


def write_page(path: Path, page: str) -> None:
    """Write a page whole or not at all.

    JSON can hold halves of characters, which UTF-8 cannot: they are shown as they were written.
    """
    write_atomic(path, page.encode("utf-8", "backslashreplace"))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        # The name, so that an error says which template it is in.
        loader=jinja2.FunctionLoader(lambda name: (_source(name), name, None)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {
        "ABSENT": ABSENT,
        "plural": plural,
        "share": share_text,
        "style": Markup(_source("store_schema.pages/style.css")),
    }
    environment.filters |= {"number": number, "size": size_text}
    return environment


def _source(name: str) -> str:
    """Text of a file that lies beside the code that uses it."""
    package, _, file = name.partition("/")
    return resources.files(package).joinpath(file).read_text(encoding="utf-8")


def _digest(code: str) -> str:
    """How a policy names a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
