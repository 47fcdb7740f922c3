# Everything a person or a machine does with this checkout. `make demo` needs nothing before it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRA  ?= cpu
STAMP  := $(VENV)/.installed-$(EXTRA)
DEV    := $(VENV)/.installed-dev

.PHONY: setup demo install image test test-gpu check format lock docs texts bench clean

setup: $(STAMP)

$(STAMP): requirements/$(EXTRA).txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/$(EXTRA).txt -r requirements/build.txt
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet --require-hashes -r requirements/npm.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(DEV): $(STAMP) requirements/dev.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
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

# Side by side: much of a test's time is waiting, for a browser, a start or a machine that boots. Those
# that start most come first, in the order of their folders.
test: $(DEV)
	$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder $(ARGS)

# Needs no more than cuda-bindings, numpy, onnxruntime or onnxruntime-gpu, onnx, pydantic-settings,
# loguru and pytest (so pytest-timeout's option may be unknown), and the libraries to be tested.
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
test-gpu:
	ORT_DISABLE_TELEMETRY=1 $(GPU_PYTHON) -m pytest -m gpu -o strict_config=false -W ignore::pytest.PytestConfigWarning tests/contracts/test_cuda.py tests/contracts/test_engines.py $(ARGS)

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
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

# Hash-locked requirements, one file for each extra, without any registry's address.
lock: $(DEV)
	sh requirements/lock.sh

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
