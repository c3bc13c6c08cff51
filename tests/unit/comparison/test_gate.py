"""The gate: what it decides, what it refuses, what it says; and how often it errs, by simulation."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from evalkit.cli import main
from evalkit.comparison import gate_text
from evalkit.comparison.compare import compare
from evalkit.comparison.gate import Gate, gate
from evalkit.comparison.gate_noise import noise_between, noise_table
from evalkit.comparison.gate_policy import read_policy
from evalkit.comparison.gate_sides import sides_of
from evalkit.comparison.pairing import TaskScores
from evalkit.comparison.questions import judge, paired_tests, unpaired_tests
from evalkit.comparison.run_scores import RunScores
from evalkit.config.suites import find_suite, find_task, question_group
from evalkit.errors import ConfigError, StoreError
from evalkit.records.identity import MOVING
from evalkit.records.model import MetricValue
from evalkit.tables import FORMATS, render_table
from tests.support.pairs import data_entry, document, draw, flipped, suite_values, write_samples, write_values

pytestmark = pytest.mark.torch_free

GPT4ALL = find_suite("gpt4all")
REPETITIONS = 20_000


def shifted(values: Mapping[str, Sequence[float]], gain: float, loss: float) -> dict[str, list[float]]:
    return {name: flipped(column, gain, loss, seed) for seed, (name, column) in enumerate(values.items())}


def run_gate(
    folder: Path, candidate: Mapping[str, Sequence[float]], baseline: Mapping[str, Sequence[float]], **options: object
) -> Gate:
    write_values(folder / "candidate", candidate)
    write_values(folder / "baseline", baseline)
    return gate(folder / "candidate", str(folder / "baseline"), **options)  # type: ignore[arg-type]


# What it decides


def test_a_run_passes_against_itself_however_few_documents_it_has(tmp_path: Path) -> None:
    values = suite_values("gpt4all", 3, 0.5, 1)
    found = run_gate(tmp_path, values, values)
    assert (found.verdict, found.exit_code, found.paired) == ("pass", 0, True)
    assert found.judged[0].asked.same
    assert (
        "the same texts and log-probabilities (within 0.01 nats) on every document: GPT4All"
        in gate_text.gate_markdown(found)
    )


def test_the_verdicts_and_their_exit_codes(tmp_path: Path) -> None:
    values = suite_values("gpt4all", 1000, 0.6, 1)
    equal = run_gate(tmp_path / "equal", shifted(values, 0.03, 0.03), values)
    assert (equal.verdict, equal.exit_code) == ("pass", 0)
    worse = run_gate(tmp_path / "worse", shifted(values, 0.02, 0.07), values)
    assert (worse.verdict, worse.exit_code) == ("worse", 1)
    assert "WORSE: worse than the baseline by more than 1 point in GPT4All" in gate_text.headline(worse)
    near = run_gate(tmp_path / "near", shifted(values, 0.06, 0.07), values)
    assert (near.verdict, near.exit_code) == ("undecided", 3)


@pytest.mark.parametrize("gain", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("documents", [10, 100, 1000])
def test_improvement_never_fails(tmp_path: Path, gain: float, documents: int) -> None:
    values = suite_values("gpt4all", documents, 0.5, 1)
    found = run_gate(tmp_path, shifted(values, gain, 0.0), values, margin=0.1)
    assert found.verdict != "worse"
    if documents * gain >= 50:
        assert found.verdict == "pass"


def test_a_suite_alone_can_be_judged_and_one_bad_suite_fails_all(tmp_path: Path) -> None:
    good, bad = suite_values("gpt4all", 800, 0.6, 1), suite_values("bigbench", 400, 0.6, 50)
    candidate = {**shifted(good, 0.02, 0.02), **shifted(bad, 0.0, 0.08)}
    both = run_gate(tmp_path, candidate, {**good, **bad}, margin=2.0)
    assert [item.verdict for item in both.judged] == ["pass", "worse", "worse"]
    assert [item.asked.title for item in both.judged] == ["GPT4All", "BigBench", "Average of 2 suites"]
    alone = gate(tmp_path / "candidate", str(tmp_path / "baseline"), margin=2.0, suites=("gpt4all",))
    assert alone.verdict == "pass"
    assert [item.asked.key for item in alone.judged] == ["gpt4all"]


def test_documents_that_exist_are_those_of_the_suites_and_tasks_that_are_judged(tmp_path: Path) -> None:
    values = {**suite_values("gpt4all", 60, 0.5, 1), **suite_values("truthfulqa", 60, 0.5, 50)}
    del values["hellaswag"]
    found = run_gate(tmp_path, shifted(values, 0.1, 0.1), values, margin=0.05)
    wanted = [20_465 - 10_042, 817, 20_465 - 10_042 + 817]
    assert [item.asked.existing for item in found.judged] == wanted
    for item, existing in zip(found.judged, wanted, strict=True):
        assert f"documents, more than the {existing:,} that exist, has " in gate_text.what_decides(item)


def test_undecided_says_how_many_documents_would_decide(tmp_path: Path) -> None:
    values = suite_values("gpt4all", 100, 0.5, 1)
    found = run_gate(tmp_path, shifted(values, 0.1, 0.1), values)
    (item,) = found.judged
    assert item.verdict == "undecided"
    assert item.needed is not None
    assert f"GPT4All: needs about {item.needed:,} documents" in gate_text.what_decides(item)
    assert ", has 700; " in gate_text.what_decides(item)
    tight = gate(tmp_path / "candidate", str(tmp_path / "baseline"), margin=0.2)
    (small,) = tight.judged
    assert small.needed is not None
    assert small.needed > 20_465
    assert f"{small.needed:,} documents, more than the 20,465 that exist, has 700" in gate_text.what_decides(small)
    assert item.passing_margin is not None
    assert f"a margin of {item.passing_margin:.2f} points would pass" in gate_text.what_decides(item)
    run, other = tmp_path / "candidate", str(tmp_path / "baseline")
    assert gate(run, other, margin=item.passing_margin).verdict == "pass"
    assert gate(run, other, margin=round(item.passing_margin - 0.01, 2)).verdict == "undecided"


def test_a_published_average_is_judged_unpaired(tmp_path: Path) -> None:
    values = {task.name: draw(task.documents, 0.9, i) for i, task in enumerate(GPT4ALL.tasks)}
    write_values(tmp_path / "run", values)
    found = gate(tmp_path / "run", "openhermes-2.5-mistral-7b")
    assert (found.verdict, found.paired) == ("pass", False)
    assert found.judged[0].asked.baseline == 73.12
    assert any("unpaired: OpenHermes-2.5-Mistral-7B is a published aggregate" in note for note in found.notes)
    assert any("not judged, because the candidate did not run it: AGIEval" in note for note in found.notes)
    # Only averages were published: the largest error that any rows could have.
    bound = gate(tmp_path / "run", "openhermes-1-llama2-13b")
    assert any("its error is an upper bound: GPT4All" in note for note in bound.notes)
    write_values(tmp_path / "bad", {name: draw(len(v), 0.5, 1) for name, v in values.items()})
    assert gate(tmp_path / "bad", "openhermes-2.5-mistral-7b").exit_code == 1


def test_no_number_of_documents_beats_a_publications_own_error(tmp_path: Path) -> None:
    values = {task.name: draw(task.documents, 0.7312, i) for i, task in enumerate(GPT4ALL.tasks)}
    write_values(tmp_path / "run", values)
    found = gate(tmp_path / "run", "openhermes-2.5-mistral-7b", margin=0.5)
    assert found.verdict == "undecided"
    why = "no number of documents of the candidate's alone decides this, the baseline's own error is too large"
    assert why in gate_text.gate_markdown(found)
    write_values(
        tmp_path / "few", {name: column[:60] for name, column in values.items()}, config={"model": "m", "limit": 60}
    )
    few = gate(tmp_path / "few", "openhermes-2.5-mistral-7b", margin=5.0, allow_different=["limit"])
    assert few.judged[0].needed is None or few.judged[0].needed > 420


def test_without_documents_two_runs_are_judged_by_their_aggregates(tmp_path: Path) -> None:
    values = suite_values("gpt4all", 500, 0.6, 1)
    found = run_gate(tmp_path, shifted(values, 0.1, 0.0), values)
    assert found.paired
    (tmp_path / "baseline" / "samples.jsonl").unlink()
    unpaired = gate(tmp_path / "candidate", str(tmp_path / "baseline"))
    assert not unpaired.paired
    assert any("unpaired: no samples.jsonl in " in note and "errors larger" in note for note in unpaired.notes)
    assert unpaired.judged[0].stderr > found.judged[0].stderr
    assert unpaired.judged[0].asked.test.difference.value == pytest.approx(found.judged[0].asked.test.difference.value)


def test_documents_of_a_passage_count_as_the_cluster_that_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    flips = np.repeat(rng.choice([-1.0, 0.0, 1.0], 60, p=[0.1, 0.8, 0.1]), 5)
    baseline = [0.0 if flip > 0 else 1.0 for flip in flips]
    candidate = [b + f for b, f in zip(baseline, flips, strict=True)]
    keys = {"truthfulqa_mc": [f"p{i // 5}" for i in range(300)]}
    write_values(tmp_path / "a", {"truthfulqa_mc": candidate}, keys)
    write_values(tmp_path / "b", {"truthfulqa_mc": baseline}, keys)
    clustered = gate(tmp_path / "a", str(tmp_path / "b")).judged[0].asked.test.difference
    plain = run_gate(tmp_path / "plain", {"truthfulqa_mc": candidate}, {"truthfulqa_mc": baseline})
    assert clustered.stderr == pytest.approx(math.sqrt(5) * plain.judged[0].asked.test.difference.stderr, rel=0.05)
    # All documents of one passage, as the first few of a task may be: they count as single ones, not as no error.
    one = {"truthfulqa_mc": ["p"] * 300}
    write_values(tmp_path / "c", {"truthfulqa_mc": candidate}, one)
    write_values(tmp_path / "d", {"truthfulqa_mc": baseline}, one)
    single = gate(tmp_path / "c", str(tmp_path / "d")).judged[0].asked.test.difference
    assert single.stderr == 100.0  # one passage says nothing about others


# What it refuses


def refused(candidate: Path, baseline: Path | str, *words: str, **options: object) -> None:
    with pytest.raises(ConfigError) as raised:
        gate(candidate, str(baseline), **options)  # type: ignore[arg-type]
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"model": {"dtype": "float16"}}, "dtype", "dtype: float16, baseline bfloat16"),
        ({"config": {"add_bos": True}}, "add_bos", "add_bos: on, baseline off"),
        ({"config": {"apply_chat_template": True}}, "apply_chat_template", "apply_chat_template: on, baseline off"),
        ({"config": {"system": "Be\nkind"}}, "system", "system: 'Be kind', baseline none"),
        ({"protocol": "mine"}, "protocol", "protocol: mine, baseline nous-2023"),
        ({"config": {"limit": 20}}, "limit", "limit: first 20 of each task, baseline all"),
        ({"data": {"boolq": data_entry(sha256="cd" * 32)}}, "data", "data: sha256 cdcdcdcdcdcd for boolq"),
    ],
)
def test_what_is_not_comparable_is_refused_by_name_and_can_be_allowed(
    tmp_path: Path, changes: dict[str, object], field: str, text: str
) -> None:
    values = {"boolq": draw(50, 0.5, 1)}
    write_values(tmp_path / "baseline", values)
    write_values(tmp_path / "candidate", values, **changes)
    refused(tmp_path / "candidate", tmp_path / "baseline", "are not comparable", text, f"--allow-different {field}")
    found = gate(tmp_path / "candidate", str(tmp_path / "baseline"), allow_different=[field])
    assert found.verdict == "pass"
    assert [difference.field for difference in found.allowed] == [field]
    assert f"allowed to differ: {text[:12]}" in "\n".join(gate_text.notes(found))
    assert json.loads(gate_text.gate_json(found))["allowed_different"][0]["field"] == field
    # Another field's permission is none.
    refused(tmp_path / "candidate", tmp_path / "baseline", text, allow_different=["failed"])


@pytest.mark.parametrize("key", sorted(MOVING))
def test_every_option_that_moves_scores_is_refused_or_named(tmp_path: Path, key: str) -> None:
    """Whoever declares one has no list to think of."""
    default = MOVING[key].default
    value = not default if isinstance(default, bool) else "x" if MOVING[key].scalar is str else (default or 0) + 1
    values = {"humaneval": draw(50, 0.5, 1)}
    write_values(tmp_path / "baseline", values)
    write_values(tmp_path / "candidate", values, config={key: value})
    try:
        said = gate(tmp_path / "candidate", str(tmp_path / "baseline")).notes
    except ConfigError as error:
        said = (str(error),)
    assert any("user's turn" in text if key == "system_in_user" else f"{key}: " in text for text in said), said


def test_how_programs_were_sampled_is_asked_of_programs_alone(tmp_path: Path) -> None:
    sampled = {"config": {"samples": 2, "temperature": 0.8}}
    for name, of_candidate in (("baseline", {}), ("candidate", sampled)):
        write_values(tmp_path / f"{name}-boolq", {"boolq": draw(50, 0.5, 1)}, **of_candidate)
        write_values(tmp_path / f"{name}-humaneval", {"humaneval": draw(50, 0.5, 1)}, **of_candidate)
    assert gate(tmp_path / "candidate-boolq", str(tmp_path / "baseline-boolq")).verdict == "pass"
    words = ("samples: 2, baseline 1", "temperature: 0.8, baseline 0", "--allow-different temperature")
    refused(tmp_path / "candidate-humaneval", tmp_path / "baseline-humaneval", *words)


def test_failed_documents_are_refused_and_left_out_only_when_told_to(tmp_path: Path) -> None:
    values = {"boolq": draw(50, 0.5, 1)}
    write_values(tmp_path / "baseline", values)
    write_values(tmp_path / "candidate", {"boolq": [None, *values["boolq"][1:]]})
    refused(tmp_path / "candidate", tmp_path / "baseline", "failed: 1 documents without a score, baseline none")
    found = gate(tmp_path / "candidate", str(tmp_path / "baseline"), allow_different=["failed"])
    assert found.judged[0].asked.test.difference.documents == 49
    assert any(note.endswith("left out: 1 document (1 of boolq) without a score in a run") for note in found.notes)


def test_missing_tasks_cannot_pass_silently(tmp_path: Path) -> None:
    values = {"boolq": draw(50, 0.5, 1), "piqa": draw(50, 0.5, 2)}
    write_values(tmp_path / "baseline", values)
    write_values(tmp_path / "candidate", {"boolq": values["boolq"]})
    refused(tmp_path / "candidate", tmp_path / "baseline", "tasks: without piqa, baseline 2 tasks")
    found = gate(tmp_path / "candidate", str(tmp_path / "baseline"), allow_different=["tasks"])
    assert found.judged[0].asked.title == "GPT4All (1 of 7 tasks)"
    refused(tmp_path / "candidate", "openhermes-2.5-mistral-7b", "without arc_challenge", "choose complete suites")
    refused(tmp_path / "candidate", tmp_path / "baseline", "has no score for it", suites=["agieval"])
    write_values(tmp_path / "other", {"truthfulqa_mc": draw(50, 0.5, 1)})
    refused(tmp_path / "other", tmp_path / "baseline", "have no task in common", allow_different=["tasks"])
    # More than the baseline has is no fault, but is said.
    write_values(tmp_path / "more", {**values, "truthfulqa_mc": draw(50, 0.5, 1)})
    more = gate(tmp_path / "more", str(tmp_path / "baseline"))
    assert any("not judged, because the baseline lacks it: TruthfulQA" in note for note in more.notes)


def test_a_publication_is_not_compared_with_something_else(tmp_path: Path) -> None:
    values = {task.name: draw(60, 0.7, i) for i, task in enumerate(GPT4ALL.tasks)}
    config = {"limit": 60, "add_bos": True, "apply_chat_template": True, "system": "s"}
    write_values(tmp_path / "run", values, config=config, data={name: data_entry("samples") for name in values})
    fields = ["limit: first 60", "add_bos: on", "apply_chat_template: on", "system: 's'", "data: built-in samples"]
    refused(tmp_path / "run", "openhermes-2.5-mistral-7b", *fields)
    write_values(tmp_path / "other", values, data={name: data_entry("other") for name in values})
    refused(tmp_path / "other", "openhermes-2.5-mistral-7b", "data: other content for arc_challenge")
    refused(tmp_path / "run", "deephermes", "unknown baseline")


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    write_values(tmp_path / "run", {"boolq": draw(50, 0.5, 1)})
    for options, words in (
        ({"margin": 0.0}, "--margin 0: give percentage points above 0"),
        ({"margin": math.nan}, "--margin nan"),
        ({"alpha": 0.5}, "--alpha 0.5: give a level"),
        ({"suites": ["gpt4al"]}, "did you mean 'gpt4all'?"),
        ({"allow_different": ["dtyp"]}, "--allow-different dtyp: no such field; did you mean 'dtype'?"),
    ):
        refused(tmp_path / "run", tmp_path / "run", words, **options)
    write_values(tmp_path / "one", {"boolq": [1.0]})
    write_values(tmp_path / "other", {"boolq": [0.0]})
    assert gate(tmp_path / "one", str(tmp_path / "other")).verdict == "undecided"  # one document decides nothing


def test_remarks_stand_beside_a_verdict_without_refusing_it(tmp_path: Path) -> None:
    values = {"boolq": draw(50, 0.5, 1)}
    samples = {"data": {"boolq": data_entry("samples")}, "config": {"limit": 50}}
    identities = [{"protocol": {"name": "nous-2023", "sha256": s}} for s in ("1" * 64, "2" * 64)]
    versions = [{"versions": {"torch": version}} for version in ("2.1", "2.2")]
    for name, identity, version in zip("ab", identities, versions, strict=True):
        model = {"tokenizer_fingerprint": name}
        write_values(tmp_path / name, values, **samples, identity=identity, environment=version, model=model)
    notes = "\n".join(gate(tmp_path / "a", str(tmp_path / "b")).notes)
    for words in (
        "samples: ",
        "limited: only the first 50",
        "task configurations changed",
        "tokenizer: ",
        "torch 2.2 -> 2.1",
    ):
        assert words in notes


def test_answers_of_other_code_are_said_beside_a_verdict_and_a_comparison(tmp_path: Path) -> None:
    values = {"boolq": draw(50, 0.5, 1)}
    taken = "--reuse r: its answers were computed otherwise: code.sha256: 1, now 2; without --reuse all are computed"
    write_values(tmp_path / "a", values, preflight=[taken, "a warning of another kind"])
    write_values(tmp_path / "b", values)
    for one, other in ("ab", "ba"):
        judged, compared = gate(tmp_path / one, str(tmp_path / other)), compare(tmp_path / one, tmp_path / other)
        assert judged.verdict == "pass"
        for notes in (judged.notes, compared.notes):
            assert [note for note in notes if "reuse" in note] == [f"{tmp_path / 'a'}: {taken}"]
            assert "another kind" not in "".join(notes)


@pytest.mark.parametrize("theirs", [{"version": "1.0", "url": "http://a"}, {}], ids=["another", "none"])
def test_what_an_adapter_says_besides_must_agree(theirs: dict[str, str], tmp_path: Path) -> None:
    values = {"boolq": draw(50, 0.5, 1)}
    for name, other in (("a", {"version": "2.0", "url": "http://a"}), ("b", theirs)):
        write_values(tmp_path / name, values, identity={"other": other})
    with pytest.raises(ConfigError, match=r"other: .*version='2.0', baseline .*version=.*--allow-different other"):
        gate(tmp_path / "a", str(tmp_path / "b"))
    granted = gate(tmp_path / "a", str(tmp_path / "b"), allow_different=["other"]).allowed
    assert [difference.field for difference in granted] == ["other"]
    settings = {name: (a, b) for name, a, b in compare(tmp_path / "a", tmp_path / "b").settings}
    assert settings["identity.other.version"] == ("2.0", theirs.get("version", "unknown"))
    assert gate(tmp_path / "a", str(tmp_path / "a")).verdict == "pass"


# What it says


def test_the_files_for_ci(tmp_path: Path) -> None:
    good, bad = suite_values("gpt4all", 800, 0.6, 1), suite_values("bigbench", 100, 0.6, 50)
    more = suite_values("truthfulqa", 100, 0.6, 99)
    candidate = {**shifted(good, 0.02, 0.02), **shifted(bad, 0.0, 0.2), **shifted(more, 0.1, 0.1)}
    write_values(tmp_path / "c", candidate, model={"name": "a<b>&\x1b[1m|c\u2028d"})
    write_values(tmp_path / "b", {**good, **bad, **more})
    found = gate(tmp_path / "c", str(tmp_path / "b"), margin=2.0)
    root = ElementTree.fromstring(gate_text.gate_junit(found))
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "2", "1")
    assert [case.get("name") for case in suite.iter("testcase")] == [
        "GPT4All",
        "BigBench",
        "TruthfulQA",
        "Average of 3 suites",
    ]
    assert "worse by more than 2 points" in str(suite.find("testcase/failure").get("message"))  # type: ignore[union-attr]
    assert "needs about" in str(suite.find("testcase/error").get("message"))  # type: ignore[union-attr]
    document = json.loads(gate_text.gate_json(found))
    assert (document["verdict"], document["exit_code"], document["paired"]) == ("worse", 1, True)
    assert [part["verdict"] for part in document["parts"]] == ["pass", "worse", "undecided", "worse"]
    markdown = gate_text.gate_markdown(found)
    assert markdown.startswith("### ❌ WORSE: ")
    assert "<b>" not in markdown
    for form in FORMATS:
        assert "undecided" in render_table(gate_text.gate_table(found), form)
    gate_text.write_text(tmp_path / "new" / "file.md", markdown)
    assert (tmp_path / "new" / "file.md").read_text(encoding="utf-8") == markdown
    with pytest.raises(Exception, match="cannot be written"):
        gate_text.write_text(tmp_path, markdown)


# How often it errs


GPT4ALL_SIZES = [task.documents for task in GPT4ALL.tasks]


def test_the_gate_corrects_worse_for_the_number_of_suites_and_pass_not() -> None:
    def scores(name: str, size: int, gains: int, losses: int) -> dict[str, TaskScores]:
        task = find_task(name)
        b = np.array([0.0] * gains + [1.0] * (size - gains))
        c = np.array([1.0] * gains + [0.0] * losses + [1.0] * (size - gains - losses))
        return {name: TaskScores(task, c, b, tuple((name, i) for i in range(size)))}

    suites = [find_suite("gpt4all"), find_suite("truthfulqa")]
    both = {**scores("boolq", 1000, 50, 80), **scores("truthfulqa_mc", 1000, 20, 20)}
    questions = paired_tests(both, suites, 1.0)
    assert questions[0].test.p_worse < 0.05
    judged = judge(questions, 0.05)
    assert judged[0].p_worse == pytest.approx(3 * questions[0].test.p_worse)
    assert judged[0].verdict == "undecided"
    assert judge(questions[:1], 0.05)[0].verdict == "worse"
    assert judged[1].verdict == ("pass" if questions[1].test.p_fine <= 0.05 else "undecided")


def test_documents_in_the_record_may_differ_in_order_and_number(tmp_path: Path) -> None:
    samples = [document("boolq", i, float(i % 2)) for i in range(40)]
    write_samples(tmp_path / "a", samples[::-1])
    write_samples(tmp_path / "b", samples)
    assert gate(tmp_path / "a", str(tmp_path / "b")).judged[0].asked.same


# Records must be whole


def damage(folder: Path, change: str) -> None:
    path = folder / "samples.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(
        "".join(
            {
                "cut": lines[:-7],
                "twice": [*lines, lines[3]],
                "more": [*lines, lines[0].replace('"doc_id": 0', '"doc_id": 999')],
            }[change]
        )
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("cut", "93 documents, but run.json counts 100: 7 are lost"),
        ("twice", "1 of 101 documents are there twice"),
        ("more", "101 documents, but run.json counts 100"),
    ],
)
def test_a_damaged_record_is_refused_with_the_counts(tmp_path: Path, change: str, words: str) -> None:
    for name in ("a", "b"):
        write_values(tmp_path / name, {"boolq": draw(100, 0.6, 1)})
    damage(tmp_path / "a", change)
    with pytest.raises(StoreError, match=words):
        gate(tmp_path / "a", str(tmp_path / "b"))


@pytest.mark.parametrize(
    ("candidate", "baseline", "said"),
    [
        (
            range(100),
            range(60),
            ["60 documents are judged; left out: 40 documents (40 of boolq) that the baseline lacks"],
        ),
        (
            range(60),
            range(100),
            ["missing: the candidate lacks 40 documents (40 of boolq), which count as wrong (--allow-missing)"],
        ),
        (
            range(60),
            range(60),
            [
                "missing: neither run has 40 documents (40 of boolq), which count as right in the baseline and wrong "
                "in the candidate (--allow-missing)"
            ],
        ),
        (
            range(60),
            range(20, 80),
            [
                "missing: the candidate lacks 20 documents (20 of boolq), which count as wrong (--allow-missing)",
                "missing: neither run has 20 documents (20 of boolq), which count as right in the baseline and wrong "
                "in the candidate (--allow-missing)",
                "80 documents are judged; left out: 20 documents (20 of boolq) that the baseline lacks",
            ],
        ),
    ],
    ids=["baseline", "candidate", "both the same", "both, others"],
)
def test_each_run_that_lacks_documents_is_named(
    candidate: range, baseline: range, said: list[str], tmp_path: Path
) -> None:
    """Of 100 documents; counted by hand: what is in which run, and what is in none."""
    for name, kept in (("a", candidate), ("b", baseline)):
        write_samples(tmp_path / name, [document("boolq", i, float(i % 3 > 0)) for i in range(100)])
        lines = (tmp_path / name / "samples.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / name / "samples.jsonl").write_text("".join(lines[i] for i in kept))
    with pytest.raises(StoreError, match="what the candidate lacks is wrong, what the baseline lacks is left out"):
        gate(tmp_path / "a", str(tmp_path / "b"))
    found = gate(tmp_path / "a", str(tmp_path / "b"), allow_missing=True)
    assert [note for note in found.notes if "documents" in note] == said


def test_lost_documents_are_refused_or_count_as_wrong(tmp_path: Path) -> None:
    write_samples(tmp_path / "b", [document("boolq", i, 1.0) for i in range(1000)])
    write_samples(tmp_path / "a", [document("boolq", i, 1.0) for i in range(950)])
    with pytest.raises(ConfigError, match="the candidate lacks 50 documents"):
        gate(tmp_path / "a", str(tmp_path / "b"))
    found = gate(tmp_path / "a", str(tmp_path / "b"), allow_missing=True)
    assert found.verdict == "worse"
    assert found.judged[0].test.difference.value == pytest.approx(-5.0)
    assert any("lacks 50 documents" in note and "count as wrong" in note for note in found.notes)


# The policy


def test_a_policy_gives_margins_and_tiers(tmp_path: Path) -> None:
    good, bad = suite_values("gpt4all", 800, 0.6, 1), suite_values("bigbench", 400, 0.6, 50)
    write_values(tmp_path / "b", {**good, **bad})
    write_values(tmp_path / "a", {**shifted(good, 0.02, 0.02), **shifted(bad, 0.0, 0.08)})
    file = tmp_path / "gate.yaml"
    file.write_text(
        "margin: 2\nsuites:\n  gpt4all: {}\n  bigbench: {margin: 3, tier: advisory}\n"
        "  agieval: {missing: ignore}\naverage: false\ntasks: {boolq: {margin: 20}}\n"
    )
    found = gate(tmp_path / "a", str(tmp_path / "b"), policy=read_policy(file))
    assert [(i.asked.key, i.asked.margin, i.verdict) for i in found.judged] == [
        ("gpt4all", 2.0, "pass"),
        ("bigbench", 3.0, "worse"),
        ("boolq", 20.0, "pass"),
    ]
    assert (found.verdict, found.exit_code) == ("pass", 0)
    text = gate_text.gate_markdown(found)
    assert "worse (advisory)" in text
    assert (
        "PASS: not worse than the baseline by more than its margin in any part that blocks; advisory: BigBench worse"
        in text
    )
    # Each part's margin is in the table; the note names none that is not all parts'.
    assert "percentage points, alpha 0.05" in text
    file.write_text("suites: {gpt4all: {margin: 3}}")
    alone = gate_text.gate_markdown(gate(tmp_path / "a", str(tmp_path / "b"), policy=read_policy(file)))
    assert "percentage points, margin 3, alpha 0.05" in alone
    file.write_text("suites: {gpt4all: {}, agieval: {missing: undecided}}")
    assert gate(tmp_path / "a", str(tmp_path / "b"), margin=2.0, policy=read_policy(file)).exit_code == 3
    for text, words in (
        ("suites: {agieval: {}}", "agieval is judged, but the baseline lacks it"),
        ("margins: 1", "unknown key 'margins'; did you mean 'margin'"),
        ("suites: {}", "suites: names none; name those to judge, or leave the key out .all suites are judged"),
        ("suites:", "suites: names none"),
        ("suites: {gpt4al: {}}", "gate.yaml:1: suites: unknown suite 'gpt4al'; did you mean 'gpt4all'"),
        ("tasks: {}", "tasks: names none; .* .none is judged besides"),
        ("suites: {gpt4all: {tier: soft}}", "'soft' is not one of blocking, advisory"),
        ("alpha: 0.7", "alpha: expected a number above 0 and below 0.5"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=words):
            gate(tmp_path / "a", str(tmp_path / "b"), policy=read_policy(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("suites:\n  gpt4al: {}", "2: suites: unknown suite 'gpt4al'; did you mean 'gpt4all'?"),
        ("suites:\n  gpt4all: {margin: '1'}", "2: suites: gpt4all: margin: expected a number, found '1'"),
        (
            "suites:\n  gpt4all:\n    margin: .nan",
            "3: not valid YAML (.nan is not finite; write a finite number, or '.nan' for a text)",
        ),
        ("suites:\n  gpt4all: {metric: acc}", "2: suites: gpt4all: unknown key 'metric'"),
        ("suites:\n  gpt4all: 3", "2: suites: gpt4all: expected a mapping, found 3"),
        ("suites: [gpt4all]", "1: suites: expected a mapping, found ['gpt4all']"),
        ("tasks:\n\n  bolq: {}", "3: tasks: unknown task 'bolq'; did you mean 'boolq'?"),
        ("tasks:\n  boolq: {metric: f1}", "2: tasks: boolq: metric: no metric 'f1' (it has: acc)"),
        ("tasks:\n  boolq: {lower_is_better: 'no'}", "2: tasks: boolq: lower_is_better: expected true or false"),
        ("alpha: 0.1\nmissing: maybe", "2: missing: 'maybe' is not one of refuse, undecided, ignore"),
        ("margin: true", "1: margin: expected a number, found True"),
        ("alpha: 0.1\naverage: {missing: refuse}", "2: average: unknown key 'missing'"),
        ("average: 3", "1: average: expected true, false or a mapping"),
        ("alpha: 0.1\naverage: true\nsuites: {gpt4all: {}}", "2: average: it is the average of the suites below"),
        (
            "average: true\nsuites: {gpt4all: {}, agieval: {tier: advisory}}",
            "1: average: it is the average of the blocking suites below 'suites', and takes two of the total",
        ),
        ("margin: 1" + "0" * 400, "1: not valid YAML (1000"),
    ],
)
def test_a_mistake_in_a_policy_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_policy(file)
    assert str(refused.value).startswith(f"{file}:{message}")


def test_what_a_policy_does_not_say_is_the_default(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(
        "margin: 2\nmissing: ignore\nsuites: {gpt4all: , agieval: {tier: advisory}}\ntasks: {boolq: {margin: 3}}"
    )
    found = read_policy(file)
    shown = {name: (r.margin, r.tier, r.missing) for name, r in {**found.suites, **found.tasks}.items()}
    assert shown == {
        "gpt4all": (2.0, "blocking", "ignore"),
        "agieval": (2.0, "advisory", "ignore"),
        "boolq": (3.0, "blocking", "ignore"),
    }
    assert (found.average, found.asks_average) == (found.default, False)
    file.write_text("average: false")
    assert read_policy(file).average is None


def three_suites(folder: Path, *, lost: str) -> Path:
    """Two runs of which one suite has lost every second right answer; returns where a policy may be."""
    values = {
        name: column
        for seed, suite in enumerate(("gpt4all", "agieval", "truthfulqa"))
        for name, column in suite_values(suite, 300, 0.6, 50 * seed).items()
    }
    mine = {task.name for task in find_suite(lost).tasks}
    write_values(folder / "b", values)
    write_values(
        folder / "a", {name: flipped(c, 0.0, 0.3, 7) if name in mine else list(c) for name, c in values.items()}
    )
    return folder / "gate.yaml"


def test_an_advisory_suite_has_no_say_through_the_average(tmp_path: Path) -> None:
    file = three_suites(tmp_path, lost="agieval")
    suites = "suites: {gpt4all: {margin: 2}, truthfulqa: {margin: 6}, agieval: {margin: 90, tier: advisory}}"

    def judged(text: str) -> Gate:
        file.write_text(text)
        return gate(tmp_path / "a", str(tmp_path / "b"), policy=read_policy(file))

    found = judged(suites)
    average = found.judged[-1]
    assert (found.verdict, average.asked.title) == ("pass", "Average of 2 suites")
    parts = {item.asked.key: item.test.difference.value for item in found.judged}
    assert parts["average"] == pytest.approx((parts["gpt4all"] + parts["truthfulqa"]) / 2)
    said = "the average is that of GPT4All, TruthfulQA: AGIEval is advisory, without a part in what decides"
    assert said in gate_text.gate_markdown(found)
    # An average that decides nothing is of all.
    every = judged(suites + "\naverage: {tier: advisory}")
    assert (every.verdict, every.judged[-1].asked.title, every.judged[-1].verdict) == (
        "pass",
        "Average of 3 suites",
        "worse",
    )
    assert every.judged[-1].test.difference.value == pytest.approx(
        sum(v for k, v in parts.items() if k != "average") / 3
    )
    one = judged("suites: {gpt4all: {margin: 2}, agieval: {margin: 90, tier: advisory}}")
    assert [item.asked.key for item in one.judged] == ["gpt4all", "agieval"]
    assert "not judged: the average, because it takes two suites, and AGIEval is advisory" in one.notes


def test_what_leaves_the_verdict_open_is_an_error_for_ci(tmp_path: Path) -> None:
    values = suite_values("gpt4all", 300, 0.6, 1)
    for name in ("a", "b"):
        write_values(tmp_path / name, values)
    file = tmp_path / "gate.yaml"
    file.write_text(
        "margin: 5\nmissing: undecided\nsuites: {gpt4all: {}, agieval: {}, bigbench: {missing: ignore}}\n"
        "tasks: {truthfulqa_mc: {}, bigbench_snarks: {tier: advisory}}"
    )
    found = gate(tmp_path / "a", str(tmp_path / "b"), policy=read_policy(file))
    assert (found.verdict, [item.verdict for item in found.judged]) == ("undecided", ["pass"])
    (suite,) = ElementTree.fromstring(gate_text.gate_junit(found))
    cases = {case.get("name"): [part.tag for part in case] for case in suite.iter("testcase")}
    assert cases == {"GPT4All": ["system-out"], "agieval": ["error"], "truthfulqa_mc": ["error"]}
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "0", "2")


def test_a_policy_without_suites_judges_all_that_a_publication_has(tmp_path: Path) -> None:
    """What the candidate did not run is missing by the policy's word, as against a run: not a pass without it."""
    write_values(tmp_path / "run", {task.name: draw(task.documents, 0.9, i) for i, task in enumerate(GPT4ALL.tasks)})
    file, hermes = tmp_path / "gate.yaml", "openhermes-2.5-mistral-7b"

    def judged(text: str) -> Gate:
        file.write_text(text)
        return gate(tmp_path / "run", hermes, policy=read_policy(file))

    said = (
        "gate.yaml: agieval is judged, but the candidate lacks it; bigbench is judged, but the candidate lacks it; "
        "truthfulqa is judged, but the candidate lacks it; humaneval is judged, but the candidate lacks it; run them, "
        "or say 'missing: undecided' or 'missing: ignore' in the policy, or name what is judged below 'suites'"
    )
    with pytest.raises(ConfigError, match=re.escape(said)):
        judged("margin: 3")
    left_open = judged("missing: undecided")
    assert (left_open.exit_code, left_open.absent) == (3, ("agieval", "bigbench", "truthfulqa", "humaneval"))
    passed = judged("missing: ignore")
    assert [item.asked.key for item in passed.judged] == ["gpt4all"]
    assert passed.exit_code == 0
    assert "not judged, because the candidate lacks it: agieval (policy: ignore)" in passed.notes
    assert judged("suites: {gpt4all: }").exit_code == 0


