"""Damaged files of a run are one line that names file and key, exit code 2, whatever the damage is."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evalkit.cli import main
from evalkit.data.layouts import PASSAGES, Passage, cluster_key, possible_clusters
from evalkit.data.manifest import load_manifest
from evalkit.errors import StoreError
from evalkit.results.reading import read_run, read_samples

pytestmark = pytest.mark.torch_free
RECORDED = Path(__file__).parents[2] / "golden" / "runs" / "tiny-samples"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RECORDED, tmp_path / "run"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cluster", [1]),
        ("cluster", {"p": 1}),
        ("cluster", 3),
        ("cluster", float("nan")),
        ("logprobs", None),
        ("logprobs", ["-1.5"]),
        ("logprobs", [-1.5]),  # of several continuations
        ("greedy", [True]),
        ("greedy", ["yes"]),
        ("continuations", None),
        ("generated", None),
        ("generated", [1]),
        ("details", None),
        ("details", []),
        ("metrics", {"acc": "1.0"}),
        ("metrics", {"acc": True}),
        ("metrics", []),
        ("doc_id", "0"),
        ("task", None),
    ],
)
def test_a_sample_of_another_type_is_a_damaged_line(folder: Path, key: str, value: Any) -> None:
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | {key: value})
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match=r"samples\.jsonl:3: damaged line"):
        list(read_samples(folder))
    for command in (["gate", str(folder), "--baseline", str(RECORDED)], ["compare", str(RECORDED), str(folder)]):
        found = CliRunner().invoke(main, command)
        assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output


def metric(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(run: dict[str, Any]) -> None:
        run["evalkit"]["tasks"]["piqa"]["acc_norm"][name] = value

    return change


def other(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(run: dict[str, Any]) -> None:
        for key in path[:-1]:
            run = run[key]
        run[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (metric("value", None), "evalkit.tasks.piqa.acc_norm.value: null"),
        (metric("value", float("nan")), "evalkit.tasks.piqa.acc_norm.value: nan"),
        (metric("value", "0.7"), "evalkit.tasks.piqa.acc_norm.value: expected a number, found '0.7'"),
        (metric("value", 0.9), "results.piqa.acc_norm,none: 0.7, but evalkit.tasks says 0.9"),
        (metric("stderr", -0.1), "evalkit.tasks.piqa.acc_norm.stderr: -0.1"),
        (metric("stderr", float("nan")), "evalkit.tasks.piqa.acc_norm.stderr: nan"),
        (metric("failed", -5), "evalkit.tasks.piqa.acc_norm.failed: -5"),
        (metric("failed", 3), "evalkit.tasks.piqa.acc_norm.value: 0.7, although 3 documents failed"),
        (metric("n", -1), "evalkit.tasks.piqa.acc_norm.n: -1"),
        (metric("n", 10.5), "evalkit.tasks.piqa.acc_norm.n: expected an integer, found 10.5"),
        (other("results", "piqa", "acc_norm,none", value=0.1), "results.piqa.acc_norm,none: 0.1"),
        (other("results", "piqa", "acc_norm,none", value=None), "results.piqa.acc_norm,none: None"),
        (other("results", "piqa", "acc_norm_stderr,none", value=-1.0), "results.piqa.acc_norm_stderr,none: -1.0"),
        (other("results", "piqa", "acc_norm_stderr,none", value=float("nan")), "acc_norm_stderr,none: nan"),
        (other("n-samples", "piqa", value={"original": 0, "effective": 0}), "n-samples.piqa.effective: 0"),
        (lambda run: run["results"].pop("piqa"), "results: no piqa"),
        (other("evalkit", "data", "piqa", "documents", value=5), "evalkit.data.piqa.documents: 5"),
        (
            other("evalkit", "data", "piqa", "documents", value="10"),
            "documents: expected an integer, found '10'",
        ),
    ],
)
def test_numbers_that_contradict_each_other_are_damage(
    folder: Path, change: Callable[[dict[str, Any]], None], key: str
) -> None:
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    change(run)
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    with pytest.raises(StoreError) as raised:
        read_run(folder)
    assert key in str(raised.value)
    assert str(raised.value).startswith(f"{folder / 'run.json'}: ")
    found = CliRunner().invoke(main, ["gate", str(folder), "--baseline", str(RECORDED)])
    assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output


def test_the_recorded_run_is_whole() -> None:
    read_run(RECORDED)
    assert sum(1 for _ in read_samples(RECORDED)) > 0


def stderr_everywhere(task: str, metric: str, value: float) -> Callable[[dict[str, Any]], None]:
    def change(run: dict[str, Any]) -> None:
        run["evalkit"]["tasks"][task][metric]["stderr"] = value
        run["results"][task][f"{metric}_stderr,none"] = value

    return change


# `evalkit run --model tiny --limit 2` of three tasks: everything that a finished run says.
SCHEMA_3 = RECORDED.parent / "schema-3"


def refused(folder: Path) -> str:
    """Return what commands say of a damaged run: one line, exit code 2."""
    for command in (["report", str(folder)], ["compare", str(SCHEMA_3), str(folder)]):
        found = CliRunner().invoke(main, command)
        assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output
    return found.output


@pytest.mark.parametrize("kind", ["link", "folder", "packed"])
def test_samples_that_are_no_file_are_not_taken_for_none(kind: str, folder: Path) -> None:
    path = folder / "samples.jsonl"
    content = path.read_bytes()
    path.unlink()
    if kind == "packed":
        path.with_name("samples.jsonl.gz").write_bytes(gzip.compress(content))
    elif kind == "link":
        path.symlink_to(folder / "elsewhere")
    else:
        path.mkdir()
    found = CliRunner().invoke(main, ["gate", str(folder), "--baseline", str(RECORDED), "--margin", "1"])
    assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output
    said = (
        "samples.jsonl.gz: a run's documents are read unpacked"
        if kind == "packed"
        else "samples.jsonl: cannot be read ("
    )
    assert said in found.output


def leaves(found: Any, place: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the places of all keys of a record but those of free mappings and sessions."""
    places = []
    for key, value in found.items():
        if place[-1:] not in (("data",), ("tasks",), ("versions",), ("variables",), ("drivers",)) and key != "sessions":
            places.append((*place, key))
        if isinstance(value, dict) and key != "split_packs":
            places += leaves(value, (*place, key))
    return places


