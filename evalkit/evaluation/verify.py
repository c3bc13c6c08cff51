"""Proof that our requests and metrics are those behind the published scores.

For each task, as the harness's own regression tests did it: take the unique documents in file order, shuffle them with
seed 42, build all requests through lm-eval from ``configs/tasks``, hash them, answer request i with minus the i-th
number of a seeded generator, and compare the hash and every metric with what ``configs/protocols/nous-2023.yaml``
records.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from evalkit.answering import ScoreRequest
from evalkit.config.run_config import suites_of
from evalkit.config.suites import find_task, load_suites
from evalkit.config.yaml_files import Entry, read_yaml
from evalkit.data import DataSource, resolve_sources
from evalkit.errors import ConfigError
from evalkit.paths import configs_dir

if TYPE_CHECKING:
    from evalkit.tasks.lm_eval_tasks import Tasks

SEED = 42
GENERATED_TEXT = "lol"
SCORE_TOLERANCE = 1e-12

Outcome = Literal["ok", "mismatch", "unrecorded"]


@dataclass(frozen=True)
class Verification:
    """One task's figures.

    Attributes:
        task: name.
        documents: number of unique documents.
        requests: number of log-likelihood requests.
        sha256: hash of the JSON list of [context, continuation] pairs.
        scores: metric values and standard errors under the seeded fake model.
        verdict: ``ok``, ``mismatch`` or ``unrecorded``.
        differences: what does not match, one phrase each.
    """

    task: str
    documents: int
    requests: int
    sha256: str
    scores: dict[str, float]
    verdict: Outcome
    differences: tuple[str, ...]


class TaskFigures(Entry, frozen=True, kw_only=True):
    """One task's figures in the protocol's file, which says what they are."""

    source: Literal["fixture", "harness", "independent"]
    requests: int
    sha256: str
    scores: dict[str, float]


class _Protocol(Entry, frozen=True, kw_only=True):
    protocol: str
    tasks: dict[str, TaskFigures]


def recorded_values() -> dict[str, TaskFigures]:
    """Return the recorded figures by task.

    Raises:
        ConfigError: the file is not as `TaskFigures` says.
    """
    path = configs_dir() / "protocols" / "nous-2023.yaml"
    return read_yaml(path, f"protocols/{path.name}", "protocol, tasks").read_as(_Protocol).tasks


def _figures(tasks: Tasks, name: str) -> tuple[int, int, str, dict[str, float]]:
    """Run one task against the fake model; returns documents, requests, sha256 and scores."""
    from evalkit.tasks.lm_eval_tasks import mean_and_stderr

    order = list(range(len(tasks.documents(name))))
    random.Random(SEED).shuffle(order)
    by_document = [(doc_id, tasks.requests_of(name, doc_id)) for doc_id in order]

    pairs = [
        [request.context, request.continuation]
        for _, requests in by_document
        for request in requests
        if isinstance(request, ScoreRequest)
    ]
    sha256 = hashlib.sha256(json.dumps(pairs, sort_keys=True).encode("utf-8")).hexdigest()

    generator = random.Random(SEED)
    values: dict[str, list[float]] = {}
    for doc_id, requests in by_document:
        answers = [
            (-generator.random(), False) if isinstance(request, ScoreRequest) else GENERATED_TEXT
            for request in requests
        ]
        for metric, value in tasks.results_of(name, doc_id, answers).items():
            values.setdefault(metric, []).append(value)
    scores: dict[str, float] = {}
    for metric, items in values.items():
        scores[metric], scores[f"{metric}_stderr"] = mean_and_stderr(items)
    return len(order), len(pairs), sha256, scores


def _differences(recorded: TaskFigures, requests: int, sha256: str, scores: Mapping[str, float]) -> list[str]:
    found = []
    if requests != recorded.requests:
        found.append(f"{requests} requests, recorded {recorded.requests}")
    if sha256 != recorded.sha256:
        found.append(f"sha256 {sha256[:12]}..., recorded {recorded.sha256[:12]}...")
    for name, value in recorded.scores.items():
        if name not in scores or not abs(scores[name] - value) <= SCORE_TOLERANCE:
            found.append(f"{name} {scores.get(name)}, recorded {value}")
    return found


def verify(
    tasks: Iterable[str],
    sources: Mapping[str, DataSource],
    on_task: Callable[[Verification], None] = lambda _: None,
) -> list[Verification]:
    """Verify tasks one after the other.

    Args:
        tasks: names of log-likelihood tasks.
        sources: source of the documents, by suite. Built-in samples have no recorded values.
        on_task: called with each result as it is ready.

    Raises:
        ConfigError: unknown task. DataError: its documents cannot be loaded.
    """
    from evalkit.tasks.lm_eval_tasks import Tasks

    recorded = recorded_values()
    results = []
    for name in tasks:
        suite = find_task(name).suite
        documents, requests, sha256, scores = _figures(Tasks([name], {suite: sources[suite]}), name)
        differences: list[str] = []
        verdict: Outcome = "unrecorded"
        if name in recorded and sources[suite].kind != "samples":
            differences = _differences(recorded[name], requests, sha256, scores)
            verdict = "mismatch" if differences else "ok"
        result = Verification(name, documents, requests, sha256, scores, verdict, tuple(differences))
        on_task(result)
        results.append(result)
    return results


def log_likelihood_tasks() -> list[str]:
    """Return the names of the tasks that have log-likelihood requests, in reporting order."""
    return [task.name for suite in load_suites().values() if suite.in_total for task in suite.tasks]


def print_verification(data: Iterable[str], tasks: Iterable[str], as_json: bool) -> int:
    """Verify and print; returns the exit code: 1 if anything does not match.

    Raises:
        ConfigError, DataError: see ``verify``.
    """
    names = list(tasks) or log_likelihood_tasks()
    for name in names:
        if name not in log_likelihood_tasks():
            find_task(name)
            raise ConfigError(f"task '{name}' has no log-likelihood requests to verify")
    sources = resolve_sources(data, load_suites(), suites_of(names))

    def show(result: Verification) -> None:
        line = f"{result.task:<48} {result.documents:>6} {result.requests:>7}  {result.sha256[:16]}  {result.verdict}"
        click.echo("  ".join([line, *result.differences]))

    if as_json:
        results = verify(names, sources)
        document = {"tasks": {result.task: _as_json(result) for result in results}}
        click.echo(json.dumps(document, indent=1))
    else:
        click.echo(f"{'task':<48} {'docs':>6} {'requests':>7}  {'sha256':<16}  verdict")
        results = verify(names, sources, show)
        count = {verdict: sum(r.verdict == verdict for r in results) for verdict in ("ok", "mismatch", "unrecorded")}
        click.echo(", ".join(f"{n} {verdict}" for verdict, n in count.items() if n))
        if any(source.kind == "samples" for source in sources.values()):
            click.echo("built-in samples: nothing is recorded for them; give --data FOLDER or --data hub")
    return 1 if any(result.verdict == "mismatch" for result in results) else 0


def _as_json(result: Verification) -> dict[str, Any]:
    return {
        "documents": result.documents,
        "requests": result.requests,
        "sha256": result.sha256,
        "scores": result.scores,
        "verdict": result.verdict,
        "differences": list(result.differences),
    }
