"""Task files of lm-eval's own, each another form, on documents made here: each gives a score, or one line at load."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.own_suites import add_suite, copied

pytestmark = [pytest.mark.model, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
MANY = {"choices": {"text": ["red", "green", "blue", "an old car", "t"], "label": list("ABCDE")}}
GLUE = {"sentence1": "It rains.", "sentence2": "It is wet.", "label": 1}
COPA = {"premise": "It rained.", "question": "effect", "choice1": "It was wet.", "choice2": "It was dry.", "label": 0}
MMLU = {"question": "Which?", "choices": ["one", "two", "three", "four"], "answer": 2}
# By task: its file in lm-eval, a document, and what is expected: a document's metrics for an answerer whose
# log-probability is minus the continuation's length, or what is refused.
SHORTEST = {"acc": 1.0}
FORMS: dict[str, tuple[str, dict[str, Any], dict[str, float] | str]] = {
    "arc_easy": ("arc/arc_easy.yaml", {"question": "q", **MANY, "answerKey": "E"}, {"acc": 1.0, "acc_norm": 0.0}),
    "piqa": ("piqa/piqa.yaml", {"goal": "g", "sol1": "wash it", "sol2": "wash", "label": 1}, {"acc": 1.0}),
    "boolq": ("super_glue/boolq/default.yaml", {"passage": "p", "question": "q", "label": 0}, SHORTEST),
    "sciq": (
        "sciq/sciq.yaml",
        {"support": " s", "question": "q", "distractor1": "aa", "distractor2": "bbb", "distractor3": "cc",
         "correct_answer": "d"},
        SHORTEST,
    ),
    "logiqa": (
        "logiqa/logiqa.yaml",
        {"context": "c", "question": "q", "options": ["yes.", "no.", "it is.", "not."], "label": "b"},
        SHORTEST,
    ),
    "commonsense_qa": ("commonsense_qa/default.yaml", {"question": "q", **MANY, "answerKey": "A"}, SHORTEST),
    "openbookqa": ("openbookqa/openbookqa.yaml", {"question_stem": "q", **MANY, "answerKey": "E"}, SHORTEST),
    "copa": ("super_glue/copa/default.yaml", COPA, SHORTEST),
    "rte": ("glue/rte/default.yaml", GLUE, {"acc": 0.0}),
    "hellaswag": (
        "hellaswag/hellaswag.yaml",
        {"ctx_a": "A man", "ctx_b": "he", "activity_label": "Running", "endings": ["runs", "walks", "x", "stands"],
         "label": "2"},
        SHORTEST,
    ),
    "winogrande": (
        "winogrande/default.yaml",
        {"sentence": "The cup was in the box since _ was small.", "option1": "cup", "option2": "box", "answer": "1"},
        SHORTEST,  # the continuations are one, so the first
    ),
    "mathqa": (
        "mathqa/mathqa.yaml",
        {"Problem": "p", "options": "a ) 1 , b ) 22 , c ) 33 , d ) 44 , e ) 55", "correct": "a"},
        SHORTEST,
    ),
    "blimp_adjunct_island": (
        "blimp/adjunct_island.yaml", {"sentence_good": "He ran.", "sentence_bad": "He run fast."}, SHORTEST,
    ),
    "mmlu_anatomy": ("mmlu/default/mmlu_anatomy.yaml", MMLU, {"acc": 0.0}),
    "asdiv": (
        "asdiv/default.yaml", {"body": "Two.", "question": "How many?", "answer": "2 (apples)"}, {"acc": 0.0},
    ),
    "triviaqa": (
        "triviaqa/default.yaml", {"question": "q", "answer": {"aliases": ["six", "6"]}}, {"exact_match": 0.0},
    ),
    "drop": (
        "drop/default.yaml",
        {"query_id": "1", "passage": "p", "question": "q", "answer": {"number": "3", "date": {}, "spans": []},
         "validated_answers": {"number": [], "date": [], "spans": []}},
        {"em": 0.0, "f1": 0.0},
    ),
    "truthfulqa_mc1": (
        "truthfulqa/truthfulqa_mc1.yaml",
        {"question": "q", "mc1_targets": {"choices": ["a", "bb"], "labels": [1, 0]}},
        SHORTEST,
    ),
    "truthfulqa_mc2": (
        "truthfulqa/truthfulqa_mc2.yaml",
        {"question": "q", "mc2_targets": {"choices": ["a", "bb"], "labels": [1, 0]}},
        "'acc' is 0.53",
    ),
    "lambada_openai": ("lambada/lambada_openai.yaml", {"text": "it was me"}, "metric 'perplexity' has aggregation"),
    "gsm8k": ("gsm8k/gsm8k.yaml", {"question": "q", "answer": "#### 3"}, "filter_list: "),
    "mc_taco": (
        "mc_taco/default.yaml",
        {"sentence": "s", "question": "q", "answer": "a", "label": 0},
        "metric 'f1' has aggregation: 'f1'",
    ),
    "wikitext": ("wikitext/wikitext.yaml", {"page": "a page"}, "output_type: 'loglikelihood_rolling'"),
    "wsc273": (
        "wsc273/default.yaml",
        {"text": "He fell.", "pronoun": "He", "pronoun_loc": 0, "options": ["Tom", "Jim"], "label": 0},
        SHORTEST,
    ),
}  # fmt: skip

RUN = """
import json, sys, time
from evalkit.answering import Scores, Texts
from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.errors import EvalkitError
from evalkit.evaluation.run import run
from evalkit.results.reading import read_run, read_samples
from recipe import Bigrams

