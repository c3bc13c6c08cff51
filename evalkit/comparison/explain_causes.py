"""What differs between how a run and a publication asked and measured: found, ruled out, or not recorded by one.

A protocol of evalkit's own (nous-2023) says how its requests are; of any other only its name is known. A results file
of another harness says what it says. What neither says is unknown, whatever is likely.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from evalkit.comparison import comparable
from evalkit.comparison.explain_figures import Facts, task_gaps
from evalkit.config.suites import load_suites
from evalkit.errors import some
from evalkit.records.facts import RequestCounts
from evalkit.results.lm_eval_protocol import is_counted
from evalkit.results.lm_eval_settings import asked_with, printed_version
from evalkit.stats.estimates import Estimate

Standing = Literal["sampling", "found", "unknown", "ruled out"]


@dataclass(frozen=True)
class Cause:
    """Something that could account for a gap.

    Attributes:
        name: what it is.
        standing: ``sampling``, ``found`` (it differs), ``unknown`` (cannot be told) or ``ruled out``.
        points: what it accounts for at most, percentage points of the suite's average; None: not bounded, or not known.
        finding: what was looked at and found.
    """

    name: str
    standing: Standing
    points: float | None
    finding: str


def how_asked(facts: Facts) -> Iterator[Cause]:
    """Protocol, BOS, chat template and system prompt: what changes every request."""
    yield from _protocol(facts)
    record = facts.scores.record
    counts = record.requests or RequestCounts()
    if record.model.adapter is not None:
        text = f"the run applied {record.model.adapter.name}; run the model without it"
        yield Cause("adapter", "found", None, text)
    if counts.cut:
        text = f"{counts.cut:,} requests of the run lost their beginning; a longer context (--max-length) keeps it"
        yield Cause("context length", "found", None, text)
    if counts.apart:
        text = f"in {counts.apart:,} requests of the run a token spans context and continuation"
        yield Cause("tokenizer", "found", None, text)
    names = {"add_bos": "BOS token", "apply_chat_template": "chat template", "system": "system prompt"}
    for key, name in names.items():
        yield _asked(facts, key, name)


def is_own_protocol(protocol: str) -> bool:
    """Tell whether a protocol is one of evalkit's own, so that its name says how requests are made."""
    return protocol in {suite.protocol for suite in load_suites().values()}


def _protocol(facts: Facts) -> Iterator[Cause]:
    theirs = facts.baseline.protocol_of(facts.suite.name)
    record = facts.scores.record
    ours = comparable.protocol_of(record, facts.suite)
    silent = [who for who, said in (("the run", ours), ("the publication", theirs)) if comparable.is_unknown(said)]
    if silent:
        said = [f"published by {theirs}"] if silent == ["the run"] else [f"run by {ours}"] if len(silent) == 1 else []
        text = "; ".join([f"not recorded by {' and '.join(silent)}", *said])
        yield Cause("protocol", "unknown", None, text)
    elif theirs != ours:
        text = f"published by {theirs}, run by {ours}: other requests, metrics or documents"
        yield Cause("protocol", "found", None, text)
    else:
        yield Cause("protocol", "ruled out", 0.0, f"both by {ours}")
        if not is_own_protocol(ours):
            versions = {
                version
                for task in facts.suite.tasks
                if (version := printed_version(record.lm_eval, task.name, task.headline)) is not None
            }
            own = f"; the run's are {', '.join(sorted(versions))}" if record.foreign is not None and versions else ""
            yield Cause("task versions", "unknown", None, f"not recorded by the publication{own}")


def _asked(facts: Facts, key: str, name: str) -> Cause:
    record, protocol = facts.scores.record, facts.baseline.protocol_of(facts.suite.name)
    template = comparable.template_of(record)
    if key == "apply_chat_template" and facts.suite.always_chat and template:
        text = f"the run used sha256 {template[:12]}, the publication does not say which; it changes every request"
        return Cause(name, "unknown", None, text)
    ours: bool | None = bool(getattr(record.config, key))
    if record.foreign is not None:
        ours = asked_with(record.lm_eval)[key]
    theirs = False if is_own_protocol(protocol) else None
    if key == "apply_chat_template" and "chat template" in protocol:
        theirs = True
    if ours is None or theirs is None:
        who = [side for side, said in (("the results file", ours), ("the publication", theirs)) if said is None]
        said = [
            f"{side} is {'with' if has else 'without'}"
            for side, has in (("the run", ours), ("the publication", theirs))
            if has is not None
        ]
        return Cause(name, "unknown", None, "; ".join([f"not recorded by {' and '.join(who)}", *said]))
    if ours and theirs:
        return Cause(name, "unknown", None, "both with one; whether it is the same, the publication does not record")
    if ours:
        text = f"the run has it, {protocol} does not: it changes every request; run again without it"
        return Cause(name, "found", None, text)
    if theirs:
        return Cause(name, "found", None, "the publication has it, the run does not: it changes every request")
    return Cause(name, "ruled out", 0.0, f"without, as {protocol} has it")


def documents(facts: Facts, own: Estimate) -> Cause:
    """How many documents were scored, of how many."""
    name, record = "number of documents", facts.scores.record
    expected = sum(task.documents for task in facts.suite.tasks)
    uncounted = [
        task.name
        for task in facts.suite.tasks
        if record.foreign is not None and not is_counted(record.lm_eval, task.name)
    ]
    if uncounted:
        return Cause(name, "unknown", None, f"not recorded by the results file for {some(uncounted)}")
    scored = sum(facts.scored(task) for task in facts.suite.tasks)
    if scored == expected:
        if not is_own_protocol(facts.baseline.protocol_of(facts.suite.name)):
            return Cause(name, "unknown", None, f"all {expected:,} in the run; not recorded by the publication")
        return Cause(name, "ruled out", 0.0, f"all {expected:,}")
    # What the documents that were not scored can move, by chance alone.
    missing = max(0.0, 1 - scored / expected)
    low, high = own.interval()
    points = (high - low) / 2 * math.sqrt(missing)
    text = f"{scored:,} of {expected:,} scored; part of the sampling error, and the first documents may be easier"
    return Cause(name, "found", points, text)


def data(facts: Facts) -> Cause:
    """Whether the documents are the published ones."""
    known = facts.scores.record.data
    verdicts = {task.name: known[task.name].verdict if task.name in known else "unknown" for task in facts.suite.tasks}
    is_ours = is_own_protocol(facts.baseline.protocol_of(facts.suite.name))
    # Samples are nobody's documents; what another protocol's publication had is not known.
    other = [name for name, verdict in verdicts.items() if verdict == "samples" or (verdict == "other" and is_ours)]
    unknown = [name for name, verdict in verdicts.items() if verdict == "unknown"]
    if not other:
        if unknown:
            return Cause("data", "unknown", None, f"not recorded by the run what content {some(unknown)} had")
        if not is_ours:
            return Cause("data", "unknown", None, "not recorded by the publication")
        return Cause("data", "ruled out", 0.0, "content hashes are those of the published data")
    kinds = sorted({verdicts[name] for name in other})
    shares = {figure.name: figure.points for figure in task_gaps(facts)}
    points = abs(math.fsum(shares[name] for name in other)) if all(name in shares for name in other) else None
    text = f"{len(other)} of {len(facts.suite.tasks)} tasks have other content ({', '.join(kinds)}): {some(other)}"
    if points is not None:
        text += f"; these tasks make {points:.2f} points of the gap"
    if unknown:
        text += f"; not recorded for {some(unknown)}"
    return Cause("data", "found", points, text)
