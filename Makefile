# Everything runs in .venv, which is made on first use and again when setup.cfg changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet

.PHONY: demo test check lint types layers format clean

demo: $(VENV)/.installed
	$(BIN)/kdcompress distill digits

# A process for each core, each with one thread: networks this small gain nothing from a second.
test: $(VENV)/.tested
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

check: lint types layers test

lint: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.tested
	$(BIN)/mypy

layers: $(VENV)/.tested
	$(BIN)/python -m pytest tests/test_layers.py

format: $(VENV)/.tested
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("kdcompress needs Python 3.11 or newer, this is %s; say which with make PYTHON=..." % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# torch and torchvision first and together: so pip takes a pair that fits.
$(VENV)/.torch: | $(VENV)/bin/python
	$(INSTALL) torch torchvision
	touch $@

$(VENV)/.installed: setup.cfg pyproject.toml | $(VENV)/.torch
	$(INSTALL) --editable .
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(INSTALL) --editable '.[test]'
	touch $@
