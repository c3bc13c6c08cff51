"""Generation against lm-eval's generate_until, and what it promises besides."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest

from evalkit.errors import ConfigError, ModelError
from evalkit.scoring.requests import GenerationRequest

pytestmark = pytest.mark.model

MAX_LENGTH = 64
ARCHITECTURES = [
    "mistral",
    "mistral-window",
    "llama-tied",
    "qwen3",
    "gemma2",
    "gemma3",
    "gpt2",
    "opt",
    "bloom",
    "mixtral",
]


def transformers_major() -> int:
    """Return the major version; before 5 some models keep their cache in ways of their own."""
    import transformers

    return int(transformers.__version__.split(".")[0])


@functools.cache
def tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz\n.!? "
    words = ["<pad>", "<s>", "</s>", *letters]
    words += [a + b for a in letters for b in "aeiou"][: 120 - len(words)]
    backend = Tokenizer(models.BPE({word: k for k, word in enumerate(words)}, []))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def lm_eval_texts(model: Any, requests: list[GenerationRequest]) -> list[str]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(
        pretrained=model,
        tokenizer=tokenizer(),
        backend="causal",
        batch_size=3,
        max_length=MAX_LENGTH,
        add_bos_token=False,
    )
    instances = []
    for k, request in enumerate(requests):
        settings = {"until": list(request.until), "max_gen_toks": request.max_new_tokens, "do_sample": False}
        instances.append(Instance("generate_until", {}, (request.prompt, settings), k, ("task", k, 1)))
    return lm.generate_until(instances, disable_tqdm=True)


def prompts() -> list[str]:
    shared = "the quick brown fox jumps over the "
    return [
        "a", "what is this?", shared + "dog", shared + "cat and more", shared + "dog", "zz" * 40, "b" * 9, shared
    ]  # fmt: skip


@pytest.mark.parametrize("architecture_name", ARCHITECTURES)
def test_greedy_texts_are_those_of_lm_eval(architecture_name: str, build_model: Callable[[str], Any]) -> None:
    from evalkit.scoring.generate import Generator
    from evalkit.scoring.generate_choice import choose_generator

    model = build_model(architecture_name)
    generator, reason = choose_generator(model, tokenizer(), max_length=MAX_LENGTH)
    if generator is None and transformers_major() < 5:
        pytest.skip(f"left to transformers: {reason}")
    assert generator is not None, reason
    requests = [
        GenerationRequest(prompt, until, count)
        for until, count in (((), 12), (("o", "\n"), 20), (("e", "xyz", "ub"), 30))
        for prompt in prompts()
    ]
    expected = lm_eval_texts(model, requests)
    assert len(set(expected)) > 5
    assert generator.generate(requests) == expected
    assert Generator(model, tokenizer(), max_length=MAX_LENGTH, max_rows=2).generate(requests) == expected


def test_the_end_token_ends_the_text(mistral: Any) -> None:
    from evalkit.scoring.generate import Generator

    model = copy.deepcopy(mistral)
    request = GenerationRequest("hello", (), 20)
    (whole,) = Generator(model, tokenizer(), max_length=MAX_LENGTH).generate([request])
    # Make an end token of one that the model produces: a pair of letters that is a token.
    words = tokenizer().get_vocab()
    end = next(words[whole[k : k + 2]] for k in range(2, len(whole)) if whole[k : k + 2] in words)
    model.generation_config.eos_token_id = [119, end]
    found = Generator(model, tokenizer(), max_length=MAX_LENGTH).generate([request])
    assert found == lm_eval_texts(model, [request])
    assert len(found[0]) < len(whole)


def test_equal_prompts_are_prefilled_once_and_shared_prefixes_too(mistral: Any) -> None:
    from evalkit.scoring.generate import Generator

    tokens = 0

    def count(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        nonlocal tokens
        tokens += kwargs["input_ids"].numel()

    model = copy.deepcopy(mistral)
    model.register_forward_pre_hook(count, with_kwargs=True)
    prompt = "the quick brown fox jumps over the lazy dog"
    requests = [GenerationRequest(prompt, (), 2, temperature=1.0, sample=k) for k in range(5)]
    Generator(model, tokenizer(), max_length=MAX_LENGTH).generate(requests)
    assert tokens == len(prompt) + 5
    tokens = 0
    Generator(model, tokenizer(), max_length=MAX_LENGTH).generate(
        [GenerationRequest(prompt + letter, (), 1) for letter in "abcd"]
    )
    assert tokens == len(prompt) + 4


def test_finished_rows_leave_the_batch(mistral: Any) -> None:
    from evalkit.scoring.generate import Generator

    rows: list[int] = []

    def count(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        rows.append(len(kwargs["input_ids"]))

    model = copy.deepcopy(mistral)
    model.register_forward_pre_hook(count, with_kwargs=True)
    requests = [GenerationRequest(prompt, (), length) for prompt, length in (("abc", 9), ("bcd", 2), ("cde", 5))]
    Generator(model, tokenizer(), max_length=MAX_LENGTH).generate(requests)
    assert rows == [3, 3, 2, 2, 2, 1, 1, 1, 1]


def test_samples_depend_on_seed_and_number_only(mistral: Any) -> None:
    from evalkit.scoring.generate import Generator

    def texts(requests: list[GenerationRequest], rows: int) -> dict[GenerationRequest, str]:
        generator = Generator(mistral, tokenizer(), max_length=MAX_LENGTH, max_rows=rows)
        return dict(zip(requests, generator.generate(requests), strict=True))

    requests = [
        GenerationRequest(prompt, ("\n",), 10, temperature=0.8, top_p=0.9, seed=seed, sample=sample)
        for prompt in prompts()[:3]
        for seed in (0, 1)
        for sample in range(3)
    ]
    together = texts(requests, 64)
    assert texts(requests[::-1], 1) == together
    assert len(set(together.values())) > 12


def test_the_first_stop_to_be_completed_counts(mistral: Any) -> None:
    from evalkit.scoring.generate import Generator

    (text,) = Generator(mistral, tokenizer(), max_length=MAX_LENGTH).generate([GenerationRequest("hello", (), 20)])
    inner, outer = text[5:7], text[3:10]
    for until in ((outer, inner), (inner, outer)):
        request = GenerationRequest("hello", until, 20)
        found = Generator(mistral, tokenizer(), max_length=MAX_LENGTH).generate([request])
        assert found == lm_eval_texts(mistral, [request])


def test_out_of_memory_halves_the_batch(mistral: Any) -> None:
    from evalkit.scoring.generate import Generator

    requests = [GenerationRequest(prompt, (), 8) for prompt in prompts()]
    expected = Generator(mistral, tokenizer(), max_length=MAX_LENGTH).generate(requests)
    model = copy.deepcopy(mistral)
    most = 2
    refused = 0

    def refuse(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        nonlocal refused
        if len(kwargs["input_ids"]) > most:
            refused += 1
            raise RuntimeError("NPU out of memory. Tried to allocate 2 GiB")

    model.register_forward_pre_hook(refuse, with_kwargs=True)
    generator = Generator(model, tokenizer(), max_length=MAX_LENGTH)
    assert generator.generate(requests) == expected
    refused = 0
    assert generator.generate(requests) == expected
    assert refused == 0, "what fits was learnt"
    most = 0
    with pytest.raises(ModelError, match="out of memory on cpu for one prompt"):
        generator.generate(requests)


def test_no_room_for_the_prompt_is_refused(mistral: Any) -> None:
    from evalkit.scoring.generate import Generator

    with pytest.raises(ConfigError, match="leaves no room"):
        Generator(mistral, tokenizer(), max_length=8).generate([GenerationRequest("a", (), 8)])


def test_what_transformers_must_do_is_named(mistral: Any, build_model: Callable[[str], Any]) -> None:
    from evalkit.scoring.generate_choice import unsupported

    assert unsupported(mistral) is None
    assert "recurrent" in str(unsupported(build_model("mamba")))


def test_a_model_that_forgets_its_cache_is_left_to_transformers(mistral: Any) -> None:
    from evalkit.scoring.generate_choice import choose_generator

    model = copy.deepcopy(mistral)

    def drop(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mask = kwargs["attention_mask"]
        return args, {**kwargs, "past_key_values": None, "attention_mask": mask[:, -kwargs["input_ids"].shape[1] :]}

    hook = model.model.register_forward_pre_hook(drop, with_kwargs=True)
    generator, reason = choose_generator(model, tokenizer(), max_length=MAX_LENGTH)
    assert generator is None
    assert "differ" in reason or "does not work" in reason
    hook.remove()
    model.register_forward_pre_hook(lambda *_: 1 / 0)
    generator, reason = choose_generator(model, tokenizer(), max_length=MAX_LENGTH)
    assert generator is None
    assert "ZeroDivisionError" in reason


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_model_that_gives_no_numbers_gives_no_text(mistral: Any, temperature: float) -> None:
    """NaN is taken for a maximum: without a look at it, the text would be one token again and again."""
    import torch

    from evalkit.scoring.generate import Generator

    weight = mistral.get_output_embeddings().weight
    before = weight[5].clone()
    try:
        with torch.no_grad():
            weight[5] = float("nan")
        requests = [GenerationRequest(text, (), 8, temperature) for text in ("hello", "good day")]
        assert Generator(mistral, tokenizer(), max_length=MAX_LENGTH).generate(requests) == [None, None]
    finally:
        with torch.no_grad():
            weight[5] = before
    assert None not in Generator(mistral, tokenizer(), max_length=MAX_LENGTH).generate(requests)
