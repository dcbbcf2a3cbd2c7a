"""The notebooks of examples/: they run from end to end, and those kept show their pictures.

A cell whose settings take long has smaller ones in its metadata, `quick`, with which the test runs it.
"""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_run(path, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")  # the kernel's own, of other packages
    notebook = nbformat.read(path, as_version=4)
    for cell in code_cells(notebook):
        cell.source = cell.metadata.get("quick", cell.source)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_kept_as_they_ran(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = code_cells(notebook)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert path.stat().st_size < 300_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_quick_settings_set_what_the_cell_sets(path):
    quick = [cell for cell in code_cells(nbformat.read(path, as_version=4)) if "quick" in cell.metadata]
    assert len(quick) == 1
    (cell,) = quick
    assert names(cell.metadata["quick"]) == names(cell.source)


def names(source: str) -> list[str]:
    """What each line of assignments assigns to."""
    return [line.partition(" = ")[0] for line in source.splitlines()]
