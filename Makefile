PYTHON ?= python3
VENV ?= .venv
SEEDS ?= 1
BIN = $(VENV)/bin
READY = $(VENV)/.installed

.PHONY: demo test lint verify bench wheel-check clean

demo: $(READY)  ## install, train the introductory sweep, look at it
	RUN=$$($(BIN)/sp sweep configs/intro.yaml) && $(BIN)/sp show "$$RUN" && echo "run folder: $$RUN"

test: $(READY) lint  ## style, types and tests, under ten minutes on two cores
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

verify: $(READY)  ## train every fast configuration anew, check its claims; then the slow tests (SEEDS=5: for five seeds)
	RUNS=$$(mktemp -d) && trap 'rm -rf "$$RUNS"' EXIT && $(BIN)/sp verify --seeds $(SEEDS) --runs-dir "$$RUNS"
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile

wheel-check: $(READY)  ## build the wheel, install it alone, train and report with it: under a minute
	@$(BIN)/python .ci/wheel.py

bench: $(READY)  ## models x steps per second on this machine
	$(BIN)/sp bench

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed (make PYTHON=...)" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