KEYS = leaves(json.loads((SCHEMA_3 / "run.json").read_text(encoding="utf-8"))["evalkit"])


def test_a_whole_run_of_schema_3_is_read() -> None:
    assert list(read_run(SCHEMA_3).metrics) == ["arc_easy", "boolq", "truthfulqa_mc"]
    assert len(list(read_samples(SCHEMA_3))) == 6
    assert len(KEYS) > 100


@pytest.mark.parametrize("place", KEYS, ids=".".join)
def test_every_key_of_schema_3_is_required(tmp_path: Path, place: tuple[str, ...]) -> None:
    run = json.loads((SCHEMA_3 / "run.json").read_text(encoding="utf-8"))
    inner = run["evalkit"]
    for key in place[:-1]:
        inner = inner[key]
    del inner[place[-1]]
    (tmp_path / "run.json").write_text(json.dumps(run), encoding="utf-8")
    with pytest.raises(
        StoreError,
        match=rf"(key '{place[-1]}' is missing|missing key '{place[-1]}'|effective: 2, but).*; the file is damaged",
    ):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other("evalkit", "tasks", value={}), "evalkit.tasks: no arc_easy"),
        (lambda run: run["evalkit"]["tasks"].pop("boolq"), "evalkit.tasks: no boolq"),
        (lambda run: run["evalkit"]["data"].pop("boolq"), "evalkit.data: no boolq"),
        (other("evalkit", "suites", value=[]), "evalkit.suites: []"),
        (other("evalkit", "identity", value=None), "evalkit.identity: null"),
        (other("results", value={}), "results: no arc_easy"),
        (lambda run: run.pop("results"), "results: no arc_easy"),
        (lambda run: run.pop("n-samples"), "n-samples: no arc_easy"),
        (lambda run: run["n-samples"].update(piqa=run["n-samples"]["boolq"]), "n-samples.piqa: no such task"),
        (other("evalkit", "config", "limit", value=-1), "evalkit.config.limit: -1"),
        (other("evalkit", "config", "limit", value=0), "evalkit.config.limit: 0"),
        (
            other("evalkit", "config", "limit", value=3),
            "evalkit.config.limit: 3, but evalkit.identity.settings.limit",
        ),
        (other("evalkit", "requests", "apart", value=-1), "evalkit.requests.apart: -1"),
        (other("evalkit", "duration_seconds", value=-1), "evalkit.duration_seconds: -1"),
        (other("evalkit", "identity", "data", "boolq", "documents", value=-1), "identity.data.boolq.documents: -1"),
        (other("evalkit", "identity", "settings", "temperature", value=float("nan")), "settings.temperature: nan"),
        (other("evalkit", "scorer", "max_difference", value=float("nan")), "evalkit.scorer.max_difference: nan"),
        (other("evalkit", "identity", "model", "model_fingerprint", value="x"), "evalkit.model.model_fingerprint: "),
        (other("evalkit", "model", "dtype", value="bfloat16"), "evalkit.model.dtype: 'bfloat16', but evalkit.identity"),
        (other("evalkit", "model", "chat_template_sha256", value=None), "evalkit.model.chat_template_sha256: None"),
        (other("evalkit", "model", "identity", "dtype", value="x"), "evalkit.model.identity.dtype: 'x', but"),
        (other("evalkit", "config", "system", value="Be brief."), "evalkit.config.system: 'Be brief.', but"),
        (other("evalkit", "protocol", value="other"), "evalkit.protocol: 'other', but"),
        (other("evalkit", "data", "boolq", "sha256", value="0" * 64), "evalkit.data.boolq.sha256: "),
        (other("evalkit", "data", "boolq", "verdict", value="published"), "evalkit.data.boolq.verdict is samples"),
        (other("evalkit", "data", "boolq", "documents", value=11), "evalkit.data.boolq.documents: 11, but"),
        (other("evalkit", "environment", "versions", "torch", value="9"), "evalkit.environment.versions.torch: '9'"),
        (lambda run: run["evalkit"]["environment"]["versions"].pop("torch"), "environment.versions.torch: None"),
        (other("evalkit", "scorer", "name", value="plain"), "evalkit.scorer.name: 'plain', but"),
        (other("evalkit", "duration_seconds", value=None), "evalkit.duration_seconds: null"),
        (other("evalkit", "requests", "cut", value=1), "evalkit.requests.cut: 1, but 0 documents are marked so"),
        (other("evalkit", "isolation", value="none"), "evalkit.isolation: 'none', but no programs were run"),
        (
            other("evalkit", "disputed", value=["HumanEval/3"]),
            "evalkit.disputed: HumanEval/3, but the documents say none",
        ),
        (other("evalkit", "work", "reused_from", value="x"), "evalkit.work.reused_from is null: False, but"),
        (other("evalkit", "tasks", "boolq", "acc", "stderr", value=0.1), "results.boolq.acc_stderr,none: 0.5, but"),
        (other("results", "boolq", "acc_stderr,none", value=0.1), "results.boolq.acc_stderr,none: 0.1, but"),
        (stderr_everywhere("boolq", "acc", 0.1), "evalkit.tasks.boolq.acc.stderr: 0.1, but its documents give 0.5"),
    ],
)
def test_less_than_a_run_says_is_damage(tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str) -> None:
    folder = Path(shutil.copytree(SCHEMA_3, tmp_path / "run"))
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    change(run)
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    assert said in refused(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"picked": {"acc": 99, "acc_norm": 0}}, "picked: 99, of "),
        ({"picked": {}}, "picked: no acc"),
        ({"picked": None}, "picked: null"),
        ({"gold": [99]}, "gold: 99, of "),
        ({"gold": []}, "metrics.acc: 1.0, but picked says"),
        ({"second_group": 99}, "second_group: 99, of "),
        ({"characters": None}, "characters: null"),
        ({"characters": [0, 0, 0, 0]}, "characters: "),
        ({"details": {"failed": "log-probability"}}, "although details.failed says 'log-probability'"),
        ({"logprobs": [-1.0, -9.0, -9.0, -9.0], "picked": {"acc": 1, "acc_norm": 1}}, "but picked says 1"),
        ({"logprobs": [-9.0, -9.0, -9.0, -1.0]}, "but logprobs choose 3"),
        ({"logprobs": [None, -9.0, -9.0, -9.0]}, "logprobs[0]: null"),
        ({"logprobs": [5.0, -9.0, -9.0, -9.0]}, "logprobs[0]: 5.0"),
        ({"cluster": " "}, "cluster: an empty text"),
        ({"target": 3}, "gold: [0], but target says 3"),
    ],
)
def test_choices_that_contradict_are_a_damaged_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    folder = Path(shutil.copytree(SCHEMA_3, tmp_path / "run"))
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    place = next(
        i
        for i, line in enumerate(lines)
        if json.loads(line)["metrics"].get("acc_norm") == 1 == json.loads(line)["metrics"]["acc"]
    )
    lines[place] = json.dumps(json.loads(lines[place]) | change)
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(StoreError) as raised:
        list(read_samples(folder))
    assert str(raised.value).startswith(f"{folder / 'samples.jsonl'}:{place + 1}: damaged line (")
    assert said in str(raised.value)


