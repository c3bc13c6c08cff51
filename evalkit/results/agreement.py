"""What a record says twice, and what its documents say of it: a finished run of the present schema agrees with itself.

Everything that changes a printed number or a verdict is either made again from what it was made of, or said in two
places. docs/results.md lists what is left: names, times, paths, which change neither.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from evalkit.config.suites import BY_CHARACTERS, EXACT, MASS
from evalkit.data.layouts import possible_clusters
from evalkit.data.manifest import load_manifest
from evalkit.records.facts import ModelFacts
from evalkit.records.identity import MOVING, Identity, ModelIdentity
from evalkit.records.model import RunFacts, RunRecord
from evalkit.records.samples import Sample, disputed_programs
from evalkit.records.values import summarise
from evalkit.store.identity import code_sha256
from evalkit.tasks.choosing import characters, chooser_of
from evalkit.tasks.metrics import probability_mass

SAME = 1e-6
"""Sums in another order differ by less."""

SAME_LOGPROB = 0.1
"""Nats: what rounding in half precision can put a log-probability above 0."""

Pair = tuple[str, Any, str, Any]


def check_said_twice(facts: RunFacts) -> None:
    """Check what a record says in two places.

    Raises:
        ValueError: names both places and what they say.
    """
    assert facts.identity is not None  # who asks has looked
    _check_equal(_said_twice(facts, facts.identity))


def check_model(model: ModelFacts) -> None:
    """Check what a model's part of a record says in two places; errors as of `check_said_twice`."""
    if model.identity is not None:
        _check_equal(_model_said_twice(model, model.identity))


def _check_equal(pairs: Iterable[Pair]) -> None:
    for where, said, there, other in pairs:
        if said != other:
            raise ValueError(f"evalkit.{where}: {said!r}, but evalkit.{there} says {other!r}")


def _said_twice(facts: RunFacts, identity: Identity) -> Iterator[Pair]:
    settings, config = identity.settings, facts.config
    for name in MOVING:
        yield f"config.{name}", getattr(config, name), f"identity.settings.{name}", getattr(settings, name)
    yield "system", facts.system is None, "config.system", not config.system
    reused_from = facts.work and facts.work.reused_from
    yield "work.reused_from is null", reused_from is None, "identity.reuse", identity.reuse is None
    yield "protocol", facts.protocol, "identity.protocol.name", identity.protocol and identity.protocol.name
    yield "scorer.name", facts.scorer.name, "identity.scorer.name", identity.scorer and identity.scorer.name
    for task, data in facts.data.items():
        for name in ("sha256", "documents"):
            other = getattr(identity.data.get(task), name, None)
            yield f"data.{task}.{name}", getattr(data, name), f"identity.data.{task}.{name}", other
        samples = data.source == "samples"
        yield f"data.{task}.verdict is samples", data.verdict == "samples", f"data.{task}.source", samples
        rows = f"data.{task}.expected_rows"
        yield f"{rows} is null", data.expected_rows is None, f"data.{task}.expected_sha256", not data.expected_sha256
        if data.expected_sha256 and not samples:
            is_same = data.sha256 == data.expected_sha256
            yield f"data.{task}.verdict is published", data.verdict == "published", f"data.{task}.sha256", is_same
    model, device = facts.model, identity.device
    yield "model.device", model.device.split(":")[0], "identity.device.kind", device and device.kind
    for name, other in (("device_name", "name"), ("instruction_set", "instruction_set")):
        yield f"model.{name}", getattr(model, name), f"identity.device.{other}", device and getattr(device, other)
    yield from _model_said_twice(model, identity)
    here = facts.environment.versions
    for name, version in {"evalkit": identity.code.evalkit, **identity.versions}.items():
        if version is not None and (name in here or name in _ALWAYS):
            yield f"environment.versions.{name}", here.get(name), "identity", version
    if facts.numerics is not None:
        found = facts.numerics
        points = 100.0 * found.flipped / found.documents if found.documents else 0.0
        yield "numerics.points", round(found.points, 6), "numerics.flipped", round(points, 6)
        shown = f"±{points:.2f} points ({found.flipped} of {found.documents} documents"
        yield "numerics.summary says so", shown in found.summary, "numerics.flipped", True


