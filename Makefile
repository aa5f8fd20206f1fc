.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PATH := $(if $(filter /%,$(VENV)),,$(CURDIR)/)$(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)
# Modules are compiled when they are first imported, as a tenth of the locked ones ever are; with this set, no process would
# store them compiled for the next.
unexport PYTHONDONTWRITEBYTECODE

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/locked  ## make .venv with the packages that the pipeline and the server need

setup-dev: $(VENV)/locked-dev serve/pages/vega.js.gz  ## the same, with those of the tests and linters

$(VENV)/locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@touch $@

$(VENV)/locked-dev: requirements-dev.lock $(VENV)/locked
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@

serve/pages/vega.js.gz: $(VENV)/locked
	@python -m serve.pages.assets

repro: setup  ## run the pipeline of every project, then show the metrics
	@test -e .git || { mkdir -p .dvc && printf '[core]\n    no_scm = true\n' > .dvc/config.local; \
	  echo 'No .git here: the pipeline runs, but experiments, metrics of other revisions, promotion and the revision of' \
	       'each model need a Git clone.'; }
	@python -m stages.check
	dvc repro
	@python -m stages.summary

P ?= bankchurn

experiments: setup  ## compare the experiments of project P by what each changed and what came out, P=boston say
	@python -m stages.experiments $(P)

test: setup-dev  ## run the tests
	python -m pytest

test-quick: setup-dev  ## run those that take little time, with fewer generated examples
	python -m pytest -n auto --hypothesis-profile quick -m 'not slow and not long and not image'

test-coverage: setup-dev  ## run the tests and measure how much of the code they cover
	COVERAGE_CORE=$$(python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")') python -m pytest --cov

test-all: setup-dev  ## run them all, the longest too
	python -m pytest -m 'not image'

test-image: setup-dev  ## build the server's image and try it in a container; as root, with mmdebstrap, buildah, podman and runc
	python -m pytest -n 0 -m image tests/serve/test_image.py

lint: setup-dev  ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

serve: setup serve/pages/vega.js.gz  ## serve what is checked out at http://127.0.0.1:8000
	python -m serve

BASE ?= python:3.11-slim

image:  ## build the server's image with the models that are checked out, BASE=python@sha256:... by digest
	docker build --build-arg BASE=$(BASE) --build-arg REVISION=$$(git rev-parse HEAD) --tag veritable:latest \
	  --build-arg VERSION=$$(git describe --tags --always) --build-arg SOURCE=$$(git config --get remote.origin.url) .

bench: setup-dev  ## measure what the README quotes
	python -m tests.benchmarks.bench_log
	python -m tests.benchmarks.bench_serve
	python -m tests.benchmarks.bench_fairness
	python -m tests.benchmarks.bench_gate
	python -m tests.benchmarks.bench_drift
	SOAK=1 python -m pytest tests/serve/test_app.py -k test_reloads_and_a_swap -n0

screenshots: setup-dev  ## take the pictures of the web pages that the README shows
	python -m tests.screenshots

verify: setup  ## run the pipeline in two clean clones; the bytes of all outputs must agree with each other and with dvc.lock
	python -m tests.verify

LOCK := uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --no-strip-extras --generate-hashes \
  --no-emit-index-url --custom-compile-command 'make lock'

lock: setup  ## resolve pyproject.toml into the three lock files
	$(LOCK) --group pipeline --group serve pyproject.toml -o requirements.lock
	$(LOCK) --group serve -c requirements.lock pyproject.toml -o requirements-serve.lock
	$(LOCK) --group dev -c requirements.lock $$(sed -nE 's/^([a-z0-9-]+).*==.*/--no-emit-package \1/p' requirements.lock) \
	  pyproject.toml -o requirements-dev.lock
	printf '%s\n' '-r requirements.lock' "$$(cat requirements-dev.lock)" > requirements-dev.lock

clean:  ## remove the environment, caches and everything the pipeline made
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov .dvc/cache .dvc/tmp dvc_plots
	rm -f serve/pages/vega.js.gz
	rm -rf data models $(filter-out reports/%/metrics.json reports/%/ledger.jsonl,$(wildcard reports/*/*))
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup setup-dev lock repro experiments serve image test test-quick test-coverage test-all test-image lint bench \
  screenshots verify clean
