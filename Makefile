# SPDX-License-Identifier: GPL-2.0-or-later
# `make run` and `make test` work on a fresh machine; everything else is the `lab` command.

VENV   := .venv
PYTHON := python3
LAB    := $(VENV)/bin/lab
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests run test test-fast test-nested test-topics test-kernels bench dist clean

help:
	@echo "make run        set up, then judge the demonstration series on the stock kernel"
	@echo "make test       set up, then run the tests of the lab (boots guests)"
	@echo "make test-topics   what each case says of 6.1, 6.12 and 7.3, and the defects that it must see"
	@echo "make test-nested   KVM, exits, VFIO and timelines, in a guest that is the lab's host"
	@echo "make test-fast  the tests that boot nothing (seconds)"
	@echo "make test-kernels  build and boot 5.10, 6.1, 6.12 and 7.x (ten minutes each, the first time)"
	@echo "make bench      every measurement of bench/: boots, builds, planning, index, site, bisection"
	@echo "make dist       build the wheel"

# The apt packages are looked at every time (milliseconds); the environment only when its inputs changed.
setup:
	@ci/system-packages
	@$(MAKE) --no-print-directory $(STAMP)

setup-tests: setup
	@ci/system-packages tests

$(STAMP): pyproject.toml
	@echo "setting up $(VENV)"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: setup
	@ci/demonstration $(LAB)

# A file's tests share guests and builds, so a file is never split; one guest takes one processor.
PYTEST := $(VENV)/bin/python -m pytest -q -n logical --dist loadfile

test: setup-tests
	@$(PYTEST) -m 'not kernels and not topics and not nested'

test-fast: setup-tests
	@$(PYTEST) -m 'not vm and not kernels and not topics and not nested'

test-nested: setup
	@$(PYTEST) tests/nested

test-topics: setup
	@$(PYTEST) tests/topics

test-kernels: setup
	@$(VENV)/bin/python -m pytest -q tests/kernels

# nights.py is no command: it makes up what others measure. One that misses its bound does not stop the others.
BENCHES := $(filter-out bench/nights.py,$(wildcard bench/*.py))

bench: setup
	@missed=; for one in $(BENCHES); do \
	    echo "== $$one"; $(VENV)/bin/python $$one || missed="$$missed $$one"; \
	done; test -z "$$missed" || { echo "failed:$$missed" >&2; exit 1; }

dist: setup
	@$(VENV)/bin/python -m build --wheel

clean:
	rm -rf $(VENV) dist build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
