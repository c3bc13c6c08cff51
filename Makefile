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
# Suites, with spaces between them; empty for all five.
SUITE  ?=
ARGS   ?=
# What `make gate` compares the model with, and by how many points it may be worse.
BASELINE ?= tests/golden/runs/tiny-samples
MARGIN   ?= 1.0

# The torch that the environment of this Makefile gets; constraints.txt pins the version. On a machine where the plain
# index would bring a build that you don't want: make setup TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH  ?= torch

BIN     := $(VENV)/bin
EVALKIT := $(BIN)/evalkit
# Values travel through the environment, so that spaces and quotes in them reach the command as they are. DATA may
# name several sources with spaces between them, unless it is a folder as a whole.
PROMPT ?= What is the capital of France.
export MODEL DATA DEVICE DTYPE LIMIT OUT SUITE PROMPT BASELINE MARGIN
RUN = set --; \
  if [ -d "$$DATA" ]; then set -- --data "$$DATA"; else for s in $$DATA; do set -- "$$@" --data "$$s"; done; fi; \
  for s in $(if $(1),$(1),$$SUITE); do set -- "$$@" --suite "$$s"; done; \
  if [ -n "$$LIMIT" ]; then set -- "$$@" --limit "$$LIMIT"; fi; \
  $(EVALKIT) run --model "$$MODEL" --device "$$DEVICE" --dtype "$$DTYPE" --output "$$OUT" "$$@" $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup eval eval-gpt4all eval-agieval eval-bigbench eval-truthfulqa eval-humaneval report verify infer gate \
        test test-quick test-real real-model test-crash test-pythons pythons test-openmind lint format clean

# Containers set this one to keep their layers small. Here it would have every process, and the tests start thousands,
# compile evalkit anew.
unexport PYTHONDONTWRITEBYTECODE

help:  ## List the targets
	@echo "Targets (variables: MODEL=$(MODEL) DATA=$(DATA) DEVICE=$(DEVICE) DTYPE=$(DTYPE) LIMIT=$(LIMIT) OUT=$(OUT) SUITE=$(SUITE)):"
	@grep -hE '^[a-z][a-z0-9-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  %-18s %s\n", $$1, $$2}'

setup: $(VENV)/.ready  ## Make the environment .venv

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else f"evalkit needs Python 3.10 to 3.13, {sys.executable} is {v[0]}.{v[1]}; choose another with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[model,dev]'
	@touch $@

eval: setup  ## Run all five suites (MODEL=tiny on the built-in samples unless told otherwise)
	@$(call RUN)

eval-gpt4all: setup  ## Run the GPT4All suite
	@$(call RUN,gpt4all)

eval-agieval: setup  ## Run the AGIEval suite
	@$(call RUN,agieval)

eval-bigbench: setup  ## Run the BigBench suite
	@$(call RUN,bigbench)

eval-truthfulqa: setup  ## Run the TruthfulQA suite
	@$(call RUN,truthfulqa)

eval-humaneval: setup  ## Run HumanEval (pass@1)
	@$(call RUN,humaneval)

report: setup  ## Rebuild the tables of a run: make report RUN_DIR=results/<model>/<time> (the newest if not given)
	$(EVALKIT) report $(or $(RUN_DIR),$(shell ls -td $(OUT)/*/*/run.json 2>/dev/null | head -1))

verify: setup  ## Prove that requests and metrics are the published ones: make verify DATA=FOLDER
	$(EVALKIT) verify $(if $(DATA),--data "$$DATA")

infer: setup  ## Ask the model one question with its chat template
	$(EVALKIT) infer --model "$$MODEL" --device "$$DEVICE" --dtype "$$DTYPE" --prompt "$$PROMPT"

gate: setup  ## The CI gate: the built-in model against its recorded run (BASELINE=, MARGIN=)
	$(EVALKIT) gate --run-model "$$MODEL" --baseline "$$BASELINE" --margin "$$MARGIN" $(ARGS)

test: setup  ## Lint, type-check and run all tests
	@$(MAKE) --no-print-directory -j 2 lint pythons real-model
	@$(MAKE) --no-print-directory test-pythons
	$(BIN)/python -m pytest -n 2 --ignore tests/real --cov --cov-report=term:skip-covered
	@$(MAKE) --no-print-directory test-real

real-model: setup  ## Fetch the tests' trained model (SmolLM2-135M-Instruct) and Mistral's tokenizer, kept in ~/.cache/evalkit-tests
	@$(BIN)/python tests/real/make_model.py

test-real: real-model  ## Run the trained model through everything, beside lm-eval (FORM=slow: whole tasks, 8 documents)
	EVALKIT_REAL=$(FORM) $(BIN)/python -m pytest -s tests/real

# A smoke of each part.
QUICK := tests/integration/test_cli.py tests/unit/answering \
  $(addprefix tests/unit/,test_contributing.py test_errors.py test_import_rules.py config/test_run_config.py \
    test_streams.py config/test_options.py config/test_suites.py baselines/test_files.py baselines/test_foreign.py \
    cli/test_run_commands.py comparison/test_compare.py comparison/test_leaderboard.py data/test_reading.py \
    data/test_sources.py evaluation/test_preflight.py evaluation/test_progress.py models/test_chat.py models/test_tiny.py \
    report/test_tables.py results/test_records.py sandbox/test_entry.py sandbox/test_extract.py \
    scoring/test_parts.py scoring/test_scorers.py stats/test_stats.py store/test_journal.py tasks/test_humaneval.py)

test-quick: setup  ## Run the quick subset, a smoke of each part (under 2 minutes)
	EVALKIT_HYPOTHESIS_PROFILE=few $(BIN)/python -m pytest -n 2 -m "not slow" $(QUICK)

test-crash: setup  ## Run all crash tests: 500 kills at random times, and at every write, fsync and rename
	EVALKIT_CRASH_POINTS=500 $(BIN)/python -m pytest tests/integration/test_crash.py

pythons: setup
	@$(BIN)/python tests/other_pythons.py --make

test-pythons: setup  ## Run the torch-free tests on every Python from 3.10 to 3.13 that this machine has
	$(BIN)/python tests/other_pythons.py

OPENMIND_PYTHON ?= python3.11

test-openmind: .venv-openmind/.ready  ## Run the adapter's tests with the real openmind 1.0.0 in an environment of its own
	.venv-openmind/bin/python -m pytest tests/unit/models tests/unit/evaluation/test_infer.py tests/unit/test_lm_eval.py \
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
