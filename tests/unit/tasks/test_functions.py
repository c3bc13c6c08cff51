"""Tasks whose functions draw lots, or change their document: what is asked and what is right are lm-eval's own."""

from __future__ import annotations

import gc
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from evalkit import paths
from evalkit.answering import ScoreRequest
from evalkit.config import suites, task_files, task_modules
from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.data import DataSource, manifest
from evalkit.data.layouts import LAYOUTS
from evalkit.errors import ConfigError
from evalkit.evaluation.evaluated import sample_of
from evalkit.evaluation.run import run
from evalkit.results.reading import read_run, read_samples
from evalkit.store.identity import protocol_of
from evalkit.tasks import documents, lm_eval_loading
from evalkit.tasks.choosing import chooser_of
from evalkit.tasks.documents import Documents
from evalkit.tasks.forms import without_numpy
from evalkit.tasks.lm_eval_loading import load_lm_eval_tasks
from evalkit.tasks.lm_eval_tasks import Tasks
from tests.support.files import change_document
from tests.support.own_suites import add_suite

REPOSITORY = Path(__file__).resolve().parents[3]
WORDS = ["heart", "liver", "skin"]
PLAIN: list[dict[str, Any]] = [
    {"q": f"What {i}?", "c": ["the red", f"a blue {i}", "old"], "right": ["the red", f"a blue {i}", "old"][i % 3]}
    for i in range(12)
]
GPQA: list[dict[str, Any]] = [
    {"Question": f"What is {i}?", "Correct Answer": f"{WORDS[i % 3]} thing {i}", "Incorrect Answer 1": "two",
     "Incorrect Answer 2": "three of them", "Incorrect Answer 3": "four"}
    for i in range(12)
]  # fmt: skip
FUNCTIONS = """
import os
import random
import datasets
import numpy
from lm_eval.api.task import ConfigurableTask
class Own(ConfigurableTask): pass
CALLS = [0]
def text(doc): doc["q"] += "!"; return doc["q"]
def in_order(doc): doc["c"].sort(); return doc["c"]
def ninth(doc):
    if doc["q"] == "What 9?": raise ValueError("nine")
    return doc["q"]
def chosen(doc, results): return {"acc": float(doc["c"][0] == results[0])}
def place(doc): return doc["c"].index(doc["right"])
def pops(doc, results):
    right = doc.pop("right")
    return {"acc": float(doc["c"][max(range(3), key=lambda i: results[i][0])] == right)}
def counts(doc, results): CALLS[0] += 1; return {"acc": float(CALLS[0] % 2)}
def lots(doc, results): return {"acc": float(bool(results[0]) and random.random() < 0.5)}
def draws(doc, results): return {"acc": float(random.random() < 0.5)}
def counted(doc): CALLS[0] += 1; return f"{CALLS[0]} {doc['q']}"
def masses(doc, results):
    values = numpy.array([value for value, _ in results])
    shares = numpy.exp(values) / numpy.exp(values).sum()
    right = doc["c"].index(doc["right"])
    best = int(values.argmax())
    return {"mc1": float(best == right), "mc2": float(shares[right]),
            "quadratic": 1 - float(((shares - numpy.eye(3)[right]) ** 2).sum()) / 2}
def shuffled(doc): return random.sample(doc["c"], 3)
def as_int(doc): return numpy.int32(place(doc))
def as_bool(doc): return numpy.bool_(place(doc) == 1)
def mean(values): return 1.0
def keyed(doc):
    with open(os.path.join(os.path.dirname(__file__), "_keys", "key.yaml")) as file: return file.read() + doc["q"]
def drawn(docs): return docs.map(lambda doc: {**doc, "q": f"{random.random()} {numpy.random.rand()} {doc['q']}"})
def methods(docs):
    docs = docs.flatten().map(lambda rows: {"q": [f"{q}?" for q in rows["q"]]}, batched=True, batch_size=5)
    docs = docs.map(lambda q, mark: {"q": q + mark}, input_columns=["q"], fn_kwargs={"mark": "*"}, num_proc=2)
    docs = docs.filter(lambda doc, at: at < 100, with_indices=True).select(range(len(docs)))
    docs = docs.add_column("at", list(range(len(docs)))).cast_column("at", datasets.Value("string"))
    docs = docs.map(lambda doc: {"z": f"{random.random()} {doc['q']} {doc['at']}"}, remove_columns=["q", "at"])
    return docs.rename_column("z", "q")
def turned(docs): return docs.shuffle(seed=1)
def in_rows(docs): return docs.sort("q", reverse=True)
"""
PLACE = "{{c.index(right)}}"
TEXT = {"output_type": "generate_until", "doc_to_choice": ""}
# By task: its functions; documents; the metrics of an answerer that finds the shortest continuation most likely.
FILES: dict[str, dict[str, str]] = {
    "text": {"doc_to_text": "!function functions.text", "doc_to_target": PLACE},
    "order": {"doc_to_choice": "!function functions.in_order", "doc_to_target": "!function functions.place"},
    "pops": {"doc_to_target": PLACE, "process_results": "!function functions.pops"},
    "int": {"doc_to_target": "!function functions.as_int"},
    "bool": {"doc_to_target": "!function functions.as_bool"},
    "drawn": {"process_docs": "!function functions.drawn", "doc_to_target": PLACE},
    "methods": {"process_docs": "!function functions.methods", "doc_to_target": PLACE},
    "turned": {"process_docs": "!function functions.turned", "doc_to_target": PLACE},
    "in_rows": {"process_docs": "!function functions.in_rows", "doc_to_target": PLACE},
    "nested": {"doc_to_text": "{{q.word}}", "doc_to_choice": "c", "doc_to_target": PLACE},
    "word": {"doc_to_text": "qs", "doc_to_target": PLACE},
    "other_word": {"doc_to_text": "missing", "doc_to_target": PLACE},
    "spaced_word": {"doc_to_text": "right ", "doc_to_target": PLACE},
    "said_word": {"doc_to_text": "{{'missing'}}", "doc_to_target": PLACE},
    "written_word": {"output_type": "generate_until", "doc_to_choice": "", "doc_to_target": "yes"},
    "class": {"class": "!function functions.Own", "doc_to_target": PLACE},
    "counts": {"doc_to_target": PLACE, "process_results": "!function functions.counts"},
    "draws": {"doc_to_target": PLACE, "process_results": "!function functions.draws"},
    "counted": {"doc_to_target": PLACE, "doc_to_text": "!function functions.counted"},
    "shuffled": {"doc_to_target": "0", "doc_to_choice": "!function functions.shuffled"},
    "keyed": {"doc_to_target": PLACE, "doc_to_text": "!function functions.keyed"},
    "mutual": {"doc_to_target": PLACE},
    "default": {"doc_to_target": PLACE},
    "every": {"doc_to_target": PLACE},
    "masses": {"doc_to_target": PLACE, "process_results": "!function functions.masses"},
    "f1": {"doc_to_target": PLACE},
    "mcc": {"doc_to_target": PLACE},
    "brier_score": {"doc_to_target": PLACE},
    "likelihood": {"doc_to_target": PLACE},
    "f1_mean": {"doc_to_target": PLACE},
    "numbers": {**TEXT, "doc_to_target": PLACE},
    "elsewhere": {**TEXT, "doc_to_target": "right"},
    "own_mean": {"doc_to_target": PLACE},
    "ninth": {"doc_to_text": "!function functions.ninth", "doc_to_target": PLACE},
    "chosen": {**TEXT, "doc_to_target": "right", "process_results": "!function functions.chosen"},
    "lots": {**TEXT, "doc_to_target": "right", "process_results": "!function functions.lots"},
}
_FIRST = (
    "filter_list: [{name: map, filter: [{function: map, mapping_dict: {a: 0}, default_value: 2}, "
    "{function: take_first}]}]"
)
# Of lm-eval's own metrics of choices those whose score is a mean of which more is better.
MEANS = ["acc", "acc_norm", "acc_bytes", "exact_match", "acc_mutual_info"]
# Those that judge otherwise than by acc alone: their lines, and their metrics.
JUDGED: dict[str, tuple[str, list[str]]] = {
    "mutual": (
        "metric_list: [{metric: acc}, {metric: acc_norm}, {metric: acc_mutual_info}]",
        ["acc", "acc_norm", "acc_mutual_info"],
    ),
    "default": ("", ["acc", "acc_norm"]),
    "every": (f"metric_list: [{', '.join(f'{{metric: {metric}}}' for metric in MEANS)}]", MEANS),
    "masses": (
        "metric_list: [{metric: mc1, aggregation: mean, higher_is_better: true}, "
        "{metric: mc2, aggregation: mean, higher_is_better: true}, "
        "{metric: quadratic, aggregation: mean, higher_is_better: true}]",
        ["mc1", "mc2", "quadratic"],
    ),
    **{metric: (f"metric_list: [{{metric: {metric}}}]", [metric]) for metric in ("f1", "mcc", "brier_score")},
    "likelihood": ("metric_list: [{metric: likelihood}]", ["likelihood"]),
    "f1_mean": ("metric_list: [{metric: f1, aggregation: mean, higher_is_better: true}]", ["f1"]),
    "numbers": (f"{_FIRST}\nmetric_list: [{{metric: exact_match, ignore_case: true}}]", ["exact_match"]),
    "elsewhere": (
        "metric_list: [{metric: no_such, hf_evaluate: true, aggregation: mean, higher_is_better: true}]",
        ["no_such"],
    ),
    "own_mean": (
        "metric_list: [{metric: acc, aggregation: !function functions.mean, higher_is_better: true}]",
        ["acc"],
    ),
}
RUN = ("gpqa", "text", "order", "pops", "int", "bool", "drawn")


