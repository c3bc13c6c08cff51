"""A run beside others: the card's table, its errors in a leaderboard, and what it can detect."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest
from msgspec.structs import replace
from scipy import stats

from evalkit.comparison.leaderboard import standing_of_run
from evalkit.comparison.run_power import run_power
from evalkit.comparison.run_scores import run_scores
from evalkit.config.suites import find_suite, load_suites
from evalkit.errors import ConfigError
from evalkit.records.model import Partial, RunRecord
from evalkit.report.against import against_table, report_text, scores_table
from evalkit.stats.estimates import smallest_detectable
from evalkit.tables import FORMATS, Table
from tests.support.pairs import data_entry, draw, flipped, write_values

pytestmark = pytest.mark.torch_free

POWER = {"effect": None, "baseline": "openhermes-2.5-mistral-7b", "flips": 10.0, "alpha": 0.05, "power": 0.8}


def whole_run(folder: Path, share: float = 0.5, documents: int = 20, **changes: object) -> RunRecord:
    right = [1.0] * round(share * documents) + [0.0] * (documents - round(share * documents))
    values = {task.name: right for suite in load_suites().values() if suite.in_total for task in suite.tasks}
    return write_values(folder, values, **changes)


def by_label(table: Table) -> dict[str, tuple[object, ...]]:
    return {str(row[0]): row[1:] for row in table.rows}


def test_the_cards_table_with_a_run_as_its_last_model(tmp_path: Path) -> None:
    record = whole_run(tmp_path / "run")
    table = against_table(record, ["openhermes-1-llama2-13b", "openhermes-2-mistral-7b"])
    assert [column.heading for column in table.columns] == [
        "Bench",
        "OpenHermes-1-Llama2-13B",
        "OpenHermes-2-Mistral-7B",
        "name",
        "Change/OpenHermes-1-Llama2-13B",
        "Change/OpenHermes-2-Mistral-7B",
    ]
    rows = by_label(table)
    assert [str(cell) for cell in rows["GPT4All"]] == ["70.36", "72.68", "50.00", "-20.36", "-22.68"]
    assert [str(cell) for cell in rows["Total Score"]] == ["188.68", "205.67", "200.00", "11.32", "-5.67"]
    assert rows["HumanEval"][2] is None
    notes = "\n".join(table.notes)
    assert "name: measured by evalkit, protocol nous-2023, bfloat16 on npu:0" in notes
    assert "OpenHermes-1-Llama2-13B: nous-2023, from model card" in notes


def test_what_makes_a_run_incomparable_stands_below_the_table(tmp_path: Path) -> None:
    data = {name: data_entry("samples" if i else "other") for i, name in enumerate(["boolq", "piqa"])}
    record = write_values(
        tmp_path / "run",
        {"boolq": [1.0, 0.0], "piqa": [1.0, 1.0]},
        data=data,
        config={"limit": 2, "apply_chat_template": True},
    )
    table = against_table(record, [str(whole_run(tmp_path / "other", model={"name": "org/other"}).folder)])
    notes = "\n".join(table.notes)
    for words in ("changed: apply_chat_template", "samples: not a score", "limited: ", "no score for GPT4All", "boolq"):
        assert words in notes
    assert by_label(table)["GPT4All"][1] is None
    assert [column.heading for column in table.columns][1:3] == ["other", "name"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_report_in_every_format(tmp_path: Path, form: str) -> None:
    record = whole_run(tmp_path / "run")
    alone, beside = report_text(record, (), form), report_text(record, ["openhermes-2-mistral-7b"], form)
    assert "boolq" in alone
    assert "OpenHermes-2-Mistral-7B" in beside
    if form == "markdown":
        assert alone in beside
        assert "## Comparison" in beside
    if form == "csv":
        (boolq,) = [row for row in csv.DictReader(io.StringIO(alone)) if row["task"] == "boolq"]
        assert (boolq["metric"], boolq["value"], boolq["documents"]) == ("acc", "0.5000", "20")
    if form == "json":
        assert json.loads(beside)["rows"][0]["name"] == 50.0


def test_an_unfinished_run_is_compared_with_nothing(tmp_path: Path) -> None:
    partial = Partial(documents={}, without_verdicts=(), there="half")
    record = replace(whole_run(tmp_path / "run"), partial=partial)
    with pytest.raises(ConfigError, match="not finished"):
        report_text(record, ["openhermes-2-mistral-7b"], "markdown")


def test_failed_documents_leave_a_gap_in_the_table(tmp_path: Path) -> None:
    record = write_values(tmp_path / "run", {"boolq": [1.0, None]})
    boolq, average = scores_table(record).rows
    assert boolq[4:] == (None, None, 2)
    assert average[4] is None


def test_a_runs_errors_are_clustered(tmp_path: Path) -> None:
    values = {"truthfulqa_mc": [float(i // 5 % 2) for i in range(200)]}
    clusters = {"truthfulqa_mc": [str(i // 5) for i in range(200)]}
    clustered = standing_of_run(write_values(tmp_path / "a", values, clusters)).scores["truthfulqa"]
    record = write_values(tmp_path / "b", values)
    plain = standing_of_run(record).scores["truthfulqa"]
    assert clustered.value == plain.value == 50.0
    assert clustered.stderr == pytest.approx(math.sqrt(5) * plain.stderr, rel=0.05)
    # A run that has lost its documents still has its tasks' errors.
    (tmp_path / "b" / "samples.jsonl").unlink()
    assert standing_of_run(record).scores["truthfulqa"].stderr == pytest.approx(plain.stderr, rel=0.05)
    assert run_scores(record).suite(find_suite("gpt4all")) is None


def cells(table: Table, kind: str) -> dict[str, tuple[object, ...]]:
    return {str(row[0]): row[2:] for row in table.rows if row[1] == kind}


@pytest.mark.no_cover
def test_what_a_run_detects(tmp_path: Path) -> None:
    whole_run(tmp_path / "run", documents=100)
    table = run_power([tmp_path / "run"], [], **(POWER | {"effect": 3.0}))  # type: ignore[arg-type]
    paired = cells(table, "paired")
    stderr = 100 * math.sqrt(0.1 / 100)
    truthfulqa = paired["TruthfulQA"]
    assert (truthfulqa[0], float(str(truthfulqa[1]))) == (100, pytest.approx(stderr, abs=0.005))
    # Ten documents flip: next to all must be losses, 10 of 10 or 9 of 10, for the exact test to see it.
    assert 8.9 < float(str(truthfulqa[3])) <= 10
    # About what the z-test asks for; the exact test asks for more, by less than a tenth.
    assert 1 < float(str(truthfulqa[4])) / (100 * (smallest_detectable(stderr) / 3) ** 2) < 1.1
    assert set(paired) == {"GPT4All", "AGIEval", "BigBench", "TruthfulQA", "Average"}
    unpaired = cells(table, "unpaired")
    assert unpaired["TruthfulQA"][1] == unpaired["TruthfulQA"][2]
    assert float(str(unpaired["TruthfulQA"][3])) > 10
    assert cells(run_power([tmp_path / "run"], ["gpt4all"], **POWER), "paired").keys() == {"GPT4All"}  # type: ignore[arg-type]
    tiny = run_power([tmp_path / "run"], [], **(POWER | {"effect": 0.1}))  # type: ignore[arg-type]
    assert cells(tiny, "unpaired")["GPT4All"][4] == "no number"


def test_a_second_run_measures_what_flips(tmp_path: Path) -> None:
    values = draw(500, 0.5, 1)
    write_values(tmp_path / "a", {"truthfulqa_mc": values})
    write_values(tmp_path / "b", {"truthfulqa_mc": flipped(values, 0.02, 0.02, 1)})
    table = run_power([tmp_path / "a", tmp_path / "b"], [], **POWER)  # type: ignore[arg-type]
    measured = float(str(cells(table, "paired")["TruthfulQA"][1]))
    assert measured == pytest.approx(100 * math.sqrt(0.04 / 500), rel=0.05)
    assert "as they are" in table.notes[1]


@pytest.mark.parametrize("flips", [0, 9, 10])
def test_runs_that_hardly_differ_do_not_say_what_is_detected(flips: int, tmp_path: Path) -> None:
    values = [1.0, 0.0] * 250
    other = [1 - value if i < flips else value for i, value in enumerate(values)]
    write_values(tmp_path / "a", {"truthfulqa_mc": values})
    write_values(tmp_path / "b", {"truthfulqa_mc": other})
    table = run_power([tmp_path / "a", tmp_path / "b"], [], **(POWER | {"effect": 1.0}))  # type: ignore[arg-type]
    documents, stderr, deciding, smallest, needed = cells(table, "paired")["TruthfulQA"]
    assert documents == 500
    said = "TruthfulQA: the two runs differ too little to say (fewer than 10 changes)"
    assert (said in table.notes) == (flips < 10)
    assert [cell is None for cell in (stderr, deciding, smallest, needed)] == [flips < 10] * 4
    assert cells(table, "unpaired")["TruthfulQA"][3] is not None


def test_a_passage_that_flips_is_one_change_and_noise_of_graded_scores_none(tmp_path: Path) -> None:
    passages = {"truthfulqa_mc": [str(i // 50) for i in range(500)]}
    for name, moved in (("passages", 0.5), ("noise", 0.001)):
        write_values(tmp_path / name / "a", {"truthfulqa_mc": [0.5] * 500}, passages if name == "passages" else None)
        values = [0.5 + moved if i < 450 or name == "noise" else 0.5 for i in range(500)]
        write_values(tmp_path / name / "b", {"truthfulqa_mc": values}, passages if name == "passages" else None)
        table = run_power([tmp_path / name / "a", tmp_path / name / "b"], [], **POWER)  # type: ignore[arg-type]
        assert cells(table, "paired")["TruthfulQA"][3] is None


@pytest.mark.parametrize("lost", [[1] * 12, [10] * 12 + [0] * 3, [10, 9] * 7, [20] * 15 + [0] * 30], ids=len)
def test_the_error_beside_a_smallest_change_is_the_one_that_it_is_made_of(lost: list[int], tmp_path: Path) -> None:
    """A dozen passages that moved alike have hardly any spread; what they show is bounded by the next one."""
    keys = {"truthfulqa_mc": [str(passage) for passage in range(len(lost)) for _ in range(20)]}
    write_values(tmp_path / "a", {"truthfulqa_mc": [1.0] * 20 * len(lost)}, keys)
    after = [float(question >= number) for number in lost for question in range(20)]
    write_values(tmp_path / "b", {"truthfulqa_mc": after}, keys)
    table = run_power([tmp_path / "a", tmp_path / "b"], [], **POWER)  # type: ignore[arg-type]
    _, stderr, deciding, smallest = cells(table, "paired")["TruthfulQA"]
    # A z-test needs 1.96 + 0.84 errors for 80 %.
    assert 2.8 * float(str(deciding)) == pytest.approx(float(str(smallest)), rel=0.3)
    # The stderr is that of the passages' mean loss, whatever decides; of passages that moved alike there is none.
    spread = 100 * stats.sem([number / 20 for number in lost])
    assert (stderr is None) if spread < 0.005 else float(str(stderr)) == pytest.approx(spread, abs=0.006)
    said = "TruthfulQA: passages or changes are few, so the interval is wider than the stderr alone would have it"
    assert any(note.startswith(said) for note in table.notes) == (stderr != deciding)


def test_the_changes_that_were_measured_are_a_sample(tmp_path: Path) -> None:
    values = [1.0, 0.0] * 250
    write_values(tmp_path / "a", {"truthfulqa_mc": values})
    write_values(tmp_path / "b", {"truthfulqa_mc": [1 - v if i < 16 else v for i, v in enumerate(values)]})
    table = run_power([tmp_path / "a", tmp_path / "b"], [], **POWER)  # type: ignore[arg-type]
    # The exact limits of a Poisson mean of which 16 were seen are 9.15 and 25.98.
    critical, reach = 1.959964, 1.959964 + 0.841621
    low, high = (100 * stats.norm.cdf(reach * math.sqrt(16 / n) - critical) for n in (25.98, 9.15))
    assert f"80 % may truly be {low:.0f} to {high:.0f} % (TruthfulQA, 16 changes)" in table.notes[1]


def test_power_of_two_runs_of_a_part_of_a_suite_is_that_of_the_tasks_that_both_have(tmp_path: Path) -> None:
    boolq, piqa = draw(400, 0.5, 1), draw(100, 0.5, 2)
    first = {"boolq": boolq, "piqa": piqa, "truthfulqa_mc": draw(50, 0.5, 3)}
    write_values(tmp_path / "a", first)
    write_values(
        tmp_path / "b",
        {"boolq": flipped(boolq, 0.05, 0.05, 1), "piqa": flipped(piqa, 0.1, 0.1, 1), "arc_easy": draw(30, 0.5, 4)},
    )
    table = run_power([tmp_path / "a", tmp_path / "b"], [], **POWER)  # type: ignore[arg-type]
    ((title, kind, documents, stderr, deciding, smallest),) = table.rows
    assert (title, kind, documents) == ("GPT4All (2 of 7 tasks)", "paired", 500)
    # Each task weighs one half; a task's variance is its share of flips over its documents.
    assert float(str(stderr)) == pytest.approx(100 * math.sqrt(0.1 / 400 / 4 + 0.2 / 100 / 4), rel=0.1)
    assert deciding == stderr
    assert 2.8 * float(str(stderr)) == pytest.approx(float(str(smallest)), rel=0.1)
    notes = "\n".join(table.notes)
    assert "left out, because a run has no score of any task: TruthfulQA" in notes
    assert "no unpaired row, because publications give averages of all tasks: GPT4All (2 of 7 tasks)" in notes
    assert "Unpaired: against" not in notes
    assert run_power([tmp_path / "a"], ["gpt4all"], **POWER).rows[0][0] == "GPT4All (2 of 7 tasks)"  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="have no task of TruthfulQA in common"):
        run_power([tmp_path / "a", tmp_path / "b"], ["truthfulqa"], **POWER)  # type: ignore[arg-type]


def test_power_of_a_run_refuses_what_it_cannot_answer(tmp_path: Path) -> None:
    write_values(tmp_path / "a", {"boolq": [1.0, None]})
    with pytest.raises(ConfigError, match="no suite with a score"):
        run_power([tmp_path / "a"], [], **POWER)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one run, or two"):
        run_power([tmp_path / "a"] * 3, [], **POWER)  # type: ignore[arg-type]
    for flips in (0.0, 100.0):
        said = f"^flips must lie between 0 and 100 per cent, got {flips:g}$"
        with pytest.raises(ConfigError, match=said):
            run_power([tmp_path / "a"], [], **(POWER | {"flips": flips}))  # type: ignore[arg-type]
