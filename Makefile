# Everything a checkout can do. Needs Python 3.11 to 3.13 and make; the rest is installed into
# .venv from requirements that are locked by hash.
#
#   make demo            a runaway agent is stopped by its ceiling: no key, no network but to install
#   make runaways        its big brother: eleven kinds of runaways, each noticed and stopped
#   make test            all checks and tests
#   make check           the checks alone
#   make test-clients    real SDKs and agents under a ceiling (needs npm, and Python up to 3.12)
#   make transcripts     what six agents show, written into docs/transcripts.md
#   make crash N=100     the daemon is killed under load, 100 times at random and 100 at the steps of
#                        calls, and the books are compared
#   make mutants         the core is broken in each of its dangerous ways, and a test must notice
#   make prove           the core and the store in simulated worlds for a minute (LONG=1: as before a
#                        release)
#   make bench           what a call costs more through AgentWatch
#   make detect          how soon runaways are noticed, and how often somebody at work is taken for one
#   make overload        what others notice of slow, idle, large and too many requests
#   make soak            172,800 calls with faults on: answers, memory, descriptors, WAL, holds
#   make risk            how fast and how well secrets and personal data are found, and what calls
#                        notice of it
#   make docs            write the generated pages
#   make lock            lock the requirements anew
#   make clean           remove what all of these made
#
# `make test PYTHON=python3.13` uses that one, in a .venv-python3.13 of its own.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# the first Python that runs and is one of ours
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 \
	&& echo $$python && break; done)
endif
VENV ?= .venv$(if $(filter command environment,$(origin PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# as many as there are cores, but never more than this bears
PYTEST ?= $(BIN)/python -m pytest -n 2

.PHONY: help
help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

$(VENV)/made:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: say where, make PYTHON=/path/to/python3.13" >&2; exit 1; }
	@echo "· making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV) || { echo "this Python can't make a venv (Debian: apt install python3-venv)" >&2; exit 1; }
	@touch $@

# The build backend comes by hash too, so nothing is fetched behind the lock's back.
$(VENV)/run: requirements.txt requirements-build.txt pyproject.toml | $(VENV)/made
	@echo "· installing what AgentWatch needs into $(VENV) (once)"
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --require-hashes -r requirements-build.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/run
	@echo "· installing what its tests need (once)"
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

.PHONY: demo
demo: $(VENV)/run
	@$(BIN)/agentwatch demo

.PHONY: runaways
runaways: $(VENV)/run
	@$(BIN)/python examples/runaways.py

.PHONY: check
check: $(VENV)/dev
	@echo "· ruff format" && $(BIN)/ruff format --check --quiet .
	@echo "· ruff check" && $(BIN)/ruff check --quiet .
	@echo "· mypy" && $(BIN)/mypy
	@echo "· import directions" && PYTHONPATH= $(BIN)/lint-imports --no-logo
	@echo "· generated pages" && $(BIN)/python docs/generate.py --check

.PHONY: test
test: check
	@echo "· pytest"
	@$(PYTEST)

.PHONY: crash
crash: $(VENV)/dev
	@AGENTWATCH_TEST_KILLS=$(or $(N),50) $(BIN)/python -m pytest -s --timeout 0 tests/e2e/test_crash.py -k killed_at

.PHONY: mutants
mutants: $(VENV)/dev
	@$(BIN)/python -m prove.mutants $(NAMES)

.PHONY: prove
prove: $(VENV)/dev
	@$(BIN)/python -m prove $(if $(LONG),--events 100000000,--seconds 60)
	@$(BIN)/python -m prove --store $(if $(LONG),--events 5000000,--seconds 20)

# One process: they wait for each other's installations, and measure their clients' patience.
.PHONY: test-clients
test-clients: $(VENV)/dev
	@$(BIN)/python -m pytest -m clients --durations=0

.PHONY: transcripts
transcripts: $(VENV)/dev
	@$(BIN)/python -m pytest -m clients tests/e2e/clients/test_real_clients.py \
		-k "claude or codex or gemini or opencode or aider or llm"
	@$(BIN)/python tests/e2e/clients/transcripts.py

.PHONY: bench
bench: $(VENV)/dev
	@$(BIN)/python bench/proxy.py

.PHONY: overload
overload: $(VENV)/dev
	@$(BIN)/python bench/overload.py

.PHONY: soak
soak: $(VENV)/dev
	@$(BIN)/python bench/soak.py

.PHONY: detect
detect: $(VENV)/dev
	@$(BIN)/python bench/detect.py

.PHONY: risk
risk: $(VENV)/dev
	@$(BIN)/python bench/risk.py
	@$(BIN)/python bench/telemetry.py

.PHONY: docs
docs: $(VENV)/dev
	@$(BIN)/python docs/generate.py

# No address and no path gets into a lock: where packages come from is the machine's affair.
UV ?= $(BIN)/uv
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links $(LOCKFLAGS)

.PHONY: lock
lock: $(VENV)/made
	@test -x "$$(command -v $(UV))" || $(PIP) uv
	@$(LOCK) pyproject.toml --output-file requirements.txt
	@$(LOCK) pyproject.toml --group test --constraints requirements.txt --output-file requirements-dev.txt
	@$(LOCK) --group build --constraints requirements-dev.txt --output-file requirements-build.txt
	@echo "locked; newer versions: make lock LOCKFLAGS=--upgrade"

.PHONY: clean
clean:
	rm -rf .venv .venv-* .clients build dist .home .coverage .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
