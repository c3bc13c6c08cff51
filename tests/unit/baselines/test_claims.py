"""nous-2023 is claimed only where nothing unknown is said, and one model's are only scores that nothing tells apart."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evalkit.baselines import Baseline, Imported, import_log
from evalkit.config.suites import load_suites
from evalkit.errors import DataError
from evalkit.results.task_names import suite_of_task

HEAD = "|    Task     |Version| Metric |Value |   |Stderr|\n|-------------|------:|--------|-----:|---|-----:|\n"
BOOLQ = "|boolq        |      1|acc     |0.8700|±  |0.0059|\n"
PIQA = "|piqa         |      0|acc     |0.8210|±  |0.0089|\n|             |       |acc_norm|0.8300|±  |0.0088|\n"
SETTINGS = "hf-causal (pretrained=a/Foo-7B{}), limit: {}, provide_description: False, num_fewshot: {}, batch_size: {}\n"
PLAIN = SETTINGS.format("", "None", 0, 8)
LOG = f"# Foo-7B\n\n## GPT4All\n\n{PLAIN}{HEAD}{BOOLQ}{PIQA}\nAverage: 84.95\n"
SUITES = (
    "| Model | AGIEval | GPT4All | TruthfulQA | BigBench | Average |\n|---|---|---|---|---|---|\n"
    "| Foo-7B | 44.12 | 73.01 | 58.22 | 45.10 | 55.11 |\n| Bar-7B | 43.12 | 72.01 | 57.22 | 44.10 | 54.11 |\n"
)


def with_column(name: str, cell: str) -> str:
    text = SUITES.replace("| AGIEval", f"| {name} | AGIEval").replace("|---|", "|---|---|", 1)
    return text.replace("7B |", f"7B | {cell} |")


def imported(text: str, folder: Path | None = None) -> Imported:
    with tempfile.TemporaryDirectory() as own:
        path = (folder or Path(own)) / "card.md"
        path.write_text(text, encoding="utf-8")
        return import_log(path, retrieved="2026-01-01")


def suites_of(found: Baseline) -> set[str]:
    rows = {suite for task in found.tasks if (suite := suite_of_task(task)) is not None}
    return rows | (found.averages.keys() & load_suites().keys())


def claimed(found: Baseline) -> set[str]:
    """Return the suites of which a baseline says that they are of nous-2023."""
    return {suite for suite in suites_of(found) if found.protocol_of(suite) == "nous-2023"}


@pytest.mark.parametrize(
    "text",
    [
        LOG,
        LOG.replace("## GPT4All", "## 1. GPT4All Benchmark results"),
        LOG.replace("Average", "GPT4All average 7 tasks"),
        LOG.replace("0, batch_size: 8", "0, batch_size: auto (4)"),
        f"# Foo-7B\n\nGPT4All:\n```\n{HEAD}{BOOLQ}{PIQA}```\nAverage: 84.95\n",
        f"---\nlicense: mit\nmodel_name: Foo-7B\ntags: [merge, mistral]\n---\n{HEAD}{BOOLQ}{PIQA}",
        SUITES,
        f"# Nous Hermes 2 - Solar 10.7B\n\n## Evaluation\n\n{SUITES}",
        SUITES.replace("Foo-7B", "[teknium/OpenHermes-2.5](https://huggingface.co/teknium/OpenHermes-2.5)").replace(
            "Bar-7B", "Zephyr"
        ),
        SUITES.replace("| Average |", "| Total Params |"),
    ],
)
def test_what_is_known_is_of_nous_2023(text: str) -> None:
    for found in imported(text).baselines:
        assert claimed(found) == suites_of(found) != set()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (SUITES.replace("| Foo-7B", "| Foo-7B (5-shot)"), 3, "5-shot"),
        (SUITES.replace("| Foo-7B", "| Foo-7B w/ CoT"), 3, "CoT"),
        ("## Few-shot (5-shot) results\n\n" + SUITES, 1, "5-shot"),
        ("Table 3: 5-shot results\n\n" + SUITES, 1, "5-shot"),
        ("## Results (first 100 samples of each task)\n\n" + SUITES, 1, "first 100"),
        ("Evaluated on a subset.\n\n" + SUITES, 1, "subset"),
        ("## Results with chat template\n\n" + SUITES, 1, "chat template"),
        ("## Results in German\n\n" + SUITES, 1, "German"),
        (SUITES + "\nAll with ChatML.\n", 6, "ChatML"),
        (SUITES.replace("| Foo-7B", "| | 5-shot | | | | |\n| Foo-7B"), 3, "5-shot"),
        (with_column("Shots", "5"), 1, "Shots"),
        (with_column("Lang", "de"), 1, "Lang"),
        (SUITES.replace("| Foo-7B", "| # shots | 5 | 5 | 0 | 3 | |\n| Foo-7B"), 3, "# shots"),
        (LOG.replace("## GPT4All", "## GPT4All (norwegian)"), 3, "norwegian"),
        (LOG.replace("num_fewshot: 0", "num_fewshot: 0, apply_chat_template: True"), 5, "apply_chat_template"),
        (LOG.replace("hf-causal (", "vllm ("), 5, "vllm"),
        (LOG.replace("a/Foo-7B", "a/Foo-7B,add_bos_token=True"), 5, "add_bos_token"),
        (LOG.replace("description: False", "description: True"), 5, "provide_description"),
        (LOG.replace("|      1|acc", "|      3|acc"), 8, "version 3"),
        (LOG.replace("GPT4All", "TruthfulQA").replace("Average: 84.95", ""), 8, "stands below"),
        ("|Task|N|Metric|Value|\n|---|---|---|---|\n|boolq|100|acc|0.87|\n|piqa|100|acc|0.82|\n", 1, "N"),
        ("All evaluations are 5-shot.\n\n# Results\n\n" + SUITES, 1, "5-shot"),
        ("Evaluated on a random 10% subset of each benchmark.\n\n# Results\n\n" + SUITES, 1, "subset"),
        (LOG.replace("a/Foo-7B", "a/Foo-7B,max_length=128"), 5, "max_length"),
        (HEAD + BOOLQ + PLAIN.replace("None", "100"), 4, "limit: 100"),
        (HEAD + BOOLQ.replace("0.0059", "0.0338"), 3, "a limited run"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_not_called_nous_2023(text: str, line: int, said: str) -> None:
    found = imported(text)
    assert not any(claimed(baseline) for baseline in found.baselines[:1])
    notes = [note for note in found.notes if "not nous-2023" in note.message]
    assert any(f"line {line} " in f"line {note.line} {note.message}" and said in note.message for note in notes)


def test_a_command_names_shots_and_limit() -> None:
    command = "python main.py --model hf-causal --model_args pretrained=a/Foo-7B --tasks boolq {}\n"
    (shots,) = imported(command.format("--num_fewshot 5") + HEAD + BOOLQ).baselines
    (limit,) = imported(command.format("--limit 100") + HEAD + BOOLQ).baselines
    (long,) = imported(command.format("\\\n  --num_fewshot 5") + HEAD + BOOLQ).baselines
    (plain,) = imported(command.format("--num_fewshot 0 --batch_size 4") + HEAD + BOOLQ).baselines
    said = [found.protocol for found in (shots, limit, long, plain)]
    assert said == ["lm-eval-0.3, 5-shot", "lm-eval-0.3, limit 100", "lm-eval-0.3, 5-shot", "nous-2023"]


def test_a_user_may_know_better(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text("## My own way\n\n" + SUITES)
    first, _ = import_log(path, retrieved="2026-01-01", protocol="nous-2023").baselines
    assert (first.protocol, first.other_protocols) == ("nous-2023", {})
    assert "by --protocol" in first.notes[0]


STATISTICS = ("Upper bound", "Majority class", "Win rate", "Time (min)", "Runtime", "Percentile", "Previous SOTA", "σ")


@pytest.mark.parametrize("label", [*STATISTICS, "Average of models", "Contamination", "Δ Foo-7B", "Foo-7B - Bar-7B"])
def test_statistics_are_no_models(label: str) -> None:
    found = imported(SUITES + f"| {label} | 61.1 | 90.1 | 82.2 | 70.3 | 71.4 |\n")
    assert [baseline.name for baseline in found.baselines] == ["Foo-7B", "Bar-7B"]


HYPHENED = (
    "Upper-Bound",
    "AvgRank",
    "CI95",
    "T-test",
    "FullMarks",
    "Foo-7B-SE",
    "Foo-7B-0shot",
    "Foo-7B-n100",
    "Foo@5",
)


@pytest.mark.parametrize("label", [*HYPHENED, "权重", "最高分", "Ours / base", "Target", "Zulu", "95 % interval"])
def test_what_may_be_a_model_or_not_is_not_ranked(label: str) -> None:
    found = imported(SUITES + f"| {label} | 61.1 | 90.1 | 82.2 | 70.3 | 71.4 |\n").baselines
    assert not any(claimed(baseline) for baseline in found if baseline.name not in ("Foo-7B", "Bar-7B"))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("Model", ("Foo", "Bar", "Bar")),
        ("Language", ("de", "en", "en")),
        ("Split", ("train", "validation", "test")),
        ("Seed", ("1", "2", "2")),
        ("Step", ("1000", "2000", "2000")),
        ("Quant", ("Q4", "Q8", "Q8")),
        ("Subset", ("first 100", "all", "all")),
        ("k", ("5", "0", "0")),
        ("Zulu", ("x", "y", "x")),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_column_that_tells_rows_apart_is_not_dropped(column: str, values: tuple[str, ...], place: int) -> None:
    table = "Task Metric Value/--- --- ---/boolq acc 0.87/boolq acc 0.88/piqa acc 0.82"
    rows = [row.split() for row in table.split("/")]
    for row, cell in zip(rows, (column, "---", *values), strict=True):
        row.insert(place, cell)
    with pytest.raises(DataError, match=f"line 1: table not read, its column '{column}'"):
        imported("\n".join(f"|{'|'.join(row)}|" for row in rows))


BETWEEN = [
    ("**Foo-7B:**\n", "**Bar-7B:**\n"),
    ("Checkpoint 1000:\n", "Checkpoint 2000:\n"),
    ("epoch 1\n", "epoch 2\n"),
    ("=== Foo-7B ===\n", "=== Bar-7B ===\n"),
    ("Evaluating Foo-7B\n", "Evaluating Bar-7B\n"),
    ("Results for Foo-7B\n", "Results for Bar-7B\n"),
    ("1. Foo-7B\n", "2. Bar-7B\n"),
    ("- Foo-7B\n", "- Bar-7B\n"),
    ("<summary>Foo-7B</summary>\n", "<summary>Bar-7B</summary>\n"),
    ('"model_name": "a/Foo"\n', '"model_name": "a/Bar"\n'),
    ("## Mistral-7B results for reference\n", "## Ours\n"),
    ("### GPT4All\n", "### GPT4All (base model)\n"),
    ("### SFT\n", "### DPO\n"),
    ("### Before DPO\n", "### After DPO\n"),
    ("", "Other models:\n"),
    ("", "### Others\n"),
    ("", "The best of the others\n"),
    ("", "Merge 1\n"),
    ("The smaller one\n", "The larger one\n"),
    ("", "And now what came out of the second stage.\n"),
    (SETTINGS.format(",peft=b/l1", "None", 0, 8), SETTINGS.format(",peft=b/l2", "None", 0, 8)),
    (SETTINGS.format("", "None", 0, 8), SETTINGS.format(",peft=b/l2", "None", 0, 8)),
    (SETTINGS.format(",delta=b/l1", "None", 0, 8), PLAIN),
    (SETTINGS.format(",revision=step1", "None", 0, 8), SETTINGS.format(",revision=step2", "None", 0, 8)),
    (SETTINGS.format(",load_in_4bit=True", "None", 0, 8), PLAIN),
    (SETTINGS.format(",gptq=True", "None", 0, 8), PLAIN),
    (SETTINGS.format(",gguf_file=a.gguf", "None", 0, 8), SETTINGS.format(",gguf_file=b.gguf", "None", 0, 8)),
    (PLAIN, SETTINGS.format("", "None", 25, 8)),
    (PLAIN, SETTINGS.format("", "100", 0, 8)),
    (PLAIN, SETTINGS.format(",new_key=1", "None", 0, 8)),
    (PLAIN.replace("pretrained=", "engine="), PLAIN.replace("pretrained=a/Foo-7B", "engine=b")),
    ("lm_eval --model_args pretrained=a/Foo --tasks x\n", "lm_eval --model_args pretrained=a/Bar --tasks x\n"),
]


@pytest.mark.parametrize(("first", "second"), BETWEEN)
def test_two_models_are_two(first: str, second: str) -> None:
    one, other = imported(f"{first}{HEAD}{BOOLQ}\n{second}{HEAD}{PIQA}").baselines
    assert (set(one.tasks), set(other.tasks)) == ({"boolq"}, {"piqa"})
    assert one.name != other.name


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("", ""),
        (PLAIN, PLAIN),
        (PLAIN, SETTINGS.format(",use_accelerate=True", "None", 0, 16)),
        ("# Foo-7B\n", "## Results\n"),
        ("# Foo-7B\n", "# Foo-7B\n"),
        ("## GPT4All\n", "Average: 87.00\n\n## The GPT4All suite\n"),
        ("", "Average: 87.00\n"),
        ("", "```\n\n```\n"),
    ],
)
def test_one_model_stays_one(first: str, second: str) -> None:
    (found,) = imported(f"{first}{HEAD}{BOOLQ}\n{second}{HEAD}{PIQA}").baselines
    assert set(found.tasks) == {"boolq", "piqa"}


def test_averages_below_labels_are_of_those_models() -> None:
    one, other = imported("Foo-7B\nAGIEval average: 44.12\n\nBar-7B\nGPT4All average: 73.01\n").baselines
    assert (dict(one.averages).keys(), dict(other.averages).keys()) == ({"agieval"}, {"gpt4all"})


# The oracle is no list of the code under test: letters drawn at random are words that nobody knows, and what is known
# to change scores was written down from cards and logs.
STRANGE = st.one_of(
    st.text("bcdfgjkpqvwxz", min_size=5, max_size=9),
    st.sampled_from(["5-shot", "few-shot", "k=3", "limit", "subset", "German", "chatml", "seed", "translated"]),
)  # fmt: skip


@given(word=STRANGE, where=st.integers(0, 8))
@example(word="bcdfg", where=3)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.no_cover
def test_a_strange_word_anywhere_is_never_nous_2023(word: str, where: int) -> None:
    column = SUITES.replace("| Average |", f"| {word} |")
    texts = [
        LOG.replace("## GPT4All", f"## GPT4All {word}"),
        LOG.replace("## GPT4All\n", f"## GPT4All\n\nAll of it {word} here.\n"),
        LOG.replace("a/Foo-7B)", f"a/Foo-7B,{word}=1)"),
        LOG.replace("limit: None", f"{word}: 1, limit: None"),
        LOG.replace("|Stderr|", f"|Stderr|{word}|").replace("-----:|\n", "-----:|---|\n").replace("59|\n", "59|2|\n"),
        f"## {word} results\n\n{SUITES}",
        f"{SUITES}\nAll with {word}.\n",
        column,
        SUITES.replace("Foo-7B", f"Foo-7B ({word})"),
    ]
    try:
        found = imported(texts[where])
    except DataError:
        return  # not read, and said so
    assert not claimed(found.baselines[0])
    assert any("not nous-2023" in note.message or "not read" in note.message for note in found.notes) or (
        found.baselines[0].protocol != "unknown"
    )
