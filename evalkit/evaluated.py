"""Through lm-eval, and from what it logs to the samples of a run's record."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evalkit.config import RunConfig
from evalkit.data import DataSource, LoadedData
from evalkit.data.layouts import cluster_key
from evalkit.records.facts import SystemPrompt
from evalkit.records.samples import Sample
from evalkit.records.values import finite
from evalkit.store.sections import FailedText
from evalkit.suites import find_task, with_chat
from evalkit.tasks.choosing import chosen
from evalkit.tasks.humaneval import verdict_key


def build_tasks(
    config: RunConfig, names: Sequence[str], sources: Mapping[str, DataSource], model: Any
) -> dict[str, Any]:
    """Return lm-eval's dictionary of the tasks, with the requests of each built: `preflight` looks at them first.

    Args:
        model: what `evaluate_tasks` will put them to.
    """
    import numpy

    from evalkit.tasks.loading import load_lm_eval_tasks

    random.seed(config.seed)
    numpy.random.seed(config.seed)
    tasks = load_lm_eval_tasks(names, sources)
    _draw_samples(tasks["tasks"], config)
    for task in tasks["tasks"].values():
        task.build_all_requests(
            limit=config.limit,
            rank=model.rank,
            world_size=model.world_size,
            system_instruction=config.system,
            apply_chat_template=config.apply_chat_template,
            chat_template=model.apply_chat_template if config.apply_chat_template else None,
        )
        # `evaluate` would build them again.
        task.build_all_requests = _built_before
        if config.max_new_tokens is not None:
            _shorten(task.instances, config.max_new_tokens)
    return tasks


def _built_before(**_options: Any) -> None:
    """Stand for ``build_all_requests`` of a task whose requests are there."""


def _shorten(requests: Sequence[Any], max_new_tokens: int) -> None:
    """Lower the number of tokens that a completion may have; one that is lower already stays."""
    for request in requests:
        if request.request_type == "generate_until":
            context, settings = request.arguments
            shortest = min(int(settings.get("max_gen_toks", max_new_tokens)), max_new_tokens)
            request.arguments = (context, {**settings, "max_gen_toks": shortest})


def evaluate_tasks(
    config: RunConfig,
    names: Sequence[str],
    sources: Mapping[str, DataSource],
    model: Any,
    tasks: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Let lm-eval build all requests of the tasks, put them to the model, and make metrics of the answers.

    Args:
        tasks: what `build_tasks` returned for the same arguments; None: they are built here.

    Returns:
        lm-eval's results, with each document's entry under ``samples``.
    """
    from lm_eval.evaluator import evaluate

    tasks = tasks or build_tasks(config, names, sources, model)
    evaluated = evaluate(
        model,
        tasks,
        limit=config.limit,
        bootstrap_iters=1,  # above 0, so that lm-eval gives standard errors; means need no bootstrap
        log_samples=True,
        system_instruction=config.system,
        apply_chat_template=config.apply_chat_template,
        confirm_run_unsafe_code=True,  # the sandbox was proven above, or switched off by the user
    )
    return dict(evaluated)


def system_of(config: RunConfig, names: Sequence[str]) -> SystemPrompt | None:
    """Return the system prompt and how it reached the model, for the record; None without one."""
    if not config.system:
        return None
    if config.apply_chat_template:
        place = "head of the first user turn" if config.system_in_user else "system message"
    else:
        place = "before the context"
        for name in with_chat(names):
            place += f"; {name}: head of the user turn"
    return SystemPrompt(text=config.system, place=place)


def _draw_samples(tasks: Mapping[str, Any], config: RunConfig) -> None:
    """Ask for several sampled completions in the tasks that run programs."""
    from lm_eval.filters import build_filter_ensemble

    if not config.temperature:
        return
    for task in tasks.values():
        if getattr(task, "UNSAFE_CODE", False):
            sampling = {"do_sample": True, "temperature": config.temperature}
            task.set_config(key="generation_kwargs", value=sampling, update=True)
            task.set_config(key="repeats", value=config.samples)
            task._filters = [build_filter_ensemble("none", [["take_first_k", {"k": config.samples}]])]


