"""The journal's records, sorted: which requests have a result, and what it is. Reads only; ledger.py writes."""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalkit.errors import StoreError
from evalkit.scoring.forest import truncate
from evalkit.scoring.requests import TokenRequest
from evalkit.scoring.schedule import in_families
from evalkit.store.journal import Record

_KEY_DIGITS = 32

# Lists of a record that are about the same requests, one after the other.
_PARALLEL = ("requests", "keys", "logprobs", "greedy", "texts")
# Characters in common that may be tokens enough to be read once.
_ALIKE_CHARACTERS = 128

SCORES = "log-likelihoods"
TEXTS = "texts"


@dataclass(frozen=True)
class RenderedPrompt:
    """One text to be continued.

    Attributes:
        context: the text.
        settings: JSON values: stop strings, greatest length, sampling.
    """

    context: str
    settings: Mapping[str, Any]

    @property
    def is_greedy(self) -> bool:
        """Whether the same model would always answer the same: numbered samples have draws of their own."""
        return "sample" in self.settings or (
            not self.settings.get("do_sample") and not self.settings.get("temperature")
        )


@dataclass
class Section:
    """One section of the journal, as far as it is written.

    Attributes:
        what: SCORES or TEXTS.
        plan: the plan's record, or None before it was written.
        reused: the record of what was taken over, or None.
        asked: the record that says which document of which task each request belongs to; None in older journals.
        done: finished packs or batches by number.
        budget_tokens: memory budget that the last finished pack left, or None.
    """

    what: str
    plan: Record | None = None
    reused: Record | None = None
    asked: Record | None = None
    done: dict[int, Record] = field(default_factory=dict)
    budget_tokens: int | None = None

    @property
    def requests(self) -> int:
        """Number of requests, as far as it is known."""
        return (self.plan["requests"] if self.plan else 0) + self.reused_requests

    @property
    def reused_requests(self) -> int:
        """Number of requests whose results were taken over."""
        return len(self.reused["requests"]) if self.reused else 0

    @property
    def finished_requests(self) -> int:
        """Number of requests with a result."""
        return self.reused_requests + sum(len(record["requests"]) for record in self.done.values())

    def results(self) -> Iterator[tuple[int, str, Any]]:
        """Yield (position of the request, its key, its score or text) of everything finished."""
        for record in [*([self.reused] if self.reused else []), *self.done.values()]:
            yield from zip(record["requests"], record["keys"], stored_values(self.what, record), strict=True)

    def documents(self) -> list[tuple[str, int]] | None:
        """Return (task, doc_id) of each request; None where the journal does not say."""
        if self.asked is None:
            return None
        return [(task, doc_id) for task, doc_ids in self.asked["documents"] for doc_id in doc_ids]

    def by_position(self) -> dict[int, Any]:
        """Return the score or text of each finished request."""
        return {position: value for position, _, value in self.results()}


def read_sections(records: Iterable[Record], where: object) -> list[Section]:
    """Sort a journal's records by section.

    Raises:
        StoreError: a record that does not belong there.
    """
    sections: list[Section] = []
    for record in records:
        kind, number, what = record.get("kind"), record.get("section"), record.get("what")
        if number == len(sections) and what in (SCORES, TEXTS):
            sections.append(Section(what))
        if not isinstance(number, int) or not 0 <= number < len(sections) or sections[number].what != what:
            raise StoreError(f"{where}: a record of an unknown section; was it written by another evalkit?")
        section = sections[number]
        lengths = {len(record[key]) for key in _PARALLEL if key in record and kind != "plan"}
        if len(lengths) > 1:
            raise StoreError(f"{where}: a record of {kind} with other numbers of results and requests; use --fresh")
        if kind == "asked" and section.asked is None and section.reused is None and section.plan is None:
            section.asked = record
        elif kind == "reused" and section.reused is None and section.plan is None:
            section.reused = record
        elif kind == "plan" and section.plan is None:
            section.plan = record
        elif kind in ("pack", "texts") and section.plan is not None and record["pack"] not in section.done:
            section.done[record["pack"]] = record
            section.budget_tokens = record.get("budget_tokens", section.budget_tokens)
        else:
            raise StoreError(f"{where}: an unexpected record '{kind}'; was it written by another evalkit?")
    return sections


