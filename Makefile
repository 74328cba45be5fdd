# make demo: record a real program, compare allocators on the recording, simulate a user program
# make test: everything a change must pass: three minutes, and one more to compile the libraries the first time
# make test-long: some minutes more, in CI too; make test-all: all there is, on demand

PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/.ready
HEAPWRIGHT := $(VENV)/bin/heapwright
DEMO := $(VENV)/demo.hwt

.PHONY: demo test test-long test-all lint setup clean

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(READY)
	PYTHONMALLOC=malloc $(HEAPWRIGHT) record -o $(DEMO) -- $(VENV)/bin/python examples/record_me.py
	$(HEAPWRIGHT) compare $(DEMO) -a linked_list -a kr -a hoard -a system
	$(HEAPWRIGHT) simulate boxtest -a kr

test: $(READY)
	# compile side by side what the tests will share
	$(VENV)/bin/python -c 'from heapwright.allocators import ALLOCATORS; print(*ALLOCATORS)' \
	  | xargs -n 1 -P 2 sh -c '$(HEAPWRIGHT) run -a "$$0" -- true'
	$(VENV)/bin/python -m pytest -q -n auto --dist worksteal

test-long: $(READY)
	$(VENV)/bin/python -m pytest -q -n auto -m slow tests/allocators tests/cli tests/docs tests/real/test_programs.py \
	  tests/real/test_cface.py tests/conformance/test_mutation.py --deselect tests/conformance/test_mutation.py::test_most_mutants_are_killed

test-all: $(READY)
	$(VENV)/bin/python -m pytest -q -n auto -m 'slow or not slow'

lint: $(READY)
	$(VENV)/bin/ruff check src tests tools examples bench
	$(VENV)/bin/ruff format --check src tests tools examples bench
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