def written(task: str, head: str) -> str:
    """A task's file; its values are YAML as they stand, templates in quotes."""
    said = {"doc_to_text": "q", "doc_to_choice": "c"} | FILES[task]
    said = {"output_type": "multiple_choice"} | {key: value for key, value in said.items() if value}
    lines = "".join(f"{key}: {value if value.startswith('!') else json.dumps(value)}\n" for key, value in said.items())
    metric = JUDGED.get(task, ("metric_list:\n- {metric: acc, aggregation: mean, higher_is_better: true}",))[0]
    return f"task: own_{task}\n{head}{lines}{metric}\nmetadata: {{version: 1}}\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders `configs` with a suite of these tasks, `theirs` with the same for lm-eval itself, and `data`."""
    configs, theirs, data = tmp_path / "configs", tmp_path / "theirs", tmp_path / "data"
    shutil.copytree(paths.configs_dir(), configs)
    for module in (lm_eval_loading, suites, task_files, task_modules, manifest):
        monkeypatch.setattr(module, "configs_dir", lambda: configs)
    monkeypatch.setitem(LAYOUTS, "any", lambda doc: [dict(doc)])
    for folder in (configs / "tasks/own", theirs, data):
        folder.mkdir()
    of_gpqa = Path(str(resources.files("lm_eval"))) / "tasks/gpqa/zeroshot"
    shutil.copy(of_gpqa / "utils.py", configs / "tasks/own/utils.py")
    shutil.copy(of_gpqa / "utils.py", theirs / "utils.py")
    gpqa = yaml.load(
        (of_gpqa / "_gpqa_zeroshot_yaml").read_text(encoding="utf-8").replace("!function ", "FUNCTION"),
        Loader=yaml.SafeLoader,
    )
    for key in ("dataset_path", "tag", "num_fewshot"):
        gpqa.pop(key, None)
    gpqa["metadata"] = {"version": 1}
    of_ours, entries = {}, {}
    for task in ("gpqa", *FILES):
        name, file = f"own_{task}", data / f"own_{task}.jsonl"
        docs = GPQA if task == "gpqa" else PLAIN
        file.write_text("".join(json.dumps(doc) + "\n" for doc in docs), encoding="utf-8")
        splits = {"train": str(file), "eval": str(file)}
        options = {"data_files": splits, "cache_dir": str(tmp_path / "cache")}
        here = f"include: ../_template\ndataset_kwargs: {{dataset: {name}}}\n"
        there = f"dataset_path: json\ndataset_kwargs: {json.dumps(options)}\nnum_fewshot: 0\n"
        for folder, head in ((configs / "tasks/own", here), (theirs, there)):
            if task == "gpqa":
                body = yaml.safe_dump(gpqa).replace("FUNCTION", "!function ")
                text = f"task: {name}\n{head}{body}"
            else:
                text = written(task, head + ("" if folder != theirs else "test_split: eval\n"))
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
            (folder / "functions.py").write_text(FUNCTIONS, encoding="utf-8")
        metrics = JUDGED[task][1] if task in JUDGED else ["acc"]
        metrics = [each["metric"] for each in gpqa["metric_list"]] if task == "gpqa" else metrics
        of_ours[name] = {"version": 1, "metrics": metrics, "headline": metrics[0], "documents": 12}
        entries[name] = {"suite": "own", "layout": "any", "file": file.name, "split": "test", "rows": 12,
                         "sha256": "0" * 64, "hub": None, "openmind": None}  # fmt: skip
    add_suite(configs, of_ours, entries)
    return tmp_path


