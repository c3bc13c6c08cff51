# evalkit's targets. `make eval` and `make test` set up everything they need; `make help` lists all.

PYTHON ?= python3
VENV   ?= .venv

# What to evaluate, on what, and where the results go.
MODEL  ?= tiny
DATA   ?=
DEVICE ?= auto
DTYPE  ?= auto
LIMIT  ?=
OUT    ?= results
ARGS   ?=
# What `make gate` compares the model with, and by how many points it may be worse.
BASELINE ?= tests/golden/runs/tiny-samples
MARGIN   ?= 1.0

# The torch that the environment of this Makefile gets; constraints.txt pins the version. On a machine where the plain
# index would bring a build that you don't want: make setup TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH  ?= torch

BIN     := $(VENV)/bin
EVALKIT := $(BIN)/evalkit
RUN      = $(EVALKIT) run --model $(MODEL) --device $(DEVICE) --dtype $(DTYPE) --output $(OUT) \
           $(if $(DATA),$(foreach source,$(DATA),--data $(source))) $(if $(LIMIT),--limit $(LIMIT)) $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup eval eval-gpt4all eval-agieval eval-bigbench eval-truthfulqa eval-humaneval report verify infer gate \
        test test-quick test-crash test-pythons test-openmind lint format clean

help:  ## List the targets
	@echo "Targets (variables: MODEL=$(MODEL) DATA=$(DATA) DEVICE=$(DEVICE) DTYPE=$(DTYPE) LIMIT=$(LIMIT) OUT=$(OUT)):"
	@grep -hE '^[a-z][a-z0-9-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  %-18s %s\n", $$1, $$2}'

setup: $(VENV)/.ready  ## Make the environment .venv

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else f"evalkit needs Python 3.10 to 3.13, {sys.executable} is {v[0]}.{v[1]}; choose another with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[model,dev]'
	@touch $@

eval: setup  ## Run all five suites (MODEL=tiny on the built-in samples unless told otherwise)
	$(RUN)

eval-gpt4all: setup  ## Run the GPT4All suite
	$(RUN) --suite gpt4all

eval-agieval: setup  ## Run the AGIEval suite
	$(RUN) --suite agieval

eval-bigbench: setup  ## Run the BigBench suite
	$(RUN) --suite bigbench

eval-truthfulqa: setup  ## Run the TruthfulQA suite
	$(RUN) --suite truthfulqa

eval-humaneval: setup  ## Run HumanEval (pass@1)
	$(RUN) --suite humaneval

report: setup  ## Rebuild the tables of a run: make report RUN_DIR=results/<model>/<time> (the newest if not given)
	$(EVALKIT) report $(or $(RUN_DIR),$(shell ls -td $(OUT)/*/*/run.json 2>/dev/null | head -1))

verify: setup  ## Prove that requests and metrics are the published ones: make verify DATA=FOLDER
	$(EVALKIT) verify $(if $(DATA),--data $(DATA))

infer: setup  ## Ask the model one question with its chat template
	$(EVALKIT) infer --model $(MODEL) --device $(DEVICE) --dtype $(DTYPE) --prompt "$(or $(PROMPT),What is the capital of France.)"

gate: setup  ## The CI gate: the built-in model against its recorded run (BASELINE=, MARGIN=)
	$(EVALKIT) gate --run-model $(MODEL) --baseline $(BASELINE) --margin $(MARGIN) $(ARGS)

test: setup lint test-pythons  ## Lint, type-check and run all tests
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term:skip-covered

test-quick: setup  ## Run the quick subset (under 2 minutes)
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-crash: setup  ## Run all crash tests: 500 kills at random times, and at every write, fsync and rename
	EVALKIT_CRASH_POINTS=500 $(BIN)/python -m pytest tests/integration/test_crash.py

test-pythons: setup  ## Run the torch-free tests on every Python from 3.10 to 3.13 that this machine has
	$(BIN)/python tests/other_pythons.py

OPENMIND_PYTHON ?= python3.11

test-openmind: .venv-openmind/.ready  ## Run the adapter's tests with the real openmind 1.0.0 in an environment of its own
	.venv-openmind/bin/python -m pytest tests/unit/models tests/unit/test_infer.py tests/unit/test_lm_eval.py \
	    tests/integration/test_openmind_real.py tests/integration/test_npu_simulated.py tests/integration/test_huggingface_hub.py

.venv-openmind/.ready: pyproject.toml constraints-openmind.txt
	$(OPENMIND_PYTHON) -m venv .venv-openmind
	.venv-openmind/bin/python -m pip install --quiet --disable-pip-version-check -e '.[model]' -r constraints-openmind.txt pytest hypothesis
	.venv-openmind/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python openmind==1.0.0 openmind-hub==0.9.1
	@touch $@

lint: setup  ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup  ## Format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove environments and caches (results stay)
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
