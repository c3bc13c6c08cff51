"""The gate that scores a model itself, in growing batches, and stops as soon as the verdict is certain.

Requests are built by lm-eval's task objects for the chosen documents only, and go to the model in one call a batch, so
that prefixes are shared as in a whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.config import RunConfig, suites_of
from evalkit.data import resolve_sources
from evalkit.errors import ConfigError, DataError
from evalkit.ready import check_ready
from evalkit.records.facts import ModelFacts
from evalkit.records.model import RunRecord
from evalkit.records.reading import read_run
from evalkit.records.samples import Sample
from evalkit.report import comparable
from evalkit.report.comparable import Difference
from evalkit.report.gate import Gate, check_levels, chosen_suites, is_run, model_name, suites_in, tasks_of
from evalkit.report.gate_sequential import Recorded, SequentialGate
from evalkit.report.pairing import data_sha256, linked_keys, same_numbers, samples_by_task
from evalkit.suites import Suite, find_suite, find_task, load_suites

# What a generated text would be, for metrics that no gate asks for.
_NO_TEXT = ""


def gate_model(
    model: str,
    baseline: str,
    *,
    margin: float = 1.0,
    alpha: float = 0.05,
    suites: Sequence[str] = (),
    allow_different: Sequence[str] = (),
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Gate:
    """Judge a model by a recorded run, scoring no more documents than the verdict needs.

    Args:
        model: as for ``evalkit run --model``.
        baseline: folder of a finished run with samples. Its settings are the candidate's too.
        margin: largest acceptable loss in percentage points.
        alpha: level of the verdict as a whole.
        suites: suites to judge; by default all of the baseline but HumanEval, whose programs need a whole run.
        allow_different: fields of `comparable.FIELDS` that may differ (dtype, failed).
        seed: of the documents' order.
        options: fields of `RunConfig` for loading the model and the data.
        say: receives one line of progress at a time.

    Raises:
        ConfigError: wrong use, or not comparable. StoreError, DataError, ModelError: as for a run.
    """
    check_levels(margin, alpha)
    allowed = comparable.parse_fields(allow_different)
    if not is_run(baseline):
        raise ConfigError(
            f"--baseline {baseline}: --run-model needs the folder of a run, to compare document by document; "
            "for a published result make a run of the model first"
        )
    record = read_run(Path(baseline))
    chosen = _suites(record, suites)
    names = tasks_of(record, chosen)
    config = _config(model, record, names, options or {})
    differences = _failed(record, names)
    comparable.split(differences, allowed, f"{model} and {record.folder}")

    sources = resolve_sources(config.data_sources(), load_suites(), suites_of(names))
    check_ready(config, names, sources, say)
    answers = samples_by_task(record, names)
    keys = linked_keys(answers)
    recorded = {name: _recorded(answers[name], keys[name]) for name in names}
    _check_data(record, names, sources)

    from evalkit.preflight import check_model
    from evalkit.run import load_model

    loaded = load_model(config, say)
    for finding in check_model(config, loaded, chat=False, needs_numbers=True):
        say(f"warning: {finding}")
    described, theirs = loaded.describe(), record.model
    dtypes = str(described["dtype"]), theirs.dtype
    if dtypes[0] != dtypes[1]:
        differences.append(Difference("dtype", *dtypes))
    if config.apply_chat_template:
        templates = described.get("chat_template_sha256"), comparable.template_of(record)
        differences += comparable.other_template(*templates)
    granted = comparable.split(differences, allowed, f"{model} and {record.folder}")

    is_other = not _is_known_to_be(described, theirs)
    gate = SequentialGate(recorded, chosen, margin, alpha, seed, is_other=is_other)
    asker = _Asker(loaded, config, names, sources, answers)
    while batch := gate.batch():
        gate.add(asker.score(batch))
        done, whole = gate.documents()
        say(f"{done:,} of {whole:,} documents: {_so_far(gate)}")
    return _result(gate, model, record, granted, names)


# What a log-probability depends on besides the requests: a regression of an engine keeps the weights.
SAME_FUNCTION = ("model_fingerprint", "tokenizer_fingerprint", "dtype", "quantization")
SAME_LIBRARIES = ("torch", "transformers", "tokenizers", "torch_npu", "cuda", "cann", "openmind")


def _is_known_to_be(described: Mapping[str, Any], theirs: ModelFacts) -> bool:
    """Whether the record says that its model, tokenizer, libraries and kind of device are the candidate's."""
    if not theirs.model_fingerprint or not theirs.tokenizer_fingerprint:
        return False
    ours, versions = described.get("versions") or {}, theirs.versions or {}
    return (
        all(described.get(key) == getattr(theirs, key) for key in SAME_FUNCTION)
        and all(ours.get(name) == versions.get(name) for name in SAME_LIBRARIES)
        and str(described.get("device")).split(":")[0] == theirs.device.split(":")[0]
    )


