"""Slots and ordered weights: against whole rows run anew, and the layers as they were."""

from __future__ import annotations

import copy
import random
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.model

ARCHITECTURES = ["mistral", "mistral-window", "llama-tied", "qwen3", "gemma2", "gemma3", "gpt2", "mixtral"]


def expected(model: Any, row: list[int]) -> Any:
    """The logits after a row, alone, without a cache."""
    import torch

    with torch.inference_mode():
        return model(torch.tensor([row])).logits[0, -1]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rows_that_come_go_and_move_have_the_logits_of_whole_rows(
    name: str, build_model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random play of joins, steps and moves; prompts share parts, which are short here."""
    import torch

    from evalkit.scoring import slots as module
    from evalkit.scoring.slots import Slots, why_no_slots

    model = build_model(name)
    if (reason := why_no_slots(model)) is not None:
        pytest.skip(reason)
    monkeypatch.setattr(module, "READ_TOKENS", 5)
    rng = random.Random(name)
    stem = [rng.randrange(3, 100) for _ in range(18)]
    rows: list[list[int]] = []
    slots = Slots(model, 4, 40)
    # Attention of a model's own has no place for drafts; the probe sees that.
    can_draft = model.config._attn_implementation == "sdpa"
    with torch.inference_mode():
        for _ in range(40):
            if len(rows) < 4 and rng.random() < 0.5:
                prompt = stem[: rng.choice((3, 5, 11, 18))] + [
                    rng.randrange(3, 100) for _ in range(rng.randrange(1, 4))
                ]
                logits = slots.read(len(rows), tuple(prompt))
                torch.testing.assert_close(logits, expected(model, prompt), atol=1e-4, rtol=1e-4)
                rows.append(prompt)
                if rng.random() < 0.3 and len(rows) < 4:
                    torch.testing.assert_close(slots.read(len(rows), tuple(prompt)), logits, atol=0, rtol=0)
                    rows.append(list(prompt))
            elif rows and rng.random() < 0.3:
                gone, last = rng.randrange(len(rows)), len(rows) - 1
                if gone != last:
                    slots.move(last, gone, len(rows[last]))
                rows[gone] = rows[last]
                rows.pop()
            elif rows:
                tokens = [rng.randrange(3, 100) for _ in rows]
                # Behind some a draft, of which some tokens are taken; what is not is written over.
                drafts = [
                    [rng.randrange(3, 100) for _ in range(min(rng.choice((0, 0, 1, 3)), 38 - len(row)) * can_draft)]
                    for row in rows
                ]
                logits = slots.step(tokens, [len(row) for row in rows], drafts)
                assert len(logits) == len(rows) + sum(map(len, drafts))
                behind = len(rows)
                for row, token, draft, of_row in zip(rows, tokens, drafts, logits[: len(rows)], strict=True):
                    row.append(token)
                    torch.testing.assert_close(of_row, expected(model, row), atol=1e-4, rtol=1e-4)
                    for k in range(len(draft)):
                        of_draft = expected(model, [*row, *draft[: k + 1]])
                        torch.testing.assert_close(logits[behind + k], of_draft, atol=1e-4, rtol=1e-4)
                    behind += len(draft)
                    row += draft[: rng.randrange(len(draft) + 1)]
                rows = [row for row in rows if len(row) < 39] if all(len(row) < 39 for row in rows) else []


@pytest.mark.parametrize("drafted", [0, 3])
def test_a_long_neighbour_changes_no_bit_of_a_row(drafted: int) -> None:
    """With several heads of queries to one of keys the kernel adds up otherwise where it is shown more places."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    from evalkit.scoring.slots import Slots

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=100,
        hidden_size=256,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=1,
        sliding_window=None,
    )
    model = MistralForCausalLM(config).eval()
    rng = random.Random(0)
    longest = [rng.randrange(3, 100) for _ in range(1400)]
    with torch.inference_mode():
        for length in (195, 272, 319, 809):
            found = []
            for beside in (length, 1400):
                slots = Slots(model, 2, 1500)
                for slot, count in enumerate((length, beside)):
                    slots.read(slot, tuple(longest[-count:]))
                found.append(slots.step([7, 7], [length, beside], [[8] * drafted, []]))
            rows = [0, *range(2, 2 + drafted)]
            assert torch.equal(found[0][rows], found[1][rows])


