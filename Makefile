# Everything a newcomer needs: `make demo` runs the main job, `make test` passes the tests. Both do all their own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEBIAN_TEST_PACKAGES := bpftool clang gcc iproute2 libbpf-dev

.PHONY: demo test lint types layers unit bench docs venv venv-test debian clean

demo: venv
	$(BIN)/osmia demo

test: venv-test debian lint types layers unit

lint: venv-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv-test
	$(BIN)/mypy

layers: venv-test
	$(BIN)/lint-imports

unit: venv-test
	$(BIN)/pytest -q -n 2 --dist loadgroup $(PYTEST_ARGS)

docs: venv-test
	$(BIN)/python scripts/docs.py

bench: venv-test
	$(BIN)/python benchmarks/run.py

venv: $(VENV)/.installed
venv-test: $(VENV)/.installed-test

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	$(BIN)/python -m compileall -q src/osmia
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	$(BIN)/python -m compileall -q src/osmia
	touch $@ $(VENV)/.installed

# Tests that need a missing package skip and say so; as root on Debian the packages are installed first.
debian:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  missing=""; \
	  for package in $(DEBIAN_TEST_PACKAGES); do \
	    dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	  done; \
	  if [ -n "$$missing" ]; then \
	    echo "installing for the tests:$$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null \
	      || echo "could not install$$missing: the tests that need them will skip"; \
	  fi; \
	fi

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