def _suites(record: RunRecord, names: Sequence[str]) -> list[Suite]:
    available = {name: suite for name, suite in suites_in(record).items() if suite.in_total}
    if any(find_suite(name).runs_programs for name in names):
        raise ConfigError(
            "--suite: programs of HumanEval are judged in a whole run; give CANDIDATE instead of --run-model"
        )
    if not available:
        raise ConfigError(f"{record.folder}: has no suite that can be judged by log-probabilities")
    return chosen_suites(names, available, str(record.folder))


def _config(model: str, record: RunRecord, names: Sequence[str], options: Mapping[str, Any]) -> RunConfig:
    """Return the candidate's configuration: the baseline's settings, with the options over them."""
    theirs = record.config
    values: dict[str, Any] = {
        "dtype": record.model.dtype,
        "data": RunConfig(model=theirs.model, data=theirs.data).data_sources(),
        "add_bos": theirs.add_bos,
        "apply_chat_template": theirs.apply_chat_template,
        "system": theirs.system,
        "system_in_user": theirs.system_in_user,
        "seed": theirs.seed,
    }
    return RunConfig(model=model, task=tuple(names), **(values | dict(options)))


def _failed(record: RunRecord, names: Iterable[str]) -> list[Difference]:
    values = [record.metrics[name][find_task(name).headline] for name in names]
    failed = sum(value.failed for value in values)
    return [Difference("failed", "none", f"{failed} documents without a score")] if failed else []


def _recorded(samples: Sequence[Sample], keys: Sequence[Hashable]) -> Recorded:
    task = find_task(samples[0].task)
    scored = [(s, key) for s, key in zip(samples, keys, strict=True) if s.metrics.get(task.headline) is not None]
    values = np.array([sample.metrics[task.headline] for sample, _ in scored], dtype=np.float64)
    return Recorded(task, [sample.doc_id for sample, _ in scored], values, [key for _, key in scored])


def _check_data(record: RunRecord, names: Sequence[str], sources: Mapping[str, Any]) -> None:
    from evalkit.tasks.documents import load

    for name in names:
        found = load(name, sources[find_task(name).suite])
        theirs = data_sha256(record, name)
        if found.sha256 != theirs:
            raise DataError(
                f"{found.location}: sha256 {found.sha256[:12]}, the baseline's {str(theirs)[:12]}; document by "
                "document only the same data can be compared: give the baseline's with --data, or run the baseline anew"
            )


