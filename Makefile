# Two commands are enough: `make demo` and `make test`. Everything they need, they install into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := infra/locks/dev.txt
STAMP := $(VENV)/.installed
UV := $(shell command -v uv 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help install demo up check format lint types contracts fast test long chaos bench docs lock clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1	/' | expand -t 18

install: $(STAMP) ## Create .venv from the lock file (with uv when it is there, else with pip)

$(STAMP): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
ifneq ($(UV),)
	@echo "Installing the locked dependencies into $(VENV): a minute or two, the first time only."
	@test -x $(BIN)/python || $(UV) venv --quiet --seed --python $(PYTHON) $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r $(LOCK)
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	@echo "Installing the locked dependencies into $(VENV): a minute or two, the first time only."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
	@touch $@

demo: install ## Start the whole stack on free ports, run three tasks, show the results, stop
	$(BIN)/orchestrate demo

up: install ## Start the stack and leave it running until Ctrl-C
	$(BIN)/orchestrate up

check: install lint types contracts fast ## Format, lint, types, import contracts, fast tests

format: install ## Rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

contracts: install
	$(BIN)/lint-imports

fast: install
	$(BIN)/pytest -n 2 -m "not slow and not long and not chaos"

test: install ## The test suite, but for the long scenarios and the long chaos runs
	$(BIN)/pytest -n 3 -m "not long and not chaos"

long: install ## The long scenarios with real processes
	$(BIN)/pytest -n 3 -m "long and not chaos"

chaos: install ## Break everything that can break, check every promise, print a table (minutes)
	$(BIN)/pytest tests/chaos -n 0

bench: install ## Measure against plain Celery on the same broker, print a table
	$(BIN)/python -m tests.bench

docs: install ## Regenerate the generated reference pages
	$(BIN)/python -m app.cli.reference

lock: ## Resolve the dependencies again (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --extra sqs --group dev pyproject.toml -o infra/locks/dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --extra sqs pyproject.toml -o infra/locks/runtime.txt

clean: ## Remove the environment and everything generated
	rm -rf $(VENV) .orchestrate .mypy_cache .ruff_cache .import_linter_cache
