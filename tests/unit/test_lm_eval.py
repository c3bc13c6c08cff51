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


@pytest.mark.slow
def test_settings_that_lm_eval_itself_fails_on_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lm_eval.config.task import TaskConfig

    text = TASK.replace("multiple_choice", "generate_until").replace("acc_norm", "exact_match")
    (tmp_path / "mini.yaml").write_text(text + "generation_kwargs: {max_gen_toks: 6, temperature: hot}\n")
    (tmp_path / "documents.py").write_text(DOCUMENTS)
    monkeypatch.setattr(TaskConfig, "__post_init__", TaskConfig.__post_init__)  # put back afterwards
    arguments = "run --model openmind --model_args pretrained=tiny --tasks mini --device cpu --include_path"
    monkeypatch.setattr("sys.argv", ["lm_eval", *arguments.split(), str(tmp_path)])
    assert command.main() == 2
    said = "error: mini: generation_kwargs: temperature: 'hot' is not 0 (greedy) or a finite number above"
    assert capsys.readouterr().err.splitlines()[-1] == said


@pytest.mark.slow
@pytest.mark.parametrize(("task", "fence"), [("humaneval", ""), ("humaneval_chat", "```")])
def test_programs_are_judged_under_lm_evals_own_evaluation(task: str, fence: str) -> None:
    """The task's filter brings a checker of its own: canonical solutions pass, others do not."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    from evalkit.paths import configs_dir
    from evalkit.sandbox.files import SAMPLE_DATA, read_problems

    problems = read_problems(SAMPLE_DATA)

    class Knows(LM):  # type: ignore[misc]  # lm-eval has no type information
        """Solves every other problem."""

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
            answers = [
                problems[r.doc["task_id"]].prompt + problems[r.doc["task_id"]].canonical_solution for r in requests
            ]
            whole = (
                [f"{fence}python\n{answer}{fence}" for answer in answers]
                if fence
                else [problems[r.doc["task_id"]].canonical_solution for r in requests]
            )
            return [text if n % 2 else "    pass\n" for n, text in enumerate(whole)]

        def loglikelihood(self, requests: Any) -> Any:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: Any) -> Any:
            raise NotImplementedError

    manager = TaskManager(
        include_path=str(configs_dir() / "tasks"), include_defaults=False, metadata={"data": ["samples"]}
    )
    found = simple_evaluate(
        model=Knows(), tasks=[task], task_manager=manager, bootstrap_iters=0, limit=6, confirm_run_unsafe_code=True
    )
    assert found["results"][task]["pass@1,none"] == 0.5
    entries = sorted(found["samples"][task], key=lambda entry: entry["doc_id"])
    assert [entry["pass@1"] for entry in entries] == [0.0, 1.0] * 3
    assert json.loads(json.dumps(entries[1]["filtered_resps"])) == [entries[1]["resps"][0][0]]
