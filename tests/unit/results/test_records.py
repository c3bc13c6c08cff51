"""A run's record: written whole or not at all, averages that refuse failed samples, damage that is named."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from evalkit.errors import StoreError
from evalkit.records.model import MetricValue
from evalkit.records.values import finite, strict_json, summarise, summarise_samples
from evalkit.results import writing
from evalkit.results.reading import read_run, read_samples
from evalkit.results.writing import write_run
from tests.support.records import facts, of_schema_2, sample, write_record

pytestmark = pytest.mark.torch_free


def refusal(read: Callable[[Path], Any], path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_mean_and_standard_error() -> None:
    assert summarise([1.0, 0.0, 1.0, 1.0]) == MetricValue(value=0.75, stderr=0.25, n=4, failed=0)
    assert summarise([1.0]) == MetricValue(value=1.0, stderr=None, n=1, failed=0)


def test_a_failed_sample_refuses_the_score() -> None:
    assert summarise([1.0, None, 1.0]) == MetricValue(value=None, stderr=None, n=3, failed=1)
    assert summarise([1.0, math.nan, math.inf]) == MetricValue(value=None, stderr=None, n=3, failed=2)
    assert summarise([]) == MetricValue(value=None, stderr=None, n=0, failed=0)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_the_sample_standard_deviation(values: list[float]) -> None:
    """Oracle: NumPy's, with ddof=1."""
    found = summarise(values)
    assert found.value == pytest.approx(float(np.mean(values)), abs=1e-12)
    assert found.stderr == pytest.approx(float(np.std(values, ddof=1)) / math.sqrt(len(values)), abs=1e-12)


def test_samples_are_summed_up_by_task_and_metric() -> None:
    samples = [sample("b", 0, acc=1.0, acc_norm=0.0), sample("a", 0, mc1=1.0), sample("b", 1, acc=0.0, acc_norm=None)]
    found = summarise_samples(samples)
    assert list(found) == ["b", "a"]
    assert found["b"] == {
        "acc": MetricValue(value=0.5, stderr=0.5, n=2, failed=0),
        "acc_norm": MetricValue(value=None, stderr=None, n=2, failed=1),
    }
    assert found["a"] == {"mc1": MetricValue(value=1.0, stderr=None, n=1, failed=0)}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (-math.inf, None),
        (np.float64(0.5), 0.5),
        (np.float32("nan"), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([1.0, math.nan]), [1.0, None]),
        ((1, (2.0, None)), [1, [2.0, None]]),
        ({1: {"a": math.inf}}, {"1": {"a": None}}),
        (Path("/x"), "/x"),
        (True, True),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_values_become_strict_json(value: Any, expected: Any) -> None:
    assert strict_json(value) == expected
    assert type(strict_json(value)) is type(expected)
    json.dumps(strict_json(value), allow_nan=False).encode("utf-8")


def test_finite() -> None:
    assert [finite(value) for value in (None, math.nan, -math.inf, 0.0, -1.5)] == [None, None, None, 0.0, -1.5]


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = write_record(folder, {"boolq": {"acc": [1.0, 0.0]}, "piqa": {"acc": [1.0, None], "acc_norm": [0.0, 0.0]}})
    assert record == read_run(folder) == read_run(folder / "run.json")
    assert record.metrics["boolq"]["acc"] == MetricValue(value=0.5, stderr=0.5, n=2, failed=0)
    assert record.metrics["piqa"]["acc"] == MetricValue(value=None, stderr=None, n=2, failed=1)
    assert record.protocol == "nous-2023"
    assert set(record.lm_eval) == {"results", "versions"}
    samples = list(read_samples(folder))
    assert [(s.task, s.doc_id, s.metrics) for s in samples[:2]] == [
        ("boolq", 0, {"acc": 1.0}),
        ("boolq", 1, {"acc": 0.0}),
    ]
    assert [s.metrics for s in samples[2:]] == [{"acc": 1.0, "acc_norm": 0.0}, {"acc": None, "acc_norm": 0.0}]
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "samples.jsonl"]


