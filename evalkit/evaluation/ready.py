"""What can be known to be wrong before a document is read: packages, the model's path, the device, the hubs."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from evalkit.config.run_config import TINY, RunConfig
from evalkit.config.suites import find_task, with_chat
from evalkit.data import DataSource
from evalkit.data.manifest import find_dataset
from evalkit.data.offline import go_offline
from evalkit.errors import ConfigError, DataError
from evalkit.evaluation.environment import public_address
from evalkit.evaluation.requirements import check_packages

HUB = "https://huggingface.co"
_SECONDS = 3.0


def check_ready(
    config: RunConfig,
    names: Iterable[str],
    sources: Mapping[str, DataSource],
    say: Callable[[str], None],
    *,
    is_made: bool = False,
) -> None:
    """Check what a run needs before any data is loaded.

    Args:
        config: the run.
        names: its tasks.
        sources: of their documents, by suite.
        say: receives one line of progress at a time.
        is_made: the caller makes who answers, whatever the model is called.

    Raises:
        ConfigError: a system prompt that no template would take; a temperature that the engine does not.
        ModelError: packages are missing, no such model folder, no such device, no such engine here.
        DataError: a source does not have one of the tasks.
    """
    chat = with_chat(names)
    if config.system and not config.apply_chat_template and chat:
        raise ConfigError(f"--system with the suite {chat[0]} needs --apply-chat-template: it is the template's")
    check_packages()
    check_sources(names, sources)
    from evalkit.models.adapters import adapter_of

    is_elsewhere = is_made or adapter_of(config.model.name) is not None
    if (not is_elsewhere and _needs_hub(config)) or any(source.kind == "hub" for source in sources.values()):
        go_offline_without_hub(say)


def _needs_hub(config: RunConfig) -> bool:
    """Check device and name of a model for this process; return whether the Hugging Face hub is to be asked for it."""
    from evalkit.models import devices
    from evalkit.models.ascend import activate_npu, choose_loader
    from evalkit.models.checkpoints import find_local
    from evalkit.models.openmind import check_engine

    device = devices.choose_device(config.model.device, activate_npu)
    if config.model.engine == "vllm":
        check_engine(config.model, device.type, config.temperature)
    names_of_model = (config.model.name, config.model.tokenizer)
    remote = [name for name in names_of_model if name and name != TINY and find_local(name) is None]
    return bool(remote) and choose_loader(config.model.loader) == "transformers"


def check_sources(names: Iterable[str], sources: Mapping[str, DataSource]) -> None:
    """Raise DataError where a source is known not to have a task: one line for all of a suite."""
    lacking: dict[str, list[str]] = {}
    for name in names:
        source, dataset = sources[find_task(name).suite], find_dataset(name)
        location = {"hub": dataset.hub, "openmind": dataset.openmind}.get(source.kind, True)
        if location is None:
            lacking.setdefault(dataset.suite, []).append(name)
        elif source.folder is not None and not (source.folder / dataset.file).exists():
            raise DataError(
                f"{source.folder / dataset.file}: no such file; the folder given by --data must hold '{dataset.file}' "
                f"(layout: docs/data.md){'. ' + dataset.remedy if dataset.remedy else ''}"
            )
    for suite, tasks in lacking.items():
        kind, dataset = sources[suite].kind, find_dataset(tasks[0])
        elsewhere = f"{suite}=hub, or --data {suite}=FOLDER" if dataset.hub else f"{suite}=FOLDER"
        remedy = dataset.remedy or f"Add --data {elsewhere} (layout: docs/data.md)."
        are = "task of {} is" if len(tasks) == 1 else "tasks of {} are"
        raise DataError(
            f"--data {kind}: {len(tasks)} {are.format(suite)} not there in the protocol's form "
            f"(first {tasks[0]}). {remedy}"
        )


def go_offline_without_hub(say: Callable[[str], None]) -> None:
    """Where the Hugging Face hub cannot be reached, let its clients use what is cached, without minutes of retries."""
    if os.environ.get("HF_HUB_OFFLINE") or any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy")):
        return
    endpoint = urlsplit(os.environ.get("HF_ENDPOINT") or HUB)
    port = endpoint.port or (80 if endpoint.scheme == "http" else 443)
    try:
        socket.create_connection((endpoint.hostname or "", port), timeout=_SECONDS).close()
    except OSError as error:
        say(
            f"{public_address(endpoint.geturl())} cannot be reached ({error.strerror or error}); only what is cached "
            "is used (HF_ENDPOINT names a mirror)"
        )
        go_offline()
