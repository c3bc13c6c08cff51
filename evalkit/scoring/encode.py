"""Strings to token requests, by lm-eval's rules but each string once and in batches.

The rules are those of ``lm_eval.api.model.TemplateLM.loglikelihood`` and ``_encode_pair``: white space at the end of
the context moves to the front of the continuation; context and continuation are encoded as one string, and the
continuation's tokens are those after the first len(encode(context)). An empty context is replaced by the prefix token.
Fast tokenizers encode a batch on all cores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from evalkit.errors import DataError
from evalkit.scoring import TokenRequest

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
    return _encode(tokenizer, distinct, add_special_tokens)


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


def encode_requests(
    tokenizer: Any,
    pairs: Sequence[tuple[str, str]],
    *,
    prefix_token_id: int,
    add_special_tokens: bool | None = False,
) -> list[TokenRequest]:
    """Encode (context, continuation) pairs, in their order.

    Args:
        tokenizer: a transformers tokenizer.
        pairs: texts as the tasks rendered them.
        prefix_token_id: stands for an empty context; the model's BOS or EOS token.
        add_special_tokens: False for protocol nous-2023; True adds BOS; None: as the tokenizer is set up.

    Raises:
        DataError: a continuation without tokens.
    """
    split = [_move_spaces(context, continuation) for context, continuation in pairs]
    prefix_text = tokenizer.decode(prefix_token_id)
    texts = [text for context, continuation in split if context for text in (context, context + continuation)]
    encoded = encode_strings(tokenizer, texts, add_special_tokens=add_special_tokens, prefix_text=prefix_text)
    alone = encode_strings(
        tokenizer, (continuation for context, continuation in split if not context), add_special_tokens=False
    )
    requests = []
    for index, (context, continuation) in enumerate(split):
        if context:
            context_ids = encoded[context]
            continuation_ids = encoded[context + continuation][len(context_ids) :]
        else:
            context_ids, continuation_ids = (prefix_token_id,), alone[continuation]
            if continuation_ids[:1] == context_ids:
                continuation_ids = continuation_ids[1:]
        if not continuation_ids:
            raise DataError(
                f"request {index}: the continuation {continuation!r} adds no tokens to its context; "
                "check the task's choices"
            )
        requests.append(TokenRequest(context_ids or (prefix_token_id,), continuation_ids))
    return requests


def _move_spaces(context: str, continuation: str) -> tuple[str, str]:
    """Move white space from the end of the context to the front of the continuation."""
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation
