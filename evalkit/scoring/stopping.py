"""When a text ends, and where it is cut: stop strings, end tokens, no more room. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalkit.scoring.completion import Detokenizer, Stream, first_stop


class Stopping:
    """The ends of a model's texts.

    Args:
        model: a causal language model, for its generation settings.
        tokenizer: its tokenizer.

    Attributes:
        decoder: of the tokenizer.
        end_ids: the tokens that end a text.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.decoder = Detokenizer(tokenizer)
        self.end_ids = end_ids(model, tokenizer)
        self._end_text = end_text(tokenizer)

    def strings(self, until: Sequence[str]) -> list[str]:
        """Return the strings that end a text: those asked for, and the end token's text, as in lm-eval."""
        end = self._end_text
        return [stop for stop in (*until, *([end] if end is not None and end not in until else [])) if stop]

    def watch(self, prompt_ids: Sequence[int], until: Sequence[str], max_new_tokens: int) -> EndWatch:
        """Return what watches a completion of a prompt."""
        return EndWatch(Stream(self.decoder, prompt_ids), self.strings(until), self.end_ids, max_new_tokens)

    def cut(self, text: str, until: Sequence[str]) -> str:
        """Return what of a text comes before the first string that ends it."""
        return first_stop(text, self.strings(until))


class EndWatch:
    """Watches a completion for its end.

    Attributes:
        count: tokens so far.
    """

    def __init__(self, stream: Stream, stops: list[str], ends: frozenset[int], max_new_tokens: int) -> None:
        self._stream, self._stops, self._ends, self._most = stream, stops, ends, max_new_tokens
        self.count = 0

    def push(self, token: int) -> bool:
        """Take the next token; returns whether it is the last."""
        self.count += 1
        has_stopped = self._stream.push(token, self._stops)
        return has_stopped or token in self._ends or self.count >= self._most


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a text: those of the model's generation settings and the tokenizer's.

    Fine-tuned checkpoints often name their new end token in one of the two only; lm-eval, too, stops at either.
    """
    settings = getattr(model, "generation_config", None)
    ends = getattr(settings, "eos_token_id", None)
    listed = ends if isinstance(ends, list | tuple) else () if ends is None else (ends,)
    own = () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
    return frozenset(int(end) for end in (*listed, *own))


def end_text(tokenizer: Any) -> str | None:
    """Return how the tokenizer writes its end token; a model may write it letter by letter."""
    if tokenizer.eos_token_id is None:
        return None
    return str(tokenizer.decode([tokenizer.eos_token_id], skip_special_tokens=False))