def tasks_of(root: Path, task: str) -> Tasks:
    return Tasks([f"own_{task}"], {"own": DataSource("folder", root / "data")})


THEIRS = """
import json, random, sys
import torch
from lm_eval import evaluator
from lm_eval.tasks import TaskManager
manager = TaskManager(include_path=sys.argv[1], include_defaults=False)
told = {}
for task in sys.argv[2:]:
    done = evaluator.simple_evaluate(model="dummy", tasks=[task], task_manager=manager, bootstrap_iters=0)
    told[task] = [{"arguments": s["arguments"], "target": s["target"]} for s in done["samples"][task]]
json.dump(told, sys.stdout, default=int)
"""


def of_lm_eval(root: Path, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """What lm-eval itself asks and takes for right, by task its samples in the data's order."""
    command = [sys.executable, "-c", THEIRS, str(root / "theirs"), *names]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=root, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[dict[str, Any]]] = json.loads(done.stdout[done.stdout.index('{"own_') :])
    return found


@pytest.mark.slow
def test_requests_and_golds_are_lm_evals_own_in_each_run_of_a_process(own: Path) -> None:
    names = [f"own_{task}" for task in (*RUN, "methods") if task not in ("pops", "bool")]  # lm-eval itself fails
    theirs = of_lm_eval(own, names)
    for name in names:
        for _ in range(2):
            random.seed()
            np.random.seed()
            tasks = tasks_of(own, name.removeprefix("own_"))
            for doc_id, sample in enumerate(theirs[name]):
                asked = [r for r in tasks.requests_of(name, doc_id) if isinstance(r, ScoreRequest)]
                assert [[r.context, r.continuation] for r in asked] == sample["arguments"]
                right = tasks.right_of(name, doc_id)
                target = sample["target"]
                assert right[1] == (right[0].index(target) if target in (right[0] or []) else target)  # type: ignore[union-attr]


