# Everything a developer runs. Each target makes its own environment first: `make demo` on a fresh machine needs only Python
# 3.11 or later, a C++20 compiler and CMake (pip brings CMake where there is none).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUILD_INPUTS := pyproject.toml CMakeLists.txt $(wildcard csrc/*.cpp csrc/*.h)

.PHONY: install demo test lint format bench docs clean

install: $(STAMP)

# torch comes first and alone: it decides which build of everything after it is the right one.
$(STAMP): $(BUILD_INPUTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "torch==2.13.0"
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/fullgraph bench

docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going docs docs/_build/html

clean:
	rm -rf $(VENV) build docs/_build
