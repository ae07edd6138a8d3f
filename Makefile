# Wayside: every command a person needs. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= ../shared/data
# Raspberry Pi OS ships picamera2 through apt only: let the environment see it where it is.
VENV_FLAGS := $(shell $(PYTHON) -c 'import picamera2' 2>/dev/null && echo --system-site-packages)
# ... and on Bookworm keep to NumPy 1, which the system's picamera2 is built against.
LOCK := $(shell $(PYTHON) -c 'import picamera2, numpy, sys; sys.exit(numpy.__version__[:2] != "1.")' 2>/dev/null && echo -pi-bookworm)

# make run: what it plays and for how long
DURATION ?=
IMAGES ?=
VIDEO ?=
CAMERA ?=
RUN_DIR ?= run

.PHONY: help run test test-slow test-train hw-test lint format docs bench report train lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.made-stamp:
	@$(PYTHON) .ci/make_venv.py $(VENV) $(VENV_FLAGS)
	@touch $@

$(VENV)/.run-stamp: requirements/run$(LOCK).txt pyproject.toml | $(VENV)/.made-stamp
	@echo "installing what Wayside runs on (once) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/run$(LOCK).txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.dev-stamp: requirements/dev$(LOCK).txt $(VENV)/.run-stamp
	@echo "installing the developer's tools (once) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev$(LOCK).txt
	@$(PYTHON) .ci/get_tpm.py
	@touch $@

run: $(VENV)/.run-stamp ## the whole appliance and its office, live (DURATION=s IMAGES=folder VIDEO=file CAMERA=sim|picamera2|v4l2)
	@$(BIN)/wayside demo --run-dir "$(RUN_DIR)" $(if $(DURATION),--duration $(DURATION)) $(if $(IMAGES),--images "$(IMAGES)") \
	  $(if $(VIDEO),--video "$(VIDEO)") $(if $(CAMERA),--camera $(CAMERA))

test: $(VENV)/.dev-stamp ## the tests that every commit must pass
	@$(BIN)/python -m pytest

test-slow: $(VENV)/.dev-stamp ## the longer suites (kill tables, the soak), then a million inputs for every parser
	@$(BIN)/python -m pytest -m slow
	@$(BIN)/python -m tests.fuzz --jobs $$(nproc)

test-train: $(VENV)/.train-stamp ## the tests of the training code (needs torch)
	@$(BIN)/python -m pytest -m train tests/inference/training

hw-test: $(VENV)/.dev-stamp ## the rig: simulated hardware, or iron with RIG=file
	@$(BIN)/python -m pytest hw_tests $(if $(RIG),--rig "$(RIG)")

lint: $(VENV)/.dev-stamp ## ruff, mypy strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev-stamp ## let ruff put the code in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev-stamp ## write docs/commands.md from the commands themselves
	@$(BIN)/python .ci/write_docs.py

bench: $(VENV)/.run-stamp build/models/plate-free/manifest.jsonl ## the models against their goals, and the speed of each part (PEER=python with fast-alpr)
	@$(BIN)/wayside bench models --data $(DATA) --plate-free build/models/plate-free/manifest.jsonl $(if $(PEER),--peer "$(PEER)")
	@$(BIN)/wayside bench pipeline --json -
	@$(BIN)/wayside bench match --json -
	@$(BIN)/wayside bench store --json -

$(VENV)/.report-stamp: requirements/report.in $(VENV)/.run-stamp
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements/report.in
	@touch $@

build/models/plate-free/manifest.jsonl: | $(VENV)/.run-stamp
	@$(BIN)/python -m inference.plate_free --manifest $(DATA)/val.jsonl --root $(DATA) --out build/models/plate-free

report: $(VENV)/.report-stamp build/models/plate-free/manifest.jsonl ## the models' report with its curves (docs/models)
	@$(BIN)/wayside bench report --data $(DATA) --plate-free build/models/plate-free/manifest.jsonl

$(VENV)/.train-stamp: requirements/train.in $(VENV)/.dev-stamp
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements/train.in
	@touch $@

train: $(VENV)/.train-stamp ## train, convert, evaluate, write the model manifest (hours)
	@$(BIN)/python -m inference.training all --data $(DATA) $(TRAIN_FLAGS)

lock: | $(VENV)/.made-stamp ## write the locked requirements anew
	@$(BIN)/python -m pip install -q --disable-pip-version-check 'uv>=0.9'
	@for target in "run --extra office requirements/build.in" "dev --extra office --extra dev requirements/build.in" "device" \
	  "device-pi-bookworm -c requirements/pi-bookworm.in" \
	  "run-pi-bookworm --extra office requirements/build.in -c requirements/pi-bookworm.in" \
	  "dev-pi-bookworm --extra office --extra dev requirements/build.in -c requirements/pi-bookworm.in"; do set -- $$target; out=$$1; shift; \
	  $(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate -c requirements/constraints.in pyproject.toml \
	    "$$@" -o requirements/$$out.txt; done

clean: ## remove the run folder and caches (not the environment)
	@rm -rf $(RUN_DIR) .pytest_cache .mypy_cache .ruff_cache .hypothesis