def test_a_token_is_shown_places_by_its_own_alone() -> None:
    from evalkit.scoring.slot_attention import groups_of

    assert groups_of([1, 64, 65, 3]) == [(slice(0, 2), 64), (slice(2, 3), 128), (slice(3, 4), 64)]
    assert groups_of([63, 64, 65, 66], 5) == [(slice(5, 7), 64), (slice(7, 9), 128)]


def test_attention_elsewhere_is_answered_as_always() -> None:
    """In another thread, and of other shapes, while a step is under way."""
    import threading

    import torch
    import torch.nn.functional as F

    from evalkit.scoring.slot_attention import StepAttention

    own, query, key = F.scaled_dot_product_attention, torch.randn(2, 1, 1, 8), torch.randn(2, 1, 128, 8)
    sees_little = torch.zeros(2, 1, 1, 128)
    sees_little[0, ..., 5:] = sees_little[1, ..., 100:] = -torch.inf
    seen: list[torch.Tensor] = []

    def elsewhere() -> None:
        seen.append(F.scaled_dot_product_attention(query, key, key))

    attention = StepAttention([5, 100], (), is_grouped=True, one_thread=False)
    with attention.used():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        seen.append(F.scaled_dot_product_attention(query, key, key))
        here = F.scaled_dot_product_attention(query, key, key, attn_mask=sees_little)
    assert F.scaled_dot_product_attention is own
    assert all(torch.equal(one, own(query, key, key)) for one in seen)
    torch.testing.assert_close(here, own(query, key, key, attn_mask=sees_little))


def test_ordered_weights_give_the_products_and_leave_the_model_as_it_was(mistral: Any) -> None:
    import torch

    from evalkit.scoring.prepacked import Prepacked

    model = copy.deepcopy(mistral)
    packed = Prepacked(model)
    linears = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    if not packed:
        pytest.skip("this build of torch has no ordered weights")
    assert len(packed) == len(linears)
    torch.manual_seed(0)
    before = [dict(vars(layer)) for layer in linears]
    with torch.inference_mode():
        for layer in linears:
            hidden = torch.randn(3, 5, layer.in_features)
            exact = torch.nn.functional.linear(hidden.double(), layer.weight.double())
            plain = layer(hidden)
            with packed.used():
                torch.testing.assert_close(layer(hidden).double(), exact, atol=1e-5, rtol=1e-5)
                assert layer(hidden[:0]).shape == (0, 5, layer.out_features)
            assert torch.equal(layer(hidden), plain)
        with pytest.raises(ZeroDivisionError), packed.used():
            raise ZeroDivisionError
    assert [dict(vars(layer)) for layer in linears] == before


