"""Who answers in a model's name: the one place that says it, asked before anything is looked for on the disk.

`run`, `run --dry-run`, `gate --run-model` and `infer` ask here; what no adapter claims is a model for this process, a
folder or a hub's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from evalkit.answering import Answerer
from evalkit.answering.asking import explaining_adapter
from evalkit.config.run_config import ModelConfig

Make: TypeAlias = Callable[[ModelConfig, Callable[[str], None]], Answerer]


def adapter_of(name: str) -> Make | None:
    """Return what makes the adapter that answers in a model's name; None: the model is loaded into this process.

    It looks at the name alone (``name.startswith("http://")``), and is asked more than once: connecting, reading and
    loading are for what it returns, which is given the `ModelConfig` and a function that takes lines for the user. An
    adapter is imported by the branch that wants it, so that nobody else needs its library::

        if name == "bigrams":
            from evalkit.models.bigrams import bigrams

            return lambda config, say: bigrams()

    Raises:
        ModelError: in one line, why an adapter cannot be imported here.
    """
    with explaining_adapter(None, f"{name}: its adapter"):
        return None
