"""Generation against lm-eval's generate_until, and what it promises besides."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest

from evalkit.errors import ConfigError, ModelError
from evalkit.scoring.requests import GenerationRequest
from evalkit.scoring.schedule import READ_TOKENS

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


def lm_eval_texts(model: Any, requests: list[GenerationRequest], batch_size: int = 3) -> list[str]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(
        pretrained=model,
        tokenizer=tokenizer(),
        backend="causal",
        batch_size=batch_size,
        max_length=MAX_LENGTH,
        add_bos_token=False,
    )
    instances = []
    for k, request in enumerate(requests):
        settings = {"until": list(request.until), "max_gen_toks": request.max_new_tokens, "do_sample": False}
        instances.append(Instance("generate_until", {}, (request.prompt, settings), k, ("task", k, 1)))
    return lm.generate_until(instances, disable_tqdm=True)


def needs_slots(model: Any) -> None:
    """Skip where this version of transformers has none."""
    from evalkit.scoring.slots import why_no_slots

    if (reason := why_no_slots(model)) is not None:
        pytest.skip(reason)


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


@pytest.mark.parametrize(
    "until",
    [("<s>",), ("<pad>", "o"), ("<s><pad>", "<pad><s>", "<s><s>", "<pad><pad>"), ("o<s>", "<pad>e"), ("x",), ()],
)
def test_a_special_token_may_be_a_stop_string(mistral: Any, until: tuple[str, ...]) -> None:
    """Alone, beside letters, beside another; in every loop. lm-eval goes on in batches until all rows have ended."""
    import torch

    from evalkit.scoring import generate_transformers
    from evalkit.scoring.generate import Generator

    model = copy.deepcopy(mistral)
    with torch.no_grad():
        model.get_output_embeddings().weight[:2] *= 2
    requests = [GenerationRequest(prompt, until, 20) for prompt in [*prompts(), "<s>a", "b<pad>"]]
    expected = lm_eval_texts(model, requests, batch_size=1)
    makers = [Generator(model, tokenizer(), max_length=MAX_LENGTH, uses_slots=slots) for slots in (True, False)]
    makers[0].drafts = True
    for maker in makers:
        found = {row.request: row for row, _ in maker.stream(maker.rows(requests))}
        assert maker.generate(requests) == expected
        written = [tokenizer().decode(found[request].generated) for request in requests]
        assert any("<s>" in text or "<pad>" in text for text in written)
        if until and until != ("x",):
            assert any(len(found[request].generated) < 20 for request in requests)
            for text in written:
                assert sum(text.count(stop) for stop in until) <= 1
    encoded = [tuple(tokenizer()(request.prompt, add_special_tokens=False)["input_ids"]) for request in requests]
    wishes = [generate_transformers.Wish(ids, until, 20, {"do_sample": False}) for ids in encoded]
    assert generate_transformers.generate(model, tokenizer(), wishes, max_length=MAX_LENGTH, rows=4) == expected


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
    Generator(model, tokenizer(), max_length=MAX_LENGTH, uses_slots=False).generate(
        [GenerationRequest(prompt + letter, (), 1) for letter in "abcd"]
    )
    assert tokens == len(prompt) + 4
    needs_slots(mistral)
    # In slots whole parts are shared, whoever joined when.
    tokens = 0
    long = "ab" * READ_TOKENS
    requests = [GenerationRequest(long + end, (), 1) for end in ("c", "dd", "c", "eee")]
    Generator(model, tokenizer(), max_length=4 * READ_TOKENS, max_rows=2).generate(requests)
    assert tokens == len(long) + 1 + 2 + 3


def test_finished_rows_leave_the_batch(mistral: Any) -> None:
    from evalkit.scoring.generate import Generator

    rows: list[int] = []

    def count(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        rows.append(len(kwargs["input_ids"]))

    model = copy.deepcopy(mistral)
    model.register_forward_pre_hook(count, with_kwargs=True)
    requests = [GenerationRequest(prompt, (), length) for prompt, length in (("abc", 9), ("bcd", 2), ("cde", 5))]
    Generator(model, tokenizer(), max_length=MAX_LENGTH, uses_slots=False).generate(requests)
    assert rows == [3, 3, 2, 2, 2, 1, 1, 1, 1]


def test_a_waiting_row_joins_when_another_is_finished(mistral: Any) -> None:
    """Two slots and rows of 9, 2, 5 and 3 tokens: 9 beside 2, then 5, then 3, without a wait for the longest."""
    from evalkit.scoring.generate import Generator

    needs_slots(mistral)
    shapes: list[tuple[int, ...]] = []
    model = copy.deepcopy(mistral)
    model.register_forward_pre_hook(
        lambda _module, _args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    lengths = (("abcd", 9), ("bcd", 2), ("cd", 5), ("d", 3))
    requests = [GenerationRequest(prompt, (), length) for prompt, length in lengths]
    generator = Generator(model, tokenizer(), max_length=MAX_LENGTH, max_rows=2)
    finished = [row.request.prompt for row, _ in generator.stream(generator.rows(requests))]
    assert finished == ["bcd", "cd", "abcd", "d"]
    # A prompt is read in a pass of its own, and the first token comes from that.
    assert [shape for shape in shapes if shape[1] > 1 or shape[0] == 1] == [(1, 4), (1, 3), (1, 2), (1, 1)]
    assert len(shapes) == 4 + 9, "the last row ends a step after the longest"


def test_a_text_is_the_same_alone_and_in_any_company(mistral: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, which the probe finds here: the logits of each step, whatever shares the batch or is drafted."""
    import torch

    from evalkit.scoring import generate as module
    from evalkit.scoring.generate_choice import choose_generator
    from evalkit.scoring.sampling import choose

    requests = [GenerationRequest(prompt, (), 4 + 5 * (k % 3)) for k, prompt in enumerate(prompts())]

    def logits_of(
        rows: int, some: list[GenerationRequest], *, drafts: bool = False
    ) -> dict[GenerationRequest, dict[int, torch.Tensor]]:
        generator, _ = choose_generator(mistral, tokenizer(), max_length=MAX_LENGTH)
        assert generator is not None
        if not generator.is_invariant:
            pytest.skip("this processor's kernels give rows other bits in other company")
        generator._budget.size = rows
        generator.drafts = generator.drafts and drafts
        propose = generator.guesses.propose

        def and_wrong(text: Any, rows: int, most: int) -> tuple[list[int], int]:
            draft, match = propose(text, rows, most)
            return [*draft, 7][:most], max(match, 1)

        monkeypatch.setattr(generator.guesses, "propose", and_wrong)
        seen: dict[GenerationRequest, dict[int, torch.Tensor]] = {}

        def watched(logits: torch.Tensor, of: list[GenerationRequest], positions: list[int], before: Any) -> Any:
            # What comes behind a wrong draft is looked at again, for the right token.
            for row, request, position in zip(logits, of, positions, strict=True):
                seen.setdefault(request, {})[position] = row.clone()
            return choose(logits, of, positions, before)

        monkeypatch.setattr(module, "choose", watched)
        generator.generate(some)
        if generator.drafts:
            assert generator.guesses.accepted > 0
            assert generator.guesses.drafted > generator.guesses.accepted
        return seen

    together = logits_of(64, requests)
    for alone in (
        logits_of(1, requests),
        logits_of(3, requests[::-1]),
        logits_of(5, requests[2:6]),
        logits_of(64, requests, drafts=True),
        logits_of(2, requests[::-1], drafts=True),
    ):
        for request, steps in alone.items():
            assert sorted(steps) == sorted(together[request]) == list(range(request.max_new_tokens))
            assert all(torch.equal(steps[k], together[request][k]) for k in steps)


