"""For griffe: a comment behind a field (`means: Tensor  # [N, 3] m`) is shown as the field's docstring in the API."""

from __future__ import annotations

import ast
from typing import Any

from griffe import Attribute, Docstring, Extension, ObjectNode


class FieldComments(Extension):
    """Gives fields without a docstring what stands behind them."""

    def on_attribute_instance(self, *, node: ast.AST | ObjectNode, attr: Attribute, **_: Any) -> None:
        """Called for every attribute that is found in a source."""
        if attr.docstring is not None or not isinstance(node, ast.AnnAssign) or attr.endlineno is None:
            return
        last = attr.lines_collection[attr.filepath][attr.endlineno - 1]
        _, mark, comment = last.encode()[node.end_col_offset :].decode().partition("#")
        if mark and comment.strip():
            attr.docstring = Docstring(comment.strip(), parent=attr)
