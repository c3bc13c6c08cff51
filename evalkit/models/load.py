"""From a `ModelConfig` to a model that answers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from evalkit.answering import Answerer
from evalkit.answering.asking import description_of, work_of
from evalkit.config import ModelConfig
from evalkit.errors import ModelError
from evalkit.models.openmind import OpenMindLM


def answerer_of(config: ModelConfig, say: Callable[[str], None]) -> Answerer:
    """Return who answers in a model's name: the one place where other adapters than the model here are hooked in.

    An adapter is imported by the branch that wants it, so that nobody else needs its library::

        if config.name == "bigrams":
            from evalkit.models.bigrams import bigrams

            return bigrams()

    Raises:
        ModelError: in one line, why the model cannot be used here.
    """
    return _load(config, say)


def load(config: ModelConfig, say: Callable[[str], None]) -> OpenMindLM:
    """Load a model into this process, for who looks into it (`infer`).

    Raises:
        ModelError: in one line, why the model cannot be used here; it answers elsewhere.
    """
    answerer = answerer_of(config, say)
    if not isinstance(answerer, OpenMindLM):
        raise ModelError(f"{config.name}: answers elsewhere, and this needs a model in this process; use evalkit run")
    return answerer


def _load(config: ModelConfig, say: Callable[[str], None]) -> OpenMindLM:
    """Load a model, and say what a user should know about what was loaded."""
    model = OpenMindLM(config)
    for line in model.remarks():
        say(line)
    return model


def load_to_score(config: ModelConfig, seed: int, say: Callable[[str], None]) -> Answerer:
    """Return who answers `run` and `gate --run-model`: seeded, identified, its scorer chosen.

    Args:
        config: which model, and how.
        seed: of torch's generator.
        say: receives one line of progress at a time.

    Raises:
        ModelError, ConfigError: in one line, why the model cannot be used here.
    """
    say(f"loading {config.name}")
    answerer = answerer_of(config, say)
    torch.manual_seed(seed)
    described = description_of(answerer)
    say(f"model on {described['device']}, {described['dtype']}; scorer: {work_of(answerer).scorer}")
    return answerer
