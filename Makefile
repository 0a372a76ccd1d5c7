# Everything that a developer of mlpipec needs. `make` alone lists it.
# Python packages go to .venv, executors and linters for the tests to .cache/tools; nothing else is touched.

PYTHON ?= python3
WORKERS ?= auto
PYTEST_ARGS ?=
BENCH_ARGS ?=
EXAMPLES ?= 2000
SECONDS = 20

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
SETUP := $(VENV)/.installed
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup tools demo test torture check format docs fuzz bench e2e-containers clean

help: ## This list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(SETUP) ## Make .venv with mlpipec (editable) and the developers' tools

# uv does what pip does, in seconds. The stamp is as new as what was installed.
$(SETUP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit("mlpipec needs Python 3.11 or newer, $(PYTHON) is " \
	  + sys.version.split()[0] + "; say which one with: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install -q --disable-pip-version-check uv
	@$(BIN)/uv pip install -q --python $(BIN)/python -e '.[dev]'
	@touch $@

tools: $(SETUP) ## Install the CI executors and linters that the tests use
	@$(BIN)/python tests/e2e/harness/tools.py
	@$(BIN)/python -m tests.e2e.forges.tools
	@$(BIN)/python -m tests.support.azure

demo: $(SETUP) ## A real project: run it, run it again, show its report and its CI
	@BIN=$(BIN) bash examples/demo.sh

test: tools ## All tests; what is skipped is listed with the reason
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

TORTURE = $(addprefix tests/runtime/test_, model.py faults.py kills.py store_model.py remote_sweep.py)
torture: $(SETUP) ## Many more random edits, kills and failing disks than `make test`: an hour or so
	@MLPIPEC_TEST_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -n $(WORKERS) $(TORTURE) $(PYTEST_ARGS)

e2e-containers: tools ## Only the tests that run generated CI in real containers (root and podman)
	@$(BIN)/pytest -m containers -n $(WORKERS) $(PYTEST_ARGS)

check: $(SETUP) ## Lint, format, types, import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python tests/support/layers.py

format: $(SETUP) ## Format and fix what can be fixed
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format -q .

docs: $(SETUP) ## Check that what the documents show is true
	@$(BIN)/pytest -q tests/docs tests/unit/test_registry.py $(PYTEST_ARGS)

fuzz: $(SETUP) ## Coverage-guided fuzzing of compiler, formatter, importer; SECONDS=20 each
	@$(BIN)/uv pip install -q --python $(BIN)/python atheris
	@for part in compile format import; do $(BIN)/python -m tests.fuzz.fuzz $$part -max_total_time=$(SECONDS); done

bench: $(SETUP) ## Figures beside make, ninja, doit, snakemake and DVC; BENCH_ARGS="--help" for sizes
	@$(BIN)/python bench/compare.py $(BENCH_ARGS)

clean: ## Remove what is built or cached here
	rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