def _model_said_twice(model: ModelFacts, identity: ModelIdentity) -> Iterator[Pair]:
    weights, tokenizer = identity.model, identity.tokenizer
    yield "model.dtype", model.dtype, "identity.dtype", identity.dtype
    adapter = None if model.adapter is None else model.adapter.sha256
    yield "model.adapter.sha256", adapter, "identity.model.adapter", weights.adapter
    yield "model.chat_template_sha256", model.chat_template_sha256, "identity.chat_template", identity.chat_template
    others = [(f"identity.model.{name}", getattr(weights, name), name) for name in _WEIGHTS]
    others += [(f"identity.tokenizer.{name}", getattr(tokenizer, name), name) for name in _TOKENIZER]
    for there, other, name in others:
        if getattr(model, name) is not None:  # an answerer need not say twice what it is
            yield f"model.{name}", getattr(model, name), there, other
    if model.identity is not None:
        whole = msgspec.to_builtins(identity)
        for group, said in msgspec.to_builtins(model.identity).items():
            yield f"model.identity.{group}", said, f"identity.{group}", whole[group]
    if model.generation is not None and identity.generation is not None:
        end_ids = identity.generation.end_ids
        yield "model.generation.end_ids", model.generation.end_ids, "identity.generation.end_ids", end_ids
        ignored = sorted(identity.generation.ignored)
        said = sorted(f"{name}={value}" for name, value in model.generation.ignored.items())
        yield "model.generation.ignored", said, "identity.generation.ignored", ignored


_ALWAYS = ("evalkit", "lm_eval", "transformers", "tokenizers", "torch", "numpy")
"""Packages whose versions the environment says where the identity does."""

_WEIGHTS = ("model_fingerprint", "revision", "architecture", "quantization", "loader", "max_length")
_TOKENIZER = ("tokenizer_fingerprint", "vocabulary", "add_bos")
assert set(_WEIGHTS) < set(type(ModelIdentity().model).__struct_fields__)


def check_counts(facts: RunFacts) -> None:
    """Check each task's number of documents against its data and the limit, and the errors of right-or-wrong metrics.

    Raises:
        ValueError: names the key and what it should be.
    """
    limit = facts.config.limit
    for task, of_task in facts.metrics.items():
        documents = facts.data[task].documents
        wanted = None if documents is None else min(documents, limit or documents)
        for metric, value in of_task.items():
            where = f"evalkit.tasks.{task}.{metric}"
            if wanted is not None and value.n != wanted:
                raise ValueError(f"{where}.n: {value.n}, but evalkit.data has {documents} and the limit is {limit}")
            if value.value is None:
                continue
            if not 0 <= value.value <= 1:
                raise ValueError(f"{where}.value: {value.value!r}; a share is wanted")
            if (value.stderr is None) != (value.n < 2):
                raise ValueError(f"{where}.stderr: {value.stderr!r}, of {value.n} documents")
            if metric in EXACT and value.stderr is not None:
                right = value.value * value.n
                if abs(right - round(right)) > SAME * value.n:
                    raise ValueError(f"{where}.value: {value.value!r}; {value.n} documents cannot give it")
                stderr = math.sqrt(max(0.0, value.value * (1 - value.value)) / (value.n - 1))
                if abs(stderr - value.stderr) > SAME:
                    raise ValueError(f"{where}.stderr: {value.stderr!r}, but its documents give {stderr:.6g}")


