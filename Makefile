# make train : environment, build, then the main job on a recipe that fits the hardware
# make test  : the same set-up, then every check
#
#   make train ARGS="trainer.max_steps=2000 seed=3"          any Hydra overrides
#   make train IMAGE=nuclei.tif TRUTH=labels.tif             the real volume segmented at the end

PYTHON   ?= python3.11
VENV     ?= .venv
HARDWARE ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo laptop)
ARGS     ?=
IMAGE    ?=
TRUTH    ?=

# Without an NVIDIA GPU the CPU build of torch is enough; the constraint keeps newer, CUDA-sized builds away.
CONSTRAINTS = $(if $(filter gpu,$(HARDWARE)),,-c constraints-cpu.txt)
BIN         = $(VENV)/bin

.PHONY: train test setup lint check wheel clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml CMakeLists.txt constraints-cpu.txt $(wildcard anystar_torch/kernels/csrc/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) torch
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) --editable ".[dev]"
	touch $@

train: setup
	$(BIN)/python train.py +experiment=mix hardware=$(HARDWARE) \
		$(if $(IMAGE),report.image=$(IMAGE)) $(if $(TRUTH),report.truth=$(TRUTH)) $(ARGS)

test: lint check

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.prose

check: setup
	$(BIN)/python -m pytest -m "not compile and not interpreter"
	ANYSTAR_UNCHECKED=1 $(BIN)/python -m pytest -m compile
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -m interpreter tests/kernels

clean:
	rm -rf $(VENV) build dist outputs anystar_torch/kernels/_native*.so
