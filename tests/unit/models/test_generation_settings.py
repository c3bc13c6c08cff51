"""What a task's settings ask of the generator."""

from __future__ import annotations

from typing import Any

import pytest

from evalkit.answering import TextRequest

pytestmark = pytest.mark.model


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (0.0, 1.0, 0, 1.0)),
        ({"do_sample": False, "temperature": 0.7, "top_k": 5, "top_p": 0.5}, (0.0, 1.0, 0, 1.0)),
        ({"do_sample": True}, (1.0, 1.0, 0, 1.0)),  # transformers' own temperature
        ({"temperature": 0.7, "top_k": None, "top_p": None}, (0.7, 1.0, 0, 1.0)),
        ({"temperature": 0.7, "top_k": -1}, (0.7, 1.0, 0, 1.0)),  # vLLM's word for all
        ({"do_sample": True, "temperature": 0.2, "top_k": 5, "top_p": 0.5}, (0.2, 0.5, 5, 1.0)),
        ({"temperature": 0.7, "top_p": 0.0}, (0.7, 0.0, 0, 1.0)),  # the likeliest token alone
        ({"temperature": 5e-324}, (5e-324, 1.0, 0, 1.0)),
        ({"repetition_penalty": 1.2}, (0.0, 1.0, 0, 1.2)),
    ],
)
def test_settings_mean_what_they_mean_to_transformers(
    settings: dict[str, Any], expected: tuple[float, float, int, float]
) -> None:
    from evalkit.models.generation import generation_requests

    (found,) = generation_requests([TextRequest("t", 0, 0, "p", {"until": ["x"], **settings})], 7, 16)
    assert found is not None
    assert (found.temperature, found.top_p, found.top_k, found.repetition_penalty) == expected
    assert (found.until, found.max_new_tokens, found.seed) == (("x",), 16, 7 if expected[0] else 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.5},
        {"temperature": 1, "top_p": 2},
        {"repetition_penalty": 0},
        {"do_sample": True, "top_k": "abc"},
        {"num_beams": 2, "top_p": 7},
        {"num_beams": 0},
        {"foo": 3},
        {"max_gen_toks": -3},
    ],
)
def test_settings_of_a_task_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    from evalkit.errors import ConfigError
    from evalkit.models.generation import generation_requests

    with pytest.raises(ConfigError, match=f"^t: generation_kwargs: {list(wrong)[-1]}: "):
        generation_requests([TextRequest("t", 0, 0, "p", {"until": ["x"], **wrong})], 7, 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"num_beams": 2}, None),
        ({"num_beams": 2, "do_sample": True, "temperature": 0.0, "top_k": None}, {"num_beams": 2}),  # nothing to draw
        ({"do_sample": True, "temperature": 1e-40, "top_k": -1, "min_p": 0.0}, {}),  # as greedy as no temperature
        ({"no_repeat_ngram_size": 2, "temperature": 1e-320}, {"no_repeat_ngram_size": 2}),
    ],
)
def test_settings_of_transformers_loop_at_their_ends(settings: dict[str, Any], expected: dict[str, Any] | None) -> None:
    """A temperature below what float32 can divide by draws what is greatest there, too, and never NaN."""
    from evalkit.answering import Session
    from evalkit.config.run_config import ModelConfig
    from evalkit.models.load import load

    lm = load(ModelConfig(name="tiny", device="cpu"), lambda _: None)

    def text(asked: dict[str, Any]) -> str | None:
        (found,) = lm.texts([TextRequest("t", 0, 0, "What is ", {"max_gen_toks": 6, **asked})], Session()).answers
        return found

    found = text(settings)
    assert found
    if expected is not None:
        assert found == text({"do_sample": False, **expected})


