"""Tables of models, commands and names of files beside the scores of tasks: whose the scores are, and how measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.baselines import import_log
from evalkit.baselines.reading.importer import Imported

pytestmark = pytest.mark.torch_free
HEAD = "|Task|Version|Metric|Value||Stderr|\n|---|--:|---|--:|---|--:|\n"
LINE = "hf-causal (pretrained=a/Foo-7B), limit: None, provide_description: False, num_fewshot: 0, batch_size: 8\n\n"
SUMMARY = "|Model|AGIEval|GPT4All|TruthfulQA|Bigbench|Average|\n|---|--:|--:|--:|--:|--:|\n"


def truthful(mc1: str = "0.3501", mc2: str = "0.5107") -> str:
    return f"### TruthfulQA\n\n{HEAD}|truthfulqa_mc|1|mc1|{mc1}|±|0.0167|\n|||mc2|{mc2}|±|0.0153|\n"


def gpt4all() -> str:
    rows = {"arc_challenge": 0, "arc_easy": 0, "hellaswag": 0, "openbookqa": 0, "piqa": 0}
    text = "".join(f"|{task}|{v}|acc_norm|0.6000|±|0.0100|\n" for task, v in rows.items())
    text += "|boolq|1|acc|0.6000|±|0.0086|\n|winogrande|0|acc|0.6000|±|0.0138|\n"
    return f"### GPT4All\n\n{HEAD}{text}\nAverage: 60.0\n"


def row(name: str, truthfulqa: str = "51.07") -> str:
    return f"{SUMMARY}|{name}|42.8|72.21|{truthfulqa}|39.17|52.12|\n\n"


def imported(folder: Path, text: str, name: str = "Foo-7B.md") -> Imported:
    (folder / name).write_text(text, encoding="utf-8")
    return import_log(folder / name, retrieved="2026-01-01")


def claims(found: Imported) -> list[str]:
    return [b.name for b in found.baselines if "nous-2023" in (b.protocol, *b.other_protocols.values())]


def said(found: Imported) -> str:
    return "\n".join(note for b in found.baselines for note in b.notes)


@pytest.mark.parametrize("title", ["", "# Foo-7B\n\n"])
def test_a_summary_of_another_model_ends_the_claim(tmp_path: Path, title: str) -> None:
    for numbers in ("51.07", "54.32"):
        table = row("Bar-13B", numbers)
        for text in (
            f"{title}{table}{truthful()}",
            f"{title}{truthful()}\n{table}",
            f"{title}{table}{truthful()}\n{table}",
        ):
            assert claims(imported(tmp_path, text)) == []
    two = row("Bar-13B").rstrip() + "\n|Baz-7B|41.0|70.0|50.0|38.0|49.75|\n\n"
    assert claims(imported(tmp_path, f"{title}{two}{truthful()}")) == []
    # Own and others' rows: the scores are its own if no other row has them, too.
    own = two.replace("Baz", "Foo").replace("|50.0|", "|51.07|")
    assert claims(imported(tmp_path, f"{title}{own}{truthful()}")) == []
    assert claims(imported(tmp_path, f"{title}{own}{truthful().replace(HEAD, LINE + HEAD)}")) == []
    assert claims(imported(tmp_path, f"{title}{own.replace('51.07', '50.07', 1)}{truthful()}")) == ["Foo-7B"]
    assert claims(imported(tmp_path, f"{title}{row('Foo-7B')}{truthful()}")) == ["Foo-7B"]


def test_a_summary_with_other_numbers_is_named(tmp_path: Path) -> None:
    found = imported(tmp_path, f"# Foo-7B\n\n{row('Foo-7B', '54.32')}{truthful()}")
    assert "TruthfulQA is 54.32 in this table and 51.07" in said(found)
    assert "in this table" not in said(imported(tmp_path, f"# Foo-7B\n\n{row('Foo-7B')}{truthful()}"))
    assert claims(imported(tmp_path, f"{row('Bar-13B', '54.32')}{truthful()}", "README.md")) == []
    assert claims(imported(tmp_path, f"{row('Bar-13B')}{truthful()}", "README.md")) == ["Bar-13B"]


def test_rows_do_not_say_which_of_two_sets_is_whose(tmp_path: Path) -> None:
    second = row("llama-airo-3", "56.30") + truthful("0.3900", "0.5630")
    text = f"{row('Nereus-7B')}{truthful()}\n\n{second}"
    for title, names in (
        ("", ["Nereus-7B 1", "Nereus-7B 2"]),
        ("# Nereus-7B results\n\n", ["Nereus-7B", "unnamed (line 23)"]),
    ):
        found = imported(tmp_path, f"{title}{text}", "Nereus-7B.md")
        assert [b.name for b in found.baselines] == names
        assert claims(found) == []


def test_a_command_that_loads_gpt2_or_nobody_ends_the_claim(tmp_path: Path) -> None:
    for options in (
        "--model gpt2",
        "--model hf-causal",
        "--model hf-causal --model_args dtype=float16",
        "--model_args ...",
        "--model_args pretrained=...",
        "--model_args pretrained=a/Foo-7B...",
        "--model_args pretrained=path/to/model",
        "--model_args pretrained=your-model",
        "--model_args pretrained=$MODEL",
        "--model_args pretrained=<model>",
    ):
        for text in (f"python main.py {options} --tasks truthfulqa_mc", f"python main.py {options}"):
            assert claims(imported(tmp_path, f"{text}\n\n{truthful()}")) == [], text
    for path in ("./gpt4all.json", "./nous.json", "results/out_2.json", "a/b/c.jsonl", "/data/me/Foo-7B-agieval.json"):
        text = f"python main.py --model_args pretrained=a/Foo-7B --tasks truthfulqa_mc --output_path {path}"
        assert claims(imported(tmp_path, f"{text}\n\n{truthful()}")) == ["Foo-7B"], path
    text = text.replace(path, "results/Bar-13B.json")
    assert claims(imported(tmp_path, f"{text}\n\n{truthful()}")) == []


def test_results_files_are_called_as_people_call_them(tmp_path: Path) -> None:
    text = json.dumps(
        {
            "results": {"truthfulqa_mc": {"mc1": 0.35, "mc1_stderr": 0.0167, "mc2": 0.51, "mc2_stderr": 0.0153}},
            "versions": {"truthfulqa_mc": 1},
            "config": {"model": "hf-causal", "model_args": "pretrained=a/Foo-7B", "num_fewshot": 0, "limit": None},
        }
    )
    honest = "gpt4all agieval nous out_2 output0 exp-13 gpt4all_results"
    honest += " Foo-7B-gpt4all results_Foo-7B Foo-7B_agieval a__Foo-7B"
    for name in honest.split():
        assert claims(imported(tmp_path, text, f"{name}.json")) != [], name
    for name in ["results_Bar-13B", "Bar-13B", "gpt4all-Bar-13B", "Foo-7B-v2", "Foo-7B-dpo", "Foo-7B-gptq"]:
        found = imported(tmp_path, text, f"{name}.json")
        assert claims(found) == [], name
        assert "does not say how" not in said(found)


def test_titles_and_fences_of_honest_cards(tmp_path: Path) -> None:
    for name in ("gemma-2-9b-it", "Foo-7B-en", "Foo-7B-zh", "Foo-7B-de"):
        assert claims(imported(tmp_path, f"# {name}\n\n{truthful()}", "README.md")) == [name]
    for title in ("Foo-7B - Evaluation Results", "Foo-7B Model Card", "Foo-7B – Results", "Foo-7B: Evaluation Results"):
        assert claims(imported(tmp_path, f"# {title}\n\n{truthful()}", "README.md")) == ["Foo-7B"], title
    for title in ("Foo-7B it", "Foo-7B de German"):
        assert claims(imported(tmp_path, f"# {title}\n\n{truthful()}")) == [], title
    fenced = truthful().replace("\n\n", "\n\n~~~\n") + "~~~\n"
    assert claims(imported(tmp_path, fenced)) == ["Foo-7B"]
    assert claims(imported(tmp_path, fenced.replace("0.5107", "~~0.5107~~"))) == []


def test_an_average_that_failed_is_no_label(tmp_path: Path) -> None:
    for lost in ("nan%", "Error: File does not exist%"):
        text = gpt4all().replace("Average: 60.0", f"Average: {lost}") + truthful()
        found = imported(tmp_path, text)
        assert [b.name for b in found.baselines] == ["Foo-7B"]
        assert "average not read" in said(found)


def test_anothers_line_in_one_section_is_not_that_of_the_others(tmp_path: Path) -> None:
    line = "hf-causal (pretrained=a/Bar-13B), limit: None, provide_description: False, num_fewshot: 0, batch_size: 8\n"
    first = gpt4all().replace("### GPT4All\n\n", f"### GPT4All\n\n{line}")
    assert claims(imported(tmp_path, first + truthful())) == []
    assert claims(imported(tmp_path, f"{line}{gpt4all()}{truthful()}")) == []
    assert claims(imported(tmp_path, f"{line}{gpt4all()}{truthful()}", "README.md")) == ["a/Bar-13B"]


def test_an_overall_average_is_not_truthfulqas(tmp_path: Path) -> None:
    for number, kept in (("51.07", True), ("51.1", True), ("51.3", False), ("52.38", False)):
        found = imported(tmp_path, f"{gpt4all()}{truthful()}\nAverage: {number}\n")
        assert ("truthfulqa" in found.baselines[0].averages) is kept, number
        assert kept or number in said(found)
    mixed = imported(tmp_path, f"{gpt4all()}{truthful()}|Average|||0.4304|||\n")
    assert "truthfulqa" not in mixed.baselines[0].averages
    assert "43.04" in said(mixed)


def test_totals_and_whole_numbers_are_named(tmp_path: Path) -> None:
    for label in ("Total", "Sum", "Final", "Result", "均值", "总计"):
        assert "number not read: 52.42" in said(imported(tmp_path, f"{truthful()}\n\n{label}: 52.42\n")), label
    assert "52.42" in said(imported(tmp_path, f"{truthful()}\n\nOverall: 52.42 x\n"))
    table = "|Task|Metric|Value|Baseline|\n|---|---|--:|--:|\n|truthfulqa_mc|mc2|53|44|\n"
    assert "number not read: 44" in said(imported(tmp_path, table))


@pytest.mark.parametrize(
    "table",
    [
        "|Model|TruthfulQA|\n|---|--:|\n|Bar-13B|51.07|\n",
        "|Model|Average|\n|---|--:|\n|Bar-13B|51.07|\n",
        "|Model|Bar-13B|\n|---|--:|\n|TruthfulQA|51.07|\n",
        "|Model|Params|\n|---|--:|\n|Bar-13B|13B|\n",
        "|Model|TruthfulQA|\n|---|--:|\n|Base|51.07|\n",
    ],
)
def test_any_table_that_names_another_model_ends_the_claim(tmp_path: Path, table: str) -> None:
    for text in (
        f"# Foo-7B\n\n{table}\n{truthful()}",
        f"# Foo-7B\n\n{truthful()}\n\n{table}",
        f"{table}\n{truthful()}",
    ):
        found = imported(tmp_path, text)
        assert claims(found) == []
        assert ("Base" if "Base" in table else "Bar-13B") in said(found)
    own = imported(tmp_path, f"# Foo-7B\n\n{table.replace('Bar-13B', 'Foo-7B').replace('Base', 'Ours')}\n{truthful()}")
    assert claims(own) == ["Foo-7B"]


@pytest.mark.parametrize("name", ["Foo-7B (ours)", "Foo-7B*", "🏆 Foo-7B", "Ours", "This model", "a/Foo-7B"])
def test_a_models_own_row_is_its_own(tmp_path: Path, name: str) -> None:
    assert claims(imported(tmp_path, f"# Foo-7B\n\n{row(name)}{truthful()}")) == ["Foo-7B"]
    assert claims(imported(tmp_path, f"# Foo-7B\n\n{row(name, '54.32')}{truthful()}")) == []
    page = "[Foo-7B](https://huggingface.co/a/Foo-7B) [📄](https://gist.github.com/u/12ab)"
    assert claims(imported(tmp_path, f"# Foo-7B\n\n{row(page)}{truthful()}")) == ["Foo-7B"]


def test_nameless_sets_of_scores_are_nobodys(tmp_path: Path) -> None:
    first, second = truthful(), truthful("0.3900", "0.5099")
    for table in ("", row("Bar-13B", "51"), row("51"), row("Median", "51.07")):
        for title in ("", "# Foo-7B\n\n"):
            found = imported(tmp_path, f"{title}{table}{first}\n\n{second}", "README.md")
            assert claims(found) == [], (table, title)
            assert len(found.baselines) == 2
    assert claims(imported(tmp_path, f"{row('Bar-13B')}{first}\n\n{second}", "README.md")) == []


@pytest.mark.parametrize(
    "loaded", ["./output", "checkpoint", "checkpoint-500", "my-model", "org/repo", "$MODEL", "out/final_model", "model"]
)
def test_a_folder_of_a_run_is_no_model(tmp_path: Path, loaded: str) -> None:
    command = f"python main.py --model hf-causal --model_args pretrained={loaded} --tasks truthfulqa_mc\n\n"
    for text in (f"{command}{truthful()}", f"{LINE.replace('a/Foo-7B', loaded)}{truthful()}"):
        found = imported(tmp_path, text)
        assert [b.name for b in found.baselines] == ["Foo-7B"]
        assert claims(found) == []
        assert f"pretrained={loaded}" in said(found)


@pytest.mark.parametrize(
    ("title", "name"), [("Hermes-13B", "Nous-Hermes-13B"), ("Foo-7B", "GPT4All-J"), ("Foo-7B", "Foo-7B-GPTQ")]
)
def test_a_file_called_after_another_model_ends_the_claim(tmp_path: Path, title: str, name: str) -> None:
    assert claims(imported(tmp_path, f"# {title}\n\n{truthful()}", f"{name}.md")) == []
    assert claims(imported(tmp_path, f"# {title}\n\n{truthful()}", f"{title}.md")) == [title]


def test_a_last_average_is_a_suites_only_if_its_rows_give_it(tmp_path: Path) -> None:
    for text, suites in (
        (f"{truthful()}\nAverage: 60\n", set()),
        (f"{truthful()}\nAverage: 51.07\n", {"truthfulqa"}),
        (f"{truthful()}\nTruthfulQA average: 60\n", {"truthfulqa"}),
        (f"{truthful()}\nAverage: 50.00\n\n{gpt4all()}", {"truthfulqa", "gpt4all"}),  # wrong, but whose is plain
        (f"{truthful()}\n{gpt4all().replace('60.0', '55.5')}", set()),  # that of the suites
        (f"{truthful()}\n{gpt4all().replace('60.0', '52.38')}", set()),
        (f"{truthful()}\n{gpt4all()}", {"gpt4all"}),
    ):
        found = imported(tmp_path, text)
        assert set(found.baselines[0].averages) == suites, text
        assert claims(found) == ["Foo-7B"]
    for lost in ("N/A", "TBD", "pending", "Bar-13B"):
        found = imported(tmp_path, gpt4all().replace("60.0", lost) + truthful())
        assert [b.name for b in found.baselines] == ["Foo-7B"], lost


def test_statistics_and_bare_numbers_are_named(tmp_path: Path) -> None:
    for line in ("Median: 52.42", "Max: 52.42", "Best: 52.42", "52.42", "(52.42)", "Final: 52", "TruthfulQA 53"):
        number = "".join(c for c in line if c.isdigit() or c == ".")
        assert f"number not read: {number}" in said(imported(tmp_path, f"{truthful()}\n\n{line}\n")), line