class Short(Bigrams):
    def _score(self, ids):
        return -float(len(ids)), False

told = {}
for task in sys.argv[1:]:
    config = RunConfig(model=ModelConfig(name="m"), task=(task,), data=("data",), limit=2, output=f"out/{task}")
    loaded = []
    try:
        done = run(config, ["run"], load=lambda config, say: loaded.append(1) or Short(b"the cat"))
        (one, two) = read_samples(read_run(done.record.folder).folder)
        told[task] = one.metrics
    except EvalkitError as error:
        told[task] = f"{len(loaded)} {error}"
json.dump(told, open("told.json", "w"))
"""


def prepared(root: Path) -> Path:
    """A copy of evalkit that has a suite of lm-eval's tasks, with two documents each."""
    copied(root)
    (code,) = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL
    )
    (root / "recipe.py").write_text(code, encoding="utf-8")
    (root / "told.py").write_text(RUN, encoding="utf-8")
    theirs, own = Path(str(resources.files("lm_eval"))) / "tasks", root / "configs/tasks/own"
    suite: dict[str, Any] = {}
    manifest: dict[str, Any] = {}
    for name, (file, document, _) in FORMS.items():
        name = f"own_{name}"
        shutil.copytree(theirs / Path(file).parent, own / name, ignore=shutil.ignore_patterns("__pycache__"))
        kept = {Path(file).name, "truthfulqa_mc1.yaml"}
        for other in (own / name).rglob("*.yaml"):
            if other.name not in kept or other.parent != own / name:
                other.unlink()
        for included in (own / name).glob("*.yaml"):  # found by lm-eval's index otherwise, under its own name
            text = included.read_text(encoding="utf-8").replace(
                "include: truthfulqa_mc1.yaml", "include: truthfulqa_mc1_"
            )
            included.with_name(f"{included.stem}_").write_text(text, encoding="utf-8")
            included.unlink()
        part = (own / name / f"{Path(file).stem}_").read_text(encoding="utf-8")
        said = yaml.load(re.sub(r"!function", "", part), Loader=yaml.SafeLoader)
        if name.endswith("mc2") or "metric_list" not in said:
            metrics = ["acc"]
        else:
            metrics = [each["metric"] for each in said["metric_list"]]
        (own / name / f"{name}.yaml").write_text(
            f"include: [../../_template, {Path(file).stem}_]\ntask: {name}\n"
            "custom_dataset: !function evalkit.tasks.documents.custom_dataset\n"
            f"dataset_kwargs: {{dataset: {name}}}\nmetadata: {{version: 1}}\nnum_fewshot: 0\n",
            encoding="utf-8",
        )
        suite[name] = {"version": 1, "metrics": metrics, "headline": metrics[0], "documents": 2}
        manifest[name] = {"suite": "own", "layout": "any", "file": f"{name}.jsonl", "split": "test", "rows": 2,
                          "sha256": "0" * 64, "hub": None, "openmind": None}  # fmt: skip
        (root / "data").mkdir(exist_ok=True)
        (root / "data" / f"{name}.jsonl").write_text((json.dumps(document) + "\n") * 2, encoding="utf-8")
    add_suite(root / "configs", suite, manifest)
    return root


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = prepared(tmp_path_factory.mktemp("forms"))
    done = subprocess.run(
        [sys.executable, "told.py", *(f"own_{name}" for name in FORMS)],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((root / "told.json").read_text())
    return found


@pytest.mark.parametrize("name", FORMS)
def test_a_task_of_lm_evals_own_runs_or_is_refused_in_one_line_before_the_model(
    name: str, told: dict[str, Any]
) -> None:
    found, expected = told[f"own_{name}"], FORMS[name][2]
    if isinstance(expected, str):
        assert isinstance(found, str)
        assert found.startswith("0 configs/")
        assert expected in found
        assert "\n" not in found
    else:
        assert isinstance(found, dict), found
        assert {metric: found[metric] for metric in expected} == expected