def test_no_more_memory_than_a_share_is_taken_for_ordered_weights(
    mistral: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.scoring import prepacked

    weights = {id(m.weight): m.weight for m in mistral.modules() if type(m).__name__ == "Linear"}
    size = sum(weight.numel() * 4 for weight in weights.values())
    monkeypatch.setattr(prepacked, "whole_bytes", lambda: 4 * size - 4)
    assert not prepacked.Prepacked(mistral)
    # What was decided before holds, whatever the memory is now.
    monkeypatch.setattr(prepacked, "whole_bytes", lambda: 0)
    packed = len(prepacked.Prepacked(mistral, wanted=True))
    monkeypatch.setattr(prepacked, "whole_bytes", lambda: 100 * size)
    assert packed == len(prepacked.Prepacked(mistral))
    assert not prepacked.Prepacked(mistral, wanted=False)
    # Layers whose forward is another's are left alone.
    monkeypatch.setattr(prepacked, "whole_bytes", lambda: 100 * size)
    model = copy.deepcopy(mistral)
    whole = len(prepacked.Prepacked(model))
    model.model.layers[0].mlp.up_proj.forward = lambda hidden: hidden
    assert whole - len(prepacked.Prepacked(model)) == (1 if whole else 0)


def test_a_model_whose_attention_changes_with_the_batch_has_no_slots(mistral: Any) -> None:
    from evalkit.scoring.slots import why_no_slots

    if why_no_slots(mistral) is not None:
        pytest.skip("this version of transformers has no layers of caches")
    model = copy.deepcopy(mistral)
    model.config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    assert "longest row" in str(why_no_slots(model))


def test_a_step_can_compute_its_attention_on_one_thread(build_model: Callable[[str], Any]) -> None:
    """With drafts and without; the products keep their threads, and the numbers are the same."""
    import torch
    import torch.nn.functional as F
    from torch.overrides import TorchFunctionMode

    from evalkit.scoring.slots import Slots

    attend, before = F.scaled_dot_product_attention, torch.get_num_threads()
    threads: list[int] = []

    class Seen(TorchFunctionMode):
        """Stands where attention is computed, outside of what answers for it."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is attend:
                threads.append(torch.get_num_threads())
            return func(*args, **(kwargs or {}))

    model = build_model("mistral")
    torch.set_num_threads(2)
    try:
        for drafts, calls in ((None, 1), ([[7, 8], []], 2)):
            found = []
            for one_thread in (False, True):
                slots = Slots(model, 2, 20, one_thread=one_thread)
                with torch.inference_mode():
                    slots.read(0, (3, 4, 5))
                    slots.read(1, (6, 7))
                    threads.clear()
                    with Seen():
                        found.append(slots.step([9, 9], [3, 2], drafts))
                assert set(threads) == {1 if one_thread else 2}
                assert len(threads) == calls * model.config.num_hidden_layers
                assert torch.get_num_threads() == 2
            torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("threads", "is_needed", "expected"),
    [(2, True, (True, True)), (2, False, (True, False)), (1, True, (False, False))],
)
def test_one_thread_computes_the_attention_where_several_give_rows_other_bits(
    mistral: Any, monkeypatch: pytest.MonkeyPatch, threads: int, is_needed: bool, expected: tuple[bool, bool]
) -> None:
    import torch

    from evalkit.models import tiny
    from evalkit.scoring import generate_choice

    probe, before = generate_choice.probe_slots, torch.get_num_threads()

    def probed(generator: Any, max_length: int) -> float:
        found = probe(generator, max_length)
        generator.is_invariant = generator.one_thread or not is_needed
        return found

    monkeypatch.setattr(generate_choice, "probe_slots", probed)
    torch.set_num_threads(threads)
    try:
        generator, _ = generate_choice.choose_generator(mistral, tiny.tokenizer(False), max_length=64)
    finally:
        torch.set_num_threads(before)
    assert generator is not None
    if not generator.uses_slots:
        pytest.skip("this version of transformers has no layers of caches")
    assert (generator.is_invariant, generator.one_thread) == expected


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_places_that_were_never_written_take_no_memory() -> None:
    import torch

    from evalkit.scoring.slots import zeros

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize()

    shape, before = (64, 1 << 20), resident()
    made = zeros(shape, torch.empty(0, dtype=torch.bfloat16))
    assert (made.shape, made.dtype, made.data_ptr() % 64) == (shape, torch.bfloat16, 0)
    assert not made[:, ::512].any()  # looking at them makes none either
    made[3] = 1
    assert (made[3].sum(), made[2].any(), made[4].any()) == (1 << 20, False, False)
    assert resident() - before < 32 << 20
