"""The audit finds what is wrong in published tables, and nothing in tables that are right."""

from __future__ import annotations

import os
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evalkit.baselines import load_baseline
from evalkit.baselines.audit.checks import (
    Agreement,
    as_decimal,
    check_stderr,
    classify,
    cut_to,
    right_answers,
    rounds_to,
)
from evalkit.baselines.audit.findings import Audit, audit_file, audit_log, document_counts
from evalkit.baselines.audit.text import audit_lines, audit_table, copied_between
from evalkit.baselines.reading.logs import parse_log
from evalkit.baselines.reading.text import numbered_lines
from evalkit.config.suites import Suite, find_suite, load_suites
from evalkit.stats.estimates import binomial_stderr
from evalkit.tables import rounded
from tests.support.task_tables import TaskScore, baseline_task_scores, task_table

pytestmark = pytest.mark.torch_free

SHARED = Path(os.environ.get("EVALKIT_SHARED", Path(__file__).resolve().parents[4] / "shared"))
needs_shared = pytest.mark.skipif(
    not (SHARED / "benchmark-logs").is_dir(), reason="reference material (../shared) is absent"
)


def audit(text: str, *, strict: bool = False, name: str = "log.md") -> Audit:
    return audit_log(parse_log(name, numbered_lines(text)), strict=strict)


def verdicts(found: Audit) -> dict[str, tuple[str, str, Agreement]]:
    return {finding.what: (finding.printed, finding.recomputed, finding.verdict) for finding in found.findings}


def inconsistent(found: Audit) -> list[tuple[str, str, str]]:
    return [(finding.what, finding.printed, finding.recomputed) for finding in found.inconsistent]


# --- the published card, from its numbers ----------------------------------------------------------------------------

COMPARISON = """
|Bench | OpenHermes1 13B | OpenHermes-2 Mistral 7B | OpenHermes-2 Mistral 7B | Change/OpenHermes1 | Change/OpenHermes2|
|---------------|-----------------|-------------------------|-------------------------|--------------------|---------|
|GPT4All | 70.36| 72.68| 73.12| +2.76| +0.44|
|-----------------------------------------------------------------------------------------------------------------|
|BigBench | 36.75| 42.3| 40.96| +4.21| -1.34|
|AGI Eval | 35.56| 39.77| 43.07| +7.51| +3.33|
|TruthfulQA | 46.01| 50.92| 53.04| +7.03| +2.12|
|Total Score | 188.68| 205.67| 210.19| +21.51| +4.52|
|Average Total | 47.17| 51.42| 52.38| +5.21| +0.96|
"""


def card_text() -> str:
    card = load_baseline("openhermes-2.5-mistral-7b")
    parts = []
    for name in ("gpt4all", "agieval", "bigbench", "truthfulqa"):
        rows = task_table(baseline_task_scores(card, find_suite(name)))
        average = f"\nAverage: {card.averages[name]}" if name != "truthfulqa" else ""
        parts.append(f"{find_suite(name).title}:\n{rows}{average}\n")
    return "\n".join(parts) + COMPARISON


def check_card(found: Audit) -> None:
    assert inconsistent(found) == [
        ("column heading", "OpenHermes-2 Mistral 7B", ""),
        ("AGI Eval, Change/OpenHermes2", "+3.33", "+3.30"),
        ("Average Total of column 3 (OpenHermes-2 Mistral 7B)", "52.38", "52.55"),
        ("Average Total, Change/OpenHermes1", "+5.21", "+5.38"),
        ("Average Total, Change/OpenHermes2", "+0.96", "+1.13"),
    ]
    by_name = [f for f in found.findings if f.what == "BigBench average"]
    assert [(f.printed, f.recomputed, f.verdict) for f in by_name] == [
        ("40.96", "40.95", Agreement.ROUNDED),
        ("40.96", "40.95", Agreement.REMARK),
    ]
    repeated = [f for f in found.findings if "repeats another task" in f.what]
    assert [f.what.split()[0] for f in repeated] == ["bigbench_tracking_shuffled_objects_three_objects"]
    assert any(f.what == "layout" and "rows of dashes" in f.reason for f in found.findings)
    exact = {f.what for f in found.findings if f.verdict is Agreement.EXACT}
    assert {"GPT4All average", "AGIEval average", "GPT4All of column 3 (OpenHermes-2 Mistral 7B)"} <= exact


