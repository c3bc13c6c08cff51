"""One table in five formats: the same numbers everywhere, and nothing in a name becomes markup."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import os
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.baselines import list_baselines, load_baseline
from evalkit.config.suites import find_suite, load_suites
from evalkit.errors import ConfigError
from evalkit.report.card import CardColumn, column_of, comparison_table
from evalkit.tables import FORMATS, Column, Table, escape_latex, render_table, rounded, to_csv, to_json, to_markdown
from tests.support.task_tables import baseline_task_scores, task_table

pytestmark = pytest.mark.torch_free

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("EVALKIT_SHARED", ROOT.parent / "shared"))
HOSTILE = '<script>alert(1)</script>|`x`*y*_z_ \\ [a](javascript:b) "q" & % $ # {~^}\nnext'


def card() -> Table:
    models = [column_of(load_baseline(f"openhermes-{n}")) for n in ("1-llama2-13b", "2-mistral-7b", "2.5-mistral-7b")]
    return comparison_table(models[2], models[:2])


# The comparison of the published card, corrected where it contradicts itself: Average Total and its changes of the
# third model (printed 52.38, +5.21, +0.96) and the AGIEval change (printed +3.33).
CARD = {
    "GPT4All": ["70.36", "72.68", "73.12", "+2.76", "+0.44"],
    "BigBench": ["36.75", "42.30", "40.96", "+4.21", "-1.34"],
    "AGIEval": ["35.56", "39.77", "43.07", "+7.51", "+3.30"],
    "TruthfulQA": ["46.01", "50.92", "53.04", "+7.03", "+2.12"],
    "Total Score": ["188.68", "205.67", "210.19", "+21.51", "+4.52"],
    "Average Total": ["47.17", "51.42", "52.55", "+5.38", "+1.13"],
    "HumanEval": ["-", "43.00", "50.70", "-", "+7.70"],
}


def test_the_card_is_rebuilt() -> None:
    text = to_markdown(card())
    assert text == (ROOT / "tests" / "golden" / "card_comparison.md").read_text(encoding="utf-8")
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    assert {line[0]: line[1:] for line in lines[2:]} == CARD
    assert len(set(lines[0])) == len(lines[0])
    assert sum("---" in cell for line in lines for cell in line) == len(lines[0])  # one rule, none in the body
    assert "prompt format, temperature and other settings were not published" in text


def test_every_format_has_the_same_numbers() -> None:
    table = card()
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert rows[0] == [column.heading for column in table.columns]
    found = json.loads(to_json(table))
    for cells, row, record in zip(table.rows, rows[1:], found["rows"], strict=True):
        for cell, text, heading in zip(cells, row, rows[0], strict=True):
            value = record[heading]
            if isinstance(cell, Decimal):
                assert Decimal(text) == cell
                assert value == float(cell)
            else:
                assert (text, value) == ((cell or ""), cell)
    for form in ("latex", "html", "markdown"):
        text = render_table(table, form)
        for numbers in CARD.values():
            assert all(number in text for number in numbers)
    assert r"\toprule" in render_table(table, "latex")
    assert r"\bottomrule" in render_table(table, "latex")


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert all(name in {"class", "scope", "colspan"} for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile_table(name: str) -> Table:
    return Table(name, (Column(name or "x", "left"), Column("value")), ((name, Decimal("1.50")),), (name,))


@given(st.sampled_from([HOSTILE, "=cmd()", "a|b", "</table>"]) | st.text(st.characters(codec="utf-8"), min_size=1))
def test_names_are_text_in_html_and_markdown(name: str) -> None:
    parser = _Tags()
    parser.feed(render_table(hostile_table(name), "html"))
    assert parser.tags <= {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"}
    lines = [line for line in render_table(hostile_table(name), "markdown").splitlines() if line.startswith("|")]
    assert len(lines) == 3
    for line in lines:
        assert line.replace("\\\\", "").replace("\\|", "").count("|") == 3
        assert not re.search(r"<(?![\s\d=.-])", line)


def test_spreadsheets_and_latex_run_nothing() -> None:
    table = Table("", (Column("model", "left"),), (("=HYPERLINK(1)",), ("-x",), ("a\nb",), ("",)))
    assert list(csv.reader(io.StringIO(to_csv(table))))[1:] == [["'=HYPERLINK(1)"], ["'-x"], ["a\nb"], [""]]
    assert escape_latex(r"a_b & 5% \x") == r"a\_b \& 5\% \textbackslash{}x"
    assert escape_latex("1 ± 2") == r"1 $\pm$ 2"


def test_tables_that_would_mislead_are_refused() -> None:
    with pytest.raises(ValueError, match="two columns with one heading"):
        Table("", (Column("a"), Column("a")), ())
    with pytest.raises(ValueError, match="does not have 1 cells"):
        Table("", (Column("a"),), ((1, 2),))
    with pytest.raises(ConfigError, match="unknown table format 'makdown'; did you mean 'markdown'"):
        render_table(card(), "makdown")
    assert set(FORMATS) == {"markdown", "csv", "json", "latex", "html"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("51.4175", "51.42"),
        ("52.5475", "52.55"),
        ("0.005", "0.01"),
        ("-0.005", "-0.01"),
        (2.675, "2.68"),
        (42.3, "42.30"),
    ],
)
def test_rounding_is_decimal(value: str | float, shown: str) -> None:
    assert str(rounded(Decimal(value) if isinstance(value, str) else value)) == shown


scores = st.integers(0, 10**6).map(lambda n: Decimal(n).scaleb(-4))


@given(
    st.lists(
        st.fixed_dictionaries(dict.fromkeys(("gpt4all", "bigbench", "agieval", "truthfulqa"), scores)),
        min_size=2,
        max_size=4,
    )
)
def test_totals_and_changes_come_from_unrounded_scores(models: list[dict[str, Decimal]]) -> None:
    columns = [CardColumn("same name", suites=dict(m)) for m in models]
    table = comparison_table(columns[-1], columns[:-1])
    count = len(models)
    rows = {row[0]: row[1:] for row in table.rows}
    for i, model in enumerate(models):
        total = sum(model.values(), Decimal(0))
        assert rows["Total Score"][i] == rounded(total)
        assert rows["Average Total"][i] == rounded(total / 4)
        if i < count - 1:
            assert rows["GPT4All"][count + i] == rounded(models[-1]["gpt4all"] - model["gpt4all"])
            assert rows["Total Score"][count + i] == rounded(sum(models[-1].values(), Decimal(0)) - total)


def test_a_missing_suite_leaves_no_total() -> None:
    partial = CardColumn("a", suites={"gpt4all": Decimal("70")})
    full = CardColumn("b", suites={s: Decimal("50.125") for s in ("gpt4all", "bigbench", "agieval", "truthfulqa")})
    table = comparison_table(full, [partial])
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["Total Score"] == (None, Decimal("200.50"), None)
    assert rows["AGIEval"] == (None, Decimal("50.13"), None)
    assert "HumanEval" not in rows


def test_notes_say_what_is_special_about_a_column() -> None:
    table = comparison_table(
        column_of(load_baseline("openhermes-2.5-mistral-7b")), [column_of(load_baseline("mistral-7b-base"))]
    )
    assert "Mistral-7B-Base: GPT4All was measured by lm-eval-0.4, not by nous-2023." in table.notes


def test_task_table_has_the_published_layout() -> None:
    found = task_table(baseline_task_scores(load_baseline("openhermes-2.5-mistral-7b"), find_suite("truthfulqa")))
    assert found.splitlines() == [
        "|    Task     |Version|Metric|Value |   |Stderr|",
        "|-------------|------:|------|-----:|---|-----:|",
        "|truthfulqa_mc|      1|mc1   |0.3599|±  |0.0168|",
        "|             |       |mc2   |0.5304|±  |0.0153|",
    ]


@pytest.mark.skipif(not (SHARED / "benchmark-logs").is_dir(), reason="reference material (../shared) is absent")
def test_task_tables_are_byte_for_byte_those_of_the_logs() -> None:
    compared = 0
    for baseline in list_baselines():
        path = SHARED / "benchmark-logs" / baseline.source.rsplit("/", 1)[-1]
        if not path.is_file() or baseline.slug == "openhermes-2-mistral-7b":
            continue
        text = path.read_bytes().replace(b"\r\n", b"\n").decode("utf-8")
        for suite in load_suites().values():
            rows = baseline_task_scores(baseline, suite)
            # Logs of the newer harness have other columns, and one has rows run together on a line.
            if not rows or baseline.protocol_of(suite.name) != "nous-2023":
                continue
            if (
                baseline.slug in {"hermes-2-pro-llama-3-8b-sft", "meta-llama-3-70b-instruct"}
                and suite.name == "gpt4all"
            ):
                continue
            tables = {task_table(rows, sign) for sign in "±_"}
            assert any(table in text for table in tables), (baseline.slug, suite.name)
            compared += 1
    assert compared >= 85


@pytest.mark.parametrize("form", ["markdown", "latex", "html"])
def test_what_turns_the_direction_of_writing_is_shown_by_its_code(form: str) -> None:
    shown = render_table(Table("a\u202eb", (Column("c\u2066d", "left"),), (("e\u200ff",),), ("g\u061ch",)), form)
    assert not set(shown) & set("\u202e\u2066\u200f\u061c")
    assert "U+202E" in shown
    assert "U+200F" in shown


def test_paths_in_notes_stay_as_they_are_and_names_are_escaped() -> None:
    """A terminal shows the Markdown itself: a path that is copied from it must be one; markup in names is none."""
    notes = ("No score: *a* _b_ (/runs/_old_/x_1): see run_1/_a", "a_b in runs/my_1", "<b>/x_ and `c`")
    shown = to_markdown(Table("", (Column("Model", "left"),), (("_org_/x_1",),), notes))
    assert shown.splitlines()[-3:] == [
        r"- No score: \*a\* \_b\_ (`/runs/_old_/x_1`): see `run_1/_a`",
        "- a_b in runs/my_1",
        r"- &lt;b>`/x_` and \`c\`",
    ]
    assert r"| \_org\_/x_1 |" in shown