def test_what_is_said_of_a_run_without_samples_is_of_what_is_judged(tmp_path: Path) -> None:
    values = {
        **suite_values("gpt4all", 60, 0.6, 1),
        **suite_values("agieval", 60, 0.6, 50),
        "truthfulqa_mc": [1.0] * 60,
    }
    for name in ("a", "b"):
        write_values(tmp_path / name, values, config={"model": "m", "limit": 60})
        (tmp_path / name / "samples.jsonl").unlink()
    for suites, titles in (
        (("agieval", "truthfulqa"), "(AGIEval)"),
        (("gpt4all", "agieval"), "(GPT4All, AGIEval)"),
        (("truthfulqa",), None),
    ):
        (note,) = [n for n in gate(tmp_path / "a", str(tmp_path / "b"), suites=suites).notes if "no samples" in n]
        assert "documents cannot be paired" in note
        assert (f"suites with passages {titles} are" in note) if titles else ("passages" not in note)
    limited = {"suites": ("truthfulqa",), "allow_different": ["limit"]}
    alone = gate(tmp_path / "a", "openhermes-2.5-mistral-7b", **limited)  # type: ignore[arg-type]
    assert not any("no samples" in note for note in alone.notes)


def test_suites_that_a_publication_lacks_are_named(tmp_path: Path) -> None:
    values = {**suite_values("bigbench", 40, 0.6, 1), "truthfulqa_mc": draw(40, 0.5, 2)}
    write_values(tmp_path / "run", values, config={"model": "m", "limit": 40})
    found = gate(tmp_path / "run", "collectivecognition-v1-mistral-7b", allow_different=["limit"])
    assert "not judged, because the publication lacks it: TruthfulQA" in found.notes


