# Two commands do everything:
#   make lab     creates .venv, installs tcglite for the notebooks, opens JupyterLab at notebook 00
#   make test    creates .venv, installs what the tests need, runs all of them
# Nothing is needed but make and Python 3.11 or newer; another one is chosen with PYTHON=...

VENV   ?= .venv
BIN    := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python; do \
            "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
            && { echo "$$p"; break; }; done)
JOBS   ?= 2

.PHONY: help lab test lint notebooks html guests traces bench clean

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "tcglite needs Python 3.11 or newer on the PATH (or: make PYTHON=/path/to/python3.12)"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot create environments; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"

# A stamp per set of packages: a second run installs nothing unless pyproject.toml changed.
$(VENV)/.tcglite-lab: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lab,crosscheck]'
	@touch $@

$(VENV)/.tcglite-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.tcglite-lab

lab: $(VENV)/.tcglite-lab
	$(BIN)/tcglite lab

lint: $(VENV)/.tcglite-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n $(JOBS)

notebooks: $(VENV)/.tcglite-dev
	$(BIN)/python teaching/build.py

# Pages for a browser without a kernel, in build/html: each notebook run once, panels as pictures.
html: $(VENV)/.tcglite-lab
	$(BIN)/jupyter nbconvert --to html --execute --config tools/nbconvert_config.py \
	    --output-dir build/html notebooks/*.ipynb

# About half an hour; BENCH='--quick' or BENCH='loop translation' for less of the first part, and
# COMPARE='crc --repeat 1' for less of the second.
BENCH   ?=
COMPARE ?= --plot bench/modes.png
bench: $(VENV)/.tcglite-dev
	$(BIN)/python bench/run.py $(BENCH)
	$(BIN)/tcglite bench $(COMPARE)

guests: $(VENV)/.tcglite-dev
	$(BIN)/python data/guests/build.py

# Needs qemu-system-riscv64; the files committed were made with 7.2.
traces: $(VENV)/.tcglite-dev
	$(BIN)/python tools/record_traces.py

clean:
	rm -rf "$(VENV)" build/html .cache .mypy_cache .ruff_cache .pytest_cache