@pytest.mark.slow
def test_the_session_says_whether_weights_are_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.answering import Session
    from evalkit.config.run_config import ModelConfig
    from evalkit.models.load import load
    from evalkit.scoring import prepacked

    lm = load(ModelConfig(name="tiny", device="cpu"), lambda _: None)
    if not lm.work().prepacks:
        pytest.skip("this build of torch has no ordered weights")
    request = TextRequest("t", 0, 0, "What is ", {"max_gen_toks": 2})
    found = []
    for memory, told in ((None, None), (0, True), (None, False), (None, True)):
        monkeypatch.setattr(prepacked, "whole_bytes", (lambda: 0) if memory == 0 else (lambda: 1 << 40))
        lm.texts([request], Session(prepacks=told))
        assert lm.generator is not None
        found.append(len(lm.generator.prepacked) > 0)
    assert found == [True, True, False, True]


@pytest.mark.slow
def test_no_room_for_the_copy_of_the_weights_is_decided_at_the_start_or_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was "out of memory for one prompt of 0 tokens; use a smaller max_length", after halving the rows to one."""
    import torch

    from evalkit.answering import Session
    from evalkit.config.run_config import ModelConfig
    from evalkit.errors import ModelError
    from evalkit.models.load import load
    from evalkit.scoring import prepacked

    lm = load(ModelConfig(name="tiny", device="cpu"), lambda _: None)
    if not lm.work().prepacks:
        pytest.skip("this build of torch has no ordered weights")
    request = TextRequest("t", 0, 0, "What is ", {"max_gen_toks": 2})

    packed = prepacked._packed

    def full(weight: torch.Tensor) -> torch.Tensor:
        if weight.numel() < 100:  # whether there are such products at all
            return packed(weight)
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: tried 9 bytes"
        )

    text = lm.texts([request], Session(prepacks=True)).answers
    with monkeypatch.context() as patched:
        patched.setattr(prepacked, "_packed", full)
        with pytest.raises(
            ModelError, match=r"^out of memory on cpu for the copy of the weights .* goes on where it was "
        ):
            lm.texts([request], Session(prepacks=True))
    assert lm.texts([request], Session(prepacks=True)).answers == text
    with monkeypatch.context() as patched:
        patched.setattr(prepacked, "available_bytes", lambda: 0)
        assert not lm.work().prepacks
        # What was decided holds, whatever is free now.
        lm.texts([request], Session(prepacks=True))
        assert len(lm.generator.prepacked) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_beams": 2}, r"^generation_kwargs \(num_beams: 2\): transformers refuses: ValueError: not so$"),
        ({}, r"^transformers' own generate fails with this model: ValueError: not so$"),
    ],
)
def test_what_transformers_refuses_is_one_line(
    settings: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.answering import Session
    from evalkit.config.run_config import ModelConfig
    from evalkit.errors import EvalkitError
    from evalkit.models.load import load
    from evalkit.scoring import generate_transformers
    from evalkit.scoring.company import Company

    lm = load(ModelConfig(name="tiny", device="cpu"), lambda _: None)

    def fail(**_: Any) -> Any:
        raise ValueError("not so\nthen more")

    monkeypatch.setattr(generate_transformers, "company_of", lambda *_: Company.ANY)
    monkeypatch.setattr(lm.model, "generate", fail)
    lm._chosen_generator = (None, "the model's cache does not work here")
    with pytest.raises(EvalkitError, match=said):
        lm.texts([TextRequest("t", 0, 0, "What", {"max_gen_toks": 2, **settings})], Session())


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [{"bad_words_ids": [[5], [7, 10**9]]}, {"forced_eos_token_id": 10**9}, {"suppress_tokens": [3, 2**63]}],
)
def test_tokens_that_the_model_lacks_are_one_line(wrong: dict[str, Any]) -> None:
    from evalkit.answering import Session
    from evalkit.config.run_config import ModelConfig
    from evalkit.errors import ConfigError
    from evalkit.models.load import load

    lm = load(ModelConfig(name="tiny", device="cpu"), lambda _: None)
    (key,) = wrong
    with pytest.raises(ConfigError, match=rf"^generation_kwargs: {key}: \d+, but this model's tokens end at \d+$"):
        lm.texts([TextRequest("t", 0, 0, "What", {"max_gen_toks": 2, **wrong})], Session())


def test_other_settings_are_left_to_transformers_loop() -> None:
    from evalkit.models.generation import generation_requests

    assert generation_requests([TextRequest("t", 0, 0, "p", {"num_beams": 2})], 7, 16) == [None]
