"""Two runs compared: settings, differences with intervals and p-values, and the documents that flipped."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from evalkit.comparison.compare import Comparison, compare
from evalkit.comparison.compare_text import compare_text
from evalkit.comparison.flips import code_block, flips_markdown
from evalkit.errors import ConfigError, DataError, StoreError
from evalkit.records.samples import Sample
from evalkit.stats import estimates as stats
from tests.support.pairs import data_entry, document, draw, flipped, write_samples, write_values

pytestmark = pytest.mark.torch_free


def runs(tmp_path: Path, **changes: object) -> Comparison:
    boolq, piqa = draw(300, 0.6, 1), draw(200, 0.7, 2)
    write_values(tmp_path / "a", {"boolq": boolq, "piqa": piqa})
    write_values(
        tmp_path / "b", {"boolq": flipped(boolq, 0.02, 0.08, 3), "piqa": flipped(piqa, 0.05, 0.05, 4)}, **changes
    )
    return compare(tmp_path / "a", tmp_path / "b")


def test_right_and_wrong_answers_are_tested_with_mcnemar_and_holm(tmp_path: Path) -> None:
    found = runs(tmp_path)
    boolq, piqa = found.tasks
    assert (boolq.gained, boolq.lost, boolq.test) == (6, 24, "McNemar")
    assert boolq.p_value == pytest.approx(scipy_stats.binomtest(6, 30, 0.5).pvalue)
    assert (piqa.gained, piqa.lost, piqa.p_value) == (10, 10, 1.0)
    assert boolq.p_holm == pytest.approx(2 * boolq.p_value)
    assert boolq.difference.value == pytest.approx(-6.0)
    assert boolq.b - boolq.a == pytest.approx(-6.0)
    low, high = boolq.difference.interval()
    differences = np.array([1.0] * 6 + [-1.0] * 24 + [0.0] * 270)
    half = scipy_stats.t.ppf(0.975, 299) * differences.std(ddof=1) / np.sqrt(300) * 100
    assert (low, high) == (pytest.approx(-6 - half), pytest.approx(-6 + half))
    (suite,) = found.suites
    assert suite.title == "GPT4All (2 of 7 tasks)"
    assert suite.difference.value == pytest.approx(-3.0)


def test_graded_scores_are_tested_with_paired_differences(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    before = rng.random(80)
    after = np.clip(before + rng.normal(-0.05, 0.2, 80), 0, 1)
    keys = {"truthfulqa_mc": [str(i // 4) for i in range(80)]}
    write_values(tmp_path / "a", {"truthfulqa_mc": list(before)}, keys)
    write_values(tmp_path / "b", {"truthfulqa_mc": list(after)}, keys)
    found = compare(tmp_path / "a", tmp_path / "b")
    (change,) = found.tasks
    assert change.test == "clusters"
    expected = stats.mean(after - before, keys["truthfulqa_mc"])
    # ... so that its interval is not made of the spread that was seen, and the error shown is the interval's.
    assert change.difference.stderr > 1.25 * 100 * expected.stderr
    assert change.difference.stderr == pytest.approx((change.high - change.low) / 2 / scipy_stats.norm.ppf(0.975))
    # One unseen passage could change by a whole point: of 20 passages that says more than their spread.
    assert change.p_value >= expected.p_value()
    assert any("documents share passages in truthfulqa_mc" in note for note in found.notes)
    # Without clusters it is scipy's paired t test.
    write_values(tmp_path / "c", {"truthfulqa_mc": list(before)})
    write_values(tmp_path / "d", {"truthfulqa_mc": list(after)})
    plain = compare(tmp_path / "c", tmp_path / "d").tasks[0]
    assert plain.p_value >= scipy_stats.ttest_rel(after, before).pvalue


def test_settings_come_first_and_only_those_that_differ(tmp_path: Path) -> None:
    found = runs(tmp_path, model={"dtype": "float16", "device": "cpu"}, config={"add_bos": True, "system": "Be\nkind"})
    assert ("dtype", "bfloat16", "float16") in found.settings
    assert ("config.add_bos", "False", "True") in found.settings
    assert ("config.system", "none", "Be kind") in found.settings
    assert not any("task" in name or "output" in name for name, _, _ in found.settings)
    text = compare_text(found, "markdown", None)
    assert text.index("## Settings") < text.index("## Suites") < text.index("## Tasks") < text.index("## Documents")
    assert "No recorded setting differs" in compare_text(runs(tmp_path), "markdown", None)


def test_flips_show_prompt_choices_and_both_logprobs(tmp_path: Path) -> None:
    nasty = "```\n<script>alert(1)</script>\n````"
    a = [document("boolq", 0, 1.0, context=nasty, logprobs=[-0.25, -3.0]), document("boolq", 1, 0.0)]
    b = [document("boolq", 0, 0.0, context=nasty, logprobs=[-4.0, -0.5]), document("boolq", 1, 0.0)]
    two = [
        document("winogrande", i, float(i), context=["first", "second"], continuations=[" x\ny", " x\ny"])
        for i in (0, 1)
    ]
    write_samples(tmp_path / "a", [*a, *two])
    write_samples(
        tmp_path / "b",
        [*b, document("winogrande", 0, 1.0, context=["first", "second"], continuations=[" x\ny", " x\ny"]), two[1]],
    )
    found = compare(tmp_path / "a", tmp_path / "b")
    assert [(flip.task, flip.kind) for flip in found.flips] == [("boolq", "lost"), ("winogrande", "gained")]
    text = flips_markdown(found.flips, 5)
    assert "2 documents: 1 lost, 1 gained." in text
    assert "### boolq, document 0: lost (acc 1 → 0)" in text
    assert "`````text\n```\n<script>alert(1)</script>\n````\n`````" in text
    assert "     -0.2500       -4.0000   yes" in text
    assert "     -3.0000       -0.5000   no" in text
    assert "first\nsecond" in text
    assert " x\\ny" in text
    assert "Gold answer: ` 0 `" in text
    assert "1 more; `--flips 2` shows all." in flips_markdown(found.flips, 1)
    assert "###" not in flips_markdown(found.flips, 0)


def test_generated_texts_are_shown(tmp_path: Path) -> None:
    def run(value: float, text: str) -> list[Sample]:
        base = {"context": "def f():", "target": "def check(f): ...", "generated": [text]}
        return [
            document("humaneval", i, value if i == 0 else 1.0, continuations=[], **base)  # type: ignore[arg-type]
            for i in range(3)
        ]

    write_samples(tmp_path / "a", run(1.0, "return 1"))
    write_samples(tmp_path / "b", run(0.0, "return 2"))
    text = compare_text(compare(tmp_path / "a", tmp_path / "b"), "markdown", 1)
    assert "A wrote:\n\n```text\nreturn 1\n```" in text
    assert "B wrote:\n\n```text\nreturn 2\n```" in text


def test_a_fence_is_longer_than_what_it_holds() -> None:
    assert code_block("a") == ["```text", "a", "```"]
    assert code_block("````x`")[0] == "`````text"


@pytest.mark.parametrize("form", ["csv", "json", "latex", "html"])
def test_other_formats(tmp_path: Path, form: str) -> None:
    text = compare_text(runs(tmp_path), form, None)
    if form == "json":
        found = json.loads(text)
        assert found["flipped"] == len(found["flips"]) == 50
        assert found["flips"][0]["logprobs_a"] == [-1.0, -2.0]
        assert found["tasks"][0]["difference"] == pytest.approx(-6.0)
        assert found["tasks"][0]["low"] < -6.0 < found["tasks"][0]["high"]
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row["task"] for row in rows] == ["boolq", "piqa", "GPT4All (2 of 7 tasks)"]
        assert float(rows[0]["difference"]) == -6.0
    else:
        assert "boolq" in text


def test_other_documents_are_matched_by_content_and_it_is_said(tmp_path: Path) -> None:
    a = [document("boolq", i, float(i % 2)) for i in range(30)]
    # The same questions at other places, and five others.
    b = [document("boolq", 40 - i, 1.0, context=f"boolq question {i}") for i in range(5, 35)]
    write_samples(tmp_path / "a", a)
    write_samples(tmp_path / "b", b, data={"boolq": data_entry(sha256="cd" * 32)})
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found.tasks[0].difference.documents == 25
    notes = "\n".join(found.notes)
    assert "10 documents that only one run scored are left out" in notes
    assert "the data differ, so documents were matched by content: boolq" in notes
    assert ("data boolq", "abababababab", "cdcdcdcdcdcd") in found.settings
    write_samples(
        tmp_path / "c", [document("boolq", 0, 1.0, context="x")], data={"boolq": data_entry(sha256="ef" * 32)}
    )
    with pytest.raises(DataError, match="boolq: the two runs have no document in common; none has the same requests"):
        compare(tmp_path / "a", tmp_path / "c")


def test_equal_documents_of_one_file_are_different_documents(tmp_path: Path) -> None:
    for name, sha256 in (("a", "1" * 64), ("b", "2" * 64)):
        samples = [document("boolq", i, float(i % 2), context="the same") for i in range(6)]
        write_samples(tmp_path / name, samples, data={"boolq": data_entry(sha256=sha256)})
    assert compare(tmp_path / "a", tmp_path / "b").tasks[0].difference.documents == 6


def test_limited_runs_are_compared_on_what_both_have(tmp_path: Path) -> None:
    values = draw(60, 0.5, 1)
    write_values(tmp_path / "a", {"boolq": values})
    write_values(tmp_path / "b", {"boolq": values[:20], "piqa": values}, config={"limit": 20})
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found.tasks[0].difference.documents == 20
    assert "in one run only: piqa" in found.notes
    assert any(note.startswith("limited: ") for note in found.notes)


def test_failed_documents_are_left_out_and_counted(tmp_path: Path) -> None:
    values = draw(20, 0.5, 1)
    write_values(tmp_path / "a", {"boolq": values})
    write_values(tmp_path / "b", {"boolq": [None, None, *values[2:]]})
    found = compare(tmp_path / "a", tmp_path / "b")
    assert found.tasks[0].difference.documents == 18
    assert any("2 documents that only one run scored" in note for note in found.notes)


def test_a_choice_of_suites_and_tasks(tmp_path: Path) -> None:
    runs(tmp_path)
    assert [c.task for c in compare(tmp_path / "a", tmp_path / "b", tasks=["piqa"]).tasks] == ["piqa"]
    assert len(compare(tmp_path / "a", tmp_path / "b", suites=["gpt4all"]).tasks) == 2
    with pytest.raises(ConfigError, match="no task in common"):
        compare(tmp_path / "a", tmp_path / "b", suites=["agieval"])
    with pytest.raises(ConfigError, match="did you mean 'piqa'"):
        compare(tmp_path / "a", tmp_path / "b", tasks=["piqaa"])
    write_values(tmp_path / "one", {"boolq": [1.0]})
    with pytest.raises(ConfigError, match="boolq: one common document is too few"):
        compare(tmp_path / "one", tmp_path / "one")
    (tmp_path / "a" / "samples.jsonl").unlink()
    with pytest.raises(StoreError, match=r"samples\.jsonl"):
        compare(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("lost", [[5, 5], [5, 0], [1, 1, 1, 1], [2] * 12, [4, 4, 0, 0]], ids=str)
def test_the_error_shown_is_the_one_of_the_interval_however_passages_moved(tmp_path: Path, lost: list[int]) -> None:
    """Two passages that lose as much each have no spread at all, and say nothing about a third."""
    keys = {"truthfulqa_mc": [str(passage) for passage in range(len(lost)) for _ in range(10)]}
    write_values(tmp_path / "a", {"truthfulqa_mc": [1.0] * len(keys["truthfulqa_mc"])}, keys)
    after = [float(question >= number) for number in lost for question in range(10)]
    write_values(tmp_path / "b", {"truthfulqa_mc": after}, keys)
    found = compare(tmp_path / "a", tmp_path / "b")
    rows = list(csv.DictReader(io.StringIO(compare_text(found, "csv", None))))
    written = json.loads(compare_text(found, "json", None))
    frame = found.to_frame().to_dict("records")
    for row, of_json, of_frame in zip(rows, written["tasks"] + written["suites"], frame, strict=True):
        half = (float(row["high"]) - float(row["low"])) / 2
        # A normal interval of 95 % is 1.96 errors either way, and those of few documents a quarter more at most.
        assert 1 / 1.26 < float(row["stderr"]) / (half / 1.95996) < 1.001
        assert of_json["stderr"] == of_frame["stderr"] == pytest.approx(float(row["stderr"]), abs=1e-4)
        assert half > 20
    # Where nobody saw a third, all of it may be lost or won: the interval of Clopper and Pearson for none of so many.
    if lost == [5, 5]:
        assert found.tasks[0].difference.stderr > 40


def test_csv_has_no_error_and_no_p_value_of_zero(tmp_path: Path) -> None:
    values = draw(800, 0.5, 1)
    write_values(tmp_path / "a", {"boolq": values})
    write_values(tmp_path / "b", {"boolq": values})
    write_values(tmp_path / "c", {"boolq": [0.0] * 800})
    found = list(csv.DictReader(io.StringIO(compare_text(compare(tmp_path / "a", tmp_path / "b"), "csv", None))))
    assert float(found[0]["stderr"]) == pytest.approx(
        (float(found[0]["high"]) - float(found[0]["low"])) / 3.92, rel=1e-3
    )
    lost = list(csv.DictReader(io.StringIO(compare_text(compare(tmp_path / "a", tmp_path / "c"), "csv", None))))
    assert 0 < float(lost[0]["p"]) < 1e-6


def test_a_suite_of_one_task_has_its_tasks_p(tmp_path: Path) -> None:
    before = [1.0] * 6 + [0.0] * 194
    write_values(tmp_path / "a", {"truthfulqa_mc": before})
    write_values(tmp_path / "b", {"truthfulqa_mc": [0.0] * 200})
    found = compare(tmp_path / "a", tmp_path / "b")
    # Six of six flips in one direction: twice a half to the power of six.
    assert found.tasks[0].p_value == found.suites[0].p_value == pytest.approx(2 * 0.5**6)
    assert "Holm: corrected over the rows of a kind" in " ".join(found.notes)
