# Two commands matter: `make bench` and `make test`. Both make the virtual environment they need.
PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

# An activated environment is the user's own: everything here runs in $(VENV), by path.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help bench test lint clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

bench: $(VENV)/.core  ## run the quick suite: results go to runs/quick
	@$(BIN)/genbench run quick --out runs/quick

test: $(VENV)/.dev  ## run the tests
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal

lint: $(VENV)/.dev  ## check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean:  ## remove caches and build output; keeps $(VENV) and runs/
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "genbench needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)

# The stamps hold when pip last ran, so that a second `make` asks pip nothing. The interpreter is
# an order-only prerequisite: it is a link, and its age says nothing.
$(VENV)/.core: pyproject.toml | $(BIN)/python
	@echo "installing genbench into $(VENV): about two minutes the first time"
	@$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "installing genbench and its development tools into $(VENV): about two minutes the first time"
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.core