@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_drafts_change_no_text(mistral: Any, temperature: float) -> None:
    """Neither right ones nor wrong ones, nor tokens in them for which the model has no numbers."""
    import torch

    from evalkit.scoring.generate import Generator

    model = copy.deepcopy(mistral)
    broken = tokenizer().get_vocab()["z"]
    with torch.no_grad():
        model.get_input_embeddings().weight[broken] = float("nan")
    requests = [
        GenerationRequest(prompt, ("?",), 20, temperature=temperature, sample=sample)
        for prompt in ("abc", "bca", "cab", "acb", "ab ab ab ab")
        for sample in range(3 if temperature else 1)
    ]
    expected: dict[GenerationRequest, tuple[int, ...]] = {}
    for rows in (1, 2, 3, 64):
        plain = Generator(model, tokenizer(), max_length=MAX_LENGTH, max_rows=rows)
        alone = {row.request: tuple(row.generated) for row, _ in plain.stream(plain.rows(requests))}
        assert plain.guesses.drafted == 0
        # Rows that fail leave those alone that move into their slots.
        expected = expected or alone
        assert alone == expected
        for guess in ("own", "right", "wrong", "none"):
            generator = Generator(model, tokenizer(), max_length=MAX_LENGTH, max_rows=rows)
            generator.drafts = True
            if guess != "own":
                generator._draft = functools.partial(  # type: ignore[method-assign]
                    _guess, expected=expected, guess=guess, broken=broken
                )
            found = {row.request: tuple(row.generated) for row, _ in generator.stream(generator.rows(requests))}
            assert found == expected, guess
            if guess == "right":
                assert generator.guesses.accepted == generator.guesses.drafted > 0
            if guess == "none":
                assert generator.guesses.accepted == 0


