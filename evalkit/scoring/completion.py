"""The text of a completion: what the new tokens add to the text of the prompt.

``decode(end of the prompt + new tokens)`` without ``decode(end of the prompt)``. Decoding the new tokens alone is not
the same: decoders of SentencePiece tokenizers (Llama 2, Mistral) take the first space of whatever they are given for
one that the tokenizer itself put there, and with it goes the indentation of a program's first line. lm-eval's ``hf``
model decodes the new tokens alone; the protocol (configs/protocols, docs/tasks.md) does not.

Everything that turns generated tokens into text comes here: the generator and its search for stop strings, the loop of
transformers, ``evalkit infer``. No torch in this module.

What is decoded and what is not: special tokens are left out; the tokenizer's "clean-up" of spaces (``a , b`` to ``a,
b``) is off, since the tokens do not say it. The ids of special tokens are dropped before anything is decoded, since
``skip_special_tokens`` compares texts: tokenizers 0.23 keeps a special token whose ``normalized`` is true where the
normalizer changes its text (Llama 2's puts a mark before it).

Stop strings are looked for in what the model wrote, special tokens included, as lm-eval's ``hf`` looks for them: a
task may stop at ``<|im_end|>``, which is no text and need not be the tokenizer's end token.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Any

CONTEXT_TOKENS = 12
"""So many tokens before the new ones are decoded with them, more where these have no text."""

_REPLACEMENT = "\ufffd"
"""What decoders write for bytes that are no character (yet)."""

_LONGEST_WAIT = 64
"""Tokens that may wait for a character to become complete; beyond, they are no text at all but a model's noise."""


class Detokenizer:
    """A tokenizer's decoder, and its rule for completions.

    Args:
        tokenizer: a transformers tokenizer.

    Attributes:
        special: ids of its special tokens, which are no text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.special = special_ids(tokenizer)
        self._written: dict[int, str] = {}
        self._options: dict[str, Any] = {"skip_special_tokens": True}
        self._backend = backend_of(tokenizer)
        try:
            known = inspect.signature(tokenizer.decode).parameters
        except (TypeError, ValueError):
            known = {}  # type: ignore[assignment]
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
        if takes_any or "clean_up_tokenization_spaces" in known:
            self._options["clean_up_tokenization_spaces"] = False
        # Tokenizers in Python put spaces around added tokens, which the tokens do not say either.
        if getattr(tokenizer, "is_fast", True) is False and takes_any:
            self._options["spaces_between_special_tokens"] = False

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens that begin a text, without those that are special."""
        text = [token for token in ids if token not in self.special]
        return self._decoded(text) if self._backend is None else str(self._backend.decode(text))

    def written(self, token: int) -> str:
        """Return how the tokenizer writes a special token."""
        if token not in self._written:
            self._written[token] = self._decoded([token], skip_special_tokens=False)
        return self._written[token]

    def _decoded(self, ids: Sequence[int], **options: Any) -> str:
        try:
            return str(self._tokenizer.decode(ids, **self._options | options))
        except (TypeError, ValueError):
            if len(self._options) == 1:
                raise
            # Tokenizers of a model's own code may take fewer arguments than they say.
            self._options = {"skip_special_tokens": True}
            return str(self._tokenizer.decode(ids, **self._options | options))

    def end_of(self, prompt_ids: Sequence[int]) -> list[int]:
        """Return the last tokens of a prompt, as many as new tokens must be decoded with.

        They begin at a token that is text by itself, so neither within a character nor with a special token, and have
        text. A prompt that was cut on the left may begin within a character; such a rest is left out too.
        """
        ids = list(prompt_ids)
        start = len(ids)
        while start > 0:
            start -= 1
            if len(ids) - start >= CONTEXT_TOKENS:
                alone = self.decode(ids[start : start + 1])
                if alone.strip() and _REPLACEMENT not in alone:
                    return ids[start:]
        # A short prompt, or one without such a token. A character has four bytes at most.
        starts = range(min(4, len(ids)))
        best = min(starts, key=lambda k: self.decode(ids[k:]).count(_REPLACEMENT), default=0)
        return ids[best:]

    def added(self, before: Sequence[int], new_ids: Sequence[int]) -> str:
        """Return the text that ``new_ids`` add to the text of ``before``.

        Args:
            before: what comes right before; at least ``end_of`` the prompt.
            new_ids: the generated tokens.
        """
        if not new_ids:
            return ""
        head, whole = self.decode(before), self.decode([*before, *new_ids])
        if whole.startswith(head):
            return whole[len(head) :]
        # The new tokens changed what the ones before them stand for: bytes that are no character make all bytes before
        # them none, in tokenizers with byte tokens. Behind an earlier token they stand for themselves.
        for stop in range(len(before) - 1, 0, -1):
            head, whole = self.decode(before[:stop]), self.decode([*before[:stop], *new_ids])
            if head and whole.startswith(head):
                return whole[len(head) :]
        return self.decode(new_ids)

    def completion(self, prompt_ids: Sequence[int], new_ids: Sequence[int]) -> str:
        """Return the text of a completion: what ``new_ids`` add to the prompt's text."""
        return self.added(self.end_of(prompt_ids), new_ids)


