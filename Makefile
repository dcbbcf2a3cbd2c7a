# Two commands do everything on a machine with Python 3.11, pip and make: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install demo test test-fast lint docs clean

install: $(VENV)/installed

# torch goes first and alone: some indexes serve a CPU build under the pinned version only.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	touch $@

demo: install
	$(BIN)/pretrain run demo --output runs/demo --overwrite

# One process a core, and each test file in one of them, since its tests share what they have trained. The files go in
# their order: by the number of tests, those with few and long ones would come last and leave the other cores idle.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test: install
	$(PYTEST)

test-fast: install
	$(PYTEST) -m 'not slow'

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site in build/docs; a warning is an error.
docs: install
	$(BIN)/python -m sphinx -b html -q -W --keep-going docs build/docs

clean:
	rm -rf $(VENV) runs build docs/notebooks *.egg-info
