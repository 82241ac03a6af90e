# One interface: people and CI run the same targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-slow test-all check fix build clean

$(BIN)/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "safegen needs Python 3.11 or newer; name one with: make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(BIN)/.test: $(BIN)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group test
	@touch $@

$(BIN)/.lint: $(BIN)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group lint
	@touch $@

setup: $(BIN)/.base ## make .venv and install safegen into it

demo: setup ## write the starter dataset with the embedded teacher: no key, no network
	$(BIN)/safegen generate

test: $(BIN)/.test ## every test but the slow ones, on all cores
	$(BIN)/python -m pytest -n auto --dist worksteal

test-slow: $(BIN)/.test ## the slow tests: every case of sampled properties, many kills
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

test-all: test test-slow ## every test

check: $(BIN)/.lint ## lint, types and floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

fix: $(BIN)/.lint ## format and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(BIN)/.lint ## build the wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist .

clean: ## remove what the targets made, not outputs/
	rm -rf $(VENV) dist .pytest_cache .ruff_cache .hypothesis
