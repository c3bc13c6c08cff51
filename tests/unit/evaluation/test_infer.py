"""`infer`: the answer alone on the output, the machine's figures beside it, every mistake one line."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalkit.config.options import build
from evalkit.config.run_config import InferConfig, ModelConfig
from evalkit.errors import ConfigError, ModelError
from evalkit.evaluation.infer import Answer, infer
from evalkit.models.openmind import OpenMindLM
from tests.unit.models.conftest import write_checkpoint

pytestmark = pytest.mark.model


def ask(prompt: str = "What is the capital of France.", **options: Any) -> tuple[Answer, str, str]:
    output, notes = io.StringIO(), io.StringIO()
    asked = {"model": "tiny", "device": "cpu", "prompt": prompt, "max_new_tokens": 8, **options}
    answer = infer(build(ModelConfig, asked), build(InferConfig, asked), output=output, notes=notes)
    return answer, output.getvalue(), notes.getvalue()


def test_the_answer_is_that_of_the_model() -> None:
    lm = OpenMindLM(device="cpu")
    history = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    ids = lm.tok_encode(lm.apply_chat_template(history))
    import torch

    expected = lm.model.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False)[0, len(ids) :]
    answer, output, _ = ask("Hi", system="Be brief.")
    assert answer.text == lm.tokenizer.decode(expected)
    assert output == answer.text + "\n"
    assert (answer.prompt_tokens, answer.tokens, answer.ended) == (len(ids), 8, False)


def test_figures_are_beside_the_answer() -> None:
    answer, _, notes = ask()
    pattern = (
        r"cpu \(.+\), float32, loader built-in; load \d+\.\d s, first token \d+\.\d\d s, \d+\.\d tokens/s "
        r"\(25 tokens in, 8 out, cut at the limit\)\n"
    )
    assert re.fullmatch(pattern, notes)
    assert answer.load_seconds > 0
    assert answer.first_token_seconds > 0


def test_one_token_has_no_speed() -> None:
    answer, _, notes = ask(max_new_tokens=1)
    assert answer.tokens_per_second is None
    assert "tokens/s" not in notes


def test_raw_continues_the_prompt_itself() -> None:
    raw, _, _ = ask("def add(a, b):", raw=True)
    assert raw.prompt_tokens == len(OpenMindLM(device="cpu").tok_encode("def add(a, b):"))
    assert raw.text != ask("def add(a, b):")[0].text


def test_a_seed_draws_the_same_tokens_again() -> None:
    first, again, other = (ask(temperature=1.0, seed=seed)[0].text for seed in (1, 1, 2))
    assert first == again != other


def test_the_answer_ends_at_the_end_of_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    free = ask(max_new_tokens=5)[0]
    lm = OpenMindLM(device="cpu")
    third = lm.tok_encode(lm.apply_chat_template([{"role": "user", "content": "What is the capital of France."}]))
    import torch

    ids = lm.model.generate(torch.tensor([third]), max_new_tokens=3, do_sample=False)[0, len(third) :].tolist()
    monkeypatch.setattr("evalkit.scoring.stopping.end_ids", lambda *_: frozenset({ids[2]}))
    answer, _, notes = ask(max_new_tokens=5)
    assert (answer.tokens, answer.ended) == (3, True)
    assert "cut at the limit" not in notes
    assert free.tokens == 5


def test_the_context_bounds_the_answer() -> None:
    with pytest.raises(ModelError, match=r"tiny: the prompt has 6000 tokens, the model's context 4096; shorten it"):
        ask("\x00" * 6000, raw=True)
    answer, _, _ = ask("\x00" * 4090, raw=True, max_new_tokens=50)
    assert (answer.prompt_tokens, answer.tokens) == (4090, 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": ""}, "prompt: is empty; say what the model shall answer"),
        ({"raw": True, "system": "x"}, "--system needs the chat template, which --raw leaves out"),
        ({"max_new_tokens": 0}, "max_new_tokens: 0 is not a number of tokens (1 or more)"),
        ({"temperature": -1.0}, "temperature: -1.0 is not 0 (the likeliest token) or above"),
        ({"temperature": float("nan")}, "temperature: nan is not 0"),
        ({"temperature": float("inf")}, "temperature: inf is not 0"),
        ({"system_in_user": True}, "--system-in-user says where the chat template has --system"),
        ({"top_p": 0.0}, "top_p: 0.0 is not a probability above 0"),
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ask(**options)
    assert str(caught.value).startswith(message)


def test_a_model_without_a_chat_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.models.tiny.CHATML", None)
    with pytest.raises(ModelError, match=r"tiny: the tokenizer has no chat template; .* \(evalkit infer --raw\)"):
        ask()
    assert ask(raw=True)[0].tokens == 8


# --- the same look as before a run -----------------------------------------------------------------------------------


def ask_folder(folder: Path, **options: Any) -> tuple[Answer, str, str]:
    output, notes = io.StringIO(), io.StringIO()
    asked = {"model": str(folder), "device": "cpu", "prompt": "Hi there", "raw": True, "max_new_tokens": 4, **options}
    answer = infer(build(ModelConfig, asked), build(InferConfig, asked), output=output, notes=notes)
    return answer, output.getvalue(), notes.getvalue()


def change(folder: Path, change: Callable[[Any], None]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_a_model_without_numbers_answers_nothing(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m")
    change(folder, lambda tensors: tensors["model.norm.weight"].fill_(float("nan")))
    with pytest.raises(ModelError, match="computes NaN instead of numbers"):
        ask_folder(folder)


def test_a_model_without_special_tokens_answers_to_the_limit(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m")
    for name, keys in (("config.json", None), ("generation_config.json", None), ("tokenizer_config.json", "")):
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in content.items() if not key.startswith(("bos_", "eos_", "pad_"))}
        path.write_text(json.dumps(kept | ({} if keys == "" else {"eos_token_id": None})), encoding="utf-8")
    answer, _, notes = ask_folder(folder)
    assert (answer.tokens, answer.ended) == (4, False)
    assert "no token ends a text of this model" in notes
    assert "ids up to" not in notes  # the token that lm-eval adds to fill up rows is not the checkpoint's


def test_bos_goes_before_a_raw_prompt_where_asked_for(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m")
    with pytest.raises(ConfigError, match="--add-bos is for --raw"):
        ask_folder(folder, raw=False, add_bos=True)
    bare, _, _ = ask_folder(folder)
    begun, _, notes = ask_folder(folder, add_bos=True)
    assert begun.prompt_tokens == bare.prompt_tokens + 1
    assert "warning" not in notes


def test_a_context_beyond_a_table_of_positions_is_one_line(tmp_path: Path) -> None:
    from click.testing import CliRunner
    from transformers import GPT2Config, GPT2LMHeadModel

    from evalkit.cli import main
    from evalkit.models import tiny

    folder = write_checkpoint(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    config = GPT2Config(vocab_size=tiny.VOCABULARY_SIZE, n_positions=64, n_embd=16, n_layer=1, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(folder)
    arguments = ["run", "--model", str(folder), "--data", "samples", "--task", "boolq", "--limit", "2"]
    result = CliRunner().invoke(main, [*arguments, "--max-length", "200", "--output", str(tmp_path / "out")])
    assert result.exit_code == 2, result.output
    assert "has only 64 positions; give --max-length 64 or less" in result.stderr.splitlines()[-1]


def test_samples_of_a_model_without_numbers_are_marked(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from evalkit.cli import main

    folder = write_checkpoint(tmp_path / "m")
    change(folder, lambda tensors: tensors["model.norm.weight"].fill_(float("nan")))
    arguments = ["run", "--model", str(folder), "--data", "samples", "--task", "piqa", "--limit", "2"]
    result = CliRunner().invoke(main, [*arguments, "--device", "cpu", "--output", str(tmp_path / "out")])
    assert result.exit_code == 3, result.output
    assert "warning: the model computes NaN instead of numbers" in result.stderr
    assert "2 of 2 failed" in result.stdout


@pytest.mark.parametrize("temperature", [5e-324, 1e-40, 1e-38])
def test_transformers_loop_draws_the_greatest_where_a_temperature_is_too_small_to_divide_by(
    temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.models.scored import ScoredLM

    greedy = ask()[1]
    monkeypatch.setattr(ScoredLM, "generator", None)
    assert ask()[1] == greedy
    assert ask(temperature=temperature)[1] == greedy
