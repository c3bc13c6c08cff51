"""What of a run's work is done: plans, finished packs, finished texts. Computes what is missing, and nothing twice.

A run's work comes in *sections*, one for each call of ``score`` (all log-likelihood requests) and of ``generate`` (all
prompts), in the order of the calls. A section's records in the journal are

::

    reused     scores taken over from another run (with --reuse only)
    plan       how the other requests are grouped; written before anything is computed
    pack       scores of one pack of the plan          (one record a finished pack)
    texts      generated texts of one batch of the plan (one record a finished batch)

What a floating-point result is depends on what shares its batch. So a resumed run computes the stored plan's packs,
whatever the batch size or the free memory of today, and starts from the memory budget that the last pack left. Results
are then the same to the bit, and so is the journal.
"""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from evalkit.errors import StoreError
from evalkit.scoring import Score, Scorer, TokenRequest
from evalkit.scoring.forest import Plan, truncate
from evalkit.store.journal import Journal, Record

_KEY_DIGITS = 32

SCORES = "log-likelihoods"
TEXTS = "texts"


class Watch(Protocol):
    """Who is told of the progress, as `evalkit.progress.Progress` is."""

    def advance(self, units: int) -> None:
        """Count finished work."""

    def finish(self) -> None:
        """The section is finished."""


@dataclass(frozen=True)
class Prompt:
    """One text to be continued.

    Attributes:
        context: the text.
        settings: JSON values: stop strings, greatest length, sampling.
    """

    context: str
    settings: Mapping[str, Any]

    @property
    def is_greedy(self) -> bool:
        """Whether the same model would always answer the same."""
        return not self.settings.get("do_sample") and not self.settings.get("temperature")


@dataclass
class Section:
    """One section of the journal, as far as it is written.

    Attributes:
        what: SCORES or TEXTS.
        plan: the plan's record, or None before it was written.
        reused: the record of what was taken over, or None.
        done: finished packs or batches by number.
        budget_tokens: memory budget that the last finished pack left, or None.
    """

    what: str
    plan: Record | None = None
    reused: Record | None = None
    done: dict[int, Record] = field(default_factory=dict)
    budget_tokens: int | None = None

    @property
    def requests(self) -> int:
        """Number of requests, as far as it is known."""
        return (self.plan["requests"] if self.plan else 0) + self.reused_requests

    @property
    def reused_requests(self) -> int:
        """Number of requests whose results were taken over."""
        return len(self.reused["keys"]) if self.reused else 0

    @property
    def finished_requests(self) -> int:
        """Number of requests with a result."""
        return self.reused_requests + sum(len(record["keys"]) for record in self.done.values())

    def results(self) -> Iterator[tuple[str, Any]]:
        """Yield (request key, score or text) of everything finished."""
        for record in [*([self.reused] if self.reused else []), *self.done.values()]:
            yield from zip(record["keys"], _values(self.what, record), strict=True)


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
        if kind == "reused" and section.reused is None and section.plan is None:
            section.reused = record
        elif kind == "plan" and section.plan is None:
            section.plan = record
        elif kind in ("pack", "texts") and section.plan is not None and record["pack"] not in section.done:
            section.done[record["pack"]] = record
            section.budget_tokens = record.get("budget_tokens", section.budget_tokens)
        else:
            raise StoreError(f"{where}: an unexpected record '{kind}'; was it written by another evalkit?")
    return sections


def _values(what: str, record: Record) -> list[Any]:
    if what == TEXTS:
        return list(record["texts"])
    return [
        # Infinities and NaN are written as text: JSON has none, and they must come back as what they were.
        (float(logprob), bool(greedy))
        for logprob, greedy in zip(record["logprobs"], record["greedy"], strict=True)
    ]


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)


def request_key(request: TokenRequest, max_length: int, index: int = 0) -> str:
    """Return a digest of what the model is given and has to predict: equal for equal requests of any run."""
    inputs, targets = truncate(request, max_length, index)
    digest = hashlib.sha256(array("I", inputs).tobytes())
    digest.update(b"|" + array("I", targets).tobytes())
    return digest.hexdigest()[:_KEY_DIGITS]


def prompt_keys(prompts: Sequence[Prompt]) -> list[str]:
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
    """

    name: str
    results: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, name: str, sections: Iterable[Section]) -> Source:
        """Collect a run's results; failed ones are left out."""
        results: dict[str, dict[str, Any]] = {SCORES: {}, TEXTS: {}}
        for section in sections:
            for key, value in section.results():
                if value is not None and (section.what == TEXTS or math.isfinite(value[0])):
                    results[section.what][key] = value
        return cls(name, results)


class FailedText(str):
    """What lm-eval gets for a text that could not be generated; the sample then has no score."""


