"""What of a run's work is done: plans, finished packs, finished texts. Computes what is missing, and nothing twice.

A run's work comes in *sections*, one for each call of ``score`` (all log-likelihood requests) and of ``generate`` (all
prompts), in the order of the calls. A section's records in the journal are

::

    asked      which document of which task each request belongs to; written first
    reused     scores taken over from another run (with --reuse only)
    plan       how the other requests are grouped; written before anything is computed
    pack       scores of one pack of the plan          (one record a finished pack)
    texts      generated texts of one batch of the plan (one record a finished batch; in any order)

What a floating-point result is depends on what shares its batch. So a resumed run computes the stored plan's packs,
whatever the batch size or the free memory of today, and starts from the memory budget that the last pack left. Results
are then the same to the bit, and so is the journal. Texts that do not depend on what is beside them are batches of
their own, written in the order in which they are finished, which is another after an interruption.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

from evalkit.errors import StoreError
from evalkit.records.model import WorkDone, WorkSection
from evalkit.scoring.checked import check_batches, checked_texts
from evalkit.scoring.packs import Scorer, iter_packs
from evalkit.scoring.plan import PackPlan
from evalkit.scoring.requests import Score, TokenRequest
from evalkit.store.journal import Record
from evalkit.store.sections import (
    SCORES,
    TEXTS,
    RenderedPrompt,
    Section,
    Source,
    prompt_keys,
    read_sections,
    request_key,
    stored_number,
    stored_values,
)


class ProgressWatch(Protocol):
    """Who is told of the progress, as `evalkit.evaluation.progress.Progress` is."""

    def advance(self, units: int, tasks: Mapping[str, int]) -> None:
        """Count finished work, and by task the requests that it answered."""

    def finish(self) -> None:
        """The section is finished."""

    def stop(self) -> None:
        """The run ends before its end; the section may be finished."""


class Keeper(Protocol):
    """Who keeps records: a `Journal`, or `Nowhere`."""

    path: Path

    def append(self, record: Mapping[str, Any]) -> None:
        """Keep a record."""


class Nowhere:
    """Keeps nothing, for work that no other process goes on with; it is checked as work that is kept."""

    path = Path("a journal that is not kept")

    def append(self, record: Mapping[str, Any]) -> None:
        """Forget a record."""


class Ledger:
    """A run's work, backed by its journal.

    Args:
        journal: open for writing, or `Nowhere`.
        records: the journal's records so far.
        source: run to take results over from.
        watch: makes the watcher of a section from what, total units, finished units, by task (answered requests, all).
        held: a context in which signals wait.
        check: called after each commit; raises where the run shall stop.
        before: called before each commit; raises where what was computed is not this run's model's.

    Attributes:
        called: number of calls so far; each has its section, in their order.
        reused: positions of the last call's requests whose results came from another run.
    """

    def __init__(
        self,
        journal: Keeper,
        records: Iterable[Record] = (),
        *,
        source: Source | None = None,
        watch: Callable[[str, int, int, Mapping[str, tuple[int, int]]], ProgressWatch] | None = None,
        held: Callable[[], AbstractContextManager[None]] = nullcontext,
        check: Callable[[], None] = lambda: None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self.sections = read_sections(records, journal.path)
        self._source = source
        self._watch = watch
        self._held = held
        self._check = check
        self._before = before
        self._watching: ProgressWatch = _Nobody()
        self.called = 0
        self.reused: list[int] = []

    def score(
        self, requests: Sequence[TokenRequest], scorer: Scorer, documents: Sequence[tuple[str, int]] = ()
    ) -> list[Score]:
        """Return the scores of all requests, in their order; computes those that the journal doesn't have.

        A result that isn't finite, or that the scorer left out, is (nan, False).

        Args:
            requests: all of them.
            scorer: plans packs and computes them.
            documents: (task, doc_id) of each request, by which a look at the journal finds answers without a tokenizer.

        Raises:
            StoreError: the journal belongs to other requests, or the disk failed.
        """
        keys = [request_key(request, scorer.max_length, index) for index, request in enumerate(requests)]
        number, section = self._next_section(SCORES, documents)
        found = self._reuse(number, section, keys, range(len(keys)))
        rest = [position for position in range(len(keys)) if position not in found]
        todo = [requests[position] for position in rest]
        rest_keys = [keys[position] for position in rest]
        plan = self._plan(number, section, rest_keys, lambda: _of_plan(scorer.plan(todo))) if rest else None
        if plan is None:
            return [found[position] for position in range(len(keys))]
        packs = PackPlan.from_json(_text(plan["plan"]))
        if _sha256(plan["plan"]) != plan["sha256"]:
            raise StoreError(f"{self._journal.path}: the plan is not the one that was hashed; start anew with --fresh")
        tokens = [pack.tokens for pack in packs.packs]
        watch = self._watcher(section, sum(tokens), sum(tokens[done] for done in section.done))
        with self._held():
            pending, asked = self._pending(section, len(tokens)), section.documents()
            for result in iter_packs(scorer, todo, packs, pending, section.budget_tokens):
                positions = [rest[index] for index in result.requests]
                record = {
                    "pack": result.pack,
                    "requests": positions,
                    "keys": [rest_keys[index] for index in result.requests],
                    "logprobs": [stored_number(logprob) for logprob in result.logprobs],
                    "greedy": [int(greedy) for greedy in result.is_greedy],
                    "parts": result.parts,
                    "budget_tokens": result.budget_tokens,
                }
                self._commit(number, section, "pack", record)
                watch.advance(tokens[result.pack], _by_task(asked, positions))
            self._check()
        watch.finish()
        scores = section.by_position()
        return [scores.get(position, (math.nan, False)) for position in range(len(keys))]

    def generate(
        self,
        prompts: Sequence[RenderedPrompt],
        plan: Callable[[Sequence[RenderedPrompt]], Sequence[Sequence[int]]],
        stream: Callable[[Iterator[tuple[int, list[int]]]], Iterator[tuple[int, Sequence[str | None]]]],
        documents: Sequence[tuple[str, int]] = (),
    ) -> list[str | None]:
        """Return the continuations of all prompts, in their order; None where generation failed.

        Args:
            prompts: all of them; repetitions are generated separately.
            plan: groups prompts into batches: lists of positions.
            stream: is given (number, positions among ``prompts``) of each batch when it asks for the next, and yields
                (number, texts) of each when it is finished, in any order; a text is None where that fails. What it has
                begun is given up where the run shall stop.
            documents: (task, doc_id) of each prompt; see `score`.

        Raises:
            StoreError: the journal belongs to other prompts, or the disk failed.
        """
        keys = prompt_keys(prompts)
        number, section = self._next_section(TEXTS, documents)
        greedy = [position for position, prompt in enumerate(prompts) if prompt.is_greedy]
        found = self._reuse(number, section, keys, greedy)
        rest = [position for position in range(len(keys)) if position not in found]
        todo = [prompts[position] for position in rest]
        rest_keys = [keys[position] for position in rest]

        def batches_of_plan() -> Record:
            batches = [list(map(int, batch)) for batch in plan(todo)]
            check_batches(
                "plan of the texts", batches, len(todo)
            )  # a wrong plan that was kept could never be worked off
            return {"plan": batches, "sha256": _sha256(batches), "packs": len(batches)}

        stored = self._plan(number, section, rest_keys, batches_of_plan) if rest else None
        if stored is None:
            return [found[position] for position in range(len(keys))]
        batches: list[list[int]] = stored["plan"]
        if _sha256(batches) != stored["sha256"] or sorted(i for batch in batches for i in batch) != list(
            range(len(rest))
        ):
            raise StoreError(f"{self._journal.path}: the plan is not the one that was hashed; start anew with --fresh")
        finished = sum(len(batches[done]) for done in section.done)
        watch = self._watcher(section, len(rest), finished)
        asked = section.documents()
        with self._held():
            pending = (
                (batch, [rest[index] for index in batches[batch]]) for batch in self._pending(section, len(batches))
            )
            made = stream(pending)
            try:
                for batch, given in made:
                    positions = [rest[index] for index in batches[batch]]
                    texts = checked_texts("a batch", given, len(positions))
                    record = {"pack": batch, "requests": positions, "keys": [keys[p] for p in positions]}
                    self._commit(number, section, "texts", {**record, "texts": texts})
                    watch.advance(len(texts), _by_task(asked, positions))
                    if self._shall_stop():
                        break
            finally:
                if isinstance(made, Generator):
                    made.close()
            self._check()
        watch.finish()
        by_position = section.by_position()
        return [by_position.get(position) for position in range(len(keys))]

    def stop(self) -> None:
        """Tell who watches that the run ends before its end."""
        self._watching.stop()

    def describe(self) -> WorkDone:
        """Return what the record says about the work: by section how many requests, batches and splits."""
        return WorkDone(
            reused_from=next((section.reused["from"] for section in self.sections if section.reused), None),
            sections=tuple(
                WorkSection(
                    what=section.what,
                    requests=section.requests,
                    reused=section.reused_requests,
                    plan_sha256=section.plan["sha256"] if section.plan else None,
                    packs=section.plan["packs"] if section.plan else 0,
                    split_packs={
                        str(number): record["parts"]
                        for number, record in sorted(section.done.items())
                        if record.get("parts", 1) > 1
                    },
                )
                for section in self.sections
            ),
        )

    def _next_section(self, what: str, asked: Sequence[tuple[str, int]]) -> tuple[int, Section]:
        number = self.called
        self.called += 1
        self.reused = []
        if number == len(self.sections):
            self.sections.append(Section(what))
        section = self.sections[number]
        if section.what != what:
            raise StoreError(
                f"{self._journal.path}: has {section.what} where {what} are wanted; the tasks have changed since: "
                "start anew with --fresh"
            )
        if asked and section.asked is None and section.reused is None and section.plan is None:
            documents = [[task, [doc_id for _, doc_id in of_task]] for task, of_task in groupby(asked, itemgetter(0))]
            section.asked = self._append(number, section, "asked", {"documents": documents})
        return number, section

    def _reuse(self, number: int, section: Section, keys: Sequence[str], usable: Iterable[int]) -> dict[int, Any]:
        """Return results from another run by position; looks them up when the section begins, and records them."""
        if section.reused is None and section.plan is None and self._source is not None:
            known = self._source.results[section.what]
            taken = [position for position in usable if keys[position] in known]
            values = [known[keys[position]] for position in taken]
            record: Record = {"from": self._source.name, "requests": taken, "keys": [keys[p] for p in taken]}
            if section.what == TEXTS:
                record["texts"] = values
            else:
                record["logprobs"] = [stored_number(logprob) for logprob, _ in values]
                record["greedy"] = [int(greedy) for _, greedy in values]
            section.reused = self._append(number, section, "reused", record)
        if section.reused is None:
            return {}
        positions = section.reused["requests"]
        if [keys[position] for position in positions if position < len(keys)] != section.reused["keys"]:
            raise self._foreign()
        self.reused = list(positions)
        return dict(zip(positions, stored_values(section.what, section.reused), strict=True))

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
        self._before()
        section.done[record["pack"]] = self._append(number, section, kind, record)

    def _append(self, number: int, section: Section, kind: str, record: Record) -> Record:
        whole = {"kind": kind, "section": number, "what": section.what, **record}
        self._journal.append(whole)
        return whole

    def _watcher(self, section: Section, total: int, done: int) -> ProgressWatch:
        if self._watch is None:
            return _Nobody()
        documents = section.documents()
        answered = _by_task(documents, [position for position, _, _ in section.results()])
        every = _by_task(documents, range(len(documents or ())))
        self._watching = self._watch(section.what, total, done, {t: (answered[t], every[t]) for t in every})
        return self._watching

    def _foreign(self) -> StoreError:
        return StoreError(
            f"{self._journal.path}: was made for other requests than the tasks have now; start anew with --fresh"
        )


class _Nobody:
    def advance(self, units: int, tasks: Mapping[str, int]) -> None:
        """Nobody is told."""

    def finish(self) -> None:
        """Nobody is told."""

    def stop(self) -> None:
        """Nobody is told."""


def _by_task(documents: Sequence[tuple[str, int]] | None, positions: Iterable[int]) -> Counter[str]:
    """Count requests at positions by task; none where the journal does not say of which task they are."""
    return Counter(documents[position][0] for position in positions) if documents else Counter()


def _of_plan(plan: PackPlan) -> Record:
    body = json.loads(plan.to_json())
    # The hash is that of ``to_json``, `PackPlan.digest`.
    return {"plan": body, "sha256": _sha256(body), "packs": len(plan.packs)}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _sha256(value: Any) -> str:
    return hashlib.sha256(_text(value).encode()).hexdigest()
