# Everything happens in .venv; nothing outside this folder is touched. Python: make PYTHON=python3.13 …
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PLUGINS := $(patsubst %/setup.cfg,%,$(wildcard plugins/*/setup.cfg))
METADATA := setup.cfg pyproject.toml $(wildcard plugins/*/setup.cfg plugins/*/pyproject.toml)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help:                ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*##/ {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/ready     ## serve config.toml on port 8080
	@exec $(BIN)/router serve --config config.toml

test: .venv/test     ## the whole suite
	$(BIN)/pytest $(PYTEST)

check: lint test     ## everything CI runs: format, lint, types, test

lint: .venv/test     ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/test   ## write the format that lint asks for
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

crash: .venv/test    ## the slow tests: kill -9 and restart by the hundred
	$(BIN)/pytest -m slow --timeout 3600 $(PYTEST)

bench: .venv/test    ## figures against a bare relay
	$(BIN)/python -m bench

wheels: .venv/ready  ## build every distribution into dist/
	rm -rf dist build plugins/*/build
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . $(addprefix ./,$(PLUGINS))
	rm -rf build plugins/*/build
	@ls dist

clean:               ## remove .venv, dist and caches; databases stay
	rm -rf .venv dist build plugins/*/build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf *.egg-info plugins/*/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One resolver run over core and plugins, so that their onebox-router>=1,<2 is this checkout. Without build isolation
# setuptools is fetched once instead of once for each of them.
.venv/ready: $(METADATA)
	@echo "installing into .venv (once, under a minute)"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --quiet 'setuptools>=77'
	@$(PIP) install --quiet --no-build-isolation $(addprefix --editable ./,. $(PLUGINS))
	@touch $@

# Core is there already: this adds what its extra names.
.venv/test: .venv/ready
	@echo "installing the test tools into .venv (once)"
	@$(PIP) install --quiet 'onebox-router[test]'
	@touch $@

.PHONY: help run test check lint format crash bench wheels clean