def plan_batches(prompts: Sequence[Prompt], rows: int) -> list[list[int]]:
    """Group prompts of equal settings into batches of at most ``rows``, the longest first."""
    groups: dict[str, list[int]] = {}
    for position, prompt in enumerate(prompts):
        groups.setdefault(json.dumps(prompt.settings, sort_keys=True, default=str), []).append(position)
    batches = []
    for positions in groups.values():
        positions.sort(key=lambda position: (-len(prompts[position].context), prompts[position].context, position))
        batches += [positions[start : start + rows] for start in range(0, len(positions), rows)]
    return batches


class Ledger:
    """A run's work, backed by its journal.

    Args:
        journal: open for writing.
        records: the journal's records so far.
        source: run to take results over from.
        watch: makes the watcher of a section from (what, total units, finished units).
        held: a context in which signals wait.
        check: called after each commit; raises where the run shall stop.

    Attributes:
        reused: positions of the last call's requests whose results came from another run.
        reused_count: number of those, of all calls.
    """

    def __init__(
        self,
        journal: Journal,
        records: Iterable[Record] = (),
        *,
        source: Source | None = None,
        watch: Callable[[str, int, int], Watch] | None = None,
        held: Callable[[], AbstractContextManager[None]] = nullcontext,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self.sections = read_sections(records, journal.path)
        self._source = source
        self._watch = watch
        self._held = held
        self._check = check
        self._called = 0
        self.reused: list[int] = []
        self.reused_count = 0

    def score(self, requests: Sequence[TokenRequest], scorer: Scorer) -> list[Score]:
        """Return the scores of all requests, in their order; computes those that the journal doesn't have.

        A result that isn't finite, or that the scorer left out, is (nan, False).

        Raises:
            StoreError: the journal belongs to other requests, or the disk failed.
        """
        keys = [request_key(request, scorer.max_length, index) for index, request in enumerate(requests)]
        number, section = self._next_section(SCORES)
        found = self._reuse(number, section, keys, keys)
        rest = [index for index, key in enumerate(keys) if key not in found]
        todo = [requests[index] for index in rest]
        rest_keys = [keys[index] for index in rest]
        plan = self._plan(number, section, rest_keys, lambda: _of_plan(scorer.plan(todo))) if rest else None
        if plan is None:
            return [found[key] for key in keys]
        packs = Plan.from_json(json.dumps(plan["plan"]))
        if packs.digest != plan["sha256"]:
            raise StoreError(f"{self._journal.path}: the plan is not the one that was hashed; start anew with --fresh")
        tokens = [pack.tokens for pack in packs.packs]
        watch = self._watcher(SCORES, sum(tokens), sum(tokens[done] for done in section.done))
        with self._held():
            pending = self._pending(section, len(tokens))
            for result in scorer.iter_packs(todo, packs, pending, section.budget_tokens):
                record = {
                    "pack": result.pack,
                    "keys": [rest_keys[index] for index in result.requests],
                    "logprobs": [_number(logprob) for logprob in result.logprobs],
                    "greedy": [int(greedy) for greedy in result.is_greedy],
                    "parts": result.parts,
                    "budget_tokens": result.budget_tokens,
                }
                self._commit(number, section, "pack", record)
                watch.advance(tokens[result.pack])
            self._check()
        watch.finish()
        scores = found | dict(section.results())
        return [scores.get(key, (math.nan, False)) for key in keys]

    def generate(
        self,
        prompts: Sequence[Prompt],
        plan: Callable[[Sequence[Prompt]], Sequence[Sequence[int]]],
        compute: Callable[[Sequence[int]], Sequence[str | None]],
    ) -> list[str | None]:
        """Return the continuations of all prompts, in their order; None where generation failed.

        Args:
            prompts: all of them; repetitions are generated separately.
            plan: groups prompts into batches: lists of positions.
            compute: generates one batch, given as positions among ``prompts``; None where that fails.

        Raises:
            StoreError: the journal belongs to other prompts, or the disk failed.
        """
        keys = prompt_keys(prompts)
        number, section = self._next_section(TEXTS)
        usable = [key for key, prompt in zip(keys, prompts, strict=True) if prompt.is_greedy]
        found = self._reuse(number, section, keys, usable)
        rest = [index for index, key in enumerate(keys) if key not in found]
        todo = [prompts[index] for index in rest]
        rest_keys = [keys[index] for index in rest]

        def batches_of_plan() -> Record:
            batches = [list(map(int, batch)) for batch in plan(todo)]
            return {"plan": batches, "sha256": _sha256(batches), "packs": len(batches)}

        stored = self._plan(number, section, rest_keys, batches_of_plan) if rest else None
        if stored is None:
            return [found[key] for key in keys]
        batches: list[list[int]] = stored["plan"]
        if _sha256(batches) != stored["sha256"] or sorted(i for batch in batches for i in batch) != list(
            range(len(rest))
        ):
            raise StoreError(f"{self._journal.path}: the plan is not the one that was hashed; start anew with --fresh")
        finished = sum(len(batches[done]) for done in section.done)
        watch = self._watcher(TEXTS, len(rest), finished)
        with self._held():
            for batch in self._pending(section, len(batches)):
                texts = list(compute([rest[index] for index in batches[batch]]))
                record = {"pack": batch, "keys": [rest_keys[index] for index in batches[batch]], "texts": texts}
                self._commit(number, section, "texts", record)
                watch.advance(len(texts))
            self._check()
        watch.finish()
        texts_by_key = found | dict(section.results())
        return [texts_by_key.get(key) for key in keys]

    def describe(self) -> dict[str, Any]:
        """Return what the record says about the work: by section how many requests, batches and splits."""
        return {
            "reused_from": next((section.reused["from"] for section in self.sections if section.reused), None),
            "sections": [
                {
                    "what": section.what,
                    "requests": section.requests,
                    "reused": section.reused_requests,
                    "plan_sha256": section.plan["sha256"] if section.plan else None,
                    "packs": section.plan["packs"] if section.plan else 0,
                    "split_packs": {
                        str(number): record["parts"]
                        for number, record in sorted(section.done.items())
                        if record.get("parts", 1) > 1
                    },
                }
                for section in self.sections
            ],
        }

    def _next_section(self, what: str) -> tuple[int, Section]:
        number = self._called
        self._called += 1
        self.reused = []
        if number == len(self.sections):
            self.sections.append(Section(what))
        section = self.sections[number]
        if section.what != what:
            raise StoreError(
                f"{self._journal.path}: has {section.what} where {what} are wanted; the tasks have changed since: "
                "start anew with --fresh"
            )
        return number, section

    def _reuse(self, number: int, section: Section, keys: Sequence[str], usable: Iterable[str]) -> dict[str, Any]:
        """Return the section's results from another run; looks them up when the section begins, and records them."""
        if section.reused is None and section.plan is None and self._source is not None:
            known = self._source.results[section.what]
            taken = {key: known[key] for key in dict.fromkeys(usable) if key in known}
            record: Record = {"from": self._source.name, "keys": list(taken)}
            if section.what == TEXTS:
                record["texts"] = list(taken.values())
            else:
                record["logprobs"] = [_number(logprob) for logprob, _ in taken.values()]
                record["greedy"] = [int(greedy) for _, greedy in taken.values()]
            section.reused = self._append(number, section, "reused", record)
        if section.reused is None:
            return {}
        found = dict(zip(section.reused["keys"], _values(section.what, section.reused), strict=True))
        if not found.keys() <= set(keys):
            raise self._foreign()
        self.reused = [position for position, key in enumerate(keys) if key in found]
        self.reused_count += len(self.reused)
        return found

    def _plan(self, number: int, section: Section, keys: Sequence[str], make: Callable[[], Record]) -> Record:
        """Return the stored plan, or make and store one."""
        sha256 = _sha256(list(keys))
        if section.plan is None:
            section.plan = self._append(
                number, section, "plan", {"requests": len(keys), "requests_sha256": sha256, **make()}
            )
        elif section.plan["requests_sha256"] != sha256:
            raise self._foreign()
        return section.plan

    def _pending(self, section: Section, count: int) -> Iterator[int]:
        """Yield what is not done; ends early where the run shall stop, so that a scorer finishes what it has begun."""
        for number in range(count):
            if number not in section.done:
                if self._shall_stop():
                    return
                yield number

    def _shall_stop(self) -> bool:
        try:
            self._check()
        except KeyboardInterrupt:
            return True
        return False

    def _commit(self, number: int, section: Section, kind: str, record: Record) -> None:
        section.done[record["pack"]] = self._append(number, section, kind, record)

    def _append(self, number: int, section: Section, kind: str, record: Record) -> Record:
        whole = {"kind": kind, "section": number, "what": section.what, **record}
        self._journal.append(whole)
        return whole

    def _watcher(self, what: str, total: int, done: int) -> Watch:
        return self._watch(what, total, done) if self._watch else _Nobody()

    def _foreign(self) -> StoreError:
        return StoreError(
            f"{self._journal.path}: was made for other requests than the tasks have now; start anew with --fresh"
        )


class _Nobody:
    def advance(self, units: int) -> None:
        """Nobody is told."""

    def finish(self) -> None:
        """Nobody is told."""


def _of_plan(plan: Plan) -> Record:
    return {"plan": json.loads(plan.to_json()), "sha256": plan.digest, "packs": len(plan.packs)}


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()