def test_all_errors_of_the_card_are_found_and_no_others() -> None:
    check_card(audit(card_text()))
    assert ("BigBench average", "40.96", "40.95") in inconsistent(audit(card_text(), strict=True))


@needs_shared
def test_all_errors_of_the_published_file_are_found() -> None:
    check_card(audit_file(SHARED / "published" / "openhermes-2.5-openmind-model-card.md"))


@needs_shared
def test_logs_are_told_apart() -> None:
    """Two averages are wrong, four are cut off, two are 0.01 off, which the rows' rounding allows."""
    found = {path.stem: audit_file(path) for path in sorted((SHARED / "benchmark-logs").glob("*.md"))}
    averages = {
        (stem, f.what.split()[0], f.printed): f.verdict
        for stem, a in found.items()
        for f in a.findings
        if f.what.endswith("average") and f.verdict not in (Agreement.EXACT, Agreement.REMARK)
    }
    assert averages == {
        ("Llama-2-7B-Base", "AGIEval", "26.90"): Agreement.INCONSISTENT,
        ("Mixtral-7x8-Base", "AGIEval", "41.85"): Agreement.INCONSISTENT,
        ("Llama-2-7B-Base", "BigBench", "32.24"): Agreement.TRUNCATED,
        ("Mistral-7B-Base", "AGIEval", "30.65"): Agreement.TRUNCATED,
        ("Nous-Hermes-2-Mistral-7B-DPO", "GPT4All", "73.72"): Agreement.TRUNCATED,
        ("SOLAR-10.7b-v1-Base", "GPT4All", "71.99"): Agreement.TRUNCATED,
        ("Nous-Hermes-2-Mixtral-8x7B-SFT", "AGIEval", "44.89"): Agreement.ROUNDED,
        ("OpenHermes-2.5-Mistral-7B", "BigBench", "40.96"): Agreement.ROUNDED,
        ("Hermes-2-Pro-Llama-3-8B-SFT", "TruthfulQA", "56.81"): Agreement.UNCHECKED,
    }
    reasons = [f.reason for f in found["Mixtral-7x8-Base"].inconsistent]
    assert reasons == ["the rows give 36.6188; it is the sum divided by 7 in place of 8"]
    assert sum(len(a.inconsistent) for a in found.values()) == 2
    copied = list(copied_between(list(found.values())))
    assert any("BigBench: 14 of 19 rows of Mistral-7B-Base.md and Mistral-Instruct" in line for line in copied)


# --- tables that are right, and tables that are not, at random -------------------------------------------------------

suites = st.sampled_from([suite for suite in load_suites().values() if len(suite.tasks) > 1])


@st.composite
def tables(draw: st.DrawFn) -> tuple[Suite, dict[str, Fraction], list[TaskScore]]:
    """Draw a suite's true shares (right answers of all documents) and its printed rows."""
    suite = draw(suites)
    shares: dict[str, Fraction] = {}
    rows: list[TaskScore] = []
    for task in suite.tasks:
        for metric in task.metrics:
            # An average of at most 1 would be taken for a share; no suite has one that low.
            right = draw(st.integers(task.documents // 20 + 1, task.documents - 1))
            share = Fraction(right, task.documents)
            if metric == task.headline:
                shares[task.name] = share
            rows.append(
                TaskScore(task.name, task.version, metric, float(share), binomial_stderr(float(share), task.documents))
            )
    return suite, shares, rows


def text_of(suite: Suite, rows: list[TaskScore], average: Decimal) -> str:
    return f"{suite.title}:\n```\n{task_table(rows)}\n```\nAverage: {average}\n"


@given(tables(), st.sampled_from(["unrounded", "rows", "cut"]), st.sampled_from([1, 2, 3]))
@pytest.mark.no_cover
def test_no_false_alarms_however_an_average_was_made(
    drawn: tuple[Suite, dict[str, Fraction], list[TaskScore]], way: str, places: int
) -> None:
    suite, shares, rows = drawn
    exact = 100 * sum(shares.values(), Fraction(0)) / len(shares)
    printed = {
        row.task: Fraction(f"{row.value:.4f}")
        for row in rows
        if row.metric == {t.name: t.headline for t in suite.tasks}[row.task]
    }
    by_rows = 100 * sum(printed.values(), Fraction(0)) / len(printed)
    average = {
        "unrounded": as_decimal(exact, places),
        "rows": as_decimal(by_rows, places),
        "cut": as_decimal(exact, 12).quantize(Decimal(1).scaleb(-places), rounding=ROUND_FLOOR),
    }[way]
    found = audit(text_of(suite, rows, average), strict=True)
    assert inconsistent(found) == []
    verdict = verdicts(found)[f"{suite.title} average"][2]
    if way == "rows":
        assert verdict is Agreement.EXACT
    elif way == "unrounded":
        assert verdict in (Agreement.EXACT, Agreement.ROUNDED)


@given(tables(), st.integers(3, 500).map(lambda n: Decimal(n).scaleb(-2)), st.booleans())
@pytest.mark.no_cover
def test_a_wrong_average_is_found(
    drawn: tuple[Suite, dict[str, Fraction], list[TaskScore]], error: Decimal, below: bool
) -> None:
    suite, shares, rows = drawn
    exact = as_decimal(100 * sum(shares.values(), Fraction(0)) / len(shares))
    wrong = exact - error if below else exact + error
    assume(0 <= wrong <= 100)
    found = audit(text_of(suite, rows, wrong))
    assert [what for what, _, _ in inconsistent(found)] == [f"{suite.title} average"]


@given(tables(), st.data())
@pytest.mark.no_cover
def test_a_wrong_standard_error_is_found(
    drawn: tuple[Suite, dict[str, Fraction], list[TaskScore]], data: st.DataObject
) -> None:
    suite, shares, rows = drawn
    at = data.draw(st.integers(0, len(rows) - 1))
    row = rows[at]
    stderr = float(row.stderr or 0) + data.draw(st.sampled_from([-1, 1])) * max(0.0006, 0.15 * float(row.stderr or 0))
    assume(stderr >= 0)
    rows[at] = TaskScore(row.task, row.version, row.metric, row.value, stderr)
    found = audit(text_of(suite, rows, as_decimal(100 * sum(shares.values(), Fraction(0)) / len(shares))))
    assert [what for what, _, _ in inconsistent(found)] == [f"{row.task} {row.metric} standard error"]


model_scores = st.fixed_dictionaries(
    {
        s: st.integers(1000, 9000).map(lambda n: Decimal(n).scaleb(-2))
        for s in ("GPT4All", "BigBench", "AGIEval", "TruthfulQA")
    }
)


def comparison_text(models: list[dict[str, Decimal]], change: Decimal = Decimal(0), total: Decimal = Decimal(0)) -> str:
    """Print a comparison of models A, B...; `change` and `total` are errors put into the last model's numbers."""
    names = [f"Model-{chr(65 + i)}" for i in range(len(models))]
    lines = [
        "|Bench|" + "|".join([*names, *(f"Change/{n}" for n in names[:-1])]) + "|",
        "|---" * (2 * len(models)) + "|",
    ]
    rows = [(suite, [m[suite] for m in models]) for suite in models[0]]
    totals = [sum(m.values(), Decimal(0)) for m in models]
    rows.append(("Total Score", [*totals[:-1], totals[-1] + total]))
    rows.append(("Average Total", [rounded(t / 4) for t in totals]))
    for label, values in rows:
        changes = [values[-1] - v + (change if label == "AGIEval" else 0) for v in values[:-1]]
        lines.append(f"|{label}|" + "|".join([*map(str, values), *(f"{c:+}" for c in changes)]) + "|")
    return "\n".join(lines) + "\n"


@given(st.lists(model_scores, min_size=2, max_size=4))
@pytest.mark.no_cover
def test_a_right_comparison_raises_no_alarm(models: list[dict[str, Decimal]]) -> None:
    found = audit(comparison_text(models))
    assert inconsistent(found) == []
    assert found.count(Agreement.EXACT) >= 2 * len(models)


@given(st.lists(model_scores, min_size=2, max_size=3, unique_by=lambda m: tuple(m.values())))
@pytest.mark.no_cover
def test_wrong_totals_and_changes_are_found(models: list[dict[str, Decimal]]) -> None:
    wrong_total = audit(comparison_text(models, total=Decimal("0.50")))
    assert any(what.startswith("Total Score of column") for what, _, _ in inconsistent(wrong_total))
    wrong_change = audit(comparison_text(models, change=Decimal("0.30")))
    assert {what for what, _, _ in inconsistent(wrong_change)} == {
        f"AGIEval, Change/Model-{chr(65 + i)}" for i in range(len(models) - 1)
    }


# --- single cases ----------------------------------------------------------------------------------------------------

HEADING = "|Task|Version|Metric|Value||Stderr|\n|---|---|---|---|---|---|\n"


@pytest.mark.parametrize(
    ("value", "stderr", "documents", "graded", "verdict"),
    [
        ("0.5623", "0.0145", 1172, False, Agreement.EXACT),
        ("0.2217", "0.0275", 230, False, Agreement.ROUNDED),  # 51 of 230 gives 0.02745
        ("0.5316", "0.0362", 190, False, Agreement.ROUNDED),  # with n in place of n - 1: 0.03620
        ("0.5623", "0.0144", 1172, False, Agreement.TRUNCATED),  # 0.014497
        ("0.5623", "0.0154", 1172, False, Agreement.INCONSISTENT),
        ("0.5623", "0.0000", 1172, False, Agreement.INCONSISTENT),
        ("0.0000", "0.0000", 359, False, Agreement.EXACT),
        ("1.0000", "0.0000", 359, False, Agreement.EXACT),
        ("0.5304", "0.0153", 817, True, Agreement.UNCHECKED),
        ("0.5304", "0.0176", 817, True, Agreement.INCONSISTENT),
        ("0.5000", "0.9000", 817, False, Agreement.INCONSISTENT),
    ],
)
def test_standard_errors(value: str, stderr: str, documents: int, graded: bool, verdict: Agreement) -> None:
    assert check_stderr(Decimal(value), Decimal(stderr), documents, graded=graded)[0] is verdict


@given(st.integers(2, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_true_standard_error_is_never_inconsistent(counts: tuple[int, int]) -> None:
    right, documents = counts
    value, stderr = right / documents, binomial_stderr(right / documents, documents)
    printed = check_stderr(Decimal(f"{value:.4f}"), Decimal(f"{stderr:.4f}"), documents, graded=False)
    assert printed[0] in (Agreement.EXACT, Agreement.ROUNDED)


def test_rounding_and_cutting() -> None:
    assert rounds_to(Fraction("51.425"), Decimal("51.42"))
    assert rounds_to(Fraction("51.425"), Decimal("51.43"))
    assert cut_to(Fraction("-1.239"), Decimal("-1.23"))
    assert not cut_to(Fraction("-1.239"), Decimal("-1.24"))
    assert str(as_decimal(Fraction("-0.005"))) == "-0.01"
    exact = Fraction("30.6575")
    assert classify(Decimal("30.66"), exact, Fraction(1, 200)) is Agreement.EXACT
    assert classify(Decimal("30.65"), exact, Fraction(1, 200)) is Agreement.TRUNCATED
    assert classify(Decimal("30.65"), exact, Fraction(1, 200), known=Fraction("30.6549")) is Agreement.ROUNDED
    assert classify(Decimal("30.67"), exact, Fraction(1, 100)) is Agreement.ROUNDED
    assert classify(Decimal("30.67"), exact, Fraction(1, 1000)) is Agreement.INCONSISTENT
    assert right_answers(Decimal("0.5316"), 190) == 101
    assert right_answers(Decimal("0.5317"), 190) is None


@pytest.mark.parametrize(
    ("average", "reason"),
    [
        ("35.79", "it is the mean of acc in place of"),
        ("41.07", "it is the sum divided by 7 in place of 8"),
        ("35.86", "it is the mean of all rows"),
        ("36.27", "it is the mean without agieval_sat_math"),
        ("53.94", "two of its digits are swapped"),
        ("12.00", ""),
    ],
)
def test_usual_slips_are_named(average: str, reason: str) -> None:
    heads = [31, 33, 35, 37, 39, 39.5, 39.4, 33.6]
    suite = find_suite("agieval")
    rows = [
        TaskScore(task.name, 0, metric, (head - (0.15 if metric == "acc" else 0)) / 100, None)
        for task, head in zip(suite.tasks, heads, strict=True)
        for metric in task.metrics
    ]
    (finding,) = audit(text_of(suite, rows, Decimal(average))).inconsistent
    assert finding.recomputed == "35.94"
    assert reason in finding.reason


def test_missing_rows_make_an_average_uncheckable_not_wrong() -> None:
    rows = [
        s
        for s in baseline_task_scores(load_baseline("openhermes-2.5-mistral-7b"), find_suite("gpt4all"))
        if s.task != "boolq"
    ]
    found = [f for f in audit(text_of(find_suite("gpt4all"), rows, Decimal("73.12"))).findings if "average" in f.what]
    assert [(f.verdict, f.reason) for f in found] == [
        (Agreement.UNCHECKED, "no rows of boolq, which would have to score 86.54 on average")
    ]
    found = [f for f in audit(text_of(find_suite("gpt4all"), rows, Decimal("99.00"))).findings if "average" in f.what]
    assert found[0].verdict is Agreement.INCONSISTENT


def test_totals_in_the_text() -> None:
    suites = "GPT4All: 73.12\nAGIEval: 43.07\nBigBench: 40.96\nTruthfulQA: 53.04\n"
    text = f"{suites}Total Score: 210.19\nAverage Total: 52.38\n"
    found = verdicts(audit(text))
    assert found["Total over suites"] == ("210.19", "210.19", Agreement.EXACT)
    assert found["Average over suites"] == ("52.38", "52.55", Agreement.INCONSISTENT)
    part = verdicts(audit("GPT4All: 73.12\nAverage Total: 52.38\n"))
    assert part["Average over suites"][2] is Agreement.UNCHECKED


def test_rows_of_other_tasks_and_impossible_values() -> None:
    text = (
        HEADING
        + "|mmlu|0|acc|0.5|±|0.6|\n|mmlu_pro|0|acc|0.5|±|0.1|\n"
        + "|openbookqa|0|acc|0.3451|±|0.0213|\n|boolq|1|acc|0.8|||\n"
    )
    found = verdicts(audit(text))
    assert found["mmlu acc standard error"][2] is Agreement.INCONSISTENT
    assert found["mmlu_pro acc standard error"][2] is Agreement.UNCHECKED
    assert found["openbookqa acc"][2] is Agreement.REMARK  # 172.55 of 500
    assert ("openbookqa acc", "0.3451", "") in inconsistent(audit(text, strict=True))


def test_copied_rows_are_named() -> None:
    row = "|0|acc|0.3451|±|0.0331|\n|||acc_norm|0.3252|±|0.0327|\n"
    found = audit(f"{HEADING}|agieval_sat_en{row}|agieval_sat_en_without_passage{row}")
    (finding,) = [f for f in found.findings if "repeats" in f.what]
    assert finding.verdict is Agreement.REMARK
    assert "the same numbers as agieval_sat_en, line 3: copied?" in finding.reason


def test_a_comparison_that_contradicts_the_rows_of_its_file() -> None:
    text = card_text().replace("|GPT4All | 70.36| 72.68| 73.12|", "|GPT4All | 70.36| 72.68| 74.12|")
    found = inconsistent(audit(text))
    assert ("GPT4All of column 3 (OpenHermes-2 Mistral 7B)", "74.12", "73.12") in found


def test_comparisons_with_gaps_and_changes_that_fit_nothing() -> None:
    text = "|Bench|A-1|B-2|Change/C|\n|---|---|---|---|\n|GPT4All|70.00|71.00|+9.00|\n|AGIEval|30.00|-|+7.00|\n"
    text += "|Total|100.00|71.00|+3|\n"
    found = verdicts(audit(text))
    assert found["Total of column 1 (A-1)"][2] is Agreement.EXACT
    assert found["Total of column 2 (B-2)"][2] is Agreement.UNCHECKED
    assert found["GPT4All, Change/C"][2] is Agreement.UNCHECKED
    side = "|Model|AGIEval|GPT4All|TruthfulQA|Bigbench|Average|\n|---|---|---|---|---|---|\n"
    side += "|A|43.07|73.12|53.04|40.96|52.55|\n|B|39.77|72.68|50.92|42.30|53.42|\n"
    assert inconsistent(audit(side)) == [("Average of row 2 (B)", "53.42", "51.42")]
    twins = "|Bench|A|A|\n|---|---|---|\n|GPT4All|70.00|70.00|\n|AGIEval|30.00|30.00|\n"
    assert [f.verdict for f in audit(twins).findings] == [Agreement.REMARK]


def test_what_is_printed() -> None:
    found = audit(card_text() + "\n" + HEADING + "|piqa|0|acc|tbd|||\n", name="card.md")
    lines = list(audit_lines([found], everything=False))
    assert lines[0] == "card.md"
    assert any("line" in line and "52.38, recomputed 52.55: inconsistent" in line for line in lines)
    assert any("row not read: piqa" in line for line in lines)
    assert "5 inconsistent" in lines[-1]
    assert len(list(audit_lines([found], everything=True))) > len(lines)
    assert len(audit_table([found], everything=False).rows) < len(audit_table([found], everything=True).rows)
    assert list(audit_lines([audit("nothing here\n")], everything=False)) == ["log.md", "  no scores read"]
    assert document_counts()["bigbench_geometric_shapes"] == 359
