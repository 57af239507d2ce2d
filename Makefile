# Two commands do everything on a fresh machine: `make demo` and `make test`.
# `make prove` runs the proofs that have two lengths at their full one: more kills, longer runs.
# It then changes load-bearing code in 300 spots, one at a time, and prints what no quick test notices.
# TORCH_INDEX names an extra package index to take PyTorch from, for example one with CPU builds only.
PYTHON ?= python3
TORCH_INDEX ?=
PIP_FLAGS := --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
BIN := .venv/bin

.PHONY: demo test prove bench lint clean

demo: .venv/runtime
	$(BIN)/tinsmith build recipes/licences.toml

test: .venv/dev lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

prove: .venv/dev
	$(BIN)/python -m pytest -m proof --full --timeout 3600
	$(BIN)/python tests/mutate.py

# One of them: make bench ONLY=speed. A try in minutes: make bench BENCH='--quick'. See benchmarks/README.md.
bench: .venv/runtime
	$(BIN)/python -m benchmarks $(ONLY) $(BENCH) $(if $(TORCH_INDEX),--pip='--extra-index-url $(TORCH_INDEX)')

lint: .venv/dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/mypy benchmarks
	$(BIN)/lint-imports --no-cache

clean:
	rm -rf runs .venv

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/runtime: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable .
	@touch $@

.venv/dev: .venv/runtime
	$(BIN)/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev]'
	@touch $@
