"""Token scores against a log-softmax and an argmax over everything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.model


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 100), st.integers(1, 200), st.booleans(), st.booleans())
def test_token_scores(seed: int, rows: int, pairs: int, has_ties: bool, is_half: bool) -> None:
    import torch

    from evalkit.scoring.head import token_scores

    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, 11, generator=generator)
    if has_ties:
        logits = logits.round()
    if is_half:
        logits = logits.bfloat16()
    select = torch.randint(rows, (pairs,), generator=generator)
    target = torch.randint(11, (pairs,), generator=generator)
    logprobs, greedy = token_scores(logits, select, target)
    expected = torch.log_softmax(logits.double(), dim=-1)[select, target]
    assert torch.allclose(logprobs.double(), expected, atol=1e-5)
    assert torch.equal(greedy, logits.argmax(dim=-1)[select] == target)


def test_logits_of_a_model_without_a_known_output_layer(mistral: Any) -> None:
    import torch

    from evalkit.scoring.head import selected_logits

    class Hidden:
        """Keeps its output layer to itself."""

        def __call__(self, **inputs: Any) -> Any:
            return mistral(**inputs)

    ids = torch.arange(12).reshape(2, 6)
    select = torch.tensor([1, 5, 10])
    with torch.inference_mode():
        known = selected_logits(mistral, {"input_ids": ids}, select)
        hidden = selected_logits(Hidden(), {"input_ids": ids}, select)
        whole = mistral(ids).logits.reshape(12, -1)[select]
    assert torch.allclose(known, whole, atol=1e-5)
    assert torch.allclose(hidden, whole, atol=1e-5)


def test_only_wanted_positions_go_through_the_output_layer(mistral: Any) -> None:
    import torch

    from evalkit.scoring.head import selected_logits

    shapes: list[tuple[int, ...]] = []
    hook = mistral.lm_head.register_forward_hook(lambda _module, _args, out: shapes.append(tuple(out.shape)))
    with torch.inference_mode():
        selected_logits(mistral, {"input_ids": torch.zeros(3, 50, dtype=torch.long)}, torch.tensor([7, 149]))
    hook.remove()
    assert shapes == [(1, 2, 120)]