def _guess(rows: Any, *, expected: dict[GenerationRequest, tuple[int, ...]], guess: str, broken: int) -> None:
    """Draft up to four tokens of each row's true text, or others, or what the model has no numbers for."""
    for one in rows:
        at = len(one.row.generated)
        room = min(4, one.row.request.max_new_tokens - at - 1)
        right = list(expected[one.row.request][at : at + room])
        wrong = [*right[:1], *(3 + token % 20 for token in right[1:])]
        one.draft = {"right": right, "wrong": wrong, "none": [broken] * room}[guess]


def test_a_row_without_numbers_leaves_its_neighbours_and_followers_alone(mistral: Any) -> None:
    """Its keys and values are no numbers either, and nought times those is none: its slot must be wiped."""
    import torch

    from evalkit.scoring.generate import Generator

    requests = [GenerationRequest(prompt, (), 12) for prompt in ("abc", "zbc", "bca", "zab", "cab", "acb")]
    expected = Generator(mistral, tokenizer(), max_length=MAX_LENGTH).generate(requests)
    model = copy.deepcopy(mistral)
    token = tokenizer().get_vocab()["z"]
    # Of models whose texts have no "z", those with one begin with no numbers.
    with torch.no_grad():
        model.get_input_embeddings().weight[token] = float("nan")
    has_z = ["z" in request.prompt or "z" in str(text) for request, text in zip(requests, expected, strict=True)]
    assert 1 < sum(has_z) < len(has_z)
    for rows in (1, 2, 3, 64):
        found = Generator(model, tokenizer(), max_length=MAX_LENGTH, max_rows=rows).generate(requests)
        assert [text for text, is_lost in zip(found, has_z, strict=True) if not is_lost] == [
            text for text, is_lost in zip(expected, has_z, strict=True) if not is_lost
        ]
        assert found[1] is None
        assert found[3] is None


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
    from evalkit.scoring.generate import FEWEST_PREPACKED, Generator

    requests = [GenerationRequest(prompt, (), 8) for prompt in prompts()]
    assert len(requests) > FEWEST_PREPACKED
    expected = Generator(mistral, tokenizer(), max_length=MAX_LENGTH).generate(requests)
    model = copy.deepcopy(mistral)
    most = FEWEST_PREPACKED  # a step has no fewer
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


