"""A person's own task is the same while it makes the same, whatever it reads or writes, and wherever it lies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.own_suites import add_suite, copied

pytestmark = [pytest.mark.model, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    {"q": f"What {i}?", "c": ["red", "a blue", "old"], "gold": i % 3, "lang": "en" if i < 5 else "zh"} for i in range(8)
]
HEAD = "import json, os, sys\nHERE = os.path.dirname(os.path.abspath(__file__))\n"
CHOICES = {"output_type": "multiple_choice", "doc_to_choice": "{{c}}", "doc_to_target": "{{gold}}"}
TEXTS = {"output_type": "generate_until", "doc_to_target": "{{gold}}", "generation_kwargs": {"max_gen_toks": 2}}


@dataclass
class Form:
    """A task: its functions (`text` makes its contexts, `score` its metric), files that they read, as they are and as
    they become, and what then is named; None: it is as it was."""

    functions: str
    files: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    named: str | None = None
    texts: bool = False
    layout: str = "any"
    documents: list[dict[str, Any]] = field(default_factory=lambda: DOCUMENTS)


PIQA = [{"goal": f"g{i}", "sol1": "a", "sol2": "bb", "label": i % 2, "best": 0} for i in range(8)]
OTHER = [{**doc, "best": int(place >= 6)} for place, doc in enumerate(PIQA)]
SCORE = "def score(doc, results): return {'hit': float(%s)}\n"
FIRST = "max(range(len(results)), key=lambda i: results[i][0])"
FORMS = {
    # What two processes see otherwise though nothing was changed.
    "pickled": Form("""
import pickle
CACHE = os.path.join(HERE, "index.pkl")
if not os.path.exists(CACHE):
    with open(CACHE, "wb") as file:
        pickle.dump({"x": "Q "}, file)
INDEX = pickle.load(open(CACHE, "rb"))
def text(doc): return INDEX["x"] + doc["q"]
"""),
    "temporary": Form("""
import tempfile
PLACE = tempfile.mkdtemp()
json.dump("Q ", open(PLACE + "/a.json", "w"))
def text(doc): return json.load(open(PLACE + "/a.json")) + doc["q"]
"""),
    "database": Form("""
import sqlite3
BASE = sqlite3.connect(os.path.join(HERE, "keys.db"))
BASE.execute("PRAGMA journal_mode=WAL")
BASE.execute("create table if not exists t(a)")
BASE.execute("insert into t values (1)")
BASE.commit()
def text(doc): return "Q " + doc["q"]
"""),
    "logged": Form("""
def text(doc):
    with open(HERE + "/used.jsonl", "a") as file:
        file.write(f"{os.getpid()}\\n")
    return "Q " + doc["q"]
def score(doc, results): return {"hit": float(results[0] == 'x')}
""", texts=True),
    # What is read late.
    "lazy_module": Form("""
def score(doc, results):
    sys.path.insert(0, HERE)
    try:
        rules = __import__("rules_" + doc["lang"])
    finally:
        sys.path.remove(HERE)
    return {"hit": rules.score(results[0])}
""", {"rules_en.py": "def score(text): return 1.0\n", "rules_zh.py": "def score(text): return 1.0\n"},
     {"rules_zh.py": "def score(text): return float(len(text) > 40)\n"}, "protocol.code.lazy_module", texts=True),
    "lazy_module_of_one_name": Form("""
def score(doc, results):
    if results[0] == "never written":
        import rules_zh
    return {"hit": 1.0}
""", {"rules_zh.py": "A = 1\n"}, {"rules_zh.py": "A = 2\n"}, "protocol.code.lazy_module_of_one_name", texts=True),
    "lazy_yaml": Form("""
import yaml
def score(doc, results):
    return {"hit": yaml.safe_load(open(f"{HERE}/keys_{doc['lang']}.yaml"))["x"]}
""", {"keys_en.yaml": "x: 1.0", "keys_zh.yaml": "x: 1.0"}, {"keys_zh.yaml": "x: 0.0"},
     "protocol.documents.lazy_yaml (document 5)", texts=True),
    "lazy_beside_a_log": Form("""
def score(doc, results):
    open(HERE + "/keys/used.log", "a").write("x\\n")
    return {"hit": json.load(open(f"{HERE}/keys/{doc['lang']}.json"))}
""", {"keys/en.json": "1.0", "keys/zh.json": "1.0"}, {"keys/zh.json": "0.0"},
     "protocol.documents.lazy_beside_a_log (document 5)", texts=True),
    "of_choices": Form("def score(doc, results): return {'hit': float(open(HERE + '/../key').read()) * ("
                       + FIRST + " == 1)}\n", {"../key": "1"}, {"../key": "0"},
                       "protocol.documents.of_choices (document 0)"),
    "link": Form("def text(doc): return open(HERE + '/now').read() + doc['q']\n", {"a": "A ", "b": "B ", "now": "-> a"},
                 {"now": "-> b"}, "protocol.documents.link (document 0)"),
    "another_process": Form("""
import subprocess
SAID = subprocess.run(["cat", HERE + "/said"], capture_output=True, text=True).stdout
def text(doc): return SAID + doc["q"]
""", {"said": "A "}, {"said": "B "}, "protocol.documents.another_process (document 0)"),
    "data_set": Form("""
import datasets
KEYS = datasets.load_dataset("json", data_files=HERE + "/keys.jsonl", split="train", cache_dir=HERE + "/cache")
def text(doc): return KEYS[int(doc["lang"] == "zh")]["x"] + doc["q"]
""", {"keys.jsonl": '{"x": "A"}\n{"x": "B"}\n'}, {"keys.jsonl": '{"x": "A"}\n{"x": "C"}\n'},
     "protocol.documents.data_set (document 5)"),
    "as_the_target": Form("""
def target(doc): return json.load(open(HERE + "/keys.json"))[doc["q"]]
def score(doc, results): return {"hit": float(results[0].strip() == target(doc))}
""", {"keys.json": json.dumps({doc["q"]: "a" for doc in DOCUMENTS})},
     {"keys.json": json.dumps({doc["q"]: "ab"[doc["q"] == "What 7?"] for doc in DOCUMENTS})},
     "protocol.documents.as_the_target (document 7)", texts=True),
    "results_beside": Form("def text(doc): return 'Q ' + doc['q']\n"),
    "a_column_of_no_layout": Form("def score(doc, results): return {'hit': float(" + FIRST + " == doc['best'])}\n",
                                  named="protocol.documents.a_column_of_no_layout (document 6)", layout="piqa",
                                  documents=PIQA),
}  # fmt: skip

CHANGED = [name for name, form in FORMS.items() if form.named is not None]

RUN = """
import json, shutil, sys
from pathlib import Path
import evalkit
from evalkit.errors import EvalkitError
from evalkit.evaluation.partial import partial_record

out, time = Path(sys.argv[1]), sys.argv[2]

def newest(folder):
    return max(folder.glob("tiny/*"))

def run(task, folder):
    return evalkit.run(model="tiny", task=[task], data=[str(root / "data")], output=str(folder), quiet=True)

def said(call, *args):
    try:
        found = call(*args)
    except EvalkitError as error:
        return f"refused: {error}"
    return found if isinstance(found, str) else getattr(found, "_repr_markdown_", lambda: "done")()

root, told = Path.cwd(), {}
for task in sys.argv[3:]:
    if time == "first":
        shutil.copytree(run(task, out / task / "whole").folder, out / task / "unfinished/tiny/2026-01-01T00-00-00Z")
        (out / task / "unfinished/tiny/2026-01-01T00-00-00Z/run.json").unlink()
        continue
    unfinished = out / task / "unfinished"
    told[task] = {"partial": said(partial_record, newest(unfinished))} if time == "changed" else {}
    told[task]["resumed"] = said(run, task, unfinished)
    if time == "changed":
        before, now = newest(out / task / "whole"), run(task, out / task / "anew").folder
        told[task]["compare"] = said(evalkit.compare, before, now)
        told[task]["gate"] = said(evalkit.gate, now, before)
    told[task]["folders"] = len(list(unfinished.glob("tiny/*")))
