# PYTHON makes the virtual environment, VENV is where it is: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
COMPILE := $(BIN)/python -m compileall -q core registry plugins cli

.PHONY: quickstart test lint docs bench wheel clean
.DEFAULT_GOAL := test

quickstart: $(VENV)/installed  ## train a small VAE and a small WGAN-GP, pictures go to quickstart/
	$(BIN)/genzoo quickstart quickstart $(ARGS)

test: $(VENV)/installed-dev  ## make test ARGS="-k vae -x"
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-dev
	@set -e; for file in tests/bench/[a-z]*.py; do echo "== $$file"; $(BIN)/python "$$file" $(ARGS); done
	$(BIN)/genzoo bench train

docs: $(VENV)/installed-dev  ## the pages as a site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

wheel: $(VENV)/installed-dev  ## dist/genzoo-*.whl and .tar.gz
	rm -rf build dist
	$(BIN)/python -m build -q --no-isolation

clean:
	rm -rf $(VENV) build dist *.egg-info quickstart .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find core registry plugins cli tests -name __pycache__ -type d -prune -exec rm -rf {} +

# pip compiles what it copies; an editable install is compiled here, which halves the start of every command.
# The empty files say when the environment was last brought up to date.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("genzoo needs Python 3.11 or later: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	$(COMPILE)
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]' 'setuptools>=77'
	$(COMPILE)
	@touch $@ $(VENV)/installed