def test_a_task_of_two_groups_of_continuations_says_where_the_second_starts(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SCHEMA_3, tmp_path / "run"))
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    place = next(i for i, line in enumerate(lines) if "mc2" in json.loads(line)["metrics"])
    lines[place] = json.dumps(json.loads(lines[place]) | {"second_group": None})
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert f":{place + 1}: damaged line (second_group: null, but the task has two groups" in refused(folder)


@pytest.mark.parametrize("key", ["picked", "gold", "second_group", "characters"])
def test_a_line_of_schema_3_without_its_choices_is_damaged(tmp_path: Path, key: str) -> None:
    folder = Path(shutil.copytree(SCHEMA_3, tmp_path / "run"))
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    text = "".join(json.dumps({name: value for name, value in line.items() if name != key}) + "\n" for line in lines)
    (folder / "samples.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=rf"samples\.jsonl:1: damaged line \(key '{key}' is missing\)"):
        list(read_samples(folder))


def changed(folder: Path, task: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change all of a task's samples."""
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if line["task"] == task:
            change(line)
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda line: line.update(cluster=line["cluster"] if line["doc_id"] else None),
            "boolq: document 0: cluster None is not that of its passage",
        ),
        (lambda line: line.update(cluster="0" * 16), "cluster '0000000000000000' is not that of its passage"),
        (lambda line: line["metrics"].update(extra=1.0), "document 0 has the metrics acc, extra, the record acc"),
        (lambda line: line.update(doc_id=line["doc_id"] + 7), "document 0 is missing, and there is a document 8 of 2"),
        (lambda line: line["details"].update(cut=True), "evalkit.requests.cut: 0, but 2 documents are marked so"),
    ],
)
def test_documents_that_the_record_does_not_fit(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    folder = Path(shutil.copytree(SCHEMA_3, tmp_path / "run"))
    changed(folder, "boolq", change)
    assert said in refused(folder)


NO_PASSAGES = "passages: recorded before evalkit knew that documents of {} share some"


def outputs(*commands: list[str]) -> list[str]:
    found = [CliRunner().invoke(main, command) for command in commands]
    assert [(result.exit_code, result.stderr) for result in found] == [(0, "")] * len(found), found[0].output
    return [result.stdout for result in found]


def test_a_run_from_before_its_layout_had_passages_is_read_as_it_was_recorded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = (["report", str(folder)], ["compare", str(RECORDED), str(folder)])
    gate = ["gate", str(folder), "--baseline", str(RECORDED)]
    before = outputs(*commands, gate)
    goal = Passage(lambda doc: f"Question: {doc['goal']}", ("\nAnswer:",))
    monkeypatch.setitem(PASSAGES, "piqa", goal)
    note = NO_PASSAGES.format("piqa")
    report, compared, judged = outputs(*commands, gate)
    assert report == before[0]
    assert note in compared
    assert note in judged
    (folder / "samples.jsonl").write_text(
        "".join(
            json.dumps(
                line | ({"cluster": cluster_key("piqa", {"goal": goal_in(line)})} if line["task"] == "piqa" else {})
            )
            + "\n"
            for line in map(json.loads, (RECORDED / "samples.jsonl").read_text(encoding="utf-8").splitlines())
        ),
        encoding="utf-8",
    )
    compared, judged = outputs(commands[1], gate)  # one of both runs says it: that is enough
    assert note not in compared + judged
    monkeypatch.setattr("evalkit.results.agreement.code_sha256", lambda: read_run(RECORDED).identity.code.sha256)
    shutil.copy(RECORDED / "samples.jsonl", folder)
    found = CliRunner().invoke(main, gate)  # what this code writes says its passages
    assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output
    assert "piqa: document 0: cluster None is not that of its passage" in found.output


def goal_in(line: dict[str, Any]) -> str:
    return line["context"].removeprefix("Question: ").removesuffix("\nAnswer:")


def test_documents_without_the_passages_that_they_share_are_said_beside_the_verdict(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SCHEMA_3, tmp_path / "run"))
    changed(folder, "boolq", lambda line: line.update(cluster=None))
    (judged,) = outputs(["compare", str(folder), str(folder)])
    assert NO_PASSAGES.format("boolq") in judged
    (judged,) = outputs(["compare", str(SCHEMA_3), str(folder)])
    assert NO_PASSAGES.format("boolq") not in judged


