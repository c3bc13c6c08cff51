"""evalkit: the five suites of the Hermes model cards, faithfully, fast, and with error bars.

The functions below are those that the command line calls; docs/python.md shows them in a notebook. Importing evalkit
imports nothing else: a name brings its module when it is first used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.api.functions import audit, compare, gate, leaderboard, read_run, run
    from evalkit.api.run_results import Plan, Run
    from evalkit.baselines.audit.findings import Audit
    from evalkit.comparison.compare import Comparison
    from evalkit.comparison.gate import Gate
    from evalkit.comparison.leaderboard import Leaderboard
    from evalkit.errors import ConfigError, DataError, EvalkitError, ModelError, SandboxError, StoreError

# torch imports every installed device plug-in by itself, and `import torch` fails where torch_npu is installed without
# CANN, even for somebody who asked for the CPU. The adapter imports torch_npu where it is wanted, and can then explain.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

__version__ = "0.1.0"

__all__ = [
    "Audit",
    "Comparison",
    "ConfigError",
    "DataError",
    "EvalkitError",
    "Gate",
    "Leaderboard",
    "ModelError",
    "Plan",
    "Run",
    "SandboxError",
    "StoreError",
    "__version__",
    "audit",
    "compare",
    "gate",
    "leaderboard",
    "read_run",
    "run",
]

_ELSEWHERE = {
    "Audit": "evalkit.baselines.audit.findings",
    "Comparison": "evalkit.comparison.compare",
    "Gate": "evalkit.comparison.gate",
    "Leaderboard": "evalkit.comparison.leaderboard",
    **dict.fromkeys(("audit", "compare", "gate", "leaderboard", "read_run", "run"), "evalkit.api.functions"),
    **dict.fromkeys(("Plan", "Run"), "evalkit.api.run_results"),
    **dict.fromkeys(
        ("ConfigError", "DataError", "EvalkitError", "ModelError", "SandboxError", "StoreError"), "evalkit.errors"
    ),
}


def __getattr__(name: str) -> object:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module 'evalkit' has no attribute '{name}'")
    from importlib import import_module

    globals()[name] = found = getattr(import_module(_ELSEWHERE[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({name for name in globals() if name.startswith("__")} | {*__all__})
