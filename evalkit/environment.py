"""What a run ran on: versions, machine, code revision, and the environment variables that can change a score."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from evalkit import __version__

PACKAGES = (
    "lm_eval",
    "torch",
    "torch_npu",
    "transformers",
    "tokenizers",
    "accelerate",
    "safetensors",
    "datasets",
    "openmind",
    "openmind_hub",
    "numpy",
    "pandas",
)

# Names only of variables that hold no secret: tokens and proxies (which may contain passwords) are never recorded.
VARIABLES = (
    "ASCEND_RT_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "EVALKIT_DATA",
    "HF_DATASETS_OFFLINE",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_NPU_ALLOC_CONF",
    "TOKENIZERS_PARALLELISM",
)


def package_versions() -> dict[str, str]:
    """Return the installed versions of the packages that matter, without importing them."""
    found = {"evalkit": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).resolve().parent), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def code_revision() -> dict[str, Any]:
    """Return evalkit's git commit and whether the checkout has changes; both None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _without_password(value: str) -> str:
    """Cut user and password out of a mirror's address."""
    return re.sub(r"(?<=://)[^/@]*@", "", value)


def describe_environment() -> dict[str, Any]:
    """Return the record's ``environment`` entry."""
    return {
        "versions": package_versions(),
        "code": code_revision(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "variables": {name: _without_password(os.environ[name]) for name in VARIABLES if name in os.environ},
    }
