"""From what lm-eval logs to the samples of a run's record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evalkit.config.run_config import RunConfig
from evalkit.config.suites import find_task, with_chat
from evalkit.data import LoadedData
from evalkit.data.layouts import cluster_key
from evalkit.records.facts import SystemPrompt
from evalkit.records.samples import Sample
from evalkit.records.values import finite
from evalkit.store.sections import FailedText
from evalkit.tasks.choosing import chosen
from evalkit.tasks.humaneval import verdicts_of


def system_of(config: RunConfig, names: Sequence[str]) -> SystemPrompt | None:
    """Return the system prompt and how it reached the model, for the record; None without one."""
    if not config.system:
        return None
    if config.apply_chat_template:
        place = "head of the first user turn" if config.model.system_in_user else "system message"
    else:
        place = "before the context"
        for name in with_chat(names):
            place += f"; {name}: head of the user turn"
    return SystemPrompt(text=config.system, place=place)


def _no_marks(_task: str, _doc_id: int) -> Sequence[str]:
    return ()


def samples_of(
    logged: Mapping[str, Sequence[Mapping[str, Any]]],
    data: Mapping[str, LoadedData],
    limit: int | None,
    marks: Callable[[str, int], Sequence[str]] = _no_marks,
) -> list[Sample]:
    """Turn lm-eval's logged samples into ours: tasks in reporting order, documents in the data's order.

    Args:
        logged: by task lm-eval's entries. A document that has none becomes a failed sample.
        data: by task the documents.
        limit: only the first documents of each task were wanted; None for all.
        marks: returns what happened to a document's requests, as `evalkit.answering.marks.Marks.of` does.
    """
    samples = []
    for task, loaded in data.items():
        entries = {int(entry["doc_id"]): entry for entry in logged.get(task, ())}
        layout = loaded.dataset.layout
        for doc_id, doc in enumerate(loaded.documents[:limit]):
            if doc_id in entries:
                samples.append(sample_of(task, entries[doc_id], layout, marks))
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
    marks: Callable[[str, int], Sequence[str]] = _no_marks,
) -> Sample:
    """Turn one of lm-eval's logged samples into ours; see `samples_of`."""
    texts = [_texts(response) for response in entry["resps"]]  # as the model wrote them: filters are the metrics'
    answered = zip(entry["arguments"], entry["filtered_resps"], texts, strict=True)
    scored = [(arguments, response) for arguments, response, written in answered if not written]
    contexts = [arguments[0] for arguments, _ in scored] or [entry["arguments"][0][0]]
    doc = entry["doc"]
    verdicts = verdicts_of([r for r, written in zip(entry["filtered_resps"], texts, strict=True) if written])
    details: dict[str, Any] = {"verdicts": [verdict._asdict() for verdict in verdicts]} if verdicts else {}
    details |= dict.fromkeys(marks(task, int(entry["doc_id"])), True)
    logprobs = [None if r is None else finite(float(r[0])) for _, r in scored]
    texts_failed = any(isinstance(text, FailedText) for response in entry["resps"] for text in response)
    if None in logprobs or texts_failed:
        details["failed"] = "generation" if texts_failed else "log-probability"
    choices = chosen(task, doc, entry["target"], logprobs, entry["metrics"], entry.get("choices") or ())
    return Sample(
        task=task,
        doc_id=int(entry["doc_id"]),
        cluster=cluster_key(layout, entry.get("document", doc)),
        # No metric gets to make a score of a request that failed.
        metrics={m: None if "failed" in details else finite(float(entry[m])) for m in entry["metrics"]},
        target=entry["target"],
        context=contexts[0] if len(set(contexts)) == 1 else contexts,
        continuations=[arguments[1] for arguments, _ in scored],
        logprobs=logprobs,
        greedy=[r is not None and bool(r[1]) for _, r in scored],
        generated=[text for written in texts for text in written],
        details=details,
        picked=choices.picked,
        gold=choices.gold,
        second_group=choices.second_group,
        characters=choices.characters,
    )


def _texts(responses: Sequence[Any]) -> list[str]:
    """Return the texts that the model wrote for a request; for a log-likelihood there are none."""
    return [response for response in responses if isinstance(response, str)]