@pytest.mark.parametrize("missing", ["refuse", "undecided", "ignore"])
def test_a_suite_is_missing_only_where_the_candidate_lacks_the_baselines_tasks(tmp_path: Path, missing: str) -> None:
    """A loss does not pass because the candidate ran a task more, and another task is none in place of one lacking."""
    tasks = suite_values("agieval", 200, 0.6, 1)
    beside = {"truthfulqa_mc": draw(300, 0.5, 70)}
    fewer = {name: values for name, values in tasks.items() if name != "agieval_sat_math"}
    others = {name: values for name, values in tasks.items() if name != "agieval_aqua_rat"}
    write_values(tmp_path / "b", {**fewer, **beside})
    write_values(tmp_path / "all", {**shifted(tasks, 0.0, 0.3), **beside})
    write_values(tmp_path / "others", {**shifted(others, 0.0, 0.3), **beside})
    file = tmp_path / "gate.yaml"
    file.write_text(f"margin: 9\nsuites: {{truthfulqa: {{}}, agieval: {{missing: {missing}}}}}\n")
    found = gate(tmp_path / "all", str(tmp_path / "b"), policy=read_policy(file))
    assert (found.verdict, [item.asked.key for item in found.judged][:2]) == ("worse", ["agieval", "truthfulqa"])
    part = found.judged[0]
    assert part.test.difference.value == pytest.approx(-30.0)
    assert part.test.difference.documents == 200 * len(fewer)
    assert "not judged, because the baseline lacks it: agieval_sat_math" in found.notes
    if missing == "refuse":
        refused(tmp_path / "others", tmp_path / "b", "tasks: without agieval_aqua_rat", policy=read_policy(file))
        return
    found = gate(tmp_path / "others", str(tmp_path / "b"), policy=read_policy(file))
    assert [item.asked.key for item in found.judged] == ["truthfulqa"]
    assert found.verdict == ("undecided" if missing == "undecided" else "pass")
    assert any("because the candidate lacks agieval_aqua_rat of its tasks: agieval" in note for note in found.notes)


