"""The documentation site: pages in Markdown, the API from docstrings, commands from click, notebooks as kept."""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

from pretrain import __version__  # noqa: E402 - the path comes first

project = "pretrain"
release = version = __version__
html_title = f"pretrain {version}"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_click",
    "docstring_forms",
    "native_mathml",
]

# Notebooks are shown as they are kept: a test runs them. Sphinx reads below its own folder alone.
NOTEBOOKS = HERE / "notebooks"
shutil.rmtree(NOTEBOOKS, ignore_errors=True)
NOTEBOOKS.mkdir()
for notebook in sorted((ROOT / "examples").glob("*.ipynb")):
    shutil.copy(notebook, NOTEBOOKS / notebook.name)
nb_execution_mode = "off"
nb_merge_streams = True

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

default_role = "py:obj"  # `RBM` in a docstring leads there where it is documented, and is code where it is not
autosummary_generate = False
autodoc_typehints = "none"  # numpydoc sections have the types
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "inherited-members": "BaseEstimator, Module"}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
python_maximum_signature_line_length = 100
highlight_language = "none"

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