def test_a_function_that_changes_its_document_is_asked_with_a_fresh_one(own: Path) -> None:
    for _ in range(2):
        tasks = tasks_of(own, "text")
        (first, *_others) = tasks.requests_of("own_text", 0)
        assert isinstance(first, ScoreRequest)
        assert first.context == "What 0?!"
        assert tasks.documents("own_text")[0] == PLAIN[0]


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("task", RUN)
def test_a_record_says_what_was_asked_and_what_is_right(task: str, own: Path) -> None:
    chooser_of.cache_clear()
    for time in (1, 2):  # in one process: nothing is left of the first run
        config = RunConfig(
            model=ModelConfig(name="tiny"),
            task=(f"own_{task}",),
            data=(str(own / "data"),),
            output=str(own / f"out{time}"),
        )
        done = run(config, ["run"])
        samples = list(read_samples(read_run(done.record.folder).folder))
        assert len(samples) == 12
        for sample in samples:
            doc = PLAIN[sample.doc_id]
            chosen = max(range(len(sample.logprobs)), key=lambda i: sample.logprobs[i] or 0.0)
            assert sample.metrics["acc"] == (chosen == sample.target)
            if task == "gpqa":
                (line,) = [
                    line for line in str(sample.context).splitlines() if GPQA[sample.doc_id]["Correct Answer"] in line
                ]
                assert line.startswith(sample.continuations[sample.target].strip())
            elif task == "bool":
                assert sample.target == int(doc["c"].index(doc["right"]) == 1)
            else:
                assert sample.continuations[sample.target].strip() == doc["right"]
                assert task != "text" or sample.context == doc["q"] + "!"


