"""Models: what answers the requests.

Importing this package makes the adapter known to lm-eval as ``openmind``, without loading torch:
``lm_eval.api.registry.get_model("openmind")`` then imports `evalkit.models.openmind`. Releases of lm-eval up to 0.4.13
have no entry points for models, so this import (or ``python -m evalkit.lm_eval``) is what does it.
"""

from __future__ import annotations

# First lm-eval's own models: registering one before them would leave the registry without "hf".
import lm_eval.models  # noqa: F401
from lm_eval.api import registry

ADAPTER = "openmind"

if ADAPTER not in registry.model_registry:
    registry.model_registry.register(ADAPTER, target="evalkit.models.openmind:OpenMindLM")