def check_task_samples(record: RunRecord, task: str, samples: Sequence[Sample]) -> None:
    """Check a task's documents, all of them there, against the record: numbers, metrics, errors, passages, marks.

    Raises:
        ValueError: names what the documents say and what the record says.
    """
    of_task = record.metrics.get(task, {})
    places = sorted(sample.doc_id for sample in samples)
    if _says_all(record) and places != list(range(len(places))):
        wrong = next(place for place, there in enumerate(places) if place != there)
        raise ValueError(f"document {wrong} is missing, and there is a document {places[-1]} of {len(places):,}")
    for sample in samples:
        if sample.metrics.keys() != of_task.keys():
            raise ValueError(
                f"document {sample.doc_id} has the metrics {', '.join(sample.metrics) or 'none'}, the record "
                f"{', '.join(of_task) or 'none'}"
            )
    for metric, recorded in of_task.items():
        failed = sum(sample.metrics[metric] is None for sample in samples)
        if failed != recorded.failed:
            raise ValueError(f"{failed} documents have no {metric}, but the record says {recorded.failed}")
    kinds = {type(sample.target).__name__ for sample in samples}
    if len(kinds) > 1 and _says_all(record) and chooser_of(task) is not None:
        raise ValueError(f"targets are of several types: {', '.join(sorted(kinds))}")
    _check_passages(record, task, samples)


def check_marks(record: RunRecord, samples: Sequence[Sample]) -> None:
    """Check how many requests were cut, encoded apart or taken over against the marks of all documents.

    Raises:
        ValueError: names the count and what the documents say.
    """
    if not _says_all(record) or record.requests is None or record.work is None:
        return
    reused = sum(section.reused for section in record.work.sections)
    for where, mark, counted in (
        ("requests.cut", "cut", record.requests.cut),
        ("requests.apart", "apart", record.requests.apart),
        ("work.sections.reused", "reused", reused),
    ):
        marked = [sample for sample in samples if sample.details.get(mark)]
        most = sum(max(1, len(sample.continuations) + len(sample.generated)) for sample in marked)
        if not len(marked) <= counted <= most:
            raise ValueError(f"evalkit.{where}: {counted:,}, but {len(marked):,} documents are marked so")
    judged = any(sample.details.get("verdicts") for sample in samples)
    if judged != (record.isolation is not None):
        raise ValueError(f"evalkit.isolation: {record.isolation!r}, but {'some' if judged else 'no'} programs were run")
    if record.disputed and record.disputed != (found := disputed_programs(samples)):
        raise ValueError(
            f"evalkit.disputed: {', '.join(record.disputed)}, but the documents say {', '.join(found) or 'none'}"
        )


def check_errors(record: RunRecord, task: str, samples: Sequence[Sample]) -> None:
    """Check that a record's standard errors are those of a task's documents.

    Raises:
        ValueError: names both.
    """
    for metric, recorded in record.metrics.get(task, {}).items():
        found = summarise([sample.metrics[metric] for sample in samples])
        if (found.stderr is None) != (recorded.stderr is None) or (
            found.stderr is not None and abs(found.stderr - (recorded.stderr or 0.0)) > SAME
        ):
            raise ValueError(f"the documents' error of {metric} is {found.stderr}, the record's {recorded.stderr}")


def _check_passages(record: RunRecord, task: str, samples: Sequence[Sample]) -> None:
    """A passage's key is made of the passage, which stands at the head of the context."""
    data = load_manifest().get(task)
    if data is None:
        return
    if lacks_passages(record, task, samples) and not _is_of_this_code(record):
        return
    is_plain = _is_plain(record)
    for sample in samples:
        # A template may put anything before the passage, but a document without passages has none in any.
        possible = possible_clusters(data.layout, sample.context if is_plain else None)
        is_digest = sample.cluster is not None and _DIGEST.fullmatch(sample.cluster) is not None
        # What calls passages by names of its own (a former schema, a simulation) can be wrong only in having none.
        named = sample.cluster is not None and not is_digest
        if named and not _says_all(record):
            continue
        if named if possible is None else sample.cluster not in possible:
            raise ValueError(f"document {sample.doc_id}: cluster {sample.cluster!r} is not that of its passage")


def lacks_passages(record: RunRecord, task: str, samples: Sequence[Sample]) -> bool:
    """Tell whether no document says its passage, though documents of the layout share some.

    So it is in a record from before the layout's passages were known (`evalkit.data.layouts.PASSAGES`). Its documents
    are taken as they were recorded, for independent ones.
    """
    data = load_manifest().get(task)
    if data is None or not _is_plain(record) or any(sample.cluster for sample in samples):
        return False
    possible = [possible_clusters(data.layout, sample.context) for sample in samples]
    return any(keys is not None and None not in keys for keys in possible)


