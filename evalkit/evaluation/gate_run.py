"""The gate that scores a model itself, in growing batches, and stops as soon as the verdict is certain.

Requests are built for the chosen documents only, and go to the model in one call a batch, so
that prefixes are shared as in a whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from evalkit.answering import Answerer, FullyDescribed, ScoreRequest, Session
from evalkit.answering.asking import ask_scores, in_use_check
from evalkit.comparison import comparable
from evalkit.comparison.chosen import chosen_suites, model_title, names_a_run, suites_in, tasks_of
from evalkit.comparison.clusters import linked_keys
from evalkit.comparison.comparable import Difference
from evalkit.comparison.gate import Gate, check_levels
from evalkit.comparison.gate_sequential import Recorded, SequentialGate
from evalkit.comparison.pairing import data_sha256, same_numbers
from evalkit.comparison.remarks import remarks
from evalkit.comparison.whole import samples_by_task
from evalkit.config.options import build, declared_settings
from evalkit.config.run_config import ModelConfig, RunConfig, suites_of
from evalkit.config.suites import Suite, find_suite, find_task, load_suites
from evalkit.data import DataSource, resolve_sources
from evalkit.errors import ConfigError, DataError
from evalkit.evaluation.identified import identified
from evalkit.evaluation.ready import check_ready
from evalkit.records.facts import ModelFacts
from evalkit.records.identity import MOVING
from evalkit.records.model import RunRecord
from evalkit.records.samples import Sample
from evalkit.results.reading import read_run
from evalkit.scoring.requests import Score
from evalkit.store.ledger import Ledger, Nowhere

if TYPE_CHECKING:
    from evalkit.tasks.lm_eval_tasks import Tasks

# Stands where a generated text would.
_NO_TEXT = ""


def gate_model(
    model: ModelConfig,
    baseline: str,
    *,
    margin: float = 1.0,
    alpha: float = 0.05,
    suites: Sequence[str] = (),
    allow_different: Sequence[str] = (),
    seed: int = 0,
    data: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Gate:
    """Judge a model by a recorded run, scoring no more documents than the verdict needs.

    Args:
        model: what to judge. Its dtype ``auto`` is the baseline's.
        baseline: folder of a finished run with samples. What it asked, and how (BOS, chat template, system prompt), is
            what the candidate is asked.
        margin: largest acceptable loss in percentage points.
        alpha: level of the verdict as a whole.
        suites: suites to judge; by default all of the baseline but HumanEval, whose programs need a whole run.
        allow_different: fields of `comparable.FIELDS` that may differ (dtype, failed).
        seed: of the documents' order.
        data: sources of the documents, as in `RunConfig`; the baseline's by default.
        say: receives one line of progress at a time.

    Raises:
        ConfigError: wrong use, or not comparable. StoreError, DataError, ModelError: as for a run.
    """
    check_levels(margin, alpha)
    allowed = comparable.parse_fields(allow_different)
    if not names_a_run(baseline):
        raise ConfigError(
            f"--baseline {baseline}: --run-model needs the folder of a run, to compare document by document; "
            "for a published result make a run of the model first"
        )
    record = read_run(Path(baseline))
    chosen = _suites(record, suites)
    names = tasks_of(record, chosen)
    config = _config(model, record, names, data)
    differences = [*_failed(record, names), *comparable.differing_options(config, record, names)]
    comparable.split(differences, allowed, f"{model.name} and {record.folder}")

    sources = resolve_sources(config.data_sources(), load_suites(), suites_of(names))
    check_ready(config, names, sources, say)
    answers = samples_by_task(record, names)
    keys = linked_keys(answers)
    recorded = {name: _recorded(answers[name], keys[name]) for name in names}
    _check_data(record, names, sources)

    from evalkit.evaluation.preflight import check_answerer
    from evalkit.models.load import load_to_score
    from evalkit.tasks.lm_eval_tasks import Tasks

    tasks = Tasks(names, sources)
    for remark in tasks.remarks:
        say(f"warning: {remark}")
    loaded: Answerer = load_to_score(config.model, config.seed, say)
    itself, theirs = identified(model.name, loaded), record.model
    described = itself.described
    # The baseline's dtype is no wish of the user's.
    as_asked = replace(config, model=replace(config.model, dtype=model.dtype))
    for finding in check_answerer(as_asked, loaded, chat=False, needs_numbers=True):
        say(f"warning: {finding}")
    dtypes = str(described["dtype"]), theirs.dtype
    if dtypes[0] != dtypes[1]:
        differences.append(Difference("dtype", *dtypes))
    if config.apply_chat_template:
        templates = described.get("chat_template_sha256"), comparable.template_of(record)
        differences += comparable.other_template(*templates)
    others = comparable.other_identity(itself.facts.identity, record.identity)
    granted = comparable.split([*differences, *others], allowed, f"{model.name} and {record.folder}")

    is_other = bool(others) or not _is_known_to_be(described, theirs)
    gate = SequentialGate(recorded, chosen, margin, alpha, seed, is_other=is_other)
    asker = _Asker(loaded, config, tasks, answers)
    while batch := gate.batch():
        gate.add(asker.score(batch))
        done, whole = gate.documents()
        say(f"{done:,} of {whole:,} documents: {_so_far(gate)}")
    return _result(gate, model.name, record, granted, names)


# What a log-probability depends on besides the requests: a regression of an engine keeps the weights.
SAME_FUNCTION = ("model_fingerprint", "tokenizer_fingerprint", "dtype", "quantization")
SAME_LIBRARIES = ("torch", "transformers", "tokenizers", "torch_npu", "cuda", "cann", "openmind")


def _is_known_to_be(described: FullyDescribed, theirs: ModelFacts) -> bool:
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


def _config(model: ModelConfig, record: RunRecord, names: Sequence[str], data: Sequence[str]) -> RunConfig:
    """Return the candidate's configuration: what the baseline was asked, and its dtype where none is named."""
    theirs = record.config
    moving = {key: setting for key, setting in MOVING.items() if not setting.option.gate and key != "limit"}
    of_model = declared_settings(ModelConfig)
    loaded = replace(
        model,
        dtype=record.model.dtype if model.dtype == "auto" else model.dtype,
        **{setting.name: getattr(theirs, key) for key, setting in moving.items() if key in of_model},
    )
    same = build(RunConfig, {"model": theirs.model, "data": theirs.data})
    return RunConfig(
        model=loaded,
        task=tuple(names),
        data=tuple(data) or same.data_sources(),
        **{setting.name: getattr(theirs, key) for key, setting in moving.items() if key not in of_model},
    )


