"""Batched encoding against lm-eval's own, string by string."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.scoring.encode import encode_pairs, encode_strings
from evalkit.scoring.requests import TokenRequest

pytestmark = pytest.mark.model

CORPUS = [
    "Question: what is the sky?\nAnswer: blue or grey",
    "a b  c\n\nd e",
    "def f(x):\n    return x",
    "Q: A: the the",
]


@functools.cache
def tokenizer_of(kind: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>"]
    if kind in {"metaspace", "words"}:
        # As in Llama and Mistral: the whole string is one word, and a space is put before it.
        backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=[*special, *(f"<0x{k:02X}>" for k in range(256))])
    else:
        backend = Tokenizer(models.BPE(unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
    if kind == "words":
        # Learnt from single words, so that no token reaches over a space.
        backend.normalizer = None
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        backend.train_from_iterator(CORPUS * 3, trainer)
        backend.pre_tokenizer = None
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.train_from_iterator(CORPUS, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )


@functools.cache
def lm_eval_model(kind: str, add_bos: bool | None) -> Any:
    """Return lm-eval's hf model without a language model: only what encodes."""
    from lm_eval.models.huggingface import HFLM

    lm = object.__new__(HFLM)
    lm.tokenizer = tokenizer_of(kind)
    lm.backend = "causal"
    lm.add_bos_token = add_bos
    lm.custom_prefix_token_id = None
    lm.enable_thinking = False
    return lm


def lm_eval_encoding(kind: str, add_bos: bool | None, context: str, continuation: str) -> TokenRequest:
    lm = lm_eval_model(kind, add_bos)
    seen: list[Any] = []
    lm._loglikelihood_tokens = lambda requests, **_: seen.extend(requests)

    class Instance:
        args = (context, continuation)

    lm.loglikelihood([Instance()], disable_tqdm=True)
    ((_, context_ids, continuation_ids),) = seen
    return TokenRequest(tuple(context_ids), tuple(continuation_ids))


texts = st.text(alphabet="ab :\nQ?.é<s>北▁", max_size=12) | st.sampled_from(
    ["<s>", "<s>a", "the sky", " ", "A: ", " the sky", " blue"]
)


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(["metaspace", "words", "bytes"]),
    add_bos=st.sampled_from([False, True, None]),
    pairs=st.lists(st.tuples(texts, texts.filter(bool)), min_size=1, max_size=6),
)
def test_encoding_equals_lm_eval(kind: str, add_bos: bool | None, pairs: list[tuple[str, str]]) -> None:
    expected = []
    kept = []
    for context, continuation in pairs:
        one = lm_eval_encoding(kind, add_bos, context, continuation)
        # lm-eval stops at an assertion for these two; evalkit has answers of its own, tested below.
        if one.context_ids and one.continuation_ids:
            expected.append(one)
            kept.append((context, continuation))
    lm = lm_eval_model(kind, add_bos)
    found = encode_pairs(lm.tokenizer, kept, prefix_token_id=lm.prefix_token_id, add_special_tokens=add_bos)
    for index, (one, theirs) in enumerate(zip(found.requests, expected, strict=True)):
        if index in found.apart:
            # There lm-eval cuts the whole text's tokens where the context has as many, which is not their join.
            assert one.context_ids == theirs.context_ids
            whole = lm.tok_encode("".join(kept[index]), add_special_tokens=bool(add_bos))
            assert tuple(whole[: len(one.context_ids)]) != one.context_ids
        else:
            assert one == theirs


def test_a_token_over_the_join_has_both_encoded_apart() -> None:
    """The tokens are read off the vocabulary: ``: yes`` and ``: no`` are single ones, as in extended vocabularies."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "</s>", "a", ":", " ", "n", "o", "s", "b", " n", " no", ": no"]
    vocabulary = {word: k for k, word in enumerate(words)}
    backend = Tokenizer(models.BPE(vocabulary, [(" ", "n"), (" n", "o"), (":", " no")]))
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    found = encode_pairs(tokenizer, [("a:", " no"), ("a:", "b"), ("a: ", "no")], prefix_token_id=0)
    assert found.apart == {0, 2}
    assert [request.context_ids for request in found.requests] == [(2, 3)] * 3
    assert [request.continuation_ids for request in found.requests] == [(10,), (8,), (10,)]


@pytest.mark.parametrize(("kind", "expected"), [("words", True), ("metaspace", False), ("bytes", False)])
def test_only_tokenizers_without_tokens_across_spaces_save_the_context(kind: str, expected: bool) -> None:
    from evalkit.scoring.encode import splits_before_spaces

    assert splits_before_spaces(tokenizer_of(kind)) is expected
    assert splits_before_spaces(object()) is False


def test_words_are_encoded_right_while_the_tokenizer_truncates() -> None:
    tokenizer = tokenizer_of("words")
    texts = ["Question: what is the sky?", "a b  c"]
    expected = encode_strings(tokenizer, texts, add_special_tokens=False)
    tokenizer.backend_tokenizer.enable_truncation(2)
    try:
        assert encode_strings(tokenizer, texts, add_special_tokens=False) == expected
    finally:
        tokenizer.backend_tokenizer.no_truncation()


def test_a_context_of_white_space_becomes_the_prefix_token() -> None:
    tokenizer = tokenizer_of("bytes")
    (request,) = encode_pairs(tokenizer, [(" \n", "a")], prefix_token_id=1, add_special_tokens=False).requests
    assert request.context_ids == (1,)
    assert tokenizer.decode(list(request.continuation_ids)) == " \na"


def test_a_continuation_without_tokens_is_named() -> None:
    with pytest.raises(DataError, match="request 1: the continuation '' adds no tokens"):
        encode_pairs(tokenizer_of("bytes"), [("a", "b"), ("a", "")], prefix_token_id=1, add_special_tokens=False)


def test_equal_strings_are_encoded_once() -> None:
    calls: list[list[str]] = []

    class Counting:
        def __call__(self, batch: list[str], **_options: Any) -> dict[str, list[list[int]]]:
            calls.append(batch)
            return {"input_ids": [[len(text)] for text in batch]}

    assert encode_strings(Counting(), ["a", "bb", "a"], add_special_tokens=False) == {"a": (1,), "bb": (2,)}
    assert calls == [["a", "bb"]]
