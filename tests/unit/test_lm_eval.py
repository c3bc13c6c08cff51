"""The adapter under lm-eval's own evaluation and command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit import lm_eval as command
from evalkit.errors import ModelError

pytestmark = pytest.mark.model

TASK = """
task: mini
custom_dataset: !function documents.load
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: ["yes", "no", "not before it has been asked twice"]
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
"""

DOCUMENTS = """
import datasets
def load(**_):
    rows = [{"question": f"Is {n} a prime?", "answer": n % 3} for n in range(12)]
    return {"test": datasets.Dataset.from_list(rows)}
"""


def evaluate(folder: Path, model: str, arguments: dict[str, Any]) -> dict[str, Any]:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    results: dict[str, Any] = simple_evaluate(
        model=model,
        model_args=arguments,
        tasks=["mini"],
        batch_size=2,
        device="cpu",
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
    )
    return results


@pytest.mark.slow
def test_lm_eval_gives_the_same_results_with_its_own_model(tmp_path: Path) -> None:
    import torch

    from evalkit.models import tiny

    (tmp_path / "mini.yaml").write_text(TASK)
    (tmp_path / "documents.py").write_text(DOCUMENTS)
    folder = tmp_path / "checkpoint"
    tiny.model(torch.float32).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    ours = evaluate(tmp_path, "openmind", {"pretrained": str(folder), "loader": "transformers"})
    theirs = evaluate(tmp_path, "hf", {"pretrained": str(folder), "dtype": "float32", "add_bos_token": False})
    built_in = evaluate(tmp_path, "openmind", {"pretrained": "tiny"})
    assert ours["results"] == theirs["results"] == built_in["results"]
    for mine, reference in zip(ours["samples"]["mini"], theirs["samples"]["mini"], strict=True):
        for (score, greedy), (expected, expected_greedy) in zip(
            mine["filtered_resps"], reference["filtered_resps"], strict=True
        ):
            assert float(score) == pytest.approx(float(expected), abs=1e-4)
            assert greedy == expected_greedy
    json.dumps(ours["config"], default=str)
    assert ours["config"]["model_num_parameters"] == 360768


def test_a_users_mistake_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ModelError("x: no such folder")

    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", fail)
    assert command.main() == 2
    assert capsys.readouterr().err == "error: x: no such folder\n"
    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", lambda: None)
    assert command.main() == 0
