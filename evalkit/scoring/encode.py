"""Strings to token requests, by lm-eval's rules but each string once and in batches.

The rules are those of ``lm_eval.api.model.TemplateLM.loglikelihood`` and ``_encode_pair``: white space at the end of
the context moves to the front of the continuation; context and continuation are encoded as one string, and the
continuation's tokens are those after the first len(encode(context)). An empty context is replaced by the prefix token.
Fast tokenizers encode a batch on all cores.

One rule more: where the whole does not begin with the context's tokens, a token spans the join (``: yes`` as one token,
say), and what follows by count would be another text than the continuation, or none. lm-eval scores that all the same;
here context and continuation are then encoded apart, so that both texts are what the task says, and such requests are
counted and marked.

Where the tokenizer provably treats the words of a text apart (``splits_before_spaces``), as those of Llama 2 and
Mistral do, each distinct word is encoded once, and a context is not encoded again within each of its continuations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from evalkit.errors import DataError
from evalkit.scoring.completion import Detokenizer
from evalkit.scoring.requests import TokenRequest

_BATCH = 4096
"""Strings a call: enough for all cores, few enough that their encodings do not fill the memory."""


def encode_strings(
    tokenizer: Any, strings: Iterable[str], *, add_special_tokens: bool | None, prefix_text: str | None = None
) -> dict[str, tuple[int, ...]]:
    """Return the token ids of each distinct string.

    Args:
        tokenizer: a transformers tokenizer.
        strings: texts, with repetitions.
        add_special_tokens: None: as the tokenizer is set up.
        prefix_text: text of the prefix token; strings that begin with it get no special tokens (as in lm-eval).
    """
    distinct = list(dict.fromkeys(strings))
    if prefix_text and add_special_tokens is not False:
        begun = [text for text in distinct if text.startswith(prefix_text)]
        rest = [text for text in distinct if not text.startswith(prefix_text)]
        return _encode(tokenizer, begun, False) | _encode(tokenizer, rest, add_special_tokens)
    if add_special_tokens is False and splits_before_spaces(tokenizer):
        return _encode_words(tokenizer, distinct)
    return _encode(tokenizer, distinct, add_special_tokens)


def _encode_words(tokenizer: Any, strings: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Encode texts word by word, for tokenizers that split before spaces; without special tokens."""
    added = tuple(tokenizer.get_added_vocab())
    # A mark in the text would count as a space, an added token begins the text anew, and of a single space at the end
    # nothing would be left to encode.
    whole = [text for text in strings if text.endswith(" ") or _MARK in text or any(token in text for token in added)]
    encoded = _encode(tokenizer, whole, False)
    words = {text: _WORDS.findall(text) for text in strings if text not in encoded}
    for found in words.values():
        # The tokenizer puts a space before every text, which is the one that the first word lacks.
        found[1:] = [word[1:] for word in found[1:]]
    distinct = list(dict.fromkeys(chain.from_iterable(words.values())))
    backend = tokenizer.backend_tokenizer
    if backend.truncation is None and backend.padding is None:
        # Directly, since for texts this short transformers' own dictionaries would take longer than the encoding.
        encode_batch = getattr(backend, "encode_batch_fast", backend.encode_batch)
        found_ids = [encoding.ids for encoding in encode_batch(distinct, add_special_tokens=False)]
        ids: dict[str, Sequence[int]] = dict(zip(distinct, found_ids, strict=True))
    else:
        ids = dict(_encode(tokenizer, distinct, False))
    for text, found in words.items():
        encoded[text] = tuple(chain.from_iterable([ids[word] for word in found]))
    return encoded


_WORDS = re.compile(" *[^ ]+")


def _encode(tokenizer: Any, strings: Sequence[str], add_special_tokens: bool | None) -> dict[str, tuple[int, ...]]:
    options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
    encoded: dict[str, tuple[int, ...]] = {}
    for start in range(0, len(strings), _BATCH):
        batch = list(strings[start : start + _BATCH])
        # verbose: a text beyond the model's length is cut later, by tokens, and deserves no warning here.
        ids = tokenizer(batch, return_attention_mask=False, return_token_type_ids=False, verbose=False, **options)[
            "input_ids"
        ]
        encoded.update(zip(batch, map(tuple, ids), strict=True))
    return encoded


@dataclass(frozen=True)
class Encoded:
    """What became of (context, continuation) pairs.

    Attributes:
        requests: in the order of the pairs.
        apart: positions of those whose context and continuation were encoded apart, since a token spans the join.
    """

    requests: list[TokenRequest]
    apart: frozenset[int]


