"""The layout that design.md promises, read from the code: arrows, names, docstrings, sizes, packages."""

import ast
import importlib
import importlib.metadata
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pretrain", "checkpoints", "pipelines")
NUMERIC = {"numpy", "scipy", "torch", "sklearn"}
TERMINAL = {"click", "rich", "matplotlib", "jinja2"}
# What each package may import besides the standard library, top-level names.
MAY_IMPORT = {
    "pretrain": NUMERIC | {"pretrain"},
    "checkpoints": NUMERIC | {"h5py", "pretrain", "checkpoints"},
    "pipelines": NUMERIC | TERMINAL | {"pretrain", "checkpoints", "pipelines"},
}
# Single files that may import more: optional extras, joblib (of scikit-learn) for processes alone, HDF5 data, images
# (Pillow, of matplotlib), safe HTML (markupsafe, of jinja2).
FILE_EXCEPTIONS = {
    "checkpoints/foreign_formats.py": {"safetensors"},
    "checkpoints/onnx_graph.py": {"onnx"},
    "pipelines/data.py": {"h5py"},
    "pipelines/image_folders.py": {"PIL"},
    "pipelines/images.py": {"PIL"},
    "pipelines/jobs.py": {"joblib"},
    "pipelines/report_figures.py": {"markupsafe"},
    "pipelines/studies/page.py": {"markupsafe"},
    "pipelines/tuning.py": {"optuna"},
}
NEVER = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "tests", "examples", "benchmarks"}
FILE_CALLS = {"open", "torch.save", "torch.load", "np.save", "np.load"}
TOUCHES_FILES = {"os", "io", "pathlib", "tempfile", "shutil", "glob", "logging"}  # never in the library
UNTELLING_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "misc", "tools"}
LONGEST_FILE = 300
LONGEST_EXCEPTION = 330
LONG_FILES: dict[str, str] = {}  # path -> why it may have up to LONGEST_EXCEPTION lines. There is none.
VERBOSE_PRINT = "# noqa: T201 - asked for by verbose=True"

SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
TREES = {path: ast.parse(source, path) for path, source in SOURCES.items()}
every_package = pytest.mark.parametrize("package", PACKAGES)


def files_of(package: str) -> Iterator[tuple[str, ast.Module]]:
    return ((path, tree) for path, tree in TREES.items() if path.startswith(f"{package}/"))


def module_name(path: str) -> str:
    name = path.removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in TREES}


def imports(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Every module that is imported anywhere in a file, `from package import module` resolved to the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            submodules = [f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in MODULES]
            yield from ((name, node) for name in submodules or [base])


def type_checking_lines(tree: ast.Module) -> set[int]:
    blocks = (n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test).endswith("TYPE_CHECKING"))
    return {inner.lineno for block in blocks for inner in ast.walk(block) if isinstance(inner, ast.stmt)}


def test_the_files_are_found():
    assert {path.split("/")[0] for path in TREES} == set(PACKAGES)
    assert len(TREES) > 40


@every_package
def test_imports_follow_the_arrow(package):
    faults = []
    for path, tree in files_of(package):
        allowed = (MAY_IMPORT[package] | sys.stdlib_module_names) - NEVER | FILE_EXCEPTIONS.get(path, set())
        for name, node in imports(tree):
            if name.split(".")[0] not in allowed:
                faults.append(f"{path}:{node.lineno} imports {name}")
    assert faults == []


@every_package
def test_imports_are_absolute_and_at_the_top(package):
    faults = []
    for path, tree in files_of(package):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                faults.append(f"{path}:{node.lineno}: relative import")
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("__import__", "import_module")):
                faults.append(f"{path}:{node.lineno}: import by a call")
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                late = [n.lineno for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
                faults += [f"{path}:{line}: import inside {node.name}" for line in late]
    assert faults == []


def test_no_import_cycles():
    edges: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        typing_only = type_checking_lines(TREES[path])
        edges[name] = {
            target for target, node in imports(TREES[path]) if target in MODULES and node.lineno not in typing_only
        }
    assert "pretrain.rbm" in edges["pretrain.stack"]
    assert "pretrain.rbm" not in edges["pretrain.contrastive"]  # it names the type alone
    while edges:  # take away modules that import nothing that is left
        free = {name for name, targets in edges.items() if not targets & edges.keys()}
        assert free, f"import cycle among {sorted(edges)}"
        edges = {name: targets for name, targets in edges.items() if name not in free}


def test_the_library_opens_no_file_and_prints_nothing():
    faults = []
    for path, tree in files_of("pretrain"):
        lines = SOURCES[path].splitlines()
        calls = {(ast.unparse(n.func), n.lineno, n.end_lineno) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        for name, node in imports(tree):
            if name.split(".")[0] in TOUCHES_FILES:
                faults.append(f"{path}:{node.lineno} imports {name}")
        for called, line, end in calls:
            asked_for = "estimators/" in path and VERBOSE_PRINT in lines[(end or line) - 1]
            if called in FILE_CALLS or (called == "print" and not asked_for):
                faults.append(f"{path}:{line} calls {called}")
    assert faults == []


def test_files_are_named_for_what_they_hold():
    named = {path: {part.removesuffix(".py").strip("_") for part in path.split("/")} for path in TREES}
    assert [path for path, parts in named.items() if parts & UNTELLING_NAMES] == []


def test_files_are_short():
    lengths = {path: len(source.splitlines()) for path, source in SOURCES.items()}
    bounds = {path: LONGEST_EXCEPTION if path in LONG_FILES else LONGEST_FILE for path in SOURCES}
    assert {path: n for path, n in lengths.items() if n > bounds[path]} == {}
    assert [path for path in LONG_FILES if lengths[path] <= LONGEST_FILE] == []


def undocumented(body: list[ast.stmt], where: str) -> Iterator[str]:
    """Public classes, functions and methods without a docstring."""
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None and not (isinstance(node, ast.ClassDef) and _copies_docstring(node)):
            yield f"{where}.{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body, f"{where}.{node.name}")


def _copies_docstring(node: ast.ClassDef) -> bool:
    return any(isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__doc__" for n in node.body)


@every_package
def test_everything_public_has_a_docstring(package):
    assert [path for path, tree in files_of(package) if not ast.get_docstring(tree)] == []
    assert [name for path, tree in files_of(package) for name in undocumented(tree.body, module_name(path))] == []


@pytest.mark.parametrize("name", ["pretrain", "pretrain.estimators", "checkpoints"])
def test_public_names_exist(name):
    package = importlib.import_module(name)
    assert len(set(package.__all__)) == len(package.__all__) > 0
    for public in package.__all__:
        assert hasattr(package, public), public
        if public != "__version__":
            assert (getattr(package, public).__doc__ or "").strip(), public


def test_the_version_is_the_distributions():
    version = importlib.import_module("pretrain").__version__
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == version
    assert importlib.metadata.version("pretrain") == version


def test_every_package_is_in_the_distribution():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [name for name, path in MODULES.items() if path.endswith("/__init__.py")]
    assert sorted(listed) == sorted(found)
    folders = [p.name for p in ROOT.iterdir() if (p / "__init__.py").exists()]
    assert sorted(folders) == sorted(PACKAGES)
    for path in TREES:  # a folder of modules without __init__.py would be left out of the distribution
        assert (ROOT / path).with_name("__init__.py").exists(), path


def run_in(folder: Path, *command: str | Path) -> str:
    """Standard output of a command that runs in `folder` without the environment's PYTHONPATH."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_stray_package_does_not_shadow_ours(tmp_path):
    stray = tmp_path / "checkpoints"
    stray.mkdir()
    (stray / "__init__.py").write_text("raise ImportError('the stray one')\n")
    assert "digits" in run_in(tmp_path, Path(sys.executable).with_name("pretrain"), "datasets")


@every_package
def test_a_stray_folder_does_not_shadow_ours(tmp_path, package):
    (tmp_path / package).mkdir()
    code = f"import importlib.util; print(importlib.util.find_spec({package!r}).origin)"
    assert Path(run_in(tmp_path, sys.executable, "-c", code).strip()) == ROOT / package / "__init__.py"
