# Everything runs from the root of the checkout and through `.venv/bin/python -m …`: no path here is absolute, so
# the checkout may stand anywhere, also below a folder with spaces in its name.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --quiet --quiet --disable-pip-version-check

made    := $(VENV)/.made
runtime := $(VENV)/.runtime
dev     := $(VENV)/.dev

export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo check test chaos bench bench-quick audit fmt clean lint types layers rabbitmq servers

help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(runtime) ## watch two workers on one file: retries, a dead letter, results (under 20 s)
	@$(PY) -m workers.demo

check: lint types layers ## lint, types, layers and the unit tests (under 90 s)
	@$(PY) -m pytest -q -n 2 tests/unit

test: lint types layers rabbitmq ## everything: lint, types, layers, then the whole test suite
	@$(PY) -m pytest -n 3 -m "not alone"
	@echo "== tests that measure time, by themselves"
	@$(PY) -m pytest -m alone

BROKER ?= rabbitmq
SECONDS ?= 600
SEED ?= 1

chaos: $(dev) rabbitmq ## break BROKER (rabbitmq, rabbitmq4, sqlite, cluster, cluster4) for SECONDS, by SEED
	@$(PY) -m tests.chaos --broker $(BROKER) --seconds $(SECONDS) --seed $(SEED)

bench: $(dev) servers ## measure taskq beside its peers and its limit, and how cost grows (over half an hour)
	@$(PY) -m benchmarks

bench-quick: $(dev) servers ## the same in one short round, without growth (5 min)
	@$(PY) -m benchmarks --quick

audit: $(dev) ## ask for known weaknesses in what taskq installs (status 3: could not ask)
	@$(PY) .ci/audit.py

fmt: $(dev) ## format the code and mend what ruff can mend
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

clean: ## remove the virtual environment, caches and build output
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The parts of `check` and `test`.

lint: $(dev)
	@echo "== format and lint"
	@$(PY) -m ruff format --check --quiet . || { echo "some files are not formatted: run 'make fmt'"; exit 1; }
	@$(PY) -m ruff check --quiet .

types: $(dev)
	@echo "== types: mypy, pyright"
	@$(PY) -m mypy
	@$(PY) -m pyright

# Without its cache: that one forgets imports of modules that did not exist when it was filled, and passes.
layers: $(dev)
	@echo "== layers"
	@$(PY) -c 'from importlinter.cli import lint_imports_command as run; run()' --no-logo --no-cache

rabbitmq:
	@bash .ci/rabbitmq

servers:
	@bash .ci/rabbitmq server
	@bash .ci/redis

# The virtual environment: made once, filled again when pyproject.toml or constraints.txt changes. pip compiles what it
# installs, but for us: where PYTHONDONTWRITEBYTECODE is set, each start of a command would do it anew, for 0.07 s.

compiled := $(PY) -m compileall -q taskq workers

$(made):
	@PYTHON="$(PYTHON)" bash .ci/venv "$(VENV)"
	@touch $@

$(runtime): pyproject.toml constraints.txt | $(made)
	@echo "installing taskq and what it needs to run"
	@$(PIP) install --constraint constraints.txt --editable .
	@$(compiled)
	@touch $@

$(dev): pyproject.toml constraints.txt | $(made)
	@echo "installing taskq and what it needs for tests and lint"
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@$(compiled)
	@touch $(runtime) $@
