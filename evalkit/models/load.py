"""From a `ModelConfig` to a model that answers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from evalkit.config import ModelConfig
from evalkit.models.openmind import OpenMindLM


def load(config: ModelConfig, say: Callable[[str], None]) -> OpenMindLM:
    """Load a model, and say what a user should know about what was loaded.

    Raises:
        ModelError: in one line, why the model cannot be used here.
    """
    model = OpenMindLM(config)
    for line in model.remarks():
        say(line)
    return model


def load_to_score(config: ModelConfig, seed: int, say: Callable[[str], None]) -> OpenMindLM:
    """Load a model as `run` and `gate --run-model` do: seeded, identified, its scorer chosen.

    Args:
        config: which model, and how.
        seed: of torch's generator.
        say: receives one line of progress at a time.

    Raises:
        ModelError, ConfigError: in one line, why the model cannot be used here.
    """
    say(f"loading {config.name}")
    model = load(config, say)
    torch.manual_seed(seed)
    described = model.describe()
    say(f"model on {described['device']}, {described['dtype']}; scorer: {model.scorer_choice.name}")
    return model
