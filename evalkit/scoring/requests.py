"""What is asked of a model: the log-probability of a continuation, or a text."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.config.generation_settings import settings_fault
from evalkit.errors import ConfigError

Score = tuple[float, bool]
"""Summed log-probability of the continuation in nats; whether greedy decoding would have produced it."""


@dataclass(frozen=True)
class TokenRequest:
    """One continuation to be scored, as token ids.

    Attributes:
        context_ids: what precedes; never empty (an empty text gives the model's prefix token).
        continuation_ids: the tokens whose log-probabilities are summed; never empty.
    """

    context_ids: tuple[int, ...]
    continuation_ids: tuple[int, ...]


@dataclass(frozen=True)
class GenerationRequest:
    """One completion that is wanted.

    Attributes:
        prompt: text.
        until: stop strings, in the order in which they are applied; the text ends before them.
        max_new_tokens: greatest number of tokens generated.
        temperature: 0 for greedy decoding.
        top_p: with a temperature: sample from the most probable tokens that hold this share.
        top_k: with a temperature: sample from so many of the most probable tokens, and those as probable as the last of
            them; 0: from all. Before ``top_p``, as in transformers.
        repetition_penalty: logits of tokens that the prompt or the text has are divided by it where they are positive,
            multiplied where they are negative, before anything else (Keskar et al., 2019); 1: none.
        seed: with a temperature: this and ``sample`` determine the draws, whatever else is in the batch.
        sample: number of this completion among those of one prompt.

    Raises:
        ConfigError: a setting by which no probabilities can be had.
    """

    prompt: str
    until: tuple[str, ...] = ()
    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int = 0
    sample: int = 0

    def __post_init__(self) -> None:
        # Whatever asks (options, task files, notebooks) comes through here.
        names = ("max_new_tokens", "temperature", "top_p", "top_k", "repetition_penalty")
        found = settings_fault({name: getattr(self, name) for name in names})
        if found is not None:
            raise ConfigError(found)
