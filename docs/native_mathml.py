"""Formulas as MathML, which browsers draw themselves: pages need no script from elsewhere to be read."""

import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

# Two spellings of LaTeX that the converter has under other names, and the thin spaces that TeX puts around functions.
FUNCTIONS = r"\\(?:log|exp|tanh|cosh)\b"
SPELLINGS = (
    (re.compile(r"\\([bB]igg?)(?![lrmg])"), r"\\\1l"),
    (re.compile(r"\\dots\b"), r"\\ldots"),
    (re.compile(rf"(?<=[\w)}}])\s+(?={FUNCTIONS})"), r"\\, "),
    (re.compile(rf"({FUNCTIONS})(?!\s*(?:[(_^]|\\left|\\[bB]ig))"), r"\1\\, "),
)


def to_mathml(formula: str, *, as_block: bool) -> str:
    """MathML of a LaTeX formula; docutils' MathError where it is beyond the converter, which fails the build."""
    for pattern, spelling in SPELLINGS:
        formula = pattern.sub(spelling, formula)
    return str(tex2mathml(formula, as_block=as_block))


def _visit_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(to_mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def _visit_block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{to_mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer and choose it."""
    app.add_html_math_renderer("mathml", inline_renderers=(_visit_inline, None), block_renderers=(_visit_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