def test_nan_is_null_on_disk(tmp_path: Path) -> None:
    bad = replace(sample("boolq", 0, acc=math.nan), logprobs=[math.nan])
    of_schema_2(write_run(tmp_path, facts(duration_seconds=math.inf), {"results": {"boolq": {"acc": math.nan}}}, [bad]))
    for name in ("run.json", "samples.jsonl"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "NaN" not in text
        assert "Infinity" not in text
    assert next(iter(read_samples(tmp_path))).metrics == {"acc": None}


def test_text_with_line_separators_stays_one_sample(tmp_path: Path) -> None:
    odd = replace(sample("boolq", 0, acc=1.0), context="a\u2028b\x85c\nd\re")
    of_schema_2(write_run(tmp_path, facts(), {}, [odd, sample("boolq", 1, acc=0.0)]))
    assert next(iter(read_samples(tmp_path))).context == "a\u2028b\x85c\nd\re"
    assert len(list(read_samples(tmp_path))) == 2


def test_the_samples_are_there_before_the_run_counts_as_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    write = writing.write_atomically
    monkeypatch.setattr(writing, "write_atomically", lambda path, text: (written.append(path.name), write(path, text)))
    of_schema_2(write_run(tmp_path, facts(), {}, [sample("boolq", 0, acc=1.0)], lambda record: str(record.metrics)))
    assert written == ["samples.jsonl", "report.md", "run.json"]


def test_a_folder_that_holds_no_finished_run(tmp_path: Path) -> None:
    assert refusal(read_run, tmp_path) == (
        f"{tmp_path}: no run here (no run.json); name a folder such as results/<model>/<time>"
    )
    (tmp_path / "samples.jsonl").touch()
    assert "no run here" in refusal(read_run, tmp_path / "absent")
    assert "no run; a run is a folder" in refusal(read_run, tmp_path / "samples.jsonl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "damaged, not valid JSON ("),
        (lambda _: "[]", "not written by evalkit (no key 'evalkit')"),
        (lambda _: '{"results": {}}', "not written by evalkit (no key 'evalkit')"),
        (lambda text: text.replace('"schema_version": 3', '"schema_version": 4'), "schema_version 4, this "),
        (
            lambda text: text.replace('"schema_version": 3', '"schema_version": "3"'),
            'schema_version: expected an integer from 1 to 3, found "3"; ',
        ),
        (
            lambda text: text.replace('"schema_version": 3', '"schema_version": true'),
            "schema_version: expected an integer from 1 to 3, found true; ",
        ),
        (
            lambda text: text.replace('"schema_version": 3', '"schema_version": 0'),
            "schema_version: expected an integer from 1 to 3, found 0; ",
        ),
        (lambda text: text.replace('"schema_version": 3', '"schema_version": 3.0'), "schema_version: expected an in"),
        (lambda text: text.replace('"schema_version": 3,', ""), "key 'schema_version' is missing; the file is damaged"),
        (
            lambda text: text.replace('"model": {', '"modell": {'),
            "evalkit: unknown key 'modell'; did you mean 'model'?; the file is damaged",
        ),
        (
            lambda text: text.replace('"dtype"', '"dtyp"'),
            "evalkit.config: unknown key 'dtyp'; did you mean 'dtype'?; ",
        ),
        (lambda text: text.replace('"failed"', '"fail"'), "evalkit.tasks.boolq.acc: unknown key 'fail'; "),
        (lambda text: json.dumps({**json.loads(text), "evalkit": 3}), "evalkit: expected a mapping, found 3; "),
        (lambda text: text.replace('"tasks": {', '"tasks": 3, "x": {'), "evalkit.tasks: expected a mapping, found 3; "),
    ],
)
def test_damage_is_named(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    write_record(tmp_path, {"boolq": {"acc": [1.0, 0.0]}})
    path = tmp_path / "run.json"
    text = path.read_text(encoding="utf-8").replace('"schema_version": 2', '"schema_version": 3')
    path.write_text(change(text), encoding="utf-8")
    assert refusal(read_run, tmp_path).startswith(f"{path}: {message}")


def test_records_of_schema_1_are_read(tmp_path: Path) -> None:
    record = write_record(tmp_path, {"boolq": {"acc": [1.0, 0.0]}})
    path = tmp_path / "run.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"schema_version": 2', '"schema_version": 1'), encoding="utf-8")
    old = read_run(tmp_path)
    assert old.metrics == record.metrics
    assert old.identity is None
    assert old.sessions == ()


def test_lm_eval_scores_of_failed_tasks_are_removed(tmp_path: Path) -> None:
    """lm-eval made a mean of a sample that failed; run.json must not show it in any place."""
    samples = [sample("boolq", 0, acc=1.0), sample("boolq", 1, acc=None), sample("piqa", 0, acc=1.0)]
    theirs = {
        "results": {
            "boolq": {"acc,none": 0.5, "acc_stderr,none": 0.1, "alias": "boolq"},
            "piqa": {"acc,none": 1.0, "alias": "piqa"},
            "gpt4all": {"acc,none": 0.7, "alias": "gpt4all"},
        },
        "group_subtasks": {"gpt4all": ["boolq", "piqa"]},
        "configs": {"boolq": {"doc_to_text": "<function text at 0x7f00>", "splits": ["a", 1]}},
    }
    found = write_run(tmp_path, facts(), theirs, samples).lm_eval
    assert found["results"]["boolq"] == {"acc,none": None, "acc_stderr,none": None, "alias": "boolq"}
    assert found["results"]["piqa"]["acc,none"] == 1.0
    assert found["results"]["gpt4all"]["acc,none"] is None
    assert found["configs"]["boolq"] == {"doc_to_text": "<function text>", "splits": ["a", 1]}


def test_a_run_that_is_not_utf8(tmp_path: Path) -> None:
    write_record(tmp_path, {"boolq": {"acc": [1.0, 0.0]}})
    (tmp_path / "run.json").write_bytes(b'{"evalkit": "\xff"}')
    assert "damaged" in refusal(read_run, tmp_path)


def test_damaged_samples_name_the_line(tmp_path: Path) -> None:
    write_record(tmp_path, {"boolq": {"acc": [1.0, 0.0]}})
    path = tmp_path / "samples.jsonl"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"doc_id": 1', '"document": 1'), encoding="utf-8")
    assert refusal(lambda p: list(read_samples(p)), tmp_path) == f"{path}:2: damaged line (unknown key 'document')"
    path.write_text(text[:-10], encoding="utf-8")
    assert refusal(lambda p: list(read_samples(p)), tmp_path) == f"{path}:2: damaged line"
    path.unlink()
    assert refusal(lambda p: list(read_samples(p)), tmp_path).startswith(f"{path}: cannot be read (No such file")


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(json_like)
def test_anything_can_be_written(value: Any) -> None:
    text = json.dumps(strict_json(value), ensure_ascii=False, allow_nan=False)
    assert json.loads(text.encode("utf-8")) == strict_json(value)
