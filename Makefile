# One command each. The environment is .venv; what it holds is pinned by constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CODE := fhirserver resources consent terminology

DATA ?= .data
HOST ?= 127.0.0.1
PORT ?= 8080
T ?= tests
JOBS ?= 2
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test check format-check lint types imports bench fuzz mutants format coverage constraints wheel image clean system

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
	    printf '  make %-12s %s\n' "$$name" "$$text"; done

serve: $(INSTALLED) system ## the server with the demo region, at http://HOST:PORT, its data in DATA (.data)
	@exec $(BIN)/fhirserver serve --demo --data $(DATA) --host $(HOST) --port $(PORT) $(ARGS)

test: check system ## everything CI runs; T=tests/consent for one folder, JOBS=1 for one process
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS) $(T)

check: format-check lint types imports ## format, lint, types and import contracts

format-check: $(INSTALLED)
	$(BIN)/ruff format --check --quiet .

lint: $(INSTALLED)
	$(BIN)/ruff check --quiet .

types: $(INSTALLED)
	$(BIN)/mypy

imports: $(INSTALLED)
	$(BIN)/lint-imports --no-logo

bench: $(INSTALLED) system ## measure the server against the floor program, in one run (ARGS='--help' for the choices)
	$(BIN)/python -m benchmarks $(ARGS)

fuzz: $(VENV)/.fuzz ## fuzz what reads bytes from outside, a minute each (ARGS='search xml --seconds 600' for some)
	$(BIN)/python -m fuzz $(ARGS)

mutants: $(VENV)/.mutants ## change the rules of access, one place at a time: which change does no test see? (ARGS='consent.rules*')
	$(BIN)/mutmut run --max-children $(JOBS) $(ARGS)
	@$(BIN)/mutmut results

format: $(INSTALLED) ## lay the code out, and repair what the linter can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

coverage: $(INSTALLED) system ## the tests with branch coverage, T as for test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --cov --cov-report=term $(ARGS) $(T)

wheel: $(INSTALLED) ## the wheel, in dist/
	$(BIN)/python -m build --wheel --no-isolation

image: ## the container image
	docker build --tag fhirserver .

constraints: ## newest versions that setup.cfg admits, written to constraints.txt
	rm -rf $(VENV)/fresh && $(PYTHON) -m venv $(VENV)/fresh
	$(VENV)/fresh/bin/pip install --quiet --upgrade setuptools
	$(VENV)/fresh/bin/pip install --quiet --no-build-isolation --editable '.[embedded,dev,fuzz,mutants]'
	{ sed -n '1p' constraints.txt; $(VENV)/fresh/bin/pip freeze --all --exclude-editable --exclude pip | LC_ALL=C sort -f; } > constraints.new
	mv constraints.new constraints.txt && rm -rf $(VENV)/fresh

clean: ## remove what tools and builds left; the environment and DATA stay
	rm -rf build dist mutants ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov
	find $(CODE) tests benchmarks fuzz tools -name __pycache__ -type d -prune -exec rm -rf {} +

# The build backend comes first, pinned like the rest, so that installing ourselves fetches nothing unpinned.
$(INSTALLED): constraints.txt setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo 'fhirserver needs Python 3.11 or newer; name one with make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'Installing into $(VENV) (about a minute the first time)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[embedded,dev]'
	@touch $@

$(VENV)/.fuzz: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[fuzz]'
	@touch $@

$(VENV)/.mutants: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[mutants]'
	@touch $@

system: $(INSTALLED)
	@.ci/system-packages $(BIN)/python