def test_a_record_of_schema_3_that_calls_itself_2_is_judged_as_3(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SCHEMA_3, tmp_path / "run"))
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    run["schema_version"] = 2
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    assert read_run(folder).metrics == read_run(SCHEMA_3).metrics
    del run["evalkit"]["config"]["limit"]
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    assert "evalkit.config: key 'limit' is missing" in refused(folder)
    run["evalkit"]["config"]["limit"] = 2
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    changed(folder, "arc_easy", lambda line: line.update(picked={"acc": 1, "acc_norm": 1}))
    assert "damaged line" in refused(folder)


@pytest.mark.parametrize("recorded", [SCHEMA_3, RECORDED], ids=["schema-3", "tiny-samples"])
def test_an_error_changed_wherever_it_is_said_is_not_reported(tmp_path: Path, recorded: Path) -> None:
    folder = Path(shutil.copytree(recorded, tmp_path / "run"))
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    stderr_everywhere("truthfulqa_mc", "mc2", 0.001)(run)
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    found = CliRunner().invoke(main, ["report", str(folder)])
    assert (found.exit_code, found.output.count("\n")) == (2, 1)
    assert "truthfulqa_mc: the documents' error of mc2 is 0." in found.output


def test_the_order_of_lines_means_nothing(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SCHEMA_3, tmp_path / "run"))
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "samples.jsonl").write_text("".join(reversed(lines)), encoding="utf-8")
    for command in (["report"], ["explain"], ["gate", "--baseline", str(SCHEMA_3)]):
        said = [CliRunner().invoke(main, [command[0], str(run), *command[1:]]).output for run in (folder, SCHEMA_3)]
        assert said[0].replace(str(folder), "") == said[1].replace(str(SCHEMA_3), ""), command
    compared = [CliRunner().invoke(main, ["compare", str(SCHEMA_3), str(run)]) for run in (folder, SCHEMA_3)]
    assert {found.exit_code for found in compared} == {0}


