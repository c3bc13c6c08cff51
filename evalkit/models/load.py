"""From a `ModelConfig` to a model that answers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from evalkit.answering import Answerer
from evalkit.answering.asking import description_of, explaining_adapter, work_of
from evalkit.config.run_config import ModelConfig
from evalkit.errors import ModelError
from evalkit.models.adapters import adapter_of
from evalkit.models.openmind import OpenMindLM


def answerer_of(config: ModelConfig, say: Callable[[str], None]) -> Answerer:
    """Return who answers in a model's name: an adapter (`evalkit.models.adapters`), or the model in this process.

    Raises:
        ModelError: in one line, why the model cannot be used here.
    """
    make = adapter_of(config.name)
    if make is None:
        return _load(config, say)
    with explaining_adapter(None, f"{config.name}: its adapter"):
        return make(config, say)


def load(config: ModelConfig, say: Callable[[str], None]) -> OpenMindLM:
    """Load a model into this process, for who looks into it (`infer`).

    Raises:
        ModelError: in one line, why the model cannot be used here; it answers elsewhere.
    """
    if adapter_of(config.name) is not None:
        raise ModelError(f"{config.name}: answers elsewhere, and this needs a model in this process; use evalkit run")
    return _load(config, say)


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
    work = work_of(answerer)
    # The slower one, whose numbers are no worse; who wonders why a run is slow sees it here.
    why = f" ({work.reason})" if work.scorer == "plain" else ""
    say(f"model on {described['device']}, {described['dtype']}; scorer: {work.scorer}{why}")
    return answerer
