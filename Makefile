# Everything a person or a machine does with this checkout. `make demo` needs nothing before it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRA  ?= cpu
STAMP  := $(VENV)/.installed-$(EXTRA)
DEV    := $(VENV)/.installed-dev
# What is never imported is not compiled: half of the time.
PIP    := $(BIN)/python -m pip install --no-compile

# Whatever somebody has told their Python, it keeps what it has compiled: programs start twice as fast.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo install image test test-quick one test-long test-torch test-gpu check check-types \
	check-style format lock docs texts versions bench clean

setup: $(STAMP)

$(STAMP): requirements/$(EXTRA).txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the packages of requirements/$(EXTRA).txt into $(VENV): a minute or more ..."
	$(PIP) --progress-bar on --require-hashes -r requirements/$(EXTRA).txt -r requirements/build.txt
	command -v npm >/dev/null || $(PIP) --quiet --require-hashes -r requirements/npm.txt
	$(PIP) --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(DEV): $(STAMP) requirements/dev.txt
	$(PIP) --quiet --require-hashes -r requirements/dev.txt
	touch $@

demo: $(STAMP)
	$(BIN)/appliance demo

# The station on a host with systemd and without containers, as root: docs/install.md.
install:
	DESTDIR='$(DESTDIR)' EXTRA='$(EXTRA)' PYTHON='$(PYTHON)' sh systemd/install.sh

# The container image vision-appliance:$(EXTRA), for EXTRA=cpu, cuda, rtx or jetson.
DOCKER ?= docker
image:
	DOCKER_BUILDKIT=1 $(DOCKER) build --file docker/Dockerfile --tag vision-appliance:$(EXTRA) \
		--build-arg EXTRA=$(EXTRA) --build-arg REVISION="$$(git rev-parse HEAD)" \
		--build-arg VERSION="$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' appliance/__init__.py)" $(ARGS) .

# Side by side, with one more process than there are cores: much of a test's time is waiting, for a
# browser, a start or a machine that boots. What failed the last time comes first, then long files.
PYTEST   := $(BIN)/python -m pytest
PARALLEL := --numprocesses=$(shell echo $$(($$(nproc) + 1))) --dist=loadfile --no-loadscope-reorder
FIRST    := $(if $(CI),,--failed-first)

# All that must hold on each change.
test: $(DEV)
	$(PYTEST) $(PARALLEL) $(FIRST) $(ARGS)

# What needs no station, browser or machine: two minutes.
test-quick: $(DEV)
	$(PYTEST) $(PARALLEL) $(FIRST) tests/unit tests/contracts tests/device $(ARGS)

# One file or test, in this process: make one T=tests/unit/test_nms.py
one: $(DEV)
	$(PYTEST) -m "not gpu and not camera" $(T) $(ARGS)

# Endurance: thousands of reconnects, power cuts at every step. By hand, before a release.
test-long: $(DEV)
	$(PYTEST) $(PARALLEL) -m long $(ARGS)

# What PyTorch alone can make; `pip install torch onnxscript` into .venv first.
test-torch: $(DEV)
	$(PYTEST) -m torch $(ARGS)

# Needs no more than cuda-bindings, numpy, onnxruntime or onnxruntime-gpu, onnx, pydantic-settings,
# loguru and pytest (so pytest-timeout's option may be unknown), and the libraries to be tested.
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
test-gpu:
	ORT_DISABLE_TELEMETRY=1 $(GPU_PYTHON) -m pytest -m gpu -o strict_config=false -W ignore::pytest.PytestConfigWarning tests/contracts/test_cuda.py tests/contracts/test_engines.py $(ARGS)

# Types take as long as everything else, and need one core.
check: $(DEV)
	$(MAKE) --no-print-directory --jobs=2 --output-sync check-types check-style

check-types: $(DEV)
	$(BIN)/mypy

check-style: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Ratios within one run on real input; the table, and JSON in benchmarks/results/.
bench: $(DEV)
	$(BIN)/python -m benchmarks $(ARGS)

# The table of settings in README.md and .env.example, from the fields themselves.
docs: $(DEV)
	$(BIN)/python -c "from pathlib import Path; from appliance.settings import document; document.write(Path())"

# What the page says, in the catalogs of its languages: new texts come untranslated, old ones go.
texts: $(DEV)
	$(BIN)/python -c "from pathlib import Path; from appliance.texts import upkeep; upkeep.update_all(Path())"

# What the rules do that engines rest on, at the VERSION beside each; refused where one has not moved.
versions: $(DEV)
	$(BIN)/python -m tests.support.rule_record

# Hash-locked requirements, one file for each extra, without any registry's address.
lock: $(DEV)
	sh requirements/lock.sh

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