@pytest.mark.parametrize("against", ["run", "openhermes-2.5-mistral-7b"])
def test_where_all_that_is_asked_for_is_missing_the_policy_says_what_that_means(tmp_path: Path, against: str) -> None:
    tasks = suite_values("agieval", 40, 0.6, 1)
    twin = "agieval_sat_en_without_passage"
    write_values(tmp_path / "run", tasks)
    write_values(tmp_path / "twin", {twin: tasks[twin]})
    baseline = str(tmp_path / "run") if against == "run" else against
    file = tmp_path / "gate.yaml"
    lacks = f"the candidate lacks {len(tasks) - 1} of its {len(tasks)} tasks"
    file.write_text("suites: {agieval: {missing: undecided}}")
    found = gate(tmp_path / "twin", baseline, policy=read_policy(file))
    assert (found.verdict, found.exit_code, found.judged, found.absent) == ("undecided", 3, (), ("agieval",))
    assert f"not judged, because {lacks}: agieval (policy: undecided)" in found.notes
    text = gate_text.gate_markdown(found)
    assert "UNDECIDED: not judged: agieval" in text
    assert lacks in text
    assert "nothing was compared" in text
    (suite,) = ElementTree.fromstring(gate_text.gate_junit(found))
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    assert found.to_frame().empty
    file.write_text("suites: {agieval: {missing: ignore}}")
    with pytest.raises(ConfigError, match=f"nothing is left to judge: not judged, because {lacks}: agieval"):
        gate(tmp_path / "twin", baseline, policy=read_policy(file))


