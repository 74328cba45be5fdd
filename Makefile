# make demo       record a real Python program, compare allocators on the recording, simulate a user program
# make test       the ordinary tests: some minutes on two cores, and three more to compile the libraries the first time
# make test-long  the tests marked `long`: browsers, other processes' memory, compilers, larger searches
# make check      everything that a change must pass: lint, types, both kinds of tests, the demo, the documents
# make docs       the documents as a site, in .venv/site; a warning fails the build
# make nightly    what takes hours: the tests marked `slow` too, full conformance checks, mutation; commits docs/proof

PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/.ready
unexport PYTHONDONTWRITEBYTECODE # each of the many processes that tests start would compile all modules again
HEAPWRIGHT := $(VENV)/bin/heapwright
PYTEST := $(VENV)/bin/python -m pytest -q -n auto --dist worksteal
# Compiled code that hangs hears no signal: its process ends, and the test is named as failed.
GUARD := -o faulthandler_timeout=700 -o faulthandler_exit_on_timeout=true
DEMO := $(VENV)/demo.hwt
SITE := $(VENV)/site

.PHONY: demo test test-long check nightly docs lint setup libraries clean

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(READY)
	PYTHONMALLOC=malloc $(HEAPWRIGHT) record -o $(DEMO) -- $(VENV)/bin/python examples/record_me.py
	$(HEAPWRIGHT) compare $(DEMO) -a linked_list -a kr -a wright -a system
	$(HEAPWRIGHT) simulate boxtest -a kr

libraries: $(READY)
	$(VENV)/bin/python tools/compile_libraries.py

test: libraries
	$(PYTEST) $(GUARD)

test-long: libraries
	$(PYTEST) $(GUARD) -m 'long and not slow'

lint: $(READY)
	$(VENV)/bin/ruff check src tests tools examples bench
	$(VENV)/bin/ruff format --check src tests tools examples bench
	$(VENV)/bin/mypy

docs: $(READY)
	$(VENV)/bin/python -m sphinx -W --keep-going -q -b html docs $(SITE)
	@echo open $(SITE)/index.html

check:
	$(MAKE) lint
	$(MAKE) test
	$(MAKE) demo
	$(MAKE) docs
	$(MAKE) test-long

nightly: libraries
	$(PYTEST) -m '' --hypothesis-profile=thorough
	$(VENV)/bin/python tools/make_proof.py all
	git diff --quiet -- docs/proof docs/proof.md || git commit -m "docs: what the nightly run of $$(date -I) reached" -- docs/proof docs/proof.md

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
