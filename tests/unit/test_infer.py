"""`infer`: the answer alone on the output, the machine's figures beside it, every mistake one line."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from evalkit.errors import ConfigError, ModelError
from evalkit.infer import Answer, infer
from evalkit.models.openmind import OpenMindLM

pytestmark = pytest.mark.model


def ask(prompt: str = "What is the capital of France.", **options: Any) -> tuple[Answer, str, str]:
    output, notes = io.StringIO(), io.StringIO()
    answer = infer("tiny", prompt, device="cpu", output=output, notes=notes, **{"max_new_tokens": 8, **options})
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
    monkeypatch.setattr("evalkit.infer._end_ids", lambda _: {ids[2]})
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
        ({"prompt": ""}, "--prompt is empty"),
        ({"raw": True, "system": "x"}, "--system needs the chat template, which --raw leaves out"),
        ({"max_new_tokens": 0}, "--max-new-tokens 0: at least 1 is needed"),
        ({"temperature": -1.0}, "--temperature -1.0: 0"),
        ({"temperature": float("nan")}, "--temperature nan: 0"),
        ({"top_p": 0.0}, "--top-p 0.0: a probability above 0"),
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