def test_explain_names_what_compare_lists() -> None:
    old = RECORDED.parent / "schema-2"
    told = CliRunner().invoke(main, ["explain", str(SCHEMA_3), "--against", str(old)])
    assert told.exit_code == 2
    assert "recorded besides with other values: isolation, protocol sha256, evalkit code" in told.output
    listed = CliRunner().invoke(main, ["compare", str(old), str(SCHEMA_3)]).output
    rows = [[cell.strip() for cell in line.split("|")[2:4]] for line in listed.splitlines() if line.startswith("| ")]
    assert ["none", "none"] not in rows


@pytest.mark.parametrize(("flips", "too_few"), [("1", True), ("10", False)])
def test_power_says_where_too_few_flip(flips: str, too_few: bool) -> None:
    found = CliRunner().invoke(main, ["power", "--suite", "agieval", "--flips", flips])
    assert found.exit_code == 0
    assert ("% flips at least" in found.output) is too_few


PRESENT = RECORDED.parent / "schema-3"


@pytest.fixture
def present(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PRESENT, tmp_path / "present"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("results", "boolq"), 2),
        (("n-samples", "boolq"), ""),
        (("n-samples", "boolq"), ["x"]),
        (("n-samples", "boolq"), float("nan")),
        (("n-samples", "boolq"), {"original": "10", "effective": 10}),
        (("n-shot", "boolq"), ["x"]),
        (("configs",), -1),
        (("configs", "boolq"), "x"),
        (("versions", "boolq"), []),
        (("higher_is_better", "boolq"), 1),
        (("evalkit", "data", "boolq", "expected_rows"), None),
        (("evalkit", "model", "name"), ""),
    ],
    ids=str,
)
def test_a_key_of_another_type_is_named_at_any_depth(present: Path, path: tuple[str, ...], value: Any) -> None:
    run = json.loads((present / "run.json").read_text(encoding="utf-8"))
    other(*path, value=value)(run)
    (present / "run.json").write_text(json.dumps(run), encoding="utf-8")
    with pytest.raises(StoreError, match=re.escape(".".join(path))):
        read_run(present)