def encode_pairs(
    tokenizer: Any,
    pairs: Sequence[tuple[str, str]],
    *,
    prefix_token_id: int | None,
    add_special_tokens: bool | None = False,
) -> Encoded:
    """Encode (context, continuation) pairs, in their order.

    Args:
        tokenizer: a transformers tokenizer.
        pairs: texts as the tasks rendered them.
        prefix_token_id: stands for an empty context; the model's BOS or EOS token. None where it has neither, which
            only an empty context needs.
        add_special_tokens: False for protocol nous-2023; True adds BOS; None: as the tokenizer is set up.

    Raises:
        DataError: a continuation without tokens; an empty context and no prefix token.
    """
    split = [_move_spaces(context, continuation) for context, continuation in pairs]
    prefix_text = None if prefix_token_id is None else tokenizer.decode(prefix_token_id)
    is_apart = add_special_tokens is False and splits_before_spaces(tokenizer)
    added = tuple(tokenizer.get_added_vocab()) if is_apart else ()
    apart = [is_apart and _is_boundary(context, continuation, added) for context, continuation in split]
    texts: list[str] = []
    alone_texts: list[str] = []
    for (context, continuation), is_own in zip(split, apart, strict=True):
        texts += [context] if is_own else [context, context + continuation] if context else []
        alone_texts += [continuation[1:]] if is_own else [] if context else [continuation]
    encoded = encode_strings(tokenizer, texts, add_special_tokens=add_special_tokens, prefix_text=prefix_text)
    alone = encode_strings(tokenizer, alone_texts, add_special_tokens=False)
    requests: list[TokenRequest] = []
    spanned: list[int] = []
    for index, ((context, continuation), is_own) in enumerate(zip(split, apart, strict=True)):
        if is_own:
            # Without its space: the tokenizer puts one before every text.
            context_ids, continuation_ids = encoded[context], alone[continuation[1:]]
        elif context:
            context_ids = encoded[context]
            whole = encoded[context + continuation]
            continuation_ids = whole[len(context_ids) :]
            if not continuation_ids or whole[: len(context_ids)] != context_ids:
                spanned.append(index)
        else:
            context_ids, continuation_ids = (), alone[continuation]
            if prefix_token_id is not None:
                context_ids = (prefix_token_id,)
            if context_ids and continuation_ids[:1] == context_ids:
                continuation_ids = continuation_ids[1:]
        if not context_ids and prefix_token_id is None:
            raise DataError(
                f"request {index}: its context is empty, and the tokenizer has neither BOS nor EOS to stand for it; "
                "name one in tokenizer_config.json (bos_token, eos_token)"
            )
        requests.append(TokenRequest(context_ids or (int(prefix_token_id or 0),), continuation_ids))
    for index, ids in zip(spanned, _encode_behind(tokenizer, [split[index][1] for index in spanned]), strict=True):
        requests[index] = TokenRequest(requests[index].context_ids, ids)
    for index, request in enumerate(requests):
        if not request.continuation_ids:
            raise DataError(
                f"request {index}: the continuation {split[index][1]!r} adds no tokens to its context; "
                "check the task's choices"
            )
    return Encoded(requests, frozenset(spanned))


# Texts that a continuation is encoded behind, and taken from again. The tokenizer must keep the two apart.
_ANCHORS = ("\n", ".", "a", "1", ")", "=")


def _encode_behind(tokenizer: Any, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Encode texts as the rest of a longer one: without the space that some tokenizers put before every text."""
    distinct = list(dict.fromkeys(texts))
    found: dict[str, tuple[int, ...]] = {}
    decoder = Detokenizer(tokenizer)
    for anchor in _ANCHORS:
        missing = [text for text in distinct if text not in found]
        if not missing:
            break
        encoded = _encode(tokenizer, [anchor, *(anchor + text for text in missing)], False)
        head = encoded[anchor]
        for text in missing:
            ids = encoded[anchor + text][len(head) :]
            if head and encoded[anchor + text][: len(head)] == head and decoder.added(head, ids) == text:
                found[text] = ids
    # A tokenizer that changes texts, or joins this one to whatever stands before: as it is encoded alone.
    rest = [text for text in distinct if text not in found]
    found |= _encode(tokenizer, rest, False)
    return [found[text] for text in texts]


def splits_before_spaces(tokenizer: Any) -> bool:
    """Return whether no token can reach from a word into the space after it.

    True for byte-pair tokenizers that replace spaces by a mark, put the mark before the text, and have no token with
    the mark behind another character. Every merge makes a token of the vocabulary, so none crosses such a place, and
    the text on either side is encoded as if it stood alone.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    model = backend.model
    if type(model).__name__ != "BPE" or model.dropout or getattr(model, "ignore_merges", False):
        return False
    if backend.pre_tokenizer is not None or backend.normalizer is None:
        return False
    if json.loads(backend.normalizer.__getstate__()) != _MARKS_SPACES:
        return False
    return not any(_MARK in token.lstrip(_MARK) for token in tokenizer.get_vocab())


_MARK = "▁"
_MARKS_SPACES = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": _MARK},
        {"type": "Replace", "pattern": {"String": " "}, "content": _MARK},
    ],
}


def _is_boundary(context: str, continuation: str, added: Sequence[str]) -> bool:
    """Return whether a word ends the context and a single space begins the continuation, with no added token near.

    Args:
        context: stripped.
        continuation: what follows.
        added: tokens that are cut out of the text before anything else; the text after one starts anew.
    """
    if not context or context[-1] == _MARK or continuation[:1] != " " or continuation[1:2] in ("", " ", _MARK):
        return False
    near = context[-max(map(len, added), default=1) :] + continuation
    return not any(token in near for token in added)


def _move_spaces(context: str, continuation: str) -> tuple[str, str]:
    """Move white space from the end of the context to the front of the continuation."""
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation
