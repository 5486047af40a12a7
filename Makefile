# Worldgate: two commands on a fresh machine, `make demo` and `make test`. Both make .venv first.
#
#   make env         .venv with everything in requirements.lock, hashes verified, and Worldgate itself, editable
#   make demo        the whole loop on the embedded cell; prints installation time and run time
#   make test        what CI runs; make test-all adds the long sweeps
#   make lint        style, types, import rules, dependencies, spelling, licences
#   make format      rewrite the sources in house style
#   make bench       every figure in benchmarks/, quickly; make bench-env installs the peers to compare with
#   make mutation    small faults in the authorisation code, and how many its tests find; an hour on one core
#   make coverage    branches of evidence, record and authorisation that no test takes; fails if there is one
#   make docs        the documentation, warnings as errors, into docs/_build/html
#   make lock        compile requirements.lock anew
#   make clean       remove what the other targets made, .venv aside
#
#   TORCH=cpu make demo   leaves out CUDA (5 GB): torch comes from uv's CPU backend, without hashes

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := uv==0.13.9
# A later `make test` keeps the torch that an earlier `TORCH=cpu make demo` chose.
TORCH ?= $(shell cat $(VENV)/torch 2>/dev/null || echo lock)
WORKERS ?= 2
# A file goes to one worker whole, so that what its tests share is made once; in the order of tests/conftest.py.
DIST := --dist loadfile --no-loadscope-reorder --max-worker-restart 0
STAMP := $(VENV)/installed-$(TORCH)
# The tests of what `make coverage` measures; pyproject.toml says what that is.
COVERING := tests/evidence tests/record $(patsubst %,tests/fleet/test_%.py,authorisation bundle deployments) \
  $(patsubst %,tests/contract/test_%.py,executors gate_checks metrics oracles policies stores trial_formats)

.PHONY: env demo test test-all lint format types bench bench-env mutation coverage docs lock clean
.SILENT:

env: $(STAMP)

$(STAMP): requirements.lock pyproject.toml tools/environment.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Worldgate needs Python 3.11 or newer" >&2; \
	    echo "  got $$($(PYTHON) --version 2>&1) at $(PYTHON)" >&2; \
	    echo "  try: make $(or $(MAKECMDGOALS),env) PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) tools/environment.py $(VENV) --torch $(TORCH) --uv $(UV)
	rm -f $(VENV)/installed-*
	touch $@

demo:
	start=$$(date +%s); $(MAKE) --no-print-directory env || exit $$?; ready=$$(date +%s); \
	$(BIN)/worldgate demo; status=$$?; end=$$(date +%s); \
	echo "installation $$((ready - start)) s, demo $$((end - ready)) s"; exit $$status

test: env
	$(BIN)/python -m pytest -m "not slow" -o faulthandler_timeout=600 -n $(WORKERS) $(DIST)

test-all: env
	$(BIN)/python -m pytest -n $(WORKERS) $(DIST)

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry src
	$(BIN)/typos
	$(BIN)/python tools/licences.py requirements.lock

types: env
	$(BIN)/mypy

format: env
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: env
	for script in benchmarks/*.py; do [ ! -e $$script ] || $(BIN)/python $$script --quick || exit $$?; done

bench-env: env
	for peer in benchmarks/peers/*.txt; do [ -e $$peer ] || continue; name=$$(basename $$peer .txt); \
	  $(PYTHON) -m venv .venv-$$name && $(BIN)/uv pip install --python .venv-$$name/bin/python -r $$peer || exit $$?; done

mutation: env
	$(PYTHON) -m venv .venv-mutation && $(BIN)/uv pip install -q --python .venv-mutation/bin/python "mutmut>=3.8,<4"
	$(BIN)/python benchmarks/mutation.py

# An environment of its own, which sees the product's packages through a path file.
coverage: env
	$(BIN)/python -m venv .venv-coverage && $(BIN)/uv pip install -q --python .venv-coverage/bin/python "coverage>=7.10,<8"
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
	  > $$(.venv-coverage/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/worldgate-environment.pth
	rm -rf .venv-coverage/data && mkdir .venv-coverage/data
	.venv-coverage/bin/coverage run -m pytest -m "not slow" -q -n $(WORKERS) --dist loadfile $(COVERING)
	.venv-coverage/bin/coverage combine -q && .venv-coverage/bin/coverage report

docs: env
	$(BIN)/sphinx-build -W --keep-going -n -q -b html docs docs/_build/html
	echo "docs/_build/html/index.html"

lock:
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache docs/_build docs/reference/generated \
	  dist build worldgate-demo
	find src tests tools docs -name __pycache__ -type d -prune -exec rm -rf {} +
