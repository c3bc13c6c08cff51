"""Whose the scores of a file are: one model's, its own row's beside others, or each below a label of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.baselines import import_log
from evalkit.config.suites import load_suites
from evalkit.results.harness_settings import names_nobody

pytestmark = pytest.mark.torch_free
HEAD = "|Task|Version|Metric|Value||Stderr|\n|---|--:|---|--:|---|--:|\n"
GPT4ALL = f"GPT4All:\n{HEAD}|boolq|1|acc|0.8700|±|0.0059|\n\nAverage: 73.12\n\n"
TRUTHFUL = f"TruthfulQA:\n{HEAD}|truthfulqa_mc|1|mc1|0.3500|±|0.0167|\n|||mc2|0.5050|±|0.0155|\n\n"
LOG = GPT4ALL + TRUTHFUL
OTHER = LOG.replace("0.8700", "0.8600").replace("0.5050", "0.5150").replace("73.12", "72.12")
CMD = "```\npython main.py --model hf-causal --model_args pretrained={} --num_fewshot 0\n```\n\n"
TABLE = "|Model|GPT4All|TruthfulQA|Average|\n|---|--:|--:|--:|\n"
OWN = "|Foo-7B|73.12|50.50|61.81|\n"
BAR = "|Bar-13B|70.20|52.30|61.25|\n"


def line(name: str) -> str:
    return f"hf-causal (pretrained={name}), limit: None, provide_description: False, num_fewshot: 0, batch_size: 8\n\n"


def below(name: str, log: str = LOG) -> str:
    """A log with the harness's line in the section of each suite."""
    return log.replace("GPT4All:\n", f"GPT4All:\n{line(name)}").replace("TruthfulQA:\n", f"TruthfulQA:\n{line(name)}")


def claims(text: str, folder: Path, file: str = "README.md", name: str | None = None) -> dict[str, set[str]]:
    """Return the name that scores get -> the suites that are said to be of nous-2023."""
    path = folder / file
    path.write_text(text, encoding="utf-8")
    found = {}
    for baseline in import_log(path, retrieved="2026-01-01", name=name).baselines:
        rows = {suite.name for suite in load_suites().values() if {t.name for t in suite.tasks} & baseline.tasks.keys()}
        suites = rows | (baseline.averages.keys() & load_suites().keys())
        found[baseline.name] = {suite for suite in suites if baseline.protocol_of(suite) == "nous-2023"}
    return found


ALL = {"gpt4all", "truthfulqa"}


@pytest.mark.parametrize(
    ("text", "file"),
    [
        (f"# Foo-7B\n\n{LOG}", "README.md"),
        (GPT4ALL + line("Foo-7B") + TRUTHFUL, "README.md"),
        (LOG, "Foo-7B.md"),
        (line("a/Foo-7B") + LOG, "Foo-7B.md"),
        (below("Foo-7B"), "Foo-7B.md"),
        (f"# Foo-7B\n\n{LOG}{TABLE}{OWN}", "gpt4all.md"),
        (f"# Foo-7B\n\n{LOG}{TABLE}|-|73.12|50.50|61.81|\n", "gpt4all.md"),
        (f"{LOG}{TABLE}{OWN}", "README.md"),  # named by its row alone, which has all scores
        (f"{LOG}{TABLE}{OWN}", "gpt4all.md"),
        (f"# Foo-7B\n\n{TABLE}{OWN}{BAR}|Change|+2.92|-1.80|+0.56|\n\n{LOG}", "README.md"),  # its own beside another's
        (f"# Foo-7B\n\n{LOG}{TABLE}{BAR}|ours|73.12|50.50|61.81|\n", "README.md"),
        (f"# Foo-7B\n\n{LOG.replace('0.5050', '0.51')}{TABLE}{OWN}", "README.md"),  # rows of two places
        (f"# Foo-7B\n\n{LOG}{TABLE}|Foo-7B|73.1|51|62|\n", "README.md"),
    ],
)
def test_one_models(text: str, file: str, tmp_path: Path) -> None:
    assert claims(text, tmp_path, file) == {"Foo-7B": ALL}


def test_a_gist_of_llm_autoeval_is_called_after_its_benchmark_too(tmp_path: Path) -> None:
    text = f"{TABLE}|[Foo-7B](https://huggingface.co/a/Foo-7B)|73.12|50.50|61.81|\n\n{LOG}"
    assert claims(text, tmp_path, "Foo-7B-Nous.md") == {"Foo-7B-Nous": ALL}


def test_a_file_that_names_nobody_needs_a_name(tmp_path: Path) -> None:
    assert claims(LOG, tmp_path, "gpt4all.md") == {"gpt4all": set()}
    assert claims(LOG, tmp_path, "gpt4all.md", "Foo-7B") == {"Foo-7B": ALL}
    assert claims(f"{LOG}# Bar-13B\n", tmp_path, "gpt4all.md", "Bar-13B") == {"Bar-13B": ALL}
    assert claims(f"{LOG}# Bar-13B\n", tmp_path, "gpt4all.md", "Foo-7B") == {"Foo-7B": set()}


@pytest.mark.parametrize(
    "text",
    [
        below("Foo-7B") + below("Bar-13B", OTHER),
        f"# Foo-7B\n\n{LOG}# Bar-13B\n\n{OTHER}",
        f"{below('Foo-7B')}{below('Bar-13B', OTHER)}{TABLE}{OWN}|Bar-13B|72.12|51.50|61.81|\n",
    ],
)
def test_several_models_with_a_label_each(text: str, tmp_path: Path) -> None:
    assert claims(text, tmp_path) == {"Foo-7B": ALL, "Bar-13B": ALL}


@pytest.mark.parametrize(
    ("text", "file"),
    [
        (LOG + line("Foo-7B") + OTHER, "README.md"),  # a run that nothing names, and another
        (LOG + CMD.format("a/Foo-7B") + OTHER, "README.md"),
        (line("Foo-7B") + LOG + OTHER, "README.md"),
        (f"# Foo-7B\n\n{LOG}{OTHER}", "README.md"),
        (f"{LOG}# Foo-7B\n\n{OTHER}", "README.md"),
        (line("Foo-7B") + line("Bar-13B") + LOG, "README.md"),  # one above the other
        (CMD.format("a/Foo-7B") + CMD.format("a/Bar-13B") + LOG, "README.md"),
        (f"{line('Foo-7B')}{LOG}{TABLE}|Bar-13B|73.12|50.50|61.81|\n", "README.md"),  # another's by its numbers
        (f"{below('Foo-7B')}{TABLE}|Bar-13B|73.12|50.50|61.81|\n", "README.md"),
        (f"{line('Foo-7B')}{LOG}{TABLE}|Bar-13B|73|50|62|\n", "README.md"),
        (f"# Foo-7B\n\n{LOG}{TABLE}{OWN}|Bar-13B|73.12|50.50|61.81|\n", "README.md"),
        (f"{LOG}{TABLE}{BAR}", "README.md"),  # named by a row alone, which contradicts
        (f"{LOG}|Model|GPT4All|\n|--|--|\n|Bar-13B|73.12|\n", "README.md"),  # or has not all
        (f"{LOG}# Foo-7B\n", "README.md"),  # named elsewhere than the scores are called after
        (LOG + CMD.format("a/Foo-7B"), "mistral.md"),
        (f"{LOG}{TABLE}{BAR}", "Foo-7B.md"),
        (f"{line('a/Foo-7B')}{LOG}{TABLE}{BAR}", "Foo-7B.md"),
        *(
            (f"# Foo-7B\n\n{LOG}{TABLE}|{who}|70.20|50.50|60.35|\n", "README.md")
            for who in ("-", "n/a", "None", "ours")
        ),
        (f"# Foo-7B\n\n{LOG}{TABLE}|Foo-7B|73.12|50.50|63.81|\n", "README.md"),  # its average differs
        (f"# Foo-7B\n\n{TABLE}|Foo-7B|73|51|62|\n{BAR}\n{LOG}", "README.md"),  # no places, beside another's
        (f"# Foo-7B\n\n|Model|GPT4All|\n|--|--|\n|Foo-7B|73.12|\n|Bar-13B|70.20|\n\n{LOG}", "README.md"),
        (f"{below('Foo-7B')}{OTHER}", "README.md"),
        (f"# Foo-7B\n\n{GPT4ALL}# Bar-13B\n\n{TRUTHFUL}", "README.md"),  # a title within one set of scores
        (below("Foo-7B") + below("Bar-13B", OTHER) + line("Foo-7B"), "README.md"),
        (GPT4ALL + line("Foo-7B") + TRUTHFUL + line("Bar-13B"), "README.md"),  # lines below their scores
        (f"{below('Foo-7B')}{below('Bar-13B', OTHER)}{TABLE}|Foo-7B|72.12|51.50|61.81|\n", "README.md"),
        *((line(name) + LOG, "README.md") for name in ("sft", "./mymodel", "13B-merged", "run3/global_step_200")),
        *((f"## {name}\n\n{LOG}", "gpt4all.md") for name in ("DPO", "Base", "Step-100", "Chat", "v1.5")),
    ],
)
def test_nobodys_for_certain(text: str, file: str, tmp_path: Path) -> None:
    found = claims(text, tmp_path, file)
    assert set().union(*found.values()) == set()


def test_rows_of_a_second_run_are_not_dropped_for_the_firsts(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(LOG + line("Foo-7B") + OTHER, encoding="utf-8")
    first, second = import_log(path, retrieved="2026-01-01").baselines
    assert (first.name, str(first.tasks["boolq"]["acc"].value)) == (tmp_path.name, "0.8700")
    assert (second.name, str(second.tasks["boolq"]["acc"].value)) == ("Foo-7B", "0.8600")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            f"# Foo-7B\n\n{LOG}{LOG}",
            "more than one set of scores (boolq acc again, as on line 6)",
        ),
        (f"# Foo-7B\n\n{LOG}{TABLE}|-|70.20|50.50|60.35|\n", "GPT4All is 70.20 in this table and 73.12 by the scores"),
        (f"{LOG}# Bar-13B\n", "the file names Bar-13B (line 14), not"),
        (line("Foo-7B") + line("Bar-13B") + LOG, "the file names Foo-7B (line 1), Bar-13B (line 3)"),
    ],
)
def test_the_note_says_why(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(text, encoding="utf-8")
    assert any(said in note.message for note in import_log(path, retrieved="2026-01-01").notes)


def test_a_file_that_names_a_model_is_called_so_whatever_a_row_says(tmp_path: Path) -> None:
    path = tmp_path / "Foo-7B.md"
    for row in (BAR, "|Zephyr|73.12|50.50|61.81|\n"):
        path.write_text(f"{LOG}{TABLE}{row}", encoding="utf-8")
        (found,) = import_log(path, retrieved="2026-01-01", protocol="nous-2023").baselines
        assert (found.name, found.protocol) == ("Foo-7B", "nous-2023")


def test_a_line_below_all_scores_is_read_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mistral.md"
    path.write_text(LOG + CMD.format("a/Foo-7B"), encoding="utf-8")
    assert not [note for note in import_log(path, retrieved="2026-01-01").notes if "read as that" in note.message]


def test_what_names_nobody() -> None:
    nobody = (
        "7b 13B-merged mymodel trained_7b hf_7b merge-7b ckpt-3 final v1.5 Setup-1 2024-01-31 0a1b2c3d4e my_model_v2"
    )
    assert [name for name in nobody.split() if not names_nobody(name)] == []
    named = "Foo-7B gpt2 Yi-34B a/Zephyr Qwen2.5-7B-Instruct merged-Foo Mistral-7B-v0.1-sft M-7B phi-2"
    assert [name for name in named.split() if names_nobody(name)] == []


@pytest.mark.parametrize(
    ("text", "averages"),
    [
        ("GPT4All: 73.12\nAGIEval:\nAverage score: 52.38\n", {"gpt4all": "73.12"}),
        ("GPT4All: 73.12\nAGIEval: 43.07\nTruthfulQA:\nOverall: 58.10\n", {"gpt4all": "73.12", "agieval": "43.07"}),
        (f"{GPT4ALL}AGIEval:\nAverage: 58.10\n", {"gpt4all": "73.12"}),  # GPT4All has rows, AGIEval none
        (
            "TruthfulQA: 50.5\n\n|Suite|Score|\n|--|--|\n|GPT4All|73.12|\n\nAGIEval:\nAverage: 58.1\n",
            {"truthfulqa": "50.5"},
        ),
        (f"{GPT4ALL}AGIEval:\nScore: 43.07\n", {"gpt4all": "73.12", "agieval": "43.07"}),
        ("GPT4All:\nAverage: 73.12\n\nAGIEval:\nAverage: 43.07\n", {"gpt4all": "73.12", "agieval": "43.07"}),
        (
            "|Suite|Score|\n|--|--|\n|AGIEval|43.07|\n|BigBench|40.96|\n\nGPT4All:\n\nAverage: 52.55\n",
            {"agieval": "43.07", "bigbench": "40.96"},
        ),
    ],
)
def test_a_blank_last_suite_takes_no_average_of_others(text: str, averages: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "Foo-7B.md"
    path.write_text(text, encoding="utf-8")
    (found,) = import_log(path, retrieved="2026-01-01").baselines
    assert {suite: str(value) for suite, value in found.averages.items()} == averages


def test_names_that_differ_by_a_point_between_digits_are_two_models(tmp_path: Path) -> None:
    assert claims(line("facebook/opt-13b") + LOG, tmp_path, "opt-1-3b.md") != {"opt-1-3b": ALL}
    assert claims(line("facebook/opt-1.3b") + LOG, tmp_path, "opt-1-3b.md") == {"opt-1-3b": ALL}


def test_an_owner_may_stand_before_two_underlines(tmp_path: Path) -> None:
    assert list(claims(line("a/Foo-7B") + LOG, tmp_path, "a__Foo-7B.md").values()) == [ALL]