TASKS = sorted({json.loads(line)["task"] for line in (PRESENT / "samples.jsonl").read_text("utf-8").splitlines()})


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("change", [{"cluster": "x"}, {"cluster": "0123456789abcdef"}, {"gold": None}], ids=str)
def test_each_task_refuses_a_passage_or_gold_that_is_not_its_own(present: Path, task: str, change: Any) -> None:
    samples = [json.loads(line) for line in (present / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    own = [sample for sample in samples if sample["task"] == task]
    if "gold" in change and all(sample["gold"] is None for sample in own):
        pytest.skip("a task without choices")
    for sample in own:
        sample.update(change)
    (present / "samples.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples), encoding="utf-8")
    found = CliRunner().invoke(main, ["gate", str(present), "--baseline", str(PRESENT), "--margin", "30"])
    assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output
    assert next(iter(change)) in found.output


def test_no_task_without_passages_has_a_cluster_whatever_its_context_is() -> None:
    with_passages = {name for name, data in load_manifest().items() if data.layout in ("agieval", "boolq")}
    assert len(load_manifest()) - len(with_passages) >= 20
    for name, data in load_manifest().items():
        for context in (["Ann saw Eve", "Ann saw her"], None, "Question: -- Q: "):
            possible = possible_clusters(data.layout, context)
            assert name in with_passages or possible == {None}
