# Everything a developer runs. Each target makes its own environment first: `make demo` on a fresh machine needs only Python
# 3.11 or later, a C++20 compiler and CMake (pip brings CMake where there is none).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUILD_INPUTS := pyproject.toml CMakeLists.txt $(wildcard csrc/*.cpp csrc/*.h)

.PHONY: install demo test lint format bench docs wheel sanitize clean

install: $(STAMP)

# torch comes first and alone: it decides which build of everything after it is the right one.
$(STAMP): $(BUILD_INPUTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "torch==2.13.0"
	@echo "compiling the kernels, which takes a few minutes of each core"
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal

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

# A source distribution, and a wheel made from it. It uses the OpenMP that torch brings: a second one in the process would have threads of its own.
wheel: $(STAMP)
	rm -rf dist build/dist
	$(BIN)/python -m build --outdir build/dist
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --exclude libgomp.so.1 --wheel-dir dist build/dist/*.whl
	cp build/dist/*.tar.gz dist
	$(BIN)/python -m tests.versions dist/*.whl

# The tests of the kernels on builds with AddressSanitizer and UndefinedBehaviorSanitizer; those with several threads also with
# ThreadSanitizer. Python and torch are not instrumented: their leaks are not looked for and their own races not reported.
# Warnings stay warnings: at -O0 with instrumentation GCC warns of reads that do not happen.
SANITIZE_TESTS := tests/ops/test_sums.py tests/ops/test_extrema.py tests/ops/test_attention.py tests/ops/test_dropout.py \
  tests/ops/test_nonzero.py tests/ops/test_norms.py
sanitize: $(STAMP)
	for kind in address thread; do \
	  cmake -S . -B build/sanitize-$$kind -DCMAKE_BUILD_TYPE=None -DFULLGRAPH_SANITIZE=$$kind -DFULLGRAPH_WARNINGS_AS_ERRORS=OFF \
	    -DPython_EXECUTABLE=$(abspath $(BIN)/python) && cmake --build build/sanitize-$$kind --parallel || exit 1; \
	done
	FULLGRAPH_CORE=$$(ls $(CURDIR)/build/sanitize-address/_core*.so) \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
	  $(BIN)/python -m pytest -s --timeout 1800 -p tests.other_core $(SANITIZE_TESTS)
	FULLGRAPH_CORE=$$(ls $(CURDIR)/build/sanitize-thread/_core*.so) \
	  TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1" LD_PRELOAD=$$($(CXX) -print-file-name=libtsan.so) \
	  setarch -R $(BIN)/python -m pytest -s --timeout 1800 -p tests.other_core -k "threads or hub" $(SANITIZE_TESTS)

clean:
	rm -rf $(VENV) build docs/_build