def _failed(record: RunRecord, names: Iterable[str]) -> list[Difference]:
    values = [record.metrics[name][find_task(name).headline] for name in names]
    failed = sum(value.failed for value in values)
    return [Difference("failed", "none", f"{failed} documents without a score")] if failed else []


def _recorded(samples: Sequence[Sample], keys: Sequence[Hashable]) -> Recorded:
    task = find_task(samples[0].task)
    scored = [(s, key) for s, key in zip(samples, keys, strict=True) if s.metrics.get(task.headline) is not None]
    values = np.array([sample.metrics[task.headline] for sample, _ in scored], dtype=np.float64)
    return Recorded(task, [sample.doc_id for sample, _ in scored], values, [key for _, key in scored])


def _check_data(record: RunRecord, names: Sequence[str], sources: Mapping[str, DataSource]) -> None:
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
        answerer: Answerer,
        config: RunConfig,
        tasks: Tasks,
        recorded: Mapping[str, Sequence[Sample]],
    ) -> None:
        self._answerer = answerer
        self._config = config
        self._tasks = tasks
        self._recorded = {name: {sample.doc_id: sample for sample in of_task} for name, of_task in recorded.items()}

    def score(self, batch: Mapping[str, Sequence[int]]) -> dict[str, list[tuple[float, bool]]]:
        """Return for each document its headline score, and whether all log-probabilities equal the recorded ones.

        Raises:
            DataError: a score is not finite.
        """
        built = {
            (name, doc_id): self._tasks.requests_of(name, doc_id, self._config, self._answerer)
            for name, ids in batch.items()
            for doc_id in ids
        }
        from evalkit.evaluation.preflight import check_can

        requests = [r for of_document in built.values() for r in of_document if isinstance(r, ScoreRequest)]
        check_can(self._config.model.name, self._answerer, requests)
        ledger = Ledger(Nowhere(), before=in_use_check(self._answerer))
        scores = iter(ask_scores(self._answerer, requests, Session(ledger)).answers)
        found: dict[str, list[tuple[float, bool]]] = {name: [] for name in batch}
        for (name, doc_id), of_document in built.items():
            answers = [next(scores) if isinstance(r, ScoreRequest) else None for r in of_document]
            found[name].append(self._scored(name, doc_id, answers))
        return found

    def _scored(self, name: str, doc_id: int, answers: Sequence[Score | None]) -> tuple[float, bool]:
        task = find_task(name)
        # A text could only matter to metrics that no gate asks for.
        all_answers = [_NO_TEXT if answer is None else answer for answer in answers]
        value = self._tasks.results_of(name, doc_id, all_answers)[task.headline]
        if not np.isfinite(value):
            raise DataError(f"{name}: document {doc_id} has no finite score; `evalkit run` says why")
        before = self._recorded[name][doc_id]
        now = [float(answer[0]) for answer in answers if answer is not None]
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
    notes = [note for note in remarks(record) if not note.startswith("limited")]
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
        "whole_suites": gate.whole_suites(),
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
        f"{model_title(record)} (run {record.folder.name})",
        True,
        gate.margin,
        gate.alpha,
        gate.result(),
        tuple(granted),
        tuple(notes),
        details,
    )