def backend_of(tokenizer: Any) -> Any | None:
    """Return the ``tokenizers.Tokenizer`` that does what ``tokenizer.decode`` does for ids; None where more is done.

    transformers' ``decode`` spends most of its time on looking at the type of each id.
    """
    if "transformers" not in sys.modules:  # then it is none of transformers' tokenizers
        return None
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

    names = {"decode": PreTrainedTokenizerBase, "_decode": PreTrainedTokenizerFast}
    is_plain = isinstance(tokenizer, PreTrainedTokenizerFast) and all(
        getattr(type(tokenizer), name) is getattr(of, name) and name not in vars(tokenizer)
        for name, of in names.items()
    )
    return tokenizer.backend_tokenizer if is_plain else None


class Stream:
    """A completion in the making: its text so far, at a cost that does not grow with its length.

    Args:
        decoder: of the tokenizer.
        prompt_ids: the prompt's tokens, as the model was given them.
    """

    def __init__(self, decoder: Detokenizer, prompt_ids: Sequence[int]) -> None:
        self._decoder = decoder
        self._ids = decoder.end_of(prompt_ids)
        # Positions in `_ids` at which a window may begin: the text on either side is complete there.
        self._borders = [0, len(self._ids)]
        # Where the window begins that is decoded, and its text up to the last border; None: to be decoded.
        self._begin = 0
        self._head: str | None = None
        # The text up to the last border, in pieces, and what may still change.
        self._settled: list[str] = []
        self._piece = ""
        # What stop strings are looked for in, settled likewise: special tokens as they are written, too. Tokens behind
        # a special one complete no character that was begun before it there, though they do so in the text.
        self._searched: list[str] = []
        self._unsettled = ""
        self._behind = 0

    @property
    def text(self) -> str:
        """The text of all tokens so far; a character that is not complete yet shows as U+FFFD."""
        return "".join(self._settled) + self._piece

    def push(self, token: int, stops: Sequence[str] = ()) -> bool:
        """Add a token; returns whether one of the stop strings now is in what was written that was not before.

        Special tokens count there, and are left out of `text`.
        """
        near = self._end(max(map(len, stops), default=1) - 1)
        if token in self._decoder.special:
            self._searched += [self._unsettled, self._decoder.written(token)]
            near += self._unsettled + self._searched[-1]
            self._unsettled, self._behind = "", len(self._ids)
            return any(stop in near for stop in stops)
        self._ids.append(token)
        border = self._borders[-1]
        if border - self._begin >= 2 * CONTEXT_TOKENS:
            self._begin = next(b for b in reversed(self._borders) if border - b >= CONTEXT_TOKENS)
            self._head = None
        before, new = self._ids[self._begin : border], self._ids[border:]
        head = self._decoder.decode(before) if self._head is None else self._head
        whole = self._decoder.decode([*before, *new])
        self._piece = whole[len(head) :] if whole.startswith(head) else self._decoder.added(before, new)
        self._unsettled, self._head = self._piece, head
        if self._behind > border:
            self._unsettled = self._decoder.added(before, self._ids[self._behind :])
        # What came before may hold all but the last character of a stop string.
        near += self._unsettled
        is_waiting = (not self._piece or self._piece.endswith(_REPLACEMENT)) and len(new) < _LONGEST_WAIT
        if not is_waiting:
            self._settled.append(self._piece)
            self._searched.append(self._unsettled)
            self._piece = self._unsettled = ""
            self._borders.append(len(self._ids))
            self._head = whole
        return any(stop in near for stop in stops)

    def _end(self, length: int) -> str:
        """Return the last characters that are searched and settled; looks at no more pieces than they lie in."""
        pieces: list[str] = []
        for piece in reversed(self._searched):
            if length <= 0:
                break
            pieces.append(piece[-length:])
            length -= len(piece)
        return "".join(reversed(pieces))


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Return the ids of a tokenizer's special tokens: those with a role (BOS, EOS ...), and those added as special."""
    added = getattr(tokenizer, "added_tokens_decoder", None)
    declared = added.items() if isinstance(added, dict) else ()
    listed = getattr(tokenizer, "all_special_ids", None) or ()
    return frozenset(
        {int(token) for token in listed if token is not None}
        | {int(index) for index, token in declared if getattr(token, "special", False)}
    )


def first_stop(text: str, stops: Sequence[str]) -> str:
    """Return the text before the stop strings, which are applied in their order, as lm-eval applies them."""
    for stop in stops:
        if stop:
            text = text.split(stop)[0]
    return text
