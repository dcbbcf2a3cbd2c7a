"""Docstrings as they are written here, made into what Sphinx reads.

Formulas and code are indented paragraphs, which would lose their lines: they become blocks. `[2]_` cites a list of
references in the docstring or in that of its module: what is cited is listed with the class or function that cites.
"""

import ast
import inspect
import re
import sys
import textwrap
from typing import Any

CITATION = re.compile(r"\[(\d+)\]_")
REFERENCES = re.compile(r"^References\n-+\n", flags=re.MULTILINE)
ENTRY = re.compile(r"^\.\. \[(\d+)\] ", flags=re.MULTILINE)
SECTION = re.compile(r"^-{3,}$")
OURS = ("pretrain", "checkpoints", "pipelines")


def references(docstring: str) -> dict[str, str]:
    """The list of references at the end of a docstring: number -> one paragraph."""
    _, *rest = REFERENCES.split(docstring, maxsplit=1)
    numbers_and_texts = ENTRY.split(rest[0])[1:] if rest else []
    pairs = zip(numbers_and_texts[::2], numbers_and_texts[1::2], strict=True)
    return {number: " ".join(text.split()) for number, text in pairs}


def as_blocks(lines: list[str]) -> list[str]:
    """Indented paragraphs before the first section, each as a block of code or text."""
    end = next((n - 1 for n, line in enumerate(lines) if SECTION.match(line)), len(lines))
    made: list[str] = []
    paragraphs = re.split(r"\n(?=\S)|\n\n(?=\s)", "\n".join(lines[:end]))
    for paragraph in paragraphs:
        if not re.match(r"\s+\S", paragraph):
            made += paragraph.split("\n")
            continue
        text = textwrap.dedent(paragraph).strip("\n")
        made += ["", f".. code-block:: {_language(text)}", "", *textwrap.indent(text, "   ").split("\n"), ""]
    return [*made, *lines[end:]]


def _language(text: str) -> str:
    try:
        ast.parse(text)
    except SyntaxError:
        return "text"
    return "python"


def _rewrite(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    docstring = "\n".join(lines)
    cited = set(CITATION.findall(docstring))
    known = references(docstring)
    if cited - known.keys():
        module = sys.modules.get(getattr(inspect.unwrap(thing), "__module__", None) or "")
        known = {**references(inspect.getdoc(module) or ""), **known}
    body = REFERENCES.split(docstring, maxsplit=1)[0]
    body = CITATION.sub(r"[\1]", body)
    lines[:] = as_blocks(body.split("\n"))
    lines[0] = lines[0].replace("...", "…")  # a full stop ends the line that tables of contents show
    if cited & known.keys():
        lines += ["", "References", "----------", ""]
        lines += [line for number in sorted(cited & known.keys()) for line in (f"[{number}] {known[number]}", "")]


def _skip(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what is inherited from other packages: their own pages have it."""
    module = getattr(thing.fget if isinstance(thing, property) else thing, "__module__", None)
    return True if isinstance(module, str) and not module.startswith(OURS) else None


def setup(app: Any) -> dict[str, bool]:
    """Before numpydoc, which runs at 500."""
    app.connect("autodoc-process-docstring", _rewrite, priority=400)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
