# Developers and CI run the same targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TRAINERS := .venv-trainers

.PHONY: setup demo test test-slow test-fuzz test-kills test-trainers test-all check fix build clean

$(BIN)/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "safegen needs Python 3.11 or newer; for example: make PYTHON=python3.12 demo")'
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

setup: $(BIN)/.base ## create .venv and install safegen

demo: setup ## write the starter dataset with the offline teacher: no key, no network
	$(BIN)/safegen generate

test: $(BIN)/.test ## every test but the slow ones, on all cores
	$(BIN)/python -m pytest -n auto --dist worksteal

test-slow: $(BIN)/.test ## the slow tests: every case of sampled properties, many kills
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

test-fuzz: $(BIN)/.test ## 1,000 fuzzed input files and 300 damaged run folders
	$(BIN)/python -m pytest -n auto -m slow tests/test_fuzz.py --fuzz-files 1000 --fuzz-runs 300

test-kills: $(BIN)/.test ## 100 kills at random moments of a run against a fake endpoint
	$(BIN)/python -m pytest -m slow tests/e2e/test_kill_and_resume.py -k kills_change_no_byte --kills 100

test-trainers: ## real trainers on a tiny random model; installs TRL and torch (several GB) into .venv-trainers
	test -x $(TRAINERS)/bin/python || $(PYTHON) -m venv $(TRAINERS)
	$(TRAINERS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(TRAINERS)/bin/python -m pip install --quiet --disable-pip-version-check -e . --group test --group trainers
	$(TRAINERS)/bin/python -m pytest -m trainers -rs tests/trainers

test-all: test test-slow ## every test

check: $(BIN)/.lint ## check lint, format, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

fix: $(BIN)/.lint ## format, and apply ruff's fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(BIN)/.lint ## build the wheel in dist/
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist .

clean: ## remove everything that the targets created, except outputs/
	rm -rf $(VENV) $(TRAINERS) dist .pytest_cache .ruff_cache .hypothesis
