"""What may be set and declared: options, run files, suites and tasks; every YAML file is checked here.

The types of a configuration are found here too, and imported when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.config.run_config import InferConfig, ModelConfig, RunConfig

__all__ = ["InferConfig", "ModelConfig", "RunConfig"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'evalkit.config' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.run_config"), name)