def test_no_option_is_recommended_that_was_given_or_does_not_help(tmp_path: Path) -> None:
    values = suite_values("gpt4all", 30, 0.6, 1)
    for name in ("a", "b", "c"):
        write_values(tmp_path / name, values)
    lines = (tmp_path / "a" / "samples.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "a" / "samples.jsonl").write_text("".join(lines[:-3]))
    (tmp_path / "c" / "samples.jsonl").unlink()
    with pytest.raises(StoreError, match="or see --allow-missing"):
        gate(tmp_path / "a", str(tmp_path / "b"))
    with pytest.raises(StoreError, match=r"rerun it$"):
        gate(tmp_path / "a", str(tmp_path / "c"))
    with pytest.raises(StoreError, match="needs both runs' documents"):
        gate(tmp_path / "a", str(tmp_path / "c"), allow_missing=True)
    with pytest.raises(StoreError, match=r"rerun it$"):
        noise_between(tmp_path / "b", tmp_path / "a")


def test_two_reports_have_two_files(tmp_path: Path) -> None:
    write_values(tmp_path / "b", suite_values("gpt4all", 30, 0.6, 1))
    same = str(tmp_path / "report")
    asked = ["gate", str(tmp_path / "b"), "--baseline", str(tmp_path / "b"), "--junit", same, "--json"]
    found = CliRunner().invoke(main, [*asked, f"{tmp_path}/./report"])
    assert (found.exit_code, Path(same).exists()) == (2, False)
    assert "--junit and --json name one file" in found.output
    assert CliRunner().invoke(main, [*asked, f"{same}.json"]).exit_code == 0


def test_suites_that_only_the_second_run_has_are_named(tmp_path: Path) -> None:
    values, more = suite_values("gpt4all", 30, 0.6, 1), suite_values("truthfulqa", 30, 0.6, 1)
    write_values(tmp_path / "1", values)
    write_values(tmp_path / "2", {**values, **more})
    assert "not compared, because run 1 lacks it: TruthfulQA" in noise_between(tmp_path / "1", tmp_path / "2").notes


def test_two_runs_of_one_model_show_its_noise(tmp_path: Path) -> None:
    values = suite_values("gpt4all", 200, 0.6, 1)
    write_values(tmp_path / "1", values)
    write_values(tmp_path / "2", shifted(values, 0.01, 0.01))
    noise = noise_between(tmp_path / "1", tmp_path / "2")
    assert (noise.gained, noise.lost) == ((14,), (14,))
    margin = float(str(noise_table(noise).rows[0][-1]))
    assert gate(tmp_path / "2", str(tmp_path / "1"), margin=margin).verdict == "pass"
    assert gate(tmp_path / "2", str(tmp_path / "1"), margin=round(margin - 0.01, 2)).verdict == "undecided"


@pytest.mark.parametrize(("each", "verdict"), [(8, "undecided"), (18, "undecided"), (60, "pass")])
def test_few_documents_of_several_tasks_decide_nothing(each: int, verdict: str) -> None:
    suite = find_suite("gpt4all")
    tasks = suite.tasks[:2]
    scores = {
        task.name: TaskScores(task, np.ones(each), np.zeros(each), tuple((task.name, i) for i in range(each)))
        for task in tasks
    }
    short = msgspec.structs.replace(suite, tasks=tasks)
    found = judge(paired_tests(scores, [short], 18.0), 0.05)[0]
    assert found.verdict == verdict  # even where every document is gained
    assert (found.passing_margin is None) is (verdict == "undecided")
    if verdict == "undecided":
        assert "are too few for the stated rates of error, which want 40" in gate_text.what_decides(found)
        assert found.needed is not None
        assert found.needed >= 40


def test_a_task_of_one_document_wants_another() -> None:
    suite = find_suite("gpt4all")
    sizes = (1, 100, 100, 100, 100, 100, 100)
    scores = {
        task.name: TaskScores(task, np.ones(n), np.zeros(n), tuple((task.name, i) for i in range(n)))
        for task, n in zip(suite.tasks, sizes, strict=True)
    }
    found = judge(paired_tests(scores, [suite], 20.0), 0.05)[0]
    assert found.verdict == "undecided"
    assert "2 a task are wanted" in gate_text.what_decides(found)
    assert found.needed is not None
    assert found.needed >= 2 * 601  # as many again of each


@pytest.mark.slow
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_without_samples_a_loss_in_whole_passages_seldom_passes(share: float) -> None:
    """All questions of `share` of the passages of AGIEval right or wrong together; only scores are left."""
    suite, rng = find_suite("agieval"), np.random.default_rng(7)

    def drawn(right: float) -> RunScores:
        metrics: dict[str, dict[str, MetricValue]] = {}
        passages: dict[str, Any] = {}
        for task in suite.tasks:
            sizes = np.repeat(*zip(*(task.passages or {1: task.documents}).items(), strict=True))
            key = question_group(task.name)
            whole, luck = passages.setdefault(key, (rng.random(sizes.size) < share, rng.random(sizes.size)))
            alone = rng.binomial(sizes, right)
            value = float(np.where(whole, sizes * (luck < right), alone).sum() / sizes.sum())
            n = int(sizes.sum())
            stderr = math.sqrt(value * (1 - value) / (n - 1))
            metrics[task.name] = {task.headline: MetricValue(value=value, stderr=stderr, n=n, failed=0)}
        return RunScores(cast(Any, SimpleNamespace(metrics=metrics, folder=Path("run"))), None)

    passed = 0
    for _ in range(400):
        own, other = drawn(0.4), drawn(0.5)
        sides = sides_of(own, [suite], other), sides_of(other, [suite], own)
        passed += judge(unpaired_tests(*sides, [suite], 10.0), 0.05)[0].verdict == "pass"
    # 5 % of 400 is 20; 33 and more would happen to a true 5.5 % once in 200 tries.
    assert passed <= 33
