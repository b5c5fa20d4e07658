# The two commands of a newcomer are `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

.PHONY: setup demo test lint types fast docs test-slow bench fuzz clean

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("coalsim needs Python 3.11 or newer; say make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group test --group lint --group docs
	touch $(READY)

demo: setup
	@$(BIN)/coalsim replay tests/data/compile_excerpt.perf.txt.gz
	@$(BIN)/coalsim replay tests/data/compile_excerpt.perf.txt.gz --machine clx2 --clone 32
	@rm -rf out/demo && $(BIN)/coalsim run munmap_shared --set workload.cpus=16 --out out/demo --json -q > /dev/null
	@echo; echo "What one munmap waits for when 15 other CPUs have touched its page (8 x 15 Ivy Bridge-EX):"
	@$(BIN)/coalsim where --op munmap out/demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

fast: setup
	$(BIN)/python -m pytest -q -m "not slow" -n $(WORKERS) --dist worksteal --benchmark-disable

docs: setup
	$(BIN)/python -m sphinx -a -E -W --keep-going -n -q -b html docs out/docs

test: lint types fast docs

test-slow: setup
	$(BIN)/python -m pytest -q -m slow -n $(WORKERS)

bench: setup
	$(BIN)/python -m pytest -q benchmarks --benchmark-only --benchmark-disable-gc

fuzz: setup
	HYPOTHESIS_PROFILE=explore FUZZ_EXAMPLES=$(or $(EXAMPLES),20000) $(BIN)/python -m pytest -q -n $(WORKERS) \
	  tests/topology/test_importer_fuzz.py tests/workloads/trace/test_trace_fuzz.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis out