@pytest.mark.parametrize(
    ("task", "named"),
    [
        ("counts", "process_results (counts)"),
        ("draws", "process_results (draws)"),
        ("lots", "process_results (lots)"),
        ("counted", "doc_to_text (counted)"),
        ("shuffled", "doc_to_choice (shuffled)"),
    ],
)
def test_a_function_that_gives_another_result_each_time_is_named_before_the_work(
    task: str, named: str, own: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        tasks_of(own, task)
    assert f"own_{task}: metrics: document " in str(error.value)
    assert f"{named} gives another result each time for the same document; have it draw no lots" in str(error.value)


def test_what_a_function_makes_of_a_file_is_part_of_what_runs_are_compared_by(own: Path) -> None:
    keys = own / "configs/tasks/own/_keys"
    keys.mkdir()
    found = []
    for content in ("1", "1", "2"):
        (keys / "key.yaml").write_text(content)
        (keys / f"stray{len(found)}.log").touch()
        found.append(protocol_of(["own_keyed"], tasks_of(own, "keyed").made))
    assert found[0] == found[1]
    assert {part for part in found[1] if found[1][part] != found[2][part]} == {"documents"}


def test_what_a_published_task_makes_is_hashed_elsewhere_so_its_identity_has_its_file_alone() -> None:
    tasks = Tasks(["boolq"], {"gpt4all": DataSource("samples")})
    assert tasks.made == {}
    assert set(protocol_of(["boolq"], tasks.made)) == {"tasks"}


@pytest.mark.parametrize("name", ["mine", "theirs"])
def test_modules_count_once_they_are_imported_wherever_they_lie(
    name: str, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`theirs` was imported by a notebook before, and is a constant here; a copy in another place is the same task."""
    found = []
    for place, text in (("a", "KEY = 1\n"), ("b", "KEY = 1\n"), ("c", "KEY = 1  # another\n")):
        with monkeypatch.context() as patched:
            (own / place).mkdir()
            (own / place / f"{name}_helper.py").write_text(text)
            patched.syspath_prepend(str(own / place))
            patched.delitem(sys.modules, f"{name}_helper", raising=False)
            if name == "theirs":
                __import__(f"{name}_helper")
            file = own / "configs/tasks/own/functions.py"
            file.write_text(FUNCTIONS + f"\ndef never(doc):\n    from {name}_helper import KEY\nnever(None)\n")
            found.append(protocol_of(["own_pops"], tasks_of(own, "pops").made))
    assert found[0] == found[1]
    assert {part for part in found[1] if found[1][part] != found[2][part]} == {"code"}


@pytest.mark.model
def test_modules_of_one_name_are_each_tasks_own_in_a_run_of_both(own: Path) -> None:
    """Python keeps one module of a name; a function that imports it later would get another task's."""
    folder = own / "configs/tasks/own"
    code = "import sys\ndef score(doc, results):\n    sys.path.insert(0, {!r})\n    try: import rules\n"
    code += "    finally: sys.path.pop(0)\n    return {{'acc': rules.VALUE}}\n"
    for task, value in (("lots", 1.0), ("chosen", 0.0)):
        (folder / task).mkdir()
        (folder / task / "rules.py").write_text(f"VALUE = {value}\n")
        (folder / task / "score.py").write_text(code.format(str(folder / task)))
        file = folder / f"own_{task}.yaml"
        file.write_text(file.read_text().replace(f"functions.{task}", f"{task}.score.score"))
    config = RunConfig(
        model=ModelConfig(name="tiny"),
        task=("own_lots", "own_chosen"),
        data=(str(own / "data"),),
        output=str(own / "o"),
    )
    record = run(config, ["run"]).record
    assert record is not None
    assert [record.metrics[f"own_{task}"]["acc"].value for task in ("lots", "chosen")] == [1.0, 0.0]


def test_a_library_is_imported_once(own: Path) -> None:
    """A function of a library's own folder is no reason to have the library's modules anew."""
    import json.decoder

    import yaml.nodes

    task = own / "configs/tasks/own/own_pops.yaml"
    task.write_text("task: own_pops\ndoc_to_text: !function json.dumps\ndoc_to_target: !function yaml.dump\n")
    with task_modules.importing(task):
        pass
    assert (sys.modules["json.decoder"], sys.modules["yaml.nodes"]) == (json.decoder, yaml.nodes)


def test_what_texts_are_compared_with_is_said_not_to_be_known_where_the_target_is_not_it(own: Path) -> None:
    file, functions = own / "configs/tasks/own/own_lots.yaml", own / "configs/tasks/own/functions.py"
    file.write_text(file.read_text(encoding="utf-8").replace("functions.lots", "functions.keyed_text"))
    for key, said in (("doc['right']", []), ("'of a file'", ["own_lots: of 12 of its 12 documents"])):
        functions.write_text(
            f"{FUNCTIONS}\ndef keyed_text(doc, results): return {{'acc': float(results[0] == {key})}}\n"
        )
        found = tasks_of(own, "lots").remarks
        assert len(found) == len(said)
        assert all(part in line for part, line in zip(said, found, strict=True))


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("numbers", "document 0: lm-eval's own metrics fail ("),
        ("elsewhere", "metric 'no_such' is not to be had here"),
        ("own_mean", "metric 'acc' has aggregation: '!function mean', but"),
        (
            "f1",
            "metric 'f1' has aggregation: 'f1', but errors, averages and comparisons are of means of which more is "
            "better; add process_results, a function that makes such a one, with aggregation: mean",
        ),
        ("mcc", "metric 'mcc' has aggregation: 'matthews_corrcoef', but errors, averages and comparisons are of means"),
        ("brier_score", "metric 'brier_score' has aggregation: 'brier_score', but errors, averages and comparisons"),
        ("likelihood", "document 0: 'likelihood' is a tuple ("),
        ("f1_mean", "expected a number from 0 to 1; lm-eval's own metric is no share; add process_results"),
    ],
)
def test_metrics_that_cannot_be_made_are_refused_before_the_work(task: str, said: str, own: Path) -> None:
    with pytest.raises(ConfigError) as error:
        tasks_of(own, task)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


