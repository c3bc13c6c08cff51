"""The main job: five suites on a model, a record and its report out."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from evalkit.config import RunConfig, model_folder_name, suites_of
from evalkit.data import DataSource, LoadedData, resolve_sources
from evalkit.data.layouts import cluster_key
from evalkit.environment import describe_environment
from evalkit.errors import StoreError
from evalkit.report.run_report import run_report
from evalkit.results import (
    REPORT_FILE,
    RunRecord,
    Sample,
    finite,
    write_atomically,
    write_run,
)
from evalkit.suites import find_task, load_suites


@dataclass(frozen=True)
class Finished:
    """What ``run`` returns.

    Attributes:
        record: the finished run.
        report: its report, Markdown.
    """

    record: RunRecord
    report: str


def run(config: RunConfig, command: Sequence[str], say: Callable[[str], None] = lambda _: None) -> Finished:
    """Run a configuration.

    Args:
        config: what to run.
        command: the command line, for the record.
        say: receives one line of progress at a time.

    Raises:
        ConfigError, DataError, ModelError, SandboxError, StoreError: before anything was computed, where it can be
            known; every message is one line with the remedy.
    """
    started = datetime.now(timezone.utc)
    clock = time.monotonic()

    # 1. What to run, and on which documents. Everything that can be wrong here is found before the model is loaded.
    names = config.task_names()
    sources = resolve_sources(config.data_sources(), load_suites(), suites_of(names))
    data = _load_data(names, sources, say)

    with ExitStack() as stack:
        folder = _make_folder(config, started)
        stack.callback(_remove_if_empty, folder)
        say(f"run folder: {folder}")

        # 2. A safe place for model-written programs, or a refusal.
        verdicts = _enter_sandbox(config, names, stack, say)

        # 3. The model.
        model = _load_model(config, say)

        # 4. All requests of all tasks, through lm-eval.
        evaluated = _evaluate(config, names, sources, model)

        # 5. The record, then the report.
        samples = _samples(evaluated.pop("samples"), data, verdicts)
        description = {
            "protocol": _protocol(names),
            "started": started.isoformat(timespec="seconds"),
            "duration_seconds": round(time.monotonic() - clock, 3),
            "command": list(command),
            "config": config.to_dict(),
            "suites": list(suites_of(names)),
            "model": {"name": config.model, **model.describe()},
            "scorer": asdict(model.scorer_choice),
            "data": {name: loaded.describe() for name, loaded in data.items()},
            "environment": describe_environment(),
            "isolation": _isolation(verdicts),
        }
        evaluated["config"] = {"model": "openmind", "model_args": {"pretrained": config.model}, "limit": config.limit}
        evaluated["date"] = started.timestamp()
        record = write_run(folder, description, evaluated, samples)

        report = run_report(record)
        write_atomically(folder / REPORT_FILE, report)
        return Finished(record, report)


def _make_folder(config: RunConfig, started: datetime) -> Path:
    """Create ``<output>/<model>/<time>``; a second run in the same second gets a suffix."""
    parent = Path(config.output).expanduser() / model_folder_name(config.model)
    stamp = started.strftime("%Y-%m-%dT%H-%M-%SZ")
    for attempt in range(1, 100):
        folder = parent / (stamp if attempt == 1 else f"{stamp}-{attempt}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not parent.is_dir():
                raise StoreError(f"{parent}: not a folder; choose another with --output") from None
            continue
        except OSError as error:
            raise StoreError(
                f"{folder}: cannot be made ({error.strerror}); choose another place with --output"
            ) from None
        return folder
    raise StoreError(f"{parent}: a hundred runs in one second")


def _remove_if_empty(folder: Path) -> None:
    """Leave no folder behind where nothing was written."""
    with suppress(OSError):
        folder.rmdir()


def _load_data(
    names: Sequence[str], sources: Mapping[str, DataSource], say: Callable[[str], None]
) -> dict[str, LoadedData]:
    from evalkit.tasks.documents import load

    data = {name: load(name, sources[find_task(name).suite]) for name in names}
    say(f"{len(data)} tasks, {sum(len(loaded.documents) for loaded in data.values()):,} documents")
    for name, loaded in data.items():
        if loaded.verdict == "other":
            say(f"{name}: complete, but its content is not that behind the published scores ({loaded.location})")
    return data


def _enter_sandbox(
    config: RunConfig, names: Sequence[str], stack: ExitStack, say: Callable[[str], None]
) -> dict[str, list[dict[str, Any]]]:
    if not any(find_task(name).suite == "humaneval" for name in names):
        return {}
    from evalkit.sandbox import Checker
    from evalkit.tasks.humaneval import execution

    checker = stack.enter_context(Checker(isolation=config.isolation))
    say(f"model-written programs: {checker.isolation}")
    return stack.enter_context(execution(checker))


def _load_model(config: RunConfig, say: Callable[[str], None]) -> Any:
    say(f"loading {config.model}")
    from evalkit.models.openmind import OpenMindLM

    model = OpenMindLM(
        pretrained=config.model,
        revision=config.revision,
        tokenizer=config.tokenizer,
        loader=config.loader,
        device=config.device,
        dtype=config.dtype,
        batch_size=config.batch_size,
        scorer=config.scorer,
        max_batch_tokens=config.max_batch_tokens,
        max_length=config.max_length,
        trust_remote_code=config.trust_remote_code,
        add_bos_token=config.add_bos,
    )
    described = model.describe()
    say(f"model on {described['device']}, {described['dtype']}; scorer: {model.scorer_choice.name}")
    return model


def _evaluate(config: RunConfig, names: Sequence[str], sources: Mapping[str, DataSource], model: Any) -> dict[str, Any]:
    import numpy
    import torch
    from lm_eval.evaluator import evaluate

    from evalkit.tasks.loading import load_lm_eval_tasks

    random.seed(config.seed)
    numpy.random.seed(config.seed)
    torch.manual_seed(config.seed)
    evaluated = evaluate(
        model,
        load_lm_eval_tasks(names, sources),
        limit=config.limit,
        bootstrap_iters=1,  # above 0, so that lm-eval gives standard errors; means need no bootstrap
        log_samples=True,
        system_instruction=config.system,
        apply_chat_template=config.apply_chat_template,
        confirm_run_unsafe_code=True,  # the sandbox was proven above, or switched off by the user
    )
    return dict(evaluated)


def _samples(
    logged: Mapping[str, Sequence[Mapping[str, Any]]],
    data: Mapping[str, LoadedData],
    verdicts: Mapping[str, Any],
) -> list[Sample]:
    """Turn lm-eval's logged samples into ours: tasks in reporting order, documents in the data's order."""
    return [
        _sample(task, entry, loaded.dataset.layout, verdicts)
        for task, loaded in data.items()
        for entry in sorted(logged[task], key=lambda entry: entry["doc_id"])
    ]


def _sample(task: str, entry: Mapping[str, Any], layout: str, verdicts: Mapping[str, Any]) -> Sample:
    scored = [(a, r) for a, r in zip(entry["arguments"], entry["filtered_resps"], strict=True) if not _text(r)]
    contexts = [arguments[0] for arguments, _ in scored] or [entry["arguments"][0][0]]
    doc = entry["doc"]
    details = {"verdicts": verdicts[doc["task_id"]]} if doc.get("task_id") in verdicts else {}
    return Sample(
        task=task,
        doc_id=int(entry["doc_id"]),
        cluster=cluster_key(layout, doc),
        metrics={metric: finite(float(entry[metric])) for metric in entry["metrics"]},
        target=entry["target"],
        context=contexts[0] if len(set(contexts)) == 1 else contexts,
        continuations=[arguments[1] for arguments, _ in scored],
        logprobs=[None if r is None else finite(float(r[0])) for _, r in scored],
        greedy=[r is not None and bool(r[1]) for _, r in scored],
        generated=[text for response in entry["filtered_resps"] for text in _text(response)],
        details=details,
    )


def _text(response: Any) -> list[str]:
    """Return the generated texts of a response; a log-likelihood response has none."""
    if isinstance(response, str):
        return [response]
    if isinstance(response, list) and response and all(isinstance(item, str) for item in response):
        return list(response)
    return []


def _protocol(names: Sequence[str]) -> str:
    suites = load_suites()
    return ", ".join(sorted({suites[suite].protocol for suite in suites_of(names)}))


def _isolation(verdicts: Mapping[str, Sequence[Mapping[str, Any]]]) -> str | None:
    levels = {verdict["isolation"] for of_problem in verdicts.values() for verdict in of_problem}
    return ", ".join(sorted(levels)) or None