def _is_plain(record: RunRecord) -> bool:
    return not (record.config.apply_chat_template or record.config.system)


def _is_of_this_code(record: RunRecord) -> bool:
    return record.identity is not None and record.identity.code.sha256 == code_sha256()


def _says_all(record: RunRecord) -> bool:
    """Tell whether a record is a whole one of the present schema; former ones lack a key or were made up for a test."""
    return record.identity is not None and record.requests is not None


_DIGEST = re.compile("[0-9a-f]{16}")


def check_choices(sample: Sample) -> None:
    """Check that a sample says what each of its metrics chose, and chose by its log-probabilities.

    Raises:
        ValueError: it does not.
    """
    if sample.picked is None:
        raise ValueError("picked: null")
    for metric, value in sample.metrics.items():
        if value is not None and metric in EXACT and len(sample.continuations) > 1 and metric not in sample.picked:
            raise ValueError(f"picked: no {metric}, but metrics has it")
    if sample.metrics.get(BY_CHARACTERS) is not None and sample.characters is None:
        raise ValueError(f"characters: null, but {BY_CHARACTERS} divides by them")
    if any(metric not in sample.metrics for metric in sample.picked):
        raise ValueError(f"picked: {', '.join(sample.picked)}, but metrics has {', '.join(sample.metrics)}")
    for place, value in enumerate(sample.logprobs):
        if value is None and "failed" not in sample.details:
            raise ValueError(f"logprobs[{place}]: null, although details.failed says nothing")
        if value is not None and value > SAME_LOGPROB:
            raise ValueError(f"logprobs[{place}]: {value!r}; no probability is above 1")
    _check_passed(sample.metrics, sample.details)
    chooser = chooser_of(sample.task)
    known = [value for value in sample.logprobs if value is not None]
    if chooser is None or not sample.logprobs:
        return
    if sample.gold is None:
        raise ValueError("gold: null, but the task says which continuations are right")
    target = sample.target if isinstance(sample.target, list) else [sample.target]
    is_same = len(target) == len(sample.gold) and all(
        type(place) is int and place == right for place, right in zip(target, sample.gold, strict=True)
    )
    if chooser.gold is None and not is_same:
        raise ValueError(f"gold: {sample.gold}, but target says {sample.target!r}")
    if len(known) < len(sample.logprobs):
        return
    start = sample.second_group
    if chooser.second_group is not None and start is None:
        raise ValueError("second_group: null, but the task has two groups of continuations")
    lengths = sample.characters or characters(sample.continuations)
    found = chooser.picks(np.array(known[:start], dtype=np.float64), lengths[:start])
    for metric, place in found.items():
        if metric in sample.metrics and sample.picked.get(metric) != place:
            raise ValueError(f"picked.{metric}: {sample.picked.get(metric)}, but logprobs choose {place}")
    mass = sample.metrics.get(MASS)
    if mass is not None and start is not None:
        right = sum(place >= start for place in sample.gold)
        share = probability_mass(np.array(known[start:], dtype=np.float64), right)
        if abs(share - mass) > SAME:
            raise ValueError(f"metrics.{MASS}: {mass!r}, but logprobs give {share:.6g}")


def _check_passed(metrics: Mapping[str, float | None], details: Mapping[str, Any]) -> None:
    """Pass@1 is the share of programs that passed."""
    value, verdicts = metrics.get("pass@1"), details.get("verdicts")
    if value is None:
        return
    if not isinstance(verdicts, list) or not all(isinstance(verdict, dict) for verdict in verdicts) or not verdicts:
        raise ValueError("details.verdicts: none, but metrics has pass@1")
    passed = sum(verdict.get("passed") is True for verdict in verdicts)
    if abs(passed / len(verdicts) - value) > SAME:
        raise ValueError(f"metrics.pass@1: {value!r}, but {passed} of {len(verdicts)} programs passed")