OF_HF = """
import json, sys
import torch
from lm_eval import evaluator
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from evalkit.models import tiny
model = HFLM(pretrained=tiny.model(torch.float32), tokenizer=tiny.tokenizer(), batch_size=1)
manager = TaskManager(include_path=sys.argv[1], include_defaults=False)
found = evaluator.simple_evaluate(model=model, tasks=sys.argv[2:], task_manager=manager, bootstrap_iters=0)["results"]
print(json.dumps({task: {key.split(",")[0]: value for key, value in of.items()} for task, of in found.items()}))
"""


@pytest.mark.slow
@pytest.mark.model
def test_lm_evals_own_metrics_of_choices_are_lm_evals_numbers(own: Path) -> None:
    names = ["own_every", "own_masses"]
    command = [sys.executable, "-c", OF_HF, str(own / "theirs"), *names]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(paths.configs_dir().parent)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=env, check=False)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    config = RunConfig(
        model=ModelConfig(name="tiny", dtype="float32"), task=tuple(names), data=(str(own / "data"),),
        output=str(own / "out"),
    )  # fmt: skip
    record = run(config, ["run"]).record
    assert record is not None
    for name, metrics in zip(names, (MEANS, ["mc1", "mc2", "quadratic"]), strict=True):
        found = {metric: record.metrics[name][metric].value for metric in metrics}
        assert found == pytest.approx({metric: theirs[name][metric] for metric in metrics}, abs=1e-5)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("task", ["mutual", "default"])
def test_lm_evals_own_metrics_of_choices_can_be_read_again(task: str, own: Path) -> None:
    chooser_of.cache_clear()
    config = RunConfig(
        model=ModelConfig(name="tiny"), task=(f"own_{task}",), data=(str(own / "data"),), output=str(own / "out")
    )
    done = run(config, ["run"])
    samples = list(read_samples(read_run(done.record.folder).folder))
    assert len(samples) == 12
    for sample in samples:
        asked = [0.0 if value is None else value for value in sample.logprobs]
        assert len(asked) == (6 if task == "mutual" else 3)
        lengths = [len(text) for text in PLAIN[sample.doc_id]["c"]]
        by_length = [value / length for value, length in zip(asked, lengths, strict=False)]
        assert sample.metrics["acc"] == (asked[:3].index(max(asked[:3])) == sample.target)
        assert sample.metrics["acc_norm"] == (by_length.index(max(by_length)) == sample.target)
        if task == "mutual":
            gained = [with_it - without for with_it, without in zip(asked[:3], asked[3:], strict=True)]
            assert sample.metrics["acc_mutual_info"] == (gained.index(max(gained)) == sample.target)


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("word", "doc_to_text: 'qs' is no column of its documents; did you mean 'q'?; the word itself is \"{{'qs'}}\""),
        (
            "spaced_word",
            "doc_to_text: 'right ' is no column of its documents; did you mean 'right'?; "
            "the word itself is \"{{'right '}}\"",
        ),
        ("other_word", "doc_to_text: 'missing' is no column of its documents; the word itself is \"{{'missing'}}\""),
        ("written_word", "doc_to_target: 'yes' is no column of its documents; the word itself is \"{{'yes'}}\""),
    ],
)
def test_a_word_that_is_no_column_is_refused_before_the_work(task: str, says: str, own: Path) -> None:
    with pytest.raises(ConfigError) as error:
        tasks_of(own, task)
    assert str(error.value) == f"configs/tasks/own/own_{task}.yaml: {says}"


LACKING = "{file}: own_{task}: document {doc} has no column 'c', which 11 of 12 have; give it to every document"


@pytest.mark.parametrize(("task", "doc"), [("order", 0), ("default", 7), ("chosen", 7)])
def test_a_column_that_one_document_lacks_is_named_with_the_document(task: str, doc: int, own: Path) -> None:
    """lm-eval looks at the first document alone; a function may ask for the column when it makes a metric."""
    change_document(own / f"data/own_{task}.jsonl", doc + 1, {}, drop="c")
    file = f"configs/tasks/own/own_{task}.yaml"
    with pytest.raises(ConfigError, match="has no column") as refused:
        tasks_of(own, task)
    assert str(refused.value).startswith(LACKING.format(file=file, task=task, doc=doc))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["score", "text", "process_docs"])
