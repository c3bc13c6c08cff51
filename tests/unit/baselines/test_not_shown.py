"""What a reader does not see, or sees struck out, is not read; what only says which way is better says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.baselines.reading.importer import Imported, import_log

pytestmark = pytest.mark.torch_free
HEADING = "|Task|Version|Metric|Value|   |Stderr|\n|---|--:|---|--:|---|--:|\n"
OWN = f"{HEADING}|piqa|0|acc|0.8101|±|0.0091|\n"
OLD = {
    "Markdown": f"{HEADING}|openbookqa|0|acc|0.3201|±|0.0209|\n",
    "HTML": "<table>\n<tr><th>Task</th><th>Version</th><th>Metric</th><th>Value</th></tr>\n"
    "<tr><td>openbookqa</td><td>0</td><td>acc</td><td>0.3201</td></tr>\n</table>\n",
}
NEXT = f"{HEADING}|boolq|1|acc|0.8501|±|0.0062|\n"


def read(text: str, tmp_path: Path) -> Imported:
    path = tmp_path / "card.md"
    path.write_text(text, encoding="utf-8")
    return import_log(path, retrieved="2024-01-01")


def tasks(found: Imported) -> list[str]:
    return [task for baseline in found.baselines for task in baseline.tasks]


@pytest.mark.parametrize("old", OLD.values(), ids=OLD)
@pytest.mark.parametrize(
    ("opened", "closed", "why"),
    [
        ("<del>\n\n", "\n</del>", "struck out"),
        ("<del>\n", "</del>", "struck out"),
        ("<del>", "</del>", "struck out"),
        ("<s>\n\n", "\n</s>", "struck out"),
        ("<STRIKE class='x'>\n", "</STRIKE>", "struck out"),
        ("> <del>\n", "> </del>", "struck out"),
        ("<div><del>\n", "</del></div>", "struck out"),
        ("~~\n", "~~", "struck out"),
        ("<!--\n", "-->", "in a comment"),
        ("<!-- old ", " -->", "in a comment"),
    ],
)
def test_what_is_struck_out_or_commented_is_not_read(
    opened: str, closed: str, why: str, old: str, tmp_path: Path
) -> None:
    above = f"{OWN}\n{opened}"
    found = read(f"{above}{old}{closed}\n\n{NEXT}", tmp_path)
    assert tasks(found) == ["boolq", "piqa"] or tasks(found) == ["piqa", "boolq"]
    line = above.count("\n") + 3
    assert [
        (note.line, note.message[: len(why) + 10])
        for note in found.notes
        if "0.3201" in note.message and note.message.startswith("not read")
    ] == [(line, f"not read, {why}")]


def test_a_comment_that_nothing_ends_goes_on_to_the_end(tmp_path: Path) -> None:
    found = read(f"{OWN}\n<!-- old\n{NEXT}", tmp_path)
    assert tasks(found) == ["piqa"]
    assert [note.line for note in found.notes if note.message.startswith("not read, in a comment")] == [8]


def test_a_tag_that_nothing_closes_is_said(tmp_path: Path) -> None:
    found = read(f"{OWN}\n<del>\n\n{NEXT}", tmp_path)
    assert sorted(tasks(found)) == ["boolq", "piqa"]
    assert [(n.line, n.message) for n in found.notes if "never closed" in n.message] == [
        (5, "'<del>' is never closed; what stands below it is read all the same")
    ]


@pytest.mark.parametrize("old", OLD.values(), ids=OLD)
@pytest.mark.parametrize(
    "opened",
    ["<details>\n\n", "<details open>\n<summary>Full results</summary>\n\n", "<details><summary>\nAll\n</summary>\n"],
)
def test_what_is_folded_is_read(opened: str, old: str, tmp_path: Path) -> None:
    found = read(f"{OWN}\n{opened}{old}\n</details>\n\n{NEXT}", tmp_path)
    assert sorted(tasks(found)) == ["boolq", "openbookqa", "piqa"]


BETTER = [
    "(higher is better)",
    "(Higher is better ↑)",
    "(↑ higher is better)",
    "[higher is better]",
    "- higher is better",
    ", higher is better",
    "(the higher the better)",
    "(larger is better)",
    "(higher better)",
    "(越高越好)",
    "↑",
    "(↑)",
    "⬆️",
    "🔼",
]


@pytest.mark.parametrize("said", BETTER)
def test_which_way_is_better_renames_nothing(said: str, tmp_path: Path) -> None:
    suites = ("GPT4All", "AGIEval", "BigBench", "TruthfulQA")
    rows = "".join(f"| {suite} {said} | 7{i}.10 | 6{i}.10 |\n" for i, suite in enumerate(suites))
    tables = (
        f"| Benchmark | Foo-7B {said} | Bar-7B {said} |\n|---|---|---|\n{rows}",
        f"| Model | {' | '.join(f'{suite} {said}' for suite in suites)} |\n|---|---|---|---|---|\n"
        "| Foo-7B | 70.10 | 71.10 | 72.10 | 73.10 |\n| Bar-7B | 60.10 | 61.10 | 62.10 | 63.10 |\n",
    )
    for table in tables:
        found = read(table, tmp_path).baselines
        assert [(b.name, b.protocol, [str(value) for value in b.averages.values()]) for b in found] == [
            ("Foo-7B", "nous-2023", ["70.10", "71.10", "72.10", "73.10"]),
            ("Bar-7B", "nous-2023", ["60.10", "61.10", "62.10", "63.10"]),
        ]


@pytest.mark.parametrize("said", BETTER)
def test_which_way_is_better_ends_no_suite(said: str, tmp_path: Path) -> None:
    mc = "|truthfulqa_mc|1|mc1|0.3500|±|0.0167|\n| | |mc2|0.5050|±|0.0155|\n"
    heading = HEADING.replace("Value", f"Value {said}")
    table = f"{heading}{mc.replace('mc2', f'mc2 {said}')}"
    text = f"# Foo-7B {said}\n\n## TruthfulQA {said}\n\n{table}\nAverage {said}: 50.50\n"
    (found,) = read(text, tmp_path).baselines
    assert (found.protocol, {k: str(v) for k, v in found.averages.items()}) == ("nous-2023", {"truthfulqa": "50.50"})
    assert {metric: str(score.value) for metric, score in found.tasks["truthfulqa_mc"].items()} == {
        "mc1": "0.3500",
        "mc2": "0.5050",
    }


def test_scores_of_the_hubs_metadata_are_said_not_to_be_read(tmp_path: Path) -> None:
    metrics = "    metrics:\n    - type: mc2\n      value: 55.4\n"
    found = read(f"---\nlicense: mit\nmodel-index:\n- name: Foo-7B\n  results:\n{metrics}---\n{OWN}", tmp_path)
    assert [(note.line, note.message) for note in found.notes if note.unread] == [
        (3, "model-index: 1 score of the hub's metadata; not read")
    ]
    assert tasks(found) == ["piqa"]


def test_a_saved_page_of_a_leaderboard_is_a_table_of_models(tmp_path: Path) -> None:
    """HTML has no rule below a table's heading."""
    cells = (
        ("", "Model", "Average", "AGIEval", "GPT4All", "TruthfulQA", "Bigbench"),
        ("0", "a/Foo-7B", "55.0", "45.1", "73.2", "60.1", "41.6"),
        ("1", "a/Bar-7B", "54.0", "44.1", "72.2", "59.1", "40.6"),
    )
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in cells)
    found = read(f"<html><body><table>{rows}</table></body></html>", tmp_path).baselines
    assert {b.name: {suite: str(value) for suite, value in b.averages.items()} for b in found} == {
        "a/Foo-7B": {"gpt4all": "73.2", "agieval": "45.1", "bigbench": "41.6", "truthfulqa": "60.1"},
        "a/Bar-7B": {"gpt4all": "72.2", "agieval": "44.1", "bigbench": "40.6", "truthfulqa": "59.1"},
    }