class _Asker:
    """Puts documents to the model and reads their headline scores."""

    def __init__(
        self,
        model: Any,
        config: RunConfig,
        names: Sequence[str],
        sources: Mapping[str, Any],
        recorded: Mapping[str, Sequence[Sample]],
    ) -> None:
        from evalkit.tasks.loading import load_lm_eval_tasks

        self._model = model
        self._config = config
        self._tasks = load_lm_eval_tasks(names, sources)["tasks"]
        self._documents = {name: list(self._tasks[name].eval_docs) for name in names}
        self._recorded = {name: {sample.doc_id: sample for sample in of_task} for name, of_task in recorded.items()}

    def score(self, batch: Mapping[str, Sequence[int]]) -> dict[str, list[tuple[float, bool]]]:
        """Return for each document its headline score, and whether all log-probabilities equal the recorded ones.

        Raises:
            DataError: a score is not finite.
        """
        built = {(name, doc_id): self._requests(name, doc_id) for name, ids in batch.items() for doc_id in ids}
        requests = [r for of_document in built.values() for r in of_document if r.request_type == "loglikelihood"]
        scores = iter(self._model.loglikelihood(requests))
        found: dict[str, list[tuple[float, bool]]] = {name: [] for name in batch}
        for (name, doc_id), of_document in built.items():
            answers = [next(scores) if r.request_type == "loglikelihood" else _NO_TEXT for r in of_document]
            found[name].append(self._scored(name, doc_id, answers))
        return found

    def _requests(self, name: str, doc_id: int) -> list[Any]:
        task, doc = self._tasks[name], self._documents[name][doc_id]
        chat = self._config.apply_chat_template
        template = self._model.apply_chat_template if chat else None
        context = task.fewshot_context(
            doc,
            num_fewshot=0,
            system_instruction=self._config.system,
            apply_chat_template=chat,
            chat_template=template,
        )
        built = task.construct_requests(
            doc,
            context,
            metadata=(name, doc_id, 1),
            apply_chat_template=chat,
            chat_template=template,
        )
        return built if isinstance(built, list) else [built]

    def _scored(self, name: str, doc_id: int, answers: Sequence[Any]) -> tuple[float, bool]:
        task = find_task(name)
        value = float(self._tasks[name].process_results(self._documents[name][doc_id], answers)[task.headline])
        if not np.isfinite(value):
            raise DataError(f"{name}: document {doc_id} has no finite score; `evalkit run` says why")
        before = self._recorded[name][doc_id]
        now = [float(answer[0]) for answer in answers if not isinstance(answer, str)]
        return value, same_numbers([value, *now], [before.metrics[task.headline], *before.logprobs])


def _so_far(gate: SequentialGate) -> str:
    titles = {suite.name: suite.title for suite in gate.suites}
    return ", ".join(f"{titles[found.asked.key]} {found.verdict}" for found in gate.result())


def _result(
    gate: SequentialGate, model: str, record: RunRecord, granted: Sequence[Difference], names: Sequence[str]
) -> Gate:
    done, whole = gate.documents()
    if done < whole:
        summary = f"sequential: stopped after {done:,} of {whole:,} documents, {100 * (1 - done / whole):.0f} % saved"
    else:
        summary = f"sequential: all {whole:,} documents were needed, nothing saved"
    notes = [note for note in comparable.remarks(record) if not note.startswith("limited")]
    if record.config.limit:
        notes.append(f"limited: the baseline has the first {record.config.limit} documents of each task")
    notes.append("bounds hold at all looks together; the average loses at most the margin if no suite loses more")
    if any(not suite.in_total for suite in suites_in(record).values()):
        notes.append("not judged: HumanEval, whose programs need a whole run")
    details = {
        "summary": f"{summary} (order: seed {gate.seed})",
        "seed": gate.seed,
        "order_sha256": gate.order_sha256(),
        "documents": done,
        "of": whole,
        "tasks": list(names),
        "looks": [
            {
                "suite": look.suite,
                "documents": look.documents,
                "difference": look.difference,
                "lowest": look.lowest,
                "verdict": look.verdict,
            }
            for look in gate.looks
        ],
    }
    return Gate(
        model,
        f"{model_name(record)} (run {record.folder.name})",
        True,
        gate.margin,
        gate.alpha,
        gate.result(),
        tuple(granted),
        tuple(notes),
        details,
    )
