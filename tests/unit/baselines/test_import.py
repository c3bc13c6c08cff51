"""Logs as people paste them: what is printed is taken, what cannot be read is named, nothing is made up."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.baselines import import_log, list_baselines, read_baseline, to_yaml
from evalkit.baselines.audit.checks import Agreement
from evalkit.baselines.audit.findings import audit_log
from evalkit.baselines.published import Log
from evalkit.baselines.reading.logs import parse_log, read_log
from evalkit.baselines.reading.text import decode, numbered_lines
from evalkit.config.suites import load_tasks
from evalkit.errors import ConfigError, DataError
from evalkit.paths import configs_dir
from evalkit.results.task_names import comparison_role
from tests.support.few import few

pytestmark = pytest.mark.torch_free

HEADING = "|    Task     |Version| Metric |Value |   |Stderr|\n|-------------|------:|--------|-----:|---|-----:|\n"
ARC = "|arc_challenge|      0|acc     |0.5623|±  |0.0145|\n|             |       |acc_norm|0.6007|±  |0.0143|\n"
BOOLQ = "|boolq        |      1|acc     |0.8657|±  |0.0060|\n"

Triple = tuple[str, str, str, str | None]


def read(text: str | bytes) -> Log:
    decoded, notes = decode(text) if isinstance(text, bytes) else (text, [])
    return parse_log("log.md", numbered_lines(decoded), notes)


def rows(log: Log, model: int = 0) -> list[Triple]:
    return [
        (row.task, row.metric, str(row.value), None if row.stderr is None else str(row.stderr))
        for table in log.models[model].tables
        for row in table.rows
    ]


def averages(log: Log, model: int = 0) -> dict[str | None, str]:
    return {average.suite: str(average.percent) for average in log.models[model].averages}


def unread(log: Log) -> list[tuple[int, str]]:
    return [(note.line, note.message) for note in log.notes if note.unread]


ARC_ROWS = [("arc_challenge", "acc", "0.5623", "0.0145"), ("arc_challenge", "acc_norm", "0.6007", "0.0143")]
BOOLQ_ROW = ("boolq", "acc", "0.8657", "0.0060")


def test_plain_log() -> None:
    log = read(f"GPT4All:\n```\n{HEADING}{ARC}{BOOLQ}```\nAverage: 73.12\n\nAGIEval:\n```\n\n```\nAverage: \n")
    assert rows(log) == [*ARC_ROWS, BOOLQ_ROW]
    assert averages(log) == {"gpt4all": "73.12"}
    assert unread(log) == []
    assert [(n.line, n.message) for n in log.notes] == [(15, "no number after 'Average'")]


@pytest.mark.parametrize(
    "line",
    [
        "Average: 73.12",
        "**Average**: **73.12**",
        "Average = 73.12%",
        "Avg. 73.12",
        "Mean: 73.12 %",
        "平均:73.12%",
        "平均分:73.12",
        "GPT4All Average: 73.12",
        "Average for GPT4All: 73.12",
        "Average: 73,12",
        "Average: 0.7312",
        "Average (7 tasks): 73.12",
        "|Average| | |0.7312| | |",
        "| **Average** |  |  | 73.12% |  |  |",
        "Score: 73.12",
        "GPT4All: 73.12",
        "GPT4All score: 73.12%",
    ],
)
def test_ways_to_print_an_average(line: str) -> None:
    log = read(f"GPT4All\n{HEADING}{ARC}{line}\n")
    assert {s: Decimal(p) for s, p in averages(log).items()} == {"gpt4all": Decimal("73.12")}
    assert unread(log) == []


@pytest.mark.parametrize(
    "heading",
    [
        "GPT4All:",
        "## GPT-4All benchmark set",
        "**GPT4ALL**",
        "GPT-4All 基准测试集",
        "### GPT4All (Average: 73.12)",
        "> gpt4all",
    ],
)
def test_ways_to_head_a_suite_without_rows(heading: str) -> None:
    log = read(f"{heading}\n" + ("" if "73" in heading else "Average: 73.12\n"))
    assert averages(log) == {"gpt4all": "73.12"}


def test_text_glued_to_numbers_rows_and_fences() -> None:
    log = read(
        f"{HEADING}{ARC}Average: 61.07AGI-Eval\n{HEADING}|agieval_sat_math|0|acc|0.3773|± |0.0328|```"
        "Average: 43.07%BigBench test\nTruthfulQA:\n| Task |Version|Metric|Value | |Stderr|\n"
        "|---|--:|--|--:|---|-----:|\n"
        "|truthfulqa_mc| 1|mc1 |0.3599|± |0.0168|\n| | |mc2 |0.5304|± |0.0153|Averages of A and B:\n"
    )
    assert averages(log) == {"gpt4all": "61.07", "agieval": "43.07"}
    assert [r[:3] for r in rows(log)][-2:] == [("truthfulqa_mc", "mc1", "0.3599"), ("truthfulqa_mc", "mc2", "0.5304")]
    assert unread(log) == []


def test_several_rows_on_one_line_with_their_rule() -> None:
    gap = " " * 80
    text = HEADING.rstrip("\n") + gap + ARC.replace("\n", gap).rstrip() + "\n" + BOOLQ
    assert rows(read(text)) == [*ARC_ROWS, BOOLQ_ROW]
    one_line = "GPT4All:```" + (HEADING + ARC + BOOLQ).replace("\n", "") + "```Average: 73.12\n"
    assert rows(read(one_line)) == [*ARC_ROWS, BOOLQ_ROW]
    assert averages(read(one_line)) == {"gpt4all": "73.12"}


def test_rows_broken_in_two() -> None:
    broken = ARC.replace("±  |0.0145|", "±\n|0.0145|").replace("|0.6007|±  |", "|0.6007|±  |\n")
    log = read(HEADING + broken + BOOLQ)
    assert rows(log) == [*ARC_ROWS, BOOLQ_ROW]
    assert unread(log) == []


def test_a_number_cut_off_at_the_end_is_not_taken() -> None:
    log = read(HEADING + ARC + "|boolq        |      1|acc     |0.8657|±  |0.00")
    assert rows(log)[-1] == ("boolq", "acc", "0.8657", None)
    assert unread(log) == [(5, "number cut off at the end of the line: 0.00")]


def test_newer_columns_names_and_group_averages() -> None:
    log = read(
        "|    Tasks    |Version|Filter|n-shot| Metric |   |Value |   |Stderr|\n"
        "|-------------|------:|------|-----:|--------|---|-----:|---|-----:|\n"
        "|arc_challenge|      1|none  |     0|acc     |↑  |0.5623|±  |0.0145|\n"
        "|             |       |none  |     0|acc_norm|↑  |0.6007|±  |0.0143|\n"
        "| - boolq     |Yaml   |none  |     0|acc     |↑  |0.8657|   |      |\n"
        "|agieval_saten_wop|  1|none  |     0|acc     |↑  |0.4417|±  |   N/A|\n"
        "|truthfulqa_mc2|     2|none  |     0|acc     |↑  |0.5304|±  |0.0153|\n"
        "|    Groups    |Version|Filter|n-shot|Metric|   |Value |   |Stderr|\n"
        "|--------------|-------|------|-----:|------|---|-----:|---|-----:|\n"
        "|agieval       |N/A    |none  |     0|acc   |↑  |0.3223|±  |0.0045|\n"
    )
    assert rows(log) == [
        *ARC_ROWS,
        ("boolq", "acc", "0.8657", None),
        ("agieval_sat_en_without_passage", "acc", "0.4417", None),
        ("truthfulqa_mc", "mc2", "0.5304", "0.0153"),
    ]
    assert {table.harness for table in log.models[0].tables} == {"lm-eval-0.4"}
    assert (10, "score of a group, not imported: agieval acc") in [(n.line, n.message) for n in log.notes]


@pytest.mark.parametrize("sign", ["±", "+-", "+/-", "_", r"\pm", ""])
def test_signs_between_value_and_error(sign: str) -> None:
    assert rows(read(HEADING + ARC.replace("±", sign)))[:2] == ARC_ROWS


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("latin-1"),
        lambda text: text.replace("GPT4All:", "基准 GPT4All:").replace("GPT4All:", "\nGPT4All:").encode("gb18030"),
    ],
    ids=["bom and CRLF", "utf-16", "latin-1", "gb18030"],
)
def test_encodings(encode: object) -> None:
    log = read(encode(f"GPT4All:\n{HEADING}{ARC}Average: 61.07\n"))  # type: ignore[operator]
    assert rows(log) == ARC_ROWS
    assert averages(log) == {"gpt4all": "61.07"}


@pytest.mark.parametrize(
    "text",
    [
        "Task\tVersion\tMetric\tValue\t\tStderr\narc_challenge\t0\tacc\t0.5623\t±\t0.0145\n\t\tacc_norm\t0.6007\t±\t0.0143\n",
        "arc_challenge  0  acc  0.5623 ± 0.0145\n               acc_norm  0.6007 ± 0.0143\n",
        "Task | Version | Metric | Value | | Stderr\n--- | --- | --- | --- | --- | ---\n"
        "arc_challenge | 0 | acc | 0.5623 | ± | 0.0145\n | | acc_norm | 0.6007 | ± | 0.0143\n",
        "|Task|Metric|Score|\n|-|-|-|\n|ARC-Challenge|Acc|56.23% ± 1.45|\n||acc_norm|60.07 (±1.43)|\n",
        "|Task|acc|acc_norm|\n|-|-|-|\n|arc\\_challenge|0.5623 ± 0.0145|**0.6007** ± 0.0143|\n",
        "│arc_challenge│0│acc     │0.5623│±│0.0145│\n│             │ │acc_norm│0.6007│±│0.0143│\n",
        "|Stderr|Value|Metric|Task|\n|-|-|-|-|\n|0.0145|0.5623|acc|arc_challenge|\n|0.0143|0.6007|acc_norm||\n",
        "<html><script>document.write('|boolq|1|acc|0.1|')</script><table><tr><th>Task<th>Metric</th><th>Value</th>"
        "<th>Stderr</th></tr>\n<tr><td>arc_challenge</td><td>acc</td><td>0.5623</td><td>0.0145</td></tr>\n"
        "<tr><td></td><td>acc_norm</td><td><b>0.6007</b></td><td>0.0143</td></tr></table></html>",
        f"<!DOCTYPE html><html><body><pre><code>{HEADING}{ARC}</code></pre></body></html>",
    ],
    ids=["tabs", "spaces", "open ends", "per cent", "wide", "box", "other order", "page table", "page code"],
)
def test_layouts(text: str) -> None:
    found = [(task, metric, Decimal(value), Decimal(str(stderr))) for task, metric, value, stderr in rows(read(text))]
    assert found == [(t, m, Decimal(v), Decimal(str(s))) for t, m, v, s in ARC_ROWS]
    assert unread(read(text)) == []


def test_what_is_no_number_is_named_not_made_up() -> None:
    log = read(
        HEADING
        + "|             |       |acc_norm|0.6007|±  |0.0143|\n|boolq|1|acc|nan|±|nan|\n|piqa|0|acc|1.5623|±|0.01|\n"
        "|openbookqa|0|acc|tbd|||\n|winogrande|0|acc|-0.1|±|0.01|\n|hellaswag|0|acc|0.6310|±|0.0048|\n"
    )
    assert rows(log) == [("hellaswag", "acc", "0.6310", "0.0048")]
    assert [line for line, _ in unread(log)] == [3, 4, 5, 6, 7]


def test_a_file_of_several_models() -> None:
    other = BOOLQ.replace("0.8657", "0.7657")
    named = read(
        f"# org/Model-A-7B\n{HEADING}{BOOLQ}Average: 86.57\n# Model-B-13B\n{HEADING}{other}HumanEval: 50.7% pass@1\n"
    )
    assert [model.name for model in named.models] == ["org/Model-A-7B", "Model-B-13B"]
    assert named.models[0].humaneval is None
    assert named.models[1].humaneval is not None
    assert rows(named, 1) == [("boolq", "acc", "0.7657", "0.0060")]
    unnamed = read(f"{HEADING}{BOOLQ}Average: 87.57\n\n{HEADING}{other}Average: 77.57\n")
    assert [averages(unnamed, i) for i in (0, 1)] == [{"gpt4all": "87.57"}, {"gpt4all": "77.57"}]
    single = read(f"# Model-A-7B\n{HEADING}{BOOLQ}")
    assert len(single.models) == 1


def test_averages_before_their_tables() -> None:
    sat = "|agieval_sat_math|0|acc|0.3773|±|0.0328|\n"
    log = read(f"Average: 86.57\n{HEADING}{BOOLQ}\nAverage: 37.73\n{HEADING}{sat}")
    assert averages(log) == {"gpt4all": "86.57", "agieval": "37.73"}


def test_contradictions_keep_the_first_and_say_so() -> None:
    log = read(f"{HEADING}{ARC}{BOOLQ}{BOOLQ.replace('0.8657', '0.9')}{BOOLQ}Average: 73.12\nAverage: 74.00\n")
    assert rows(log) == [*ARC_ROWS, BOOLQ_ROW]
    assert averages(log) == {"gpt4all": "73.12"}
    assert [line for line, _ in unread(log)] == [6, 9]


def test_an_average_without_a_suite_is_not_given_to_any() -> None:
    log = read("Average: 73.12\n")
    assert log.models == ()
    assert unread(log) == [(1, "average 73.12: no suite beside it")]


@pytest.mark.parametrize(
    ("text", "percent"),
    [("HumanEval:\n50.7% @ Pass1\n", "50.7"), ("HumanEval\npass@1: 0.507\n", "50.700"), ("HumanEval: 50.7%\n", "50.7")],
)
def test_humaneval(text: str, percent: str) -> None:
    humaneval = read(text).models[0].humaneval
    assert humaneval is not None
    assert humaneval.percent == Decimal(percent)
    prose = read("from 43% @ Pass 1 to 50.7% @ Pass 1 with the new data\n")
    assert prose.models == ()
    assert [note.line for note in prose.notes if "pass@1 alone" in note.message and note.unread] == [1]


tokens = st.sampled_from([*"|||`#:-±_ \n\t0123456789.%ace", "acc_norm", "boolq", "Average", "AGIEval", "|---|---|\n"])


@settings(max_examples=300)
@given(st.lists(tokens, max_size=60).map("".join))
def test_any_text_is_read_without_a_crash(text: str) -> None:
    log = read(text)
    for model in log.models:
        for table in model.tables:
            assert all(0 <= row.value <= 1 for row in table.rows)
        assert all(0 <= average.percent <= 1000 for average in model.averages)


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_a_crash(raw: bytes) -> None:
    read(raw)


table_rows = st.dictionaries(
    st.sampled_from(sorted(load_tasks())),
    st.tuples(st.integers(0, 10_000), st.integers(0, 500)),
    min_size=1,
)


@given(table_rows, st.sampled_from(["±", "+-", "_"]), st.sampled_from(["\n", "\r\n", " " * 90]))
def test_what_is_printed_is_what_is_read(scores: dict[str, tuple[int, int]], sign: str, line_end: str) -> None:
    tasks = load_tasks()
    printed = [
        (task, tasks[task].headline, f"{value / 10_000:.4f}", f"{stderr / 10_000:.4f}")
        for task, (value, stderr) in scores.items()
    ]
    lines = [f"|{t}|0|{m}|{v}|{sign}|{s}|" for t, m, v, s in printed]
    log = read(HEADING + line_end.join(lines) + "\n")
    assert sorted(rows(log)) == sorted(printed)
    assert unread(log) == []


# --- the published files ---------------------------------------------------------------------------------------------

SHARED = Path(os.environ.get("EVALKIT_SHARED", Path(__file__).resolve().parents[4] / "shared"))
needs_shared = pytest.mark.skipif(
    not (SHARED / "benchmark-logs").is_dir(), reason="reference material (../shared) is absent"
)


@needs_shared
def test_import_reproduces_the_committed_baselines_of_all_logs() -> None:
    committed = {b.source.rsplit("/", 1)[-1]: b for b in list_baselines() if "LLM-Benchmark-Logs/blob" in b.source}
    committed = {file: b for file, b in committed.items() if not b.source.startswith("model card")}
    logs = sorted((SHARED / "benchmark-logs").glob("*.md"))
    assert len(logs) == 26
    for path in logs:
        known = next(b for b in list_baselines() if b.source.startswith("https") and b.source.endswith("/" + path.name))
        imported = import_log(path, retrieved=known.retrieved, source=known.source)
        assert [note for note in imported.notes if note.unread] == []
        (found,) = imported.baselines
        assert (found.slug, found.name) in {(known.slug, known.name), (known.slug.removesuffix("-log"), known.name)}
        for name in ("averages", "tasks", "protocol", "other_protocols", "humaneval", "settings", "notes"):
            assert getattr(found, name) == getattr(known, name), (path.name, name)


SUITE_LINE = re.compile(r"^(GPT4All|AGIEval|BigBench|TruthfulQA):", re.MULTILINE)
ROW = re.compile(r"^\|(.*)\|\s*$", re.MULTILINE)
CHANGES: dict[str, Callable[[str], str]] = {
    "old line ends": lambda text: text.replace("\n", "\r"),
    "no fences": lambda text: text.replace("```", ""),
    "one fence missing": lambda text: text.replace("```\n", "", 1),
    "headings": lambda text: SUITE_LINE.sub(r"## \1", text),
    "bold": lambda text: SUITE_LINE.sub(r"**\1 benchmark**", text),
    "blank lines": lambda text: text.replace("\n", "\n\n"),
    "indented": lambda text: text.replace("\n", "\n    "),
    "quoted": lambda text: "> " + text.replace("\n", "\n> "),
    "open left": lambda text: re.sub(r"^\|", " ", text, flags=re.MULTILINE),
    "open right": lambda text: re.sub(r"\|\s*$", "", text, flags=re.MULTILINE),
    "open both": lambda text: ROW.sub(r"\1", text),
    "no rules": lambda text: re.sub(r"^\|[-:|]+\|$\n", "", text, flags=re.MULTILINE),
    "averages": lambda text: re.sub(r"Average: ([\d.]+)$", r"**AVG** = \1 %", text, flags=re.MULTILINE),
    "glued averages": lambda text: re.sub(r"(Average: [\d.]+%?)\s*\n+", r"\1", text),
    "one line": lambda text: text.replace("|\n|", "|" + " " * 20 + "|"),
    "full width": lambda text: text.replace("|", "|").replace(":", ":"),
    "escaped": lambda text: text.replace("_", "\\_"),
    "web page": lambda text: f"<!doctype html><html><pre>{html.escape(text)}</pre></html>",
    "twice": lambda text: f"{text}\n{text}",
}


@needs_shared
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.no_cover
def test_a_log_pasted_otherwise_gives_the_same_numbers(change: str) -> None:
    for path in few(sorted((SHARED / "benchmark-logs").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        plain, changed = read(text), read(CHANGES[change](text))
        assert len(changed.models) == 1
        assert rows(changed) == rows(plain), path.name
        assert averages(changed) == averages(plain), path.name


@needs_shared
def test_import_reproduces_the_card() -> None:
    (found,) = import_log(
        SHARED / "published" / "openhermes-2.5-openmind-model-card.md", retrieved="2023-11-01"
    ).baselines
    card = read_baseline(configs_dir() / "baselines" / "openhermes-2.5-mistral-7b.yaml")
    assert found.tasks == card.tasks
    assert found.averages == {suite: average for suite, average in card.averages.items() if suite != "truthfulqa"}
    assert found.humaneval is not None
    assert card.humaneval is not None
    assert found.humaneval.percent == card.humaneval.percent == Decimal("50.7")


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_log(tmp_path / "absent.md")
    empty = tmp_path / "empty.md"
    table = "|Bench|A|B|\n|---|---|---|\n| Coding | 70.1 | 70.2 |\n| Chat | 30.1 | 30.2 |\n| Average | 50.1 | 50.2 |\n"
    empty.write_text(table)
    with pytest.raises(DataError, match=r"1 comparison table\(s\) \(line 1\) .*; they are for `evalkit audit`"):
        import_log(empty, retrieved="2024-01-01")
    two = tmp_path / "two.md"
    two.write_text(f"{HEADING}{BOOLQ}\n{HEADING}{BOOLQ.replace('0.8657', '0.7657')}")
    with pytest.raises(ConfigError, match="holds 2 models"):
        import_log(two, retrieved="2024-01-01", name="x")
    assert [b.slug for b in import_log(two, retrieved="2024-01-01").baselines] == ["two-1", "two-2"]
    assert "retrieved: '2024-01-01'" in to_yaml(import_log(two, retrieved="2024-01-01").baselines[0])


def of_boolq(value: str, error: str = "0.0070") -> Log:
    return read(f"## GPT4All\n{HEADING}|boolq|1|acc|{value}|±|{error}|\n|piqa|0|acc|0.7000|±|0.0107|\n")


PIQA: Triple = ("piqa", "acc", "0.7000", "0.0107")


@pytest.mark.parametrize(
    "cell",
    [
        *("0.8001 (best)", "0.8001 (2nd)", "0.8001（最佳）", "0.8001 (ours)", "_0.8001_", "__0.8001__"),
        *(r"\textbf{0.8001}", r"$\mathbf{0.8001}$", r"\underline{\textbf{0.8001}}", r"\emph{0.8001}"),
    ],
)
def test_emphasis_and_remarks_of_rank_leave_the_number(cell: str) -> None:
    assert rows(of_boolq(cell)) == [("boolq", "acc", "0.8001", "0.0070"), PIQA]


@pytest.mark.parametrize(
    "cell",
    [
        *("~~0.7001~~", "<del>0.7001</del>", "<s>0.7001</s> 0.8001", "0.79-0.81", "2617/3270", "80.01/100", "≈0.80"),
        *("0.8001 (est.)", "0.8001 (n=100)", "0.8001 [0.78, 0.82]", "best: 0.8001", "8.001,5", r"\frac{4}{5}"),
    ],
)
def test_what_is_withdrawn_or_more_than_a_number_is_not_read(cell: str) -> None:
    log = of_boolq(cell)
    assert rows(log) == [PIQA]
    assert [line for line, _ in unread(log)] == [4]


@pytest.mark.parametrize(
    ("value", "error", "wanted"),
    [
        ("80.01%", "0.70%", "0.0070"),
        ("80.01%", "0.70", "0.0070"),
        ("0.8001", "0.70%", "0.0070"),
        ("80.01% ± 0.70%", "", "0.0070"),
        ("80.01% ± 0.0070", "", None),  # a share beside a percentage
        ("80.01%", "0.0070", None),
        ("0.8001", "0.70", None),  # a mean of shares has an error of at most 0.5
    ],
)
def test_an_error_is_read_in_its_own_unit_or_not_at_all(value: str, error: str, wanted: str | None) -> None:
    log = of_boolq(value, error)
    assert rows(log) == [("boolq", "acc", "0.8001", wanted), PIQA]
    assert [line for line, _ in unread(log)] == ([] if wanted else [4])


def test_a_share_among_percentages_is_not_read() -> None:
    log = read(f"## GPT4All\n{HEADING}|boolq|1|acc|80.01||||\n|piqa|0|acc|0.7000|||\n|winogrande|0|acc|66.1|||\n")
    assert [row[:3] for row in rows(log)] == [("boolq", "acc", "0.8001"), ("winogrande", "acc", "0.661")]
    assert [line for line, _ in unread(log)] == [5]
    assert not read("## GPT4All\n|Task|Metric|Score (%)|\n|---|---|---|\n|boolq|acc|0.8001|\n|piqa|acc|0.7|\n").models


def test_a_second_error_row_changes_nothing() -> None:
    log = read(f"## TruthfulQA\n{HEADING}|truthfulqa_mc|1|mc1|0.3011|±|0.0160|\n|||mc1_stderr|0.0161||\n")
    assert rows(log) == [("truthfulqa_mc", "mc1", "0.3011", "0.0160")]
    assert [line for line, _ in unread(log)] == [5]


def test_columns_of_errors_beside_columns_of_metrics() -> None:
    heading = "|Task|acc|acc_stderr|acc_norm|acc_norm_stderr|\n|---|---|---|---|---|\n"
    log = read(f"## GPT4All\n{heading}|arc_challenge|0.4001|0.0143|0.4201|0.0144|\n|boolq|0.8|0.007|||\n")
    assert rows(log) == [
        ("arc_challenge", "acc", "0.4001", "0.0143"),
        ("arc_challenge", "acc_norm", "0.4201", "0.0144"),
        ("boolq", "acc", "0.8", "0.007"),
    ]


def test_two_columns_of_values_are_not_read() -> None:
    log = read("## GPT4All\n|Task|Metric|Value|Score|\n|---|---|---|---|\n|boolq|acc|0.8001|0.9|\n|piqa|acc|0.7|0.8|\n")
    assert not log.models
    assert any("not read" in note.message for note in log.notes)


@pytest.mark.parametrize("name", ["leaderboard|arc:challenge|25|0|1|", "leaderboard|arc:challenge|25|1|"])
def test_bars_in_a_name_of_lighteval_do_not_move_the_cells(name: str) -> None:
    log = read(f"{HEADING}|{name}acc_norm|0.5512|±|0.0145|\n|leaderboard|hellaswag|10|0|acc_norm|0.7512|±|0.0045|\n")
    assert rows(log) == [
        ("arc_challenge", "acc_norm", "0.5512", "0.0145"),
        ("hellaswag", "acc_norm", "0.7512", "0.0045"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("log.eval", "PK", "logs of inspect are not read"),
        ("summary.csv", "dataset,version,metric,mode,m\nboolq,31,accuracy,ppl,80.01\n", "OpenCompass are not read"),
        ("summary.md", "|dataset|version|metric|mode|m|\n|-|-|-|-|-|\n|boolq|31|accuracy|ppl|80|\n", "OpenCompass"),
    ],
)
def test_formats_that_are_not_read_say_what_serves(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        import_log(path, retrieved="2024-01-01")


@pytest.mark.parametrize("column", ["Version", "n-shot", "Samples", "Setting"])
@pytest.mark.parametrize("count", ["0", "1", "0.5", "100"])
@pytest.mark.parametrize("value", ["N/A", "nan", "", "-", "~0.8"])
@pytest.mark.parametrize("end", ["|0.0060|", "|±|0.0060|"])
def test_only_the_column_of_values_gives_the_value(column: str, count: str, value: str, end: str) -> None:
    errors = "|Stderr|" if end.count("|") == 2 else "||Stderr|"
    heading = f"|Task|Metric|{column}|Value{errors}\n{re.sub(r'[^|]+', '-', '|a|a|a|a' + end)}\n"
    log = read(f"## GPT4All\n{heading}|boolq|acc|{count}|{value}{end}\n|piqa|acc|{count}|0.7000{end}\n")
    assert rows(log) == [("piqa", "acc", "0.7000", "0.0060")]
    beside = f"number not read: {count} in"  # a share where there should be a count is named, too
    assert [line for line, said in unread(log) if not said.startswith(beside)] == [4]


@pytest.mark.parametrize("row", ["|boolq|acc|1|", "|boolq|acc|1||", "boolq\tacc\t1\tN/A\t0.0060", "boolq acc 1 0.8001"])
def test_a_number_that_may_be_a_version_is_no_value(row: str) -> None:
    log = read(f"## GPT4All\n|Task|Metric|Version|Value|\n|-|-|-|-|\n|piqa|acc|1|0.7|\n{row}\n")
    assert [r[:3] for r in rows(log)] == [("piqa", "acc", "0.7")]
    assert [line for line, _ in unread(log)] == [5]


LISTED = {"gpt4all": "73.12", "agieval": "43.07", "bigbench": "40.96"}


@pytest.mark.parametrize(
    ("last", "value"),
    [
        *((f"TruthfulQA: {cell}", None) for cell in ("n/a", "N/A", "-", "–", "—", "?", "TBD", "nan", "53.04 / 36.1")),
        *((f"TruthfulQA: {cell}", None) for cell in ("53.04 ± 1.5", "53.04 (mc2)", "~53.04", "not run")),
        *(("TruthfulQA — n/a", None), ("**TruthfulQA:** –", None), ("TruthfulQA (0-shot): 53.04 / 36.1", None)),
        *(("TruthfulQA: 53.04", "53.04"), ("TruthfulQA — 53.04", "53.04"), ("TruthfulQA – 53.04%", "53.04")),
    ],
)
@pytest.mark.parametrize("bullet", ["", "- ", "* ", "1. "])
@pytest.mark.parametrize("average", ["Average: 52.38", "**Average**: 52.38"])
def test_an_average_below_a_list_of_suites_is_that_of_the_suites(
    last: str, value: str | None, bullet: str, average: str
) -> None:
    lines = [*("GPT4All: 73.12", "AGIEval: 43.07", "BigBench: 40.96"), last, average]
    for gap in ("\n", "\n\n"):
        log = read("# Results\n" + gap.join(bullet + line for line in lines) + "\n")
        assert averages(log) == {**LISTED, **({"truthfulqa": value} if value else {}), "average": "52.38"}


@pytest.mark.parametrize(
    "text",
    [
        *("TruthfulQA: n/a\nAverage: 52.38\n", "TruthfulQA: 53.04 / 36.1\nAverage: 52.38\n"),
        *("TruthfulQA:\n- mc1: 36.6\n- mc2: 53.04\n\nAverage: 61.0\n", "AGIEval: n/a\nTruthfulQA: n/a\nAverage: 9.1\n"),
        "GPT4All: 73.12\nAGIEval: 43.07\nTruthfulQA: see below\nAverage: 58.1\n",
        "GPT4All: 73.12\nAGIEval: 43.07\nTruthfulQA:\nAverage: 58.1\n",
    ],
)
def test_an_average_that_may_be_of_anything_is_not_read(text: str) -> None:
    log = read(text)
    found = averages(log) if log.models else {}
    assert set(found) <= {"gpt4all", "agieval"}
    assert any(note.line == text.count("\n") and note.message.endswith("not read") for note in log.notes)


def test_a_section_below_a_list_keeps_its_own_average() -> None:
    summary = "GPT4All: 73.12\nAGIEval: 43.07\nAverage: 58.1\n"
    log = read(f"{summary}\n## TruthfulQA\nAverage: 53.04\n\nBigBench:\n{HEADING}{BOOLQ}Average: 86.57\n")
    assert averages(log)["average"] == "58.1"
    assert averages(log)["truthfulqa"] == "53.04"


@pytest.mark.parametrize(
    "cell",
    [
        *(f"0.8001{gap}{sign}{gap}0.8101" for sign in "→↑↓⇒▲/,;+" for gap in ("", " ")),
        *("0.8001 -> 0.8101", "0.8001 - 0.8101", "0.8001 to 0.8101", "0.8001 (↑ 0.8101)", "0.8001 (→ 0.8101)"),
        *("0.8001 0.8101", "0.8001 ↓0.0041", "0.8001 +0.4", "0.8001-0.0100"),
        *("+0.0044", "-0.0165", "−0.0165", "↑0.0123", "↓ 0.0123", "▲ 0.0123", "**+0.0044**", "(+0.0044)", "→0.8101"),
    ],
)
@pytest.mark.parametrize("wide", [True, False])
def test_two_numbers_in_a_cell_or_a_change_are_no_score(cell: str, wide: bool) -> None:
    table = f"|Task|acc|\n|---|---|\n|boolq|{cell}|\n|piqa|0.7000|\n"
    log = read(f"## GPT4All\n{table}") if wide else of_boolq(cell)
    assert [row[:3] for row in rows(log)] == [("piqa", "acc", "0.7000")]
    assert [line for line, _ in unread(log)] == [4]


@pytest.mark.parametrize("cell", ["0.8001 (+0.5)", "0.8001 (-0.01)", "0.8001 (↑0.0123)", "0.8001↑", "0.8001 (▼ 0.4%)"])
def test_a_change_in_brackets_leaves_the_number(cell: str) -> None:
    assert rows(of_boolq(cell)) == [("boolq", "acc", "0.8001", "0.0070"), PIQA]


@pytest.mark.parametrize(
    "text", ["arc_challenge: acc 0.5623 {}, acc_norm 0.6007", "arc_challenge acc 0.5623 {} acc_norm 0.6007"]
)
@pytest.mark.parametrize("between", ["(0.0145)", "[0.0145]", "(±0.0145)", "(0.54-0.58)", "(25)"])
def test_brackets_in_text_are_no_task(text: str, between: str) -> None:
    log = read(f"## GPT4All\n{text.format(between)}\nboolq: acc 0.8657\n")
    assert [row[:3] for row in rows(log)] == [
        ("arc_challenge", "acc", "0.5623"),
        ("arc_challenge", "acc_norm", "0.6007"),
        ("boolq", "acc", "0.8657"),
    ]
    assert [line for line, _ in unread(log)] == [2]


@pytest.mark.parametrize("between", ["(see", "then", "stderr=0.0145", "n=1172", "versus"])
def test_words_in_text_are_no_task(between: str) -> None:
    log = read(f"## GPT4All\narc_challenge: acc 0.5623 {between} acc_norm 0.6007\n")
    assert [row[:3] for row in rows(log)] == [("arc_challenge", "acc", "0.5623")]
    assert [line for line, _ in unread(log)] == [2]


@pytest.mark.parametrize("cell", ["N/A", "n/a", "-", "–", "—", "?", "nan", "TBD", "None"])
def test_a_wide_table_names_the_numbers_that_it_lacks(cell: str) -> None:
    heading = "|Task|acc|acc_stderr|acc_norm|acc_norm_stderr|\n|---|---|---|---|---|\n"
    log = read(
        f"## GPT4All\n{heading}|piqa|{cell}|0.0107|0.7|0.0107|\n|boolq|0.8|0.007|||\n|arc_easy|{cell}||{cell}||\n"
    )
    assert rows(log) == [("piqa", "acc_norm", "0.7", "0.0107"), ("boolq", "acc", "0.8", "0.007")]
    assert [line for line, _ in unread(log)] == [4, 6, 6]


def test_a_wide_row_without_any_number_is_named() -> None:
    heading = "|Task|acc|acc_stderr|acc_norm|acc_norm_stderr|\n|---|---|---|---|---|\n"
    log = read(f"## GPT4All\n{heading}|piqa|||||\n|boolq|0.8|0.007|||\n|arc_easy||0.0107|||\n")
    assert rows(log) == [("boolq", "acc", "0.8", "0.007")]
    assert [line for line, _ in unread(log)] == [4, 6]


@pytest.mark.parametrize("row", ["|boolq|acc|50||", "|boolq|acc|50|N/A|", "|boolq|acc|50||0.8|", "|boolq|acc|1|0.8|"])
def test_a_count_without_a_known_heading_is_no_value(row: str) -> None:
    assert rows(read(f"## GPT4All\n|piqa|acc|0.7|±|0.0107|\n{row}\n")) == [("piqa", "acc", "0.7", "0.0107")]


@pytest.mark.parametrize(
    ("label", "role"),
    [
        *(
            (label, "average")
            for label in ("Average", "**Avg.**", "Average ⬆️", "Average Total", "Avg (5 tasks)", "平均分")
        ),
        *(
            (label, "average")
            for label in ("Average (GPT4All, AGIEval)", "Open LLM Average", "Mean score", "Avg (AGIEval)")
        ),
        *((label, "other") for label in ("ARC (Average)", "ARC avg", "Avg ARC", "Average (ARC)", "MMLU mean")),
        *((label, "other") for label in ("Coding (Average)", "Code Avg.", "Reasoning average", "HumanEval+ average")),
        *(("Total", "total"), ("Total score", "total"), ("Total params", "other"), ("AGIEval average", "agieval")),
    ],
)
def test_an_average_of_something_is_no_average_of_the_table(label: str, role: str) -> None:
    assert comparison_role(label) == role


@pytest.mark.parametrize("label", ["ARC (Average)", "ARC avg", "Average ARC", "Coding (Average)", "Reasoning Avg."])
def test_the_audit_takes_a_row_named_average_for_what_it_is(label: str) -> None:
    scores = f"|Metric|A|B|\n|---|---|---|\n|HellaSwag|42.1|41.2|\n|{label}|43.9|42.4|\n"
    scores += "|PIQA|68.4|68.4|\n|Winogrande|51.3|51.3|\n"

    def wrong(text: str) -> list[int]:
        return [f.line for f in audit_log(read(text)).findings if f.verdict is Agreement.INCONSISTENT]

    assert wrong(scores) == []
    assert wrong(scores + "|Average|51.4|50.8|\n") == []  # of all four
    assert wrong(scores + "|Average|53.9|53.6|\n") == []  # of the three others
    assert wrong(scores + "|Average|61.4|60.8|\n") == [7, 7]


@pytest.mark.parametrize(
    ("heading", "lost", "row"),
    [
        ("|Task|Value|Metric|", "|boolq||acc|", "|piqa|0.7000|acc|"),
        ("|Task|Metric|Value|", "|boolq|acc||", "|piqa|acc|0.7000|"),
        ("|Task|Version|Metric|Value|", "|boolq||acc||", "|piqa||acc|0.7000|"),
        ("|Task|Version|Metric|Value|", "|||acc||", "|piqa||acc|0.7000|"),
    ],
)
def test_a_row_without_its_value_is_no_heading(heading: str, lost: str, row: str) -> None:
    rule = re.sub(r"[^|]+", "-", heading)
    log = read(f"## GPT4All\n{heading}\n{rule}\n{row.replace('piqa', 'arc_easy')}\n{lost}\n{row}\n")
    assert [r[:3] for r in rows(log)] == [("arc_easy", "acc", "0.7000"), ("piqa", "acc", "0.7000")]
    assert [line for line, _ in unread(log)] == [5]


def test_two_lists_below_lines_that_name_models_are_two_models() -> None:
    text = "".join(
        f"Model: {name}\n\n- GPT4All: {first}\n- AGIEval: 40.10\n- TruthfulQA: {last}\n\n"
        for name, first, last in (("Alpha-7B", "70.12", "50.01"), ("Beta-7B", "71.12", "53.01"))
    )
    log = read(text)
    assert [model.name for model in log.models] == ["Alpha-7B", "Beta-7B"]
    assert [averages(log, n) for n in (0, 1)] == [
        {"gpt4all": "70.12", "agieval": "40.10", "truthfulqa": "50.01"},
        {"gpt4all": "71.12", "agieval": "40.10", "truthfulqa": "53.01"},
    ]
    assert unread(log) == []


def test_a_whole_number_beside_a_suite_is_said_to_be_unread() -> None:
    log = read("GPT4All: 70.12\nTruthfulQA: 53\n")
    assert averages(log) == {"gpt4all": "70.12"}
    assert [(line, "a whole number may be a count" in message) for line, message in unread(log)] == [(2, True)]


@pytest.mark.parametrize(("printed", "taken"), [("33.50", True), ("34.50", False)])
def test_an_average_of_more_rows_than_the_suite_has_is_not_the_suites(printed: str, taken: bool) -> None:
    # Eight tasks with 0.30 to 0.37, whose mean is 33.50, and two more, with which it is 34.50.
    names = [task.name for task in load_tasks().values() if task.suite == "agieval"]
    names += ["agieval_gaokao_english", "agieval_gaokao_history"]
    table = "".join(f"|{name}|0|acc|0.3{i}00|±|0.0200|\n" for i, name in enumerate(names))
    head = "## AGIEval\n\n|Task|Version|Metric|Value| |Stderr|\n|---|---|---|---|---|---|\n"
    log = read(f"{head}{table}\nAverage: {printed}%\n")
    assert averages(log) == ({"agieval": printed} if taken else {})


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.tex", "\\begin{tabular}{lr}\nModel & GPT4All \\\\\nMine & 70.1 \\\\\n\\end{tabular}\n", "LaTeX"),
        ("a.csv", "model,gpt4all\nmine,70.1\n", "CSV"),
        ("a.csv", "dataset,version,metric,mode,mine\npiqa,1d,accuracy,ppl,79.1\n", "OpenCompass"),
    ],
)
def test_a_layout_that_is_not_read_is_named(name: str, text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"{why}.*give a table of Task, Metric and Value"):
        import_log(tmp_path / name, retrieved="2024-01-01")


def test_a_column_of_errors_is_that_of_the_only_metric_or_of_the_one_beside_it() -> None:
    log = read("## GPT4All\n|Task|acc|acc_norm|stderr|\n|---|---|---|---|\n|arc_challenge|0.5623|0.6007|0.0143|\n")
    assert rows(log) == [("arc_challenge", "acc", "0.5623", None), ("arc_challenge", "acc_norm", "0.6007", None)]
    assert unread(log) == [(2, "column 'stderr' not read: of which of acc, acc_norm?")]
    log = read("## GPT4All\n|Task|acc|stderr|\n|---|---|---|\n|boolq|0.8657|0.0060|\n")
    assert (rows(log), unread(log)) == ([BOOLQ_ROW], [])
    beside = "|Task|acc|stderr|acc_norm|stderr|\n|---|---|---|---|---|\n|arc_challenge|0.5623|0.0145|0.6007|0.0143|\n"
    log = read(f"## GPT4All\n{beside}|boolq|0.8657|0.0060|||\n")
    assert (rows(log), unread(log)) == ([*ARC_ROWS, BOOLQ_ROW], [])


def test_a_table_with_a_column_that_nobody_knows_is_named_and_not_read() -> None:
    log = read("## GPT4All\n|Task|acc|acc_norm|foo|\n|---|---|---|---|\n|arc_challenge|0.5623|0.6007|0.0143|\n")
    assert not log.models
    assert unread(log) == [(2, "table not read, not all of its columns are known: Task | acc | acc_norm | foo")]