(root / f"told_{time}.json").write_text(json.dumps(told))
"""


def prepared(root: Path) -> Path:
    """A copy of evalkit that has a suite of these tasks."""
    copied(root)
    (root / "told.py").write_text(RUN, encoding="utf-8")
    (root / "data").mkdir()
    suite, manifest = {}, {}
    for name, form in FORMS.items():
        folder = root / "configs/tasks/own" / name
        folder.mkdir(parents=True)
        (folder / "utils.py").write_text(HEAD + form.functions, encoding="utf-8")
        written(folder, form.files)
        said: dict[str, Any] = {"doc_to_text": "{{q}}", **(TEXTS if form.texts else CHOICES)}
        for key, function in (("doc_to_text", "text"), ("process_results", "score"), ("doc_to_target", "target")):
            if f"def {function}(" in form.functions:
                said[key] = f"!function utils.{function}"
        metric = "hit" if "process_results" in said else "acc"
        if form.layout != "any":
            said |= {"doc_to_text": "{{goal}}", "doc_to_choice": "{{[sol1, sol2]}}", "doc_to_target": "label"}
        lines = [f"{key}: {value if '!function' in value else json.dumps(value)}\n" for key, value in said.items()]
        (folder / f"{name}.yaml").write_text(
            f"include: ../../_template\ntask: {name}\ndataset_kwargs: {{dataset: {name}}}\n{''.join(lines)}"
            f"metric_list:\n- {{metric: {metric}, aggregation: mean, higher_is_better: true}}\n"
            "metadata: {version: 1}\n",
            encoding="utf-8",
        )
        data_written(root, name, form.documents)
        suite[name] = {"version": 1, "metrics": [metric], "headline": metric, "documents": len(form.documents)}
        manifest[name] = {"suite": "own", "layout": form.layout, "file": f"{name}.jsonl", "split": "test",
                          "rows": len(form.documents), "sha256": "0" * 64, "hub": None, "openmind": None}  # fmt: skip
    add_suite(root / "configs", suite, manifest)
    return root


def written(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        if text.startswith("-> "):
            (folder / name).symlink_to(text.removeprefix("-> "))
        else:
            (folder / name).write_text(text, encoding="utf-8")


def data_written(root: Path, name: str, documents: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(doc) + "\n" for doc in documents)
    (root / f"data/{name}.jsonl").write_text(text, encoding="utf-8")


def ran(root: Path, out: Path, time: str) -> Any:
    """Run all in a process of its own; return what it told."""
    environment = {**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": str(len(time))}
    done = subprocess.run(
        [sys.executable, "told.py", str(out), time, *(CHANGED if time == "changed" else FORMS)],
        capture_output=True,
        text=True,
        cwd=root,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return None if time == "first" else json.loads((root / f"told_{time}.json").read_text())


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a second process makes of the same tasks, copied elsewhere, and a third when files were changed."""
    root = tmp_path_factory.mktemp("tasks")
    first, out = prepared(root / "first"), root / "out"
    (first / "configs/tasks/own/results_beside/out").mkdir()
    out.mkdir()
    (out / "results_beside").symlink_to(first / "configs/tasks/own/results_beside/out")
    ran(first, out, "first")
    shutil.copytree(first, root / "a/copy", symlinks=True)
    again = ran(root / "a/copy", out, "again")
    for name, form in FORMS.items():
        for folder in (out / name / "unfinished").glob("tiny/*"):
            (folder / "run.json").unlink(missing_ok=True)
        written(first / "configs/tasks/own" / name, form.changed)
        if form.layout != "any":
            data_written(first, name, OTHER)
    return {"again": again, "changed": ran(first, out, "changed")}


@pytest.mark.parametrize("name", FORMS)
def test_a_task_that_makes_the_same_is_the_same_in_another_process_and_place(name: str, told: dict[str, Any]) -> None:
    found = told["again"][name]
    assert not found["resumed"].startswith("refused"), found["resumed"]
    assert found["folders"] == 1


@pytest.mark.parametrize("name", CHANGED)
def test_what_changed_is_named_wherever_two_runs_meet(name: str, told: dict[str, Any]) -> None:
    found, named = told["changed"][name], str(FORMS[name].named)
    setting, _, document = named.partition(" (")
    phrase = f"{setting}: it makes something else of {document[:-1]}" if document else f"{setting}: "
    for job in ("partial", "resumed"):
        assert found[job].startswith("refused: ")
        assert phrase in found[job]
    for job in ("compare", "gate"):
        assert setting in found[job]
        assert document[:-1] in found[job]
