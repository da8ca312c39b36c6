# make train : environment, build, then the main job on a recipe that fits the hardware.
# make test  : the same set-up, then the checks of every change.
# make fast  : the quick tests alone, with their coverage.
# make slow  : the tests that make test leaves out.
# make lint  : style, types, layers and words, without a test.
# make docs  : the documentation as a site, in build/site.
#
#   make train MINUTES=30                                    the budget without a GPU; ten minutes by default
#   make train ARGS="trainer.max_steps=2000 seed=3"          any Hydra overrides; a number of steps replaces the budget
#   make train IMAGE=nuclei.tif TRUTH=labels.tif             the real volume segmented at the end
#   make test PYTHON=python3.13 VENV=.venv-3.13              another Python, 3.11 or newer
#   make train UV=uv                                         uv in place of venv and pip
#   make test WORKERS=8                                      processes that share the tests

PYTHON   ?=
UV       ?=
VENV     ?= .venv
WORKERS  ?= 2
HARDWARE ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo laptop)
MINUTES  ?= 10
ARGS     ?=
IMAGE    ?=
TRUTH    ?=

# Without an NVIDIA GPU the CPU build of torch is enough; the constraint keeps newer, CUDA-sized builds away.
CONSTRAINTS = $(if $(filter gpu,$(HARDWARE)),,-c constraints-cpu.txt)
BIN         = $(VENV)/bin
# pip compiles modules on one core. Some packages hold modules for other versions of Python, which do not compile.
COMPILE     = $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
# The recipe of a GPU has its number of steps; without one the steps are measured and fitted to the budget.
BUDGET      = $(if $(filter gpu,$(HARDWARE))$(findstring trainer.max_steps,$(ARGS))$(findstring minutes,$(ARGS)),,minutes=$(MINUTES))

ifeq ($(UV),)
CREATE  = python=$$(.ci/python $(PYTHON)) && "$$python" -m venv $(VENV) \
	&& $(BIN)/python -m pip install --quiet --upgrade pip
INSTALL = $(BIN)/python -m pip install --quiet --no-compile $(CONSTRAINTS)
else
CREATE  = $(UV) venv --python "$(or $(PYTHON),>=3.11)" $(VENV)
INSTALL = $(UV) pip install --quiet --python $(BIN)/python $(CONSTRAINTS)
endif

# Work is shared by processes of one thread each: torch gains less from a second thread than the tests from a worker.
# Compiled tests are stored, even where PYTHONDONTWRITEBYTECODE is set: every worker compiles them for 14 s otherwise.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
HERE   = not compile and not interpreter

.PHONY: help train test fast slow docs setup lint hosted check compiled interpreted clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml CMakeLists.txt constraints-cpu.txt $(wildcard anystar_torch/kernels/csrc/*)
	test -x $(BIN)/python || { $(CREATE); }
	$(INSTALL) torch
	$(INSTALL) --editable ".[dev]"
	$(COMPILE)
	touch $@

train: setup
	$(BIN)/python train.py +experiment=mix hardware=$(HARDWARE) $(BUDGET) \
		$(if $(IMAGE),report.image=$(IMAGE)) $(if $(TRUTH),report.truth=$(TRUTH)) $(ARGS)

test: lint check compiled interpreted

lint: setup hosted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.prose

# Files that a code host reads. actionlint is not among the checks: its package has no program in it, and downloads one
# when it is installed, which a machine without access to that place cannot do.
hosted: setup
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/zizmor --offline --quiet --min-severity medium .github
	$(BIN)/pre-commit validate-config

check: setup
	$(PYTEST) -m "$(HERE) and not slow"

compiled: setup
	ANYSTAR_UNCHECKED=1 $(PYTEST) -m "compile and not slow"

interpreted: setup
	TRITON_INTERPRET=1 $(PYTEST) -m "interpreter and not slow" tests/kernels

# Without the run-time checks of shapes, which coverage makes slower still; make test has them.
fast: setup
	ANYSTAR_UNCHECKED=1 $(PYTEST) -p tests.before_coverage -m "$(HERE) and not slow and not long" --cov --cov-report=term:skip-covered

slow: setup
	$(PYTEST) -m "$(HERE) and slow"
	ANYSTAR_UNCHECKED=1 $(PYTEST) -m "compile and slow" || test $$? -eq 5  # 5: there is none
	TRITON_INTERPRET=1 $(PYTEST) -m "interpreter and slow" tests/kernels || test $$? -eq 5

# Every warning is an error. The variable turns off an announcement of the theme.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

clean:
	rm -rf $(VENV) build dist outputs anystar_torch/kernels/_native*.so
