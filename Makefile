# `make help` lists what there is. Everything installs what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo run test check unit lint lock packages clients clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(BIN)/.installed ## the virtual environment with everything locked
$(BIN)/.installed: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the Python packages of requirements.lock into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

packages: ## Debian packages: QEMU, and for the tests RabbitMQ and PostgreSQL
	@tools/packages guest engines

clients: .venv-clients/.installed ## the real OpenStack clients, in an environment of their own
.venv-clients/.installed: requirements-clients.lock
	@test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	@echo "Installing the OpenStack clients into .venv-clients ..."
	@.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-clients.lock
	@touch $@

demo: setup ## create a volume, attach it to guests, show the way of each request
	@tools/packages guest
	@$(BIN)/breezeblock demo

run: setup ## run the service on this machine until interrupted
	@$(BIN)/breezeblock run

test: setup clients packages lint ## everything: lint, types, layers, all tests on real parts
	@$(BIN)/python -m pytest

unit: setup ## the quick tests only
	@$(BIN)/python -m pytest tests/unit tests/service

lint: setup ## format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

lock: ## renew the lock files from pyproject.toml and requirements-clients.in
	@tools/lock

clean: ## remove what was built here
	@rm -rf $(VENV) .venv-clients .cache data
