# `make help` lists what there is. Everything installs what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS = 120
SEED ?= 7

.PHONY: help setup dev demo keystone run test check unit lint crash-points histories chaos mutants reliability coverage bench bench-api regression lock packages clients openstack cinder netapp conformance clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

setup: $(BIN)/.installed ## the virtual environment that the service runs in
$(BIN)/.installed: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the Python packages of requirements.lock into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

dev: $(BIN)/.dev ## what the tests and checks need besides
$(BIN)/.dev: $(BIN)/.installed requirements-dev.lock
	@echo "Installing the Python packages of requirements-dev.lock into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

packages: ## Debian packages: QEMU, and for the tests tgt, RabbitMQ and PostgreSQL
	@tools/packages guest array engines

clients: .venv-clients/.installed ## the real OpenStack clients, in an environment of their own
.venv-clients/.installed: requirements-clients.lock
	@test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	@echo "Installing the OpenStack clients into .venv-clients ..."
	@.venv-clients/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-clients.lock
	@touch $@

openstack: .venv-openstack/.installed ## real Keystone and Glance, and Tempest, in an environment of their own
.venv-openstack/.installed: requirements-openstack.lock
	@test -x .venv-openstack/bin/python || $(PYTHON) -m venv .venv-openstack
	@echo "Installing Keystone, Glance and Tempest into .venv-openstack ..."
	@.venv-openstack/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-openstack.lock
	@touch $@

cinder: .venv-cinder/.installed ## Cinder 29, which the conformance suites ask, in an environment of its own
.venv-cinder/.installed: requirements-cinder.lock
	@test -x .venv-cinder/bin/python || $(PYTHON) -m venv .venv-cinder
	@echo "Installing Cinder into .venv-cinder ..."
	@.venv-cinder/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-cinder.lock
	@touch $@

netapp: .venv-netapp/.installed ## NetApp's own client, for the tests of the ONTAP simulator, in an environment of its own
.venv-netapp/.installed: requirements-netapp.lock
	@test -x .venv-netapp/bin/python || $(PYTHON) -m venv .venv-netapp
	@echo "Installing NetApp's client into .venv-netapp ..."
	@.venv-netapp/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-netapp.lock
	@touch $@

conformance: dev clients cinder openstack packages ## the same questions to Cinder 29 and to Breezeblock, compared
	@$(BIN)/python -m tests.conformance

BACKEND ?= local
demo: setup ## create a volume, attach it to guests, show the way of each request; BACKEND=netapp: on a simulated array
	@tools/packages guest $(if $(filter netapp,$(BACKEND)),array)
	@$(BIN)/breezeblock demo --backend $(BACKEND)

keystone: dev clients openstack packages ## Keystone, Glance and Breezeblock together, with a clouds.yaml, until interrupted
	@$(BIN)/python -m tests.engines.cloud

run: setup ## run the service on this machine until interrupted
	@$(BIN)/breezeblock run

test: dev clients openstack cinder netapp packages lint ## everything: lint, types, layers, all tests on real parts
	@tools/run-tests

unit: dev ## the quick tests only
	@$(BIN)/python -m pytest tests/unit tests/service

lint: dev ## format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

crash-points: dev ## every workflow with every fault at every position, also on a NetApp array; half an hour
	@$(BIN)/python -m tests.crash.points

EXAMPLES ?= 200
histories: dev ## random histories in virtual time: make histories SEED=11 EXAMPLES=200
	@$(BIN)/python -m tests.crash.histories --seed $(SEED) --examples $(EXAMPLES)

chaos: dev packages ## real processes, real faults: make chaos SECONDS=120 SEED=7
	@$(BIN)/python -m tests.crash.chaos --seconds $(SECONDS) --seed $(SEED)

mutants: dev packages ## the deliberate defects of tests/mutants: each must be caught
	@$(BIN)/python tools/mutants.py

reliability: dev packages ## all of the above at length, and docs/reliability.md from it (an hour)
	@$(BIN)/python -m tests.crash.points
	@$(BIN)/python -m tests.crash.histories --seed 1 2 3 4 5 --examples 60 --steps 50
	@for seed in 7 8 9; do $(BIN)/python -m tests.crash.chaos --seconds 120 --seed $$seed || exit 1; done
	@$(BIN)/python tools/mutants.py
	@$(BIN)/python tools/reliability.py > docs/reliability.md.new && mv docs/reliability.md.new docs/reliability.md

TESTS ?= tests/service tests/unit/web/test_documents.py
coverage: dev packages ## docs/api-coverage.md, by running the tests of the API: which test covers which route
	@$(BIN)/python -m pytest -p tests.routes_touched $(TESTS)
	@$(BIN)/python tools/covering_tests.py
	@$(BIN)/python tools/coverage.py > docs/api-coverage.md.new && mv docs/api-coverage.md.new docs/api-coverage.md

# CINDER=1: a real Cinder 29 runs in the same run, and its figures stand beside ours.
REFERENCE := $(if $(CINDER),cinder reference-packages)
.PHONY: reference-packages
reference-packages: packages
	@tools/packages reference

BENCHES := limit request sql bus workflow listing scheduling cold_start memory
bench: bench-api ## all benchmarks, one after the other: some minutes; CINDER=1 as below
	@for one in $(BENCHES); do echo "== bench/$$one.py"; $(BIN)/python -m bench.$$one || exit 1; done

bench-api: dev openstack packages $(REFERENCE) ## the API's figures in both shapes; CINDER=1: and a real Cinder's
	@$(BIN)/python -m bench.api $(if $(CINDER),--with-cinder)

BASE ?= HEAD~1
regression: dev ## the processor time of this commit against another's: make regression BASE=HEAD~1
	@$(BIN)/python -m bench.regression $(BASE)

lock: dev ## renew the lock files from pyproject.toml and requirements-clients.in
	@tools/lock

clean: ## remove what was built here; data/, where `make run` keeps volumes, stays
	@rm -rf $(VENV) .venv-clients .venv-openstack .venv-cinder .venv-netapp .cache