def _no_marks(_task: str, _doc_id: int) -> Sequence[str]:
    return ()


def samples_of(
    logged: Mapping[str, Sequence[Mapping[str, Any]]],
    data: Mapping[str, LoadedData],
    limit: int | None,
    verdicts: Mapping[str, Any],
    marks: Callable[[str, int], Sequence[str]] = _no_marks,
) -> list[Sample]:
    """Turn lm-eval's logged samples into ours: tasks in reporting order, documents in the data's order.

    Args:
        logged: by task lm-eval's entries. A document that has none becomes a failed sample.
        data: by task the documents.
        limit: only the first documents of each task were wanted; None for all.
        verdicts: by `verdict_key` the verdicts on a problem's programs.
        marks: returns what happened to a document's requests, as `evalkit.models.scored.Marks.of` does.
    """
    samples = []
    for task, loaded in data.items():
        entries = {int(entry["doc_id"]): entry for entry in logged.get(task, ())}
        layout = loaded.dataset.layout
        for doc_id, doc in enumerate(loaded.documents[:limit]):
            if doc_id in entries:
                samples.append(sample_of(task, entries[doc_id], layout, verdicts, marks))
            else:
                samples.append(_missing_sample(task, doc_id, cluster_key(layout, doc)))
    return samples


def _missing_sample(task: str, doc_id: int, cluster: str | None) -> Sample:
    metrics: dict[str, float | None] = dict.fromkeys(find_task(task).metrics)
    return Sample(
        task=task,
        doc_id=doc_id,
        cluster=cluster,
        metrics=metrics,
        target=None,
        context=None,
        continuations=[],
        logprobs=[],
        greedy=[],
        generated=[],
        details={"failed": "missing"},
        picked={},
    )


def sample_of(
    task: str,
    entry: Mapping[str, Any],
    layout: str,
    verdicts: Mapping[str, Any],
    marks: Callable[[str, int], Sequence[str]] = _no_marks,
) -> Sample:
    """Turn one of lm-eval's logged samples into ours; see `samples_of`."""
    scored = [(a, r) for a, r in zip(entry["arguments"], entry["filtered_resps"], strict=True) if not _text(r)]
    contexts = [arguments[0] for arguments, _ in scored] or [entry["arguments"][0][0]]
    doc = entry["doc"]
    verdict = verdicts.get(verdict_key(task, str(doc.get("task_id"))))
    details: dict[str, Any] = {"verdicts": verdict} if verdict is not None else {}
    details |= dict.fromkeys(marks(task, int(entry["doc_id"])), True)
    logprobs = [None if r is None else finite(float(r[0])) for _, r in scored]
    texts_failed = any(isinstance(text, FailedText) for response in entry["resps"] for text in response)
    if None in logprobs or texts_failed:
        details["failed"] = "generation" if texts_failed else "log-probability"
    choices = chosen(task, doc, entry["target"], logprobs, entry["metrics"])
    return Sample(
        task=task,
        doc_id=int(entry["doc_id"]),
        cluster=cluster_key(layout, doc),
        # No metric gets to make a score of a request that failed.
        metrics={m: None if "failed" in details else finite(float(entry[m])) for m in entry["metrics"]},
        target=entry["target"],
        context=contexts[0] if len(set(contexts)) == 1 else contexts,
        continuations=[arguments[1] for arguments, _ in scored],
        logprobs=logprobs,
        greedy=[r is not None and bool(r[1]) for _, r in scored],
        generated=[text for response in entry["filtered_resps"] for text in _text(response)],
        details=details,
        picked=choices.picked,
        gold=choices.gold,
        second_group=choices.second_group,
        characters=choices.characters,
    )


def _text(response: Any) -> list[str]:
    """Return the generated texts of a response; a log-likelihood response has none."""
    if isinstance(response, str):
        return [response]
    if isinstance(response, list) and response and all(isinstance(item, str) for item in response):
        return list(response)
    return []
