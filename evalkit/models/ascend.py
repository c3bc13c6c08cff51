"""openmind and torch_npu: found, imported, contained.

This file alone imports them (and `data.openmind_hub` the hub's client); every other module works without them being
there.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
import transformers

from evalkit.data.openmind_hub import snapshot
from evalkit.errors import ModelError, first_line
from evalkit.models import checkpoints
from evalkit.models.checkpoints import Checkpoint
from evalkit.models.containment import Contained, contained_import
from evalkit.models.description import installed_version

HUB_IGNORE = ["*.h5", "*.msgpack", "*.gguf", "*.onnx", "*.pth"]


def choose_loader(loader: str) -> str:
    """Turn ``auto`` into ``openmind`` where openmind is installed, else into ``transformers``.

    Raises:
        ModelError: openmind is asked for and not installed.
    """
    installed = _is_installed("openmind")
    if loader == "openmind" and not installed:
        raise ModelError(
            "loader 'openmind': openmind is not installed; constraints-openmind.txt says with which versions it runs, "
            "or use --loader transformers"
        )
    if loader == "auto":
        return "openmind" if installed else "transformers"
    return loader


def find_checkpoint(name: str, revision: str | None, loader: str) -> Checkpoint:
    """Return a checkpoint's folder: the user's own, or one fetched from the loader's hub.

    Raises:
        ModelError: there is no such folder or repository, or no network.
    """
    local = checkpoints.find_local(name)
    if local is not None:
        return local
    fetch = _fetch_from_openmind if loader == "openmind" else checkpoints.fetch_from_huggingface
    return fetch(name, revision)


@contextmanager
def auto_classes(loader: str) -> Iterator[tuple[Any, Any]]:
    """Yield (AutoModelForCausalLM, AutoTokenizer) of openmind or transformers.

    openmind's patches of transformers (its fused NPU attention, its hub) are in force inside and nowhere else.
    """
    if loader == "transformers":
        yield transformers.AutoModelForCausalLM, transformers.AutoTokenizer
        return
    with import_openmind().in_force() as openmind:
        yield openmind.AutoModelForCausalLM, openmind.AutoTokenizer


@functools.cache
def import_openmind() -> Contained:
    """Import openmind and undo what that does to the rest of the process.

    openmind 1.0 replaces ``from_pretrained`` of every model and tokenizer class by one that downloads from its own hub,
    changes transformers' choice of attention, its logging and its loading of remote code, and sets
    ``sys.tracebacklimit = 0``, which hides every later traceback of the program.

    Raises:
        ModelError: it cannot be imported beside the installed packages.
    """
    import transformers.dynamic_module_utils as dynamic_modules
    import transformers.utils.logging as transformers_logging

    holders = (
        transformers.PreTrainedModel,
        transformers.PreTrainedTokenizerBase,
        dynamic_modules,
        transformers_logging,
    )
    try:
        return contained_import("openmind", ("AutoModelForCausalLM", "AutoTokenizer"), holders)
    except Exception as error:  # openmind reaches into transformers' internals: anything can come out
        raise ModelError(
            f"openmind {installed_version('openmind')} cannot be imported beside transformers "
            f"{transformers.__version__} ({first_line(error)}); install the versions of constraints-openmind.txt, "
            "or use --loader transformers"
        ) from error


def _fetch_from_openmind(name: str, revision: str | None) -> Checkpoint:
    """Download what is missing of a repository of the openMind hub, or find it in its cache."""
    elsewhere = "give a local folder, or use --loader transformers for the Hugging Face hub"
    folder = snapshot(name, revision, "model", ModelError, elsewhere, HUB_IGNORE)
    return Checkpoint(name=name, folder=folder, origin="openmind hub", revision=folder.name)


def activate_npu() -> bool:
    """Make ``torch.npu`` usable. Returns False where no NPU support is installed.

    Raises:
        ModelError: torch_npu is installed and cannot be loaded.
    """
    # One that fails halfway has set torch.npu, and is in no one's modules.
    if "torch_npu" in sys.modules or not _is_installed("torch_npu"):
        return hasattr(torch, "npu") and not _is_hidden("torch_npu")
    try:
        importlib.import_module("torch_npu")
    except Exception as error:  # ImportError for CANN's libraries, RuntimeError and OSError from the driver
        raise ModelError(
            f"torch_npu {installed_version('torch_npu')} is installed but cannot be loaded ({first_line(error)}); "
            "set up CANN in this shell (source /usr/local/Ascend/ascend-toolkit/set_env.sh), or use --device cpu"
        ) from error
    return True


def hide_broken_torch_npu() -> None:
    """Let a run on another device go on where torch_npu is installed but cannot be loaded.

    transformers imports torch_npu on many occasions as soon as it is installed, and would fail on the first of them. An
    empty module in its place makes it find no NPU.
    """
    try:
        activate_npu()
    except ModelError:
        stand_in = ModuleType("torch_npu")
        stand_in.__spec__ = importlib.machinery.ModuleSpec("torch_npu", None)
        sys.modules["torch_npu"] = stand_in


def _is_installed(package: str) -> bool:
    if package in sys.modules:
        return not _is_hidden(package)
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None  # a folder of that name is no package


def _is_hidden(package: str) -> bool:
    return package in sys.modules and getattr(sys.modules[package], "__file__", None) is None
