"""The packages that models need, looked for before anything is loaded."""

from __future__ import annotations

import importlib.util

from evalkit.errors import ModelError

# What `pip install -e .` alone does not bring; lm-eval's adapter imports the middle two.
PACKAGES = ("torch", "transformers", "accelerate", "peft", "safetensors")


def check_packages() -> None:
    """Raise ModelError, in one line, where a package that runs models is not installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"running a model needs {', '.join(missing)}, not installed here; pip install -e '.[model]' in evalkit's "
            "folder brings what is missing and keeps the torch that is there (which torch: README, 'Install')"
        )
