"""Checkpoints as they are found outside: the right score, or one line that says what is wrong; and what is recorded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evalkit.cli import main
from evalkit.paths import SAMPLES
from tests.unit.models.conftest import write_checkpoint

pytestmark = [pytest.mark.model, pytest.mark.slow]


def run(model: Path, output: Path, *more: object) -> Result:
    arguments = ["run", "--model", model, "--data", "samples", "--output", output, "--device", "cpu", *more]
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="evalkit")


def record(output: Path) -> dict[str, Any]:
    (path,) = output.glob("*/*/run.json")
    return dict(json.loads(path.read_text(encoding="utf-8"))["evalkit"])


def samples(output: Path) -> list[dict[str, Any]]:
    (path,) = output.glob("*/*/samples.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def set_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def error_line(result: Result) -> str:
    assert result.exit_code == 2, result.output
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    return line


@pytest.mark.no_cover
def test_right_programs_through_mistrals_tokenizer_score_100(tmp_path: Path) -> None:
    from tests.support.overfitted import write_overfitted

    rows = map(json.loads, (SAMPLES / "humaneval" / "test.jsonl").read_text(encoding="utf-8").splitlines())
    pairs = [(row["prompt"], row["canonical_solution"]) for row in rows][:4]
    (tmp_path / "model").mkdir()
    write_overfitted(tmp_path / "model", pairs)
    result = run(tmp_path / "model", tmp_path / "out", "--suite", "humaneval", "--limit", 4)
    assert result.exit_code == 0, result.output
    found = samples(tmp_path / "out")
    assert [sample["generated"][0].rstrip("\n") for sample in found] == [text.rstrip("\n") for _, text in pairs]
    assert record(tmp_path / "out")["tasks"]["humaneval"]["pass@1"]["value"] == 1.0


def test_settings_that_are_not_applied_are_named_everywhere(tmp_path: Path) -> None:
    plain, other = write_checkpoint(tmp_path / "plain"), write_checkpoint(tmp_path / "other")
    set_json(other / "generation_config.json", repetition_penalty=1.3)
    asked = ("--task", "bigbench_geometric_shapes", "--limit", 2)
    assert run(plain, tmp_path / "a", *asked).exit_code == 0
    result = run(other, tmp_path / "b", *asked)
    assert result.exit_code == 0, result.output
    assert "generation_config.json asks for repetition_penalty=1.3" in result.stderr
    assert "- Not applied: repetition_penalty=1.3 of generation_config.json" in result.stdout
    assert record(tmp_path / "b")["model"]["generation"]["ignored"] == {"repetition_penalty": 1.3}
    assert [s["generated"] for s in samples(tmp_path / "a")] == [s["generated"] for s in samples(tmp_path / "b")]
    runs = [str(next((tmp_path / name).glob("*/*/run.json")).parent) for name in "ba"]
    compared = CliRunner().invoke(main, ["compare", *runs])
    assert compared.exit_code == 0, compared.output
    assert "repetition_penalty=1.3" in compared.output


def test_another_chat_template_refuses_the_gate_and_is_named_by_compare(tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "model")
    asked = ("--task", "arc_easy", "--limit", 5, "--apply-chat-template")
    assert run(model, tmp_path / "a", *asked).exit_code == 0
    template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    set_json(model / "tokenizer_config.json", chat_template=template)
    assert run(model, tmp_path / "b", *asked).exit_code == 0
    runs = [str(next((tmp_path / name).glob("*/*/run.json")).parent) for name in "ba"]
    refused = CliRunner().invoke(main, ["gate", runs[0], "--baseline", runs[1]])
    assert "chat_template: sha256" in error_line(refused)
    allowed = CliRunner().invoke(main, ["gate", runs[0], "--baseline", runs[1], "--allow-different", "chat_template"])
    assert allowed.exit_code in (0, 1, 3), allowed.output
    compared = CliRunner().invoke(main, ["compare", *runs])
    assert compared.exit_code == 0, compared.output
    assert "| chat_template_sha256 |" in compared.output
    # And nothing is taken over from it.
    line = error_line(run(model, tmp_path / "c", *asked, "--reuse", runs[1]))
    assert "cannot be taken over: " in line
    assert "chat_template: " in line


def test_a_system_prompt_is_recorded_as_it_reached_the_model(tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "model")
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    turns = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    set_json(model / "tokenizer_config.json", chat_template=refuses + turns)
    asked = ("--task", "arc_easy", "--limit", 2, "--apply-chat-template", "--system", "Always answer B.")
    line = error_line(run(model, tmp_path / "a", *asked))
    assert "takes no system message (System role not supported)" in line
    assert "--system-in-user" in line
    result = run(model, tmp_path / "b", *asked, "--system-in-user")
    assert result.exit_code == 0, result.output
    assert record(tmp_path / "b")["system"] == {"text": "Always answer B.", "place": "head of the first user turn"}
    assert all(s["context"].startswith("[user]Always answer B.\n\n") for s in samples(tmp_path / "b"))
    assert "(head of the first user turn)" in result.stdout


def test_requests_that_were_cut_are_counted_and_marked(tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "model")
    result = run(model, tmp_path / "out", "--task", "boolq", "--limit", 4, "--max-length", 24)
    assert result.exit_code == 0, result.output
    found = samples(tmp_path / "out")
    marked = [sample["doc_id"] for sample in found if sample["details"].get("cut")]
    assert marked
    count = record(tmp_path / "out")["requests"]["cut"]
    assert len(marked) <= count <= 2 * len(marked)
    assert f"cut: {count} requests lost their beginning" in result.stderr
    assert f"**cut: {count} requests lost their beginning" in result.stdout


def test_scores_of_an_adapter_are_not_the_base_models(tmp_path: Path) -> None:
    from tests.unit.models.test_identity import write_adapter

    base = write_checkpoint(tmp_path / "base")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapter = write_adapter(base, tmp_path / "adapter")
    asked = ("--task", "arc_easy", "--limit", 3)
    assert run(base, tmp_path / "a", *asked).exit_code == 0
    source = next((tmp_path / "a").glob("*/*/run.json")).parent
    line = error_line(run(base, tmp_path / "b", *asked, "--adapter", adapter, "--reuse", source))
    assert "model.adapter: null, now " in line
    result = run(base, tmp_path / "c", *asked, "--adapter", adapter)
    assert result.exit_code == 0, result.output
    assert f"- Adapter: {adapter} (sha256 " in result.stdout
    assert samples(tmp_path / "a")[0]["logprobs"] != samples(tmp_path / "c")[0]["logprobs"]
    for file in adapter.glob("adapter_*"):
        shutil.copy(file, base)
    assert "lies beside full weights" in error_line(run(base, tmp_path / "d", *asked))
