# make demo       trains, evaluates and explains a small ViT on real pictures (DOMAIN=vision)
# make test       sets everything up and runs the tests (under 30 minutes on two cores); of one package with PKG=vision,
#                 one of them with ARGS="-k name"
# make test-portable  the tests that depend on the machine, as others would run them: vectors, threads, no compiler
# make test-minimum  core with the lowest versions that pyproject.toml allows (constraints-min.txt)
# make test-all   the slow ones, too: those above, every extra in an empty environment, all kernels
# make lint       ruff, pyright, import-linter
# make docs       the site, into build/docs
# make bench      the benchmarks against the peers
# make kernels    compiles every GPU kernel for every target ahead of time and audits it (hours; the first time)

PYTHON ?= python3
VENV ?= .venv
DOMAIN ?= vision
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# One thread per process: the tests run side by side, and small tensors gain nothing from more.
JOBS ?= 2
# One package (PKG=vision) in the place of all, and what pytest is told beside (ARGS="-k name").
PKG ?=
ARGS ?=
TESTED = packages$(if $(PKG),/$(PKG)/tests)
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal --durations 15

.PHONY: demo test test-portable test-minimum test-all lint docs bench kernels clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch and torchvision come first and together: a constraint alone would let pip try other pairs.
$(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch torchvision torchaudio
	$(PIP) -e ".[$*]"
	touch $@

demo: $(VENV)/.$(DOMAIN)
	$(BIN)/python tools/demo/$(DOMAIN).py

test: $(VENV)/.dev
	$(TEST) $(TESTED) $(ARGS)
	$(if $(PKG)$(ARGS),,TRITON_INTERPRET=1 $(TEST) -m interpret packages/core/tests)

test-portable: $(VENV)/.dev
	$(BIN)/python tools/portable/run.py --jobs $(JOBS)

test-minimum:
	$(PYTHON) tools/check_minimum.py

test-all: test test-portable test-minimum
	$(TEST) -m "slow and not gpu and not interpret" packages
	$(BIN)/python tools/check_extras.py
	$(BIN)/python tools/kernels/audit.py --quick

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache

docs: $(VENV)/.dev $(VENV)/.docs
	OMP_NUM_THREADS=1 $(BIN)/python tools/docs/build.py

bench: $(VENV)/.dev
	$(BIN)/python tools/bench/attention.py
	$(BIN)/python tools/bench/sequence_ops.py
	$(BIN)/python tools/bench/deformable.py
	$(BIN)/python tools/bench/vision.py
	$(BIN)/python tools/bench/swin.py
	$(BIN)/python tools/bench/timeseries.py

kernels: $(VENV)/.dev
	$(BIN)/python tools/kernels/audit.py

clean:
	rm -rf $(VENV) .cache build dist