@pytest.mark.parametrize("name", ["move", "step", "read"])
def test_no_text_is_lost_where_memory_runs_out(mistral: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of a method in turn fails once: every row is given once, with its text."""
    from evalkit.scoring.generate import Generator
    from evalkit.scoring.slots import Slots

    requests = [GenerationRequest(f"{prompt}{k}", (), 1 + 2 * (k % 3)) for k, prompt in enumerate(prompts())]
    expected = Generator(mistral, tokenizer(), max_length=MAX_LENGTH).generate(requests)
    method, calls, failing = getattr(Slots, name), 0, 0

    def fails_once(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise MemoryError("no room")
        return method(*args, **named)

    monkeypatch.setattr(Slots, name, fails_once)
    Generator(mistral, tokenizer(), max_length=MAX_LENGTH, max_rows=4).generate(requests)
    assert calls > 1
    for turn in range(1, calls + 1):
        failing, calls = turn, 0
        generator = Generator(mistral, tokenizer(), max_length=MAX_LENGTH, max_rows=4)
        given = [(row.indices, text) for row, text in generator.stream(generator.rows(requests))]
        assert sorted(given) == [([k], text) for k, text in enumerate(expected)]


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


@pytest.mark.parametrize("lack", [MemoryError(), RuntimeError("could not create a primitive")])
def test_a_probe_without_memory_says_nothing_of_the_model(lack: Exception, mistral: Any) -> None:
    """Without the slots, a run that goes on would have texts of other products than those it kept."""
    from evalkit.errors import ModelError
    from evalkit.scoring.generate_choice import choose_generator

    def fail(*_: Any) -> None:
        raise lack

    model = copy.deepcopy(mistral)
    model.register_forward_pre_hook(fail)
    with pytest.raises(ModelError, match=r"^out of memory while the model was tried"):
        choose_generator(model, tokenizer(), max_length=MAX_LENGTH)


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


def test_weights_that_change_between_texts_count(mistral: Any) -> None:
    """A model in training is evaluated again and again; ordered weights must not be those of an earlier time."""
    import torch

    from evalkit.scoring.generate import Generator

    model = copy.deepcopy(mistral)
    requests = [GenerationRequest(prompt, (), 12) for prompt in prompts()]
    generator = Generator(model, tokenizer(), max_length=MAX_LENGTH)
    before = generator.generate(requests)
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # which no version counter notices
    after = generator.generate(requests)
    assert after != before
    assert after == Generator(copy.deepcopy(model), tokenizer(), max_length=MAX_LENGTH).generate(requests)


@pytest.mark.parametrize("penalty", [1.4, 0.7])
def test_texts_with_a_penalty_are_those_of_transformers(mistral: Any, penalty: float) -> None:
    import torch

    from evalkit.scoring.generate import Generator
    from evalkit.scoring.generate_choice import choose_generator
    from evalkit.scoring.stopping import Stopping

    generator, stopping = Generator(mistral, tokenizer(), max_length=MAX_LENGTH), Stopping(mistral, tokenizer())
    requests = [GenerationRequest(prompt, (), 20, repetition_penalty=penalty) for prompt in prompts()]
    expected = []
    for row in sorted(generator.rows(requests), key=lambda row: row.indices[0]):
        ids = torch.tensor([row.prompt_ids])
        whole = mistral.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=20,
            do_sample=False,
            repetition_penalty=penalty,
            eos_token_id=sorted(stopping.end_ids),
            pad_token_id=0,
        )
        text = stopping.cut(stopping.decoder.completion(row.prompt_ids, whole[0, ids.shape[1] :].tolist()), ())
        expected += [(index, text) for index in row.indices]
    plain = generator.generate([GenerationRequest(prompt, (), 20) for prompt in prompts()])
    assert generator.generate(requests) == [text for _, text in sorted(expected)] != plain
    batches = Generator(mistral, tokenizer(), max_length=MAX_LENGTH, uses_slots=False, max_rows=3)
    assert batches.generate(requests) == generator.generate(requests)
    drafting, _ = choose_generator(mistral, tokenizer(), max_length=MAX_LENGTH)
    assert drafting is not None
    assert drafting.generate(requests) == generator.generate(requests)
    # A penalty below 1 makes texts repeat themselves, where drafts are right.
    assert penalty > 1 or not drafting.drafts or drafting.guesses.accepted > 0