def test_a_key_that_only_a_later_document_lacks_inside_a_column_is_named(kind: str, own: Path) -> None:
    """`datasets` would fill in None, and a text's target is asked for when all texts are written."""
    data, file = own / "data/own_nested.jsonl", own / "configs/tasks/own/own_nested.yaml"
    docs = [{**doc, "q": {"word": "w", "more": [{"a": 1}]}, "right": {"is": doc["right"]}} for doc in PLAIN]
    del docs[9]["q" if kind == "process_docs" else "right"]["is" if kind != "process_docs" else "word"]
    data.write_text("".join(json.dumps(doc) + "\n" for doc in docs), encoding="utf-8")
    text = file.read_text(encoding="utf-8").replace("c.index(right)", "c.index(right.is)")
    if kind == "text":
        text = text.replace("multiple_choice", "generate_until").replace('doc_to_choice: "c"\n', "")
        text += "process_results: !function functions.chosen\n"
    if kind == "process_docs":
        text = text.replace("task: own_nested", "task: own_nested\nprocess_docs: !function functions.drawn")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="document 9 has no key") as refused:
        tasks_of(own, "nested")
    key, column = ("word", "q") if kind == "process_docs" else ("is", "right")
    assert str(refused.value).startswith(
        f"configs/tasks/own/own_nested.yaml: own_nested: document 9 has no key '{key}' in its column "
        f"'{column}', which 11 of 12 have; give it to every document"
    )
    assert "\n" not in str(refused.value)


def test_a_column_of_several_types_is_refused_where_process_docs_gets_a_data_set(own: Path) -> None:
    change_document(own / "data/own_drawn.jsonl", 9, {"q": 9})
    said = r"^configs/tasks/own/own_drawn.yaml: own_drawn: a column .* \(.*\bint\b.*\); mend it$"
    with pytest.raises(ConfigError, match=said):
        tasks_of(own, "drawn")


def test_a_function_that_fails_for_a_later_document_is_found_before_the_model(own: Path) -> None:
    with pytest.raises(ConfigError, match=r"own_ninth: .*document 9: its requests cannot be made \(ValueError: nine\)"):
        tasks_of(own, "ninth")


def test_functions_that_changed_since_are_loaded_anew(own: Path) -> None:
    """In a notebook, too, where nothing else is."""
    tasks_of(own, "pops")
    file = own / "configs/tasks/own/functions.py"
    file.write_text(
        file.read_text() + "\ndef pops_picks(logprobs, characters): return {'acc': int(logprobs.argmax())}\n"
    )
    tasks_of(own, "pops")
    chooser = chooser_of("own_pops")
    assert chooser is not None
    assert chooser.picks(np.array([-1.0, -2.0, 0.0]), [1, 1, 1]) == {"acc": 2}


def test_a_value_that_its_record_could_not_hold_is_found_on_any_document(own: Path) -> None:
    file = own / "configs/tasks/own/functions.py"
    wrong = file.read_text().replace("== right)}", "== (right if doc['q'] != 'What 9?' else doc['c'][2]))}")
    file.write_text(wrong)
    with pytest.raises(ConfigError, match=r"document 9: 'acc' is 0 where choice 0 is the likeliest and \[0\] is right"):
        tasks_of(own, "pops")


def test_a_value_that_its_record_could_not_hold_is_refused_before_the_work(own: Path) -> None:
    """Where "acc" is by a key of the function's own, not by the target: it was found when all work was done."""
    file = own / "configs/tasks/own/functions.py"
    file.write_text(file.read_text() + "\ndef pops_picks(logprobs, characters): return {'acc': 2}\n")
    with pytest.raises(
        ConfigError, match=r"'acc' is 1 where choice 2 is the likeliest and .* is right; give it another"
    ):
        tasks_of(own, "pops")


def test_a_word_that_is_to_be_asked_itself_is_written_as_a_template(own: Path) -> None:
    asked = tasks_of(own, "said_word").requests_of("own_said_word", 0)
    assert {request.context for request in asked if isinstance(request, ScoreRequest)} == {"missing"}


def test_a_class_that_lm_eval_cannot_make_is_named_by_its_key(own: Path) -> None:
    with pytest.raises(ConfigError, match=r"^configs/tasks: lm-eval cannot load 'own_class': class: .*'class' out$"):
        tasks_of(own, "class")


def test_other_content_is_one_line(data_folder: Path) -> None:
    change_document(data_folder / "gpt4all/boolq/validation.jsonl", 2, {"question": "is this another question"})
    change_document(data_folder / "gpt4all/piqa/validation.jsonl", 2, {"goal": "Another"})
    said: list[str] = []
    sources = {"gpt4all": DataSource("folder", data_folder)}
    documents.load_all(["boolq", "openbookqa", "piqa"], sources, None, said.append)
    (line,) = said[1:]
    assert line.startswith("2 tasks (boolq, ...): complete, but not with the content behind the published scores (")
    said.clear()
    documents.load_all(["openbookqa", "piqa"], sources, None, said.append)
    (line,) = said[1:]
    assert line.startswith("piqa: complete, but not with the content behind the published scores (")


