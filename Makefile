# Everything a fresh machine needs: Python 3.11 or later with venv, make, and the package index.
PYTHON ?= python3
BIN := .venv/bin
export LENSMILL_HOME ?= $(CURDIR)/.lensmill

.PHONY: install browser lint types imports test test-all demo docs clean

install: .venv/installed

# one environment for everything; made again when the dependencies change
.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev,train,s3]'
	touch $@

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

imports: install
	$(BIN)/lint-imports

# pages are tested in a real one; without it those tests are skipped and say so
browser:
	command -v chromium >/dev/null || (test "$$(id -u)" = 0 && apt-get install -y -qq chromium >/dev/null) || \
		echo "no Chromium: tests of pages will be skipped"

# a test process for each of two cores: more threads of linear algebra than one only quarrel
test: export OMP_NUM_THREADS = 1
test: install  ## all but the slow and gpu markers
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow and not gpu"

test-all: install  ## everything this machine can run
	$(BIN)/pytest -n 2 --dist worksteal

demo: install  ## recipe to report on embedded defaults, a few minutes on two cores
	$(BIN)/lensmill run --out demo --workers 2

docs: install
	$(BIN)/pip install --quiet --editable '.[docs]'
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv .lensmill .pytest_cache .mypy_cache .ruff_cache .hypothesis site
