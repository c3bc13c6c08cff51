"""A log's prefixes, a run's time and the harness's branch name no model; groups alone make no baseline."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from evalkit.baselines import Baseline, import_log
from evalkit.errors import DataError

pytestmark = pytest.mark.torch_free
NEWER = "|Tasks|Version|Filter|n-shot|Metric||Value||Stderr|\n|---|--:|---|--:|---|---|--:|---|--:|\n"
OLDER = "|Task|Version|Metric|Value||Stderr|\n|---|--:|---|--:|---|--:|\n"
GROUPS = "|Groups|Version|Filter|n-shot|Metric||Value||Stderr|\n|---|--:|---|--:|---|---|--:|---|--:|\n"
BOOLQ = "|boolq|1|acc|0.8700|±|0.0059|\n"
PIQA = "|piqa|0|acc_norm|0.8300|±|0.0088|\n"


def baselines(text: str, folder: Path, name: str = "card.md") -> dict[str, Baseline]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return {found.name: found for found in import_log(path, retrieved="2026-01-01").baselines}


@pytest.mark.parametrize(
    "prefix",
    [
        "2024-07-28:11:41:09,270 INFO     [eval.py:85] ",
        "2024-07-28:11:41:09,280 INFO     [evaluation_tracker.py:206] ",
        "[2024-07-28 11:41:09] ",
        "2024-07-28T11:41:09.123Z ",
        "2024-07-28 11:41:09 - INFO - lm_eval - ",
        "2024-07-28 11:41:09.123 | INFO     | lm_eval.main:run:85 - ",
        "INFO:lm_eval:",
    ],
)
def test_the_prefixes_of_a_log_name_no_model(prefix: str, tmp_path: Path) -> None:
    said = (
        "vllm (pretrained=a/Foo-8B,dtype=auto), gen_kwargs: (None), limit: 100.0, num_fewshot: None, batch_size: auto\n"
    )
    table = f"{prefix}{NEWER}|winogrande|1|none|5|acc|↑|0.5300|±|0.0502|\n|mmlu|1|none||acc|↑|0.2354|±|0.0056|\n"
    table += "| - humanities|1|none||acc|↑|0.2462|±|0.0119|\n"
    groups = f"\n{prefix}{GROUPS}|mmlu|1|none||acc|↑|0.2354|±|0.0056|\n"
    found = baselines(f"{prefix}Saving results aggregated\n{said}{table}{groups}", tmp_path, "run.txt")
    assert list(found) == ["a/Foo-8B"]
    assert found["a/Foo-8B"].tasks["winogrande"]["acc"].value == Decimal("0.5300")
    assert found["a/Foo-8B"].protocol == "lm-eval-0.4, 5-shot, limit 100"
    assert [note for note in found["a/Foo-8B"].notes if "score of a group" in note] == [
        "line 6: score of a group, not imported: mmlu acc",
        "line 11: score of a group, not imported: mmlu acc",
    ]


def test_a_log_that_names_its_models_keeps_them_apart(tmp_path: Path) -> None:
    stamp = "2024-07-28 11:41:09 INFO "
    text = f"{stamp}Model: Foo-7B\n{OLDER}{BOOLQ}\n{stamp}Model: Bar-7B\n{OLDER}{PIQA}"
    found = baselines(text, tmp_path)
    assert {name: set(b.tasks) for name, b in found.items()} == {"Foo-7B": {"boolq"}, "Bar-7B": {"piqa"}}


@pytest.mark.parametrize(
    "line",
    [
        *(
            "1 min 56 seconds (galileo)",
            "2 hrs 57 mins (galileo)",
            "22 seconds",
            "1h 20m 3s",
            "Runtime: 43 mins 25 seconds",
        ),
        *("## Evaluations (lm-eval big-refactor branch)", "(lm-eval main branch)", "### GPT Evaluations 0-Shot"),
        "It was run with the `big-refactor` branch of lm-eval-harness",
    ],
)
def test_what_says_how_or_how_long_tells_no_models_apart(line: str, tmp_path: Path) -> None:
    found = baselines(f"# Foo-7B\n\n{OLDER}{BOOLQ}\n{line}\n\n{OLDER}{PIQA}", tmp_path)
    assert {name: set(b.tasks) for name, b in found.items()} == {"Foo-7B": {"boolq", "piqa"}}


@pytest.mark.parametrize("line", ["GPT results:", "22 seconds (Bar-7B)", "12 hours Bar-7B", "7B:"])
def test_what_may_be_a_model_still_tells_them_apart(line: str, tmp_path: Path) -> None:
    found = baselines(f"# Foo-7B\n\n{OLDER}{BOOLQ}\n{line}\n\n{OLDER}{PIQA}", tmp_path)
    assert [set(b.tasks) for b in found.values()] == [{"boolq"}, {"piqa"}]


def test_groups_alone_make_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only scores of groups of tasks"):
        baselines(f"# Foo-7B\n\n{GROUPS}|mmlu|1|none||acc|↑|0.2354|±|0.0056|\n", tmp_path)
    text = f"### Foo-7B\n{OLDER}{BOOLQ}\n### Bar-7B\n{GROUPS}|mmlu|1|none||acc|↑|0.2354|±|0.0056|\n"
    found = baselines(text, tmp_path)
    assert [set(b.tasks) for b in found.values()] == [{"boolq"}]
