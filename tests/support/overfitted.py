"""A small model, with Mistral's real tokenizer, trained until it writes given completions by heart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evalkit.models.sentencepieces import as_sentencepiece
from tests.support.tokenizers import write_mistral


def write_overfitted(folder: Path, pairs: Sequence[tuple[str, str]], steps: int = 400) -> None:
    """Write a checkpoint whose greedy continuation of each prompt is its completion, then the end token.

    Raises:
        AssertionError: it has not learned them in so many steps.
    """
    import torch
    from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

    write_mistral(folder)
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    as_sentencepiece(folder, tokenizer)
    torch.manual_seed(0)
    model = MistralForCausalLM(
        MistralConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            sliding_window=None,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
        )
    )
    rows = []
    for prompt, completion in pairs:
        before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        whole = tokenizer(prompt + completion, add_special_tokens=False)["input_ids"]
        assert whole[: len(before)] == before
        rows.append((torch.tensor([[*whole, 2]]), len(before)))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    total = torch.tensor(0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        total = torch.tensor(0.0)
        for ids, begin in rows:
            hidden = model.model(ids[:, :-1]).last_hidden_state[:, begin - 1 :]
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden)[0], ids[0, begin:])
            total = total + loss
        if total.item() < 0.02 * len(rows):
            break
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert total.item() < 0.02 * len(rows), "the model has not learned the completions"
    model.save_pretrained(folder)