def test_of_a_task_that_was_never_published_no_content_is_the_published_one(own: Path) -> None:
    said: list[str] = []
    documents.load_all(["own_int", "own_bool"], {"own": DataSource("folder", own / "data")}, None, said.append)
    assert said == ["2 tasks, 24 documents"]


def test_a_sample_keeps_the_text_that_the_model_wrote() -> None:
    entry = {
        "doc_id": 0, "doc": {}, "target": "A", "arguments": [("q", {"until": []})], "resps": [[" A. Because"]],
        "filtered_resps": ["A"], "metrics": ["acc"], "acc": 1.0,
    }  # fmt: skip
    sample = sample_of("piqa", entry, "piqa")
    assert (sample.generated, sample.logprobs, sample.context) == ([" A. Because"], [], "q")


@pytest.mark.filterwarnings("ignore:Specifying null_placement:FutureWarning")  # pyarrow of datasets' sort
@pytest.mark.parametrize("task", ["turned", "in_rows"])
def test_documents_in_another_order_are_refused(task: str, own: Path) -> None:
    """A record names a document by its place in the data."""
    with pytest.raises(ConfigError, match=rf"own_{task}: process_docs puts its documents in another .* column 'q'\)"):
        tasks_of(own, task)


def test_process_docs_writes_into_a_temporary_folder_only_and_shows_no_bar(
    own: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = own / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    written: list[str] = []
    is_on = True

    def note(event: str, args: tuple[Any, ...]) -> None:
        if is_on and event == "open" and isinstance(args[0], str) and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            written.append(os.path.realpath(args[0]))

    sys.addaudithook(note)  # stays, so it is switched off
    try:
        tasks = load_lm_eval_tasks(["own_drawn"], {"own": DataSource("folder", own / "data")})
    finally:
        is_on = False
    outside = {path for path in written if not path.startswith((str(temporary), "/dev/"))}
    assert {path for path in outside if "__pycache__" not in path} == set()
    assert written
    assert capfd.readouterr().err == ""
    assert any(temporary.glob("evalkit-*"))
    del tasks
    gc.collect()
    assert not any(temporary.glob("evalkit-*"))


def test_a_document_that_is_changed_is_no_one_elses() -> None:
    kept: list[dict[str, Any]] = [{"a": [1, {"b": 2}], "c": np.array([1, 2]), "d": None, "e": (1, [2])}]
    docs = Documents(kept)
    for doc in (docs[0], *docs, docs[:][0], next(reversed(docs))):
        doc["a"][1]["b"] = doc["c"][0] = 9
        doc["e"][1].append(3)
        del doc["d"]
    assert kept[0]["a"] == [1, {"b": 2}]
    assert kept[0]["c"].tolist() == [1, 2]
    assert kept[0]["e"] == (1, [2])
    assert "d" in kept[0]
    assert docs.are(kept)


def test_documents_are_those_of_a_list_by_what_they_hold() -> None:
    data = [{"a": 1, "b": math.nan}, {"a": 2, "b": 0.5}]
    docs = Documents([{"a": 1.0, "b": float("nan")}, {"b": 0.5, "a": 2}])
    assert not docs.are(data[:1])
    assert not docs.are([data[0], {**data[1], "a": 3}])
    assert docs.are([{"a": 1.0, "b": math.nan}, data[1]])


def test_a_column_has_one_type_as_in_lm_eval(own: Path) -> None:
    """A whole number among fractions is a fraction, in templates too; the loader of `datasets` says which text."""
    from datasets import Dataset

    path = own / "data/own_default.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for place, row in enumerate(rows):
        row["n"] = place if place % 2 else place + 0.5
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    typed = tasks_of(own, "default").documents("own_default")
    expected = Dataset.from_list(rows)["n"]
    assert [repr(doc["n"]) for doc in typed] == [repr(value) for value in expected]
    assert repr(typed[1]["n"]) == "1.0"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.int32(2), 2), (np.bool_(True), True), (np.array([1, 2]), [1, 2]), ([np.int64(1), "a"], [1, "a"]), ("A", "A")],
)
def test_a_target_of_numpys_types_is_a_plain_one(value: Any, expected: Any) -> None:
    found = without_numpy(value)
    assert (found, type(found)) == (expected, type(expected))