def stored_values(what: str, record: Record) -> list[Any]:
    if what == TEXTS:
        return list(record["texts"])
    return [
        # Infinities and NaN are written as text: JSON has none, and they must come back as what they were.
        (float(logprob), bool(greedy))
        for logprob, greedy in zip(record["logprobs"], record["greedy"], strict=True)
    ]


def stored_number(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)


def request_key(request: TokenRequest, max_length: int, index: int = 0) -> str:
    """Return a digest of what the model is given and has to predict: equal for equal requests of any run.

    What is longer than the model takes is part of it, since a scorer of another adapter may cut nothing.
    """
    inputs, targets = truncate(request, max_length, index)
    digest = hashlib.sha256(array("I", inputs).tobytes())
    digest.update(b"|" + array("I", targets).tobytes())
    if len(request.context_ids) + len(request.continuation_ids) - 1 > len(inputs):
        digest.update(b"|" + array("I", request.context_ids).tobytes())
    return digest.hexdigest()[:_KEY_DIGITS]


def prompt_keys(prompts: Sequence[RenderedPrompt]) -> list[str]:
    """Return a digest of each prompt and its settings; where one is repeated, each time another."""
    seen: dict[str, int] = {}
    keys = []
    for prompt in prompts:
        text = json.dumps([prompt.context, prompt.settings], sort_keys=True, default=str)
        seen[text] = seen.get(text, -1) + 1
        keys.append(hashlib.sha256(f"{seen[text]} {text}".encode()).hexdigest()[:_KEY_DIGITS])
    return keys


@dataclass(frozen=True)
class Source:
    """Another run whose results may be taken over.

    Attributes:
        name: how the record calls it.
        results: for SCORES and TEXTS the results by request key.
        remarks: what a user should know of them, one line each.
    """

    name: str
    results: Mapping[str, Mapping[str, Any]]
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, sections: Iterable[Section], remarks: Iterable[str] = ()) -> Source:
        """Collect a run's results; failed ones are left out."""
        results: dict[str, dict[str, Any]] = {SCORES: {}, TEXTS: {}}
        for section in sections:
            for _, key, value in section.results():
                if value is not None and (section.what == TEXTS or math.isfinite(value[0])):
                    results[section.what][key] = value
        return cls(name, results, tuple(remarks))


class FailedText(str):
    """What lm-eval gets for a text that could not be generated; the sample then has no score."""


def plan_batches(prompts: Sequence[RenderedPrompt], rows: int) -> list[list[int]]:
    """Group prompts of equal settings into batches of at most ``rows``, the longest first."""
    groups: dict[str, list[int]] = {}
    for position, prompt in enumerate(prompts):
        groups.setdefault(json.dumps(prompt.settings, sort_keys=True, default=str), []).append(position)
    batches = []
    for positions in groups.values():
        positions.sort(key=lambda position: (-len(prompts[position].context), prompts[position].context, position))
        batches += [positions[start : start + rows] for start in range(0, len(positions), rows)]
    return batches


def plan_texts(prompts: Sequence[RenderedPrompt]) -> list[list[int]]:
    """Make each text a batch of its own, for whoever generates equally whatever is beside it.

    Equal prompts that have one answer are one batch. Prompts that begin alike follow one another.
    """
    groups: dict[str, list[int]] = {}
    for position, prompt in enumerate(prompts):
        name = json.dumps([prompt.context, prompt.settings], sort_keys=True, default=str)
        groups.setdefault(name if prompt.is_greedy else f"{position} {name}", []).append(position)
    return in_families(list(groups.values()), lambda group: prompts[group[0]].context, _ALIKE_CHARACTERS)
