"""The model with its keys and values: against whole rows run anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.model

SHARED = tuple(range(3, 25))
PROMPTS = [(*SHARED, 30, 31), (*SHARED, 40), (*SHARED, 30, 31), (*SHARED, 50, 51, 52)]


def expected(model: Any, rows: list[list[int]]) -> Any:
    """The logits after each row, one row at a time, without a cache."""
    import torch

    with torch.inference_mode():
        return torch.stack([model(torch.tensor([row])).logits[0, -1] for row in rows])


@pytest.mark.parametrize("name", ["mistral", "mistral-window", "gpt2", "gemma2", "opt"])
def test_reading_and_steps_give_the_logits_of_whole_rows(name: str, build_model: Callable[[str], Any]) -> None:
    import torch

    from evalkit.scoring.runner import ModelRunner

    model = build_model(name)
    runner = ModelRunner(model)
    rows = [list(prompt) for prompt in PROMPTS]
    with torch.inference_mode():
        state, logits = runner.read(PROMPTS, 40)
        torch.testing.assert_close(logits, expected(model, rows), atol=1e-4, rtol=1e-4)
        for kept, tokens in ((None, [60, 61, 62, 63]), ([0, 2, 3], [70, 71, 72]), ([2], [80]), (None, [81])):
            rows = [rows[k] for k in kept] if kept is not None else rows
            for row, token in zip(rows, tokens, strict=True):
                row.append(token)
            logits = runner.step(state, kept, tokens)
            torch.testing.assert_close(logits, expected(model, rows), atol=1e-4, rtol=1e-4)


def test_as_many_rows_as_the_keys_and_values_have_room_for(mistral: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.scoring import runner

    # Two layers, two heads of eight numbers, keys and values, four bytes, and a copy.
    row_bytes = 100 * 2 * 2 * 8 * 2 * 4 * 2
    monkeypatch.setattr(runner, "free_bytes", lambda _device: 4 * 10 * row_bytes)
    assert runner.ModelRunner(mistral).rows_that_fit(100) == 10
    assert runner.ModelRunner(mistral).rows_that_fit(101) == 9
    assert runner.ModelRunner(mistral).rows_that_fit(10**6) == 1
    monkeypatch.setattr(runner, "free_bytes", lambda _device: None)
    assert runner.ModelRunner(mistral).rows_that_fit(100) == (1 << 30) // row_bytes
