"""How long a run's texts will take: their first tokens are generated, and their lengths guessed by these."""

from __future__ import annotations

import bisect
import heapq
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from evalkit.scoring.generate import Generator
from evalkit.scoring.schedule import READ_TOKENS, GenerationRow, common_prefix, in_families

# The measurement ends once it has taken so long.
MEASURED_SECONDS = 1.0
# New tokens of the texts by which generation is measured; fewer, of fewer batches, once `MEASURED_SECONDS` are spent.
MEASURED_TOKENS = 16
MEASURED_BATCHES = 8
# Prompts that are read for it where rows have slots: a step takes as long over copies of their rows.
MEASURED_PROMPTS = 8
# A text that goes on after those is taken to end with this chance a token, until its own ends say more.
ENDS = 1 / 100


@dataclass
class TextTimes:
    """What the first steps of some batches say about all texts of a task.

    Attributes:
        batches: how many batches all texts make.
        rows: rows of a batch.
        prompts: tokens of all prompts that will be read.
        most: greatest number of new tokens of a text.
        lengths: new tokens made of each text that was begun.
        ended: of each, whether it ended there by itself.
        read_tokens, read_seconds: prompts that were read, and how long that took.
        steps, step_seconds: further steps, and how long those took.
        texts: number of all texts, where a waiting row takes the place of one that is finished; 0: batch by batch.
        costs: then of each further step (rows, seconds).
    """

    batches: int
    rows: int
    prompts: int
    most: int
    lengths: list[int] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)
    read_tokens: int = 0
    read_seconds: float = 0.0
    steps: int = 0
    step_seconds: float = 0.0
    texts: int = 0
    costs: list[tuple[int, float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long the measurement took."""
        return self.read_seconds + self.step_seconds

    def whole_seconds(self) -> float:
        """Return about how long all texts will take."""
        reading = self.read_seconds * self.prompts / max(1, self.read_tokens)
        if self.texts:
            base, a_row = line_through(self.costs)
            return reading + sum(steps * (base + a_row * rows) for rows, steps in self.flow().items())
        step = self.step_seconds / self.steps if self.steps else 0.0
        return reading + self.batches * step * self.expected_steps()

    def flow(self) -> Counter[int]:
        """Return how many steps will be of how many rows, were the texts as long as drawn by what was seen."""
        below = [-survives for survives in self._survival()]
        # One from each equal share of the lengths: of few texts, draws would be all short or all long by chance.
        shares = [(number + 0.5) / self.texts for number in range(self.texts)]
        random.Random(0).shuffle(shares)
        found: Counter[int] = Counter()
        ends: list[int] = []
        now, left = 0, self.texts
        while left or ends:
            while left and len(ends) < self.rows:
                left -= 1
                steps = bisect.bisect_left(below, -shares[left])  # the first token comes with the prompt
                if steps:
                    heapq.heappush(ends, now + steps)
            if ends:
                found[len(ends)] += ends[0] - now
                now = ends[0]
            while ends and ends[0] == now:
                heapq.heappop(ends)
        return found

    def expected_steps(self) -> float:
        """Return the steps of a batch after its first: until the longest of its texts ends."""
        return sum(1 - (1 - survives) ** self.rows for survives in self._survival())

    def _survival(self) -> list[float]:
        """Return for each step after the first the share of texts that have it.

        While there are texts that were watched so long, a token's chance to be the last is what was seen (Kaplan and
        Meier, 1958); after that it is constant, by the ends seen and `ENDS`.
        """
        # Texts that end at once (no answer at all) say nothing about when the others end.
        later = sum(e and length > 1 for e, length in zip(self.ended, self.lengths, strict=True))
        chance = (later + 1) / (sum(self.lengths) - len(self.lengths) + 1 / ENDS)
        survives = 1.0
        found: list[float] = []
        for position in range(1, self.most):
            watched = sum(length >= position for length in self.lengths)
            ends = sum(e and length == position for e, length in zip(self.ended, self.lengths, strict=True))
            survives *= 1 - (ends / watched if watched else chance)
            found.append(survives)
        return found


def line_through(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return (a, b) of the line a + b x that is nearest to points; neither is below 0."""
    if not points:
        return 0.0, 0.0
    x, y = (sum(column) / len(points) for column in zip(*points, strict=True))
    spread = sum((at - x) ** 2 for at, _ in points)
    slope = max(0.0, sum((at - x) * (value - y) for at, value in points) / spread) if spread else 0.0
    slope = min(slope, y / x)
    return y - slope * x, slope


def _measure_slots(generator: Generator, rows: Sequence[GenerationRow], batch: int, *, warm_up: bool) -> TextTimes:
    """Do as `measure_texts` does where rows have slots: few prompts are read, and steps are of as many rows as in the
    run, copies of theirs."""
    tokens = max(row.tokens for row in rows)
    size = min(batch, generator.runner.rows_that_fit(tokens), len(rows))
    ordered = in_families(rows, lambda row: row.prompt_ids, READ_TOKENS)
    most = max(row.request.max_new_tokens for row in rows)
    found = TextTimes(1, size, _read_tokens(ordered), most, texts=len(rows))
    if warm_up:
        row = min(rows, key=lambda row: len(row.prompt_ids))
        next(generator.steps([row]))
    chosen = random.Random(0).sample(rows, min(len(rows), MEASURED_BATCHES * MEASURED_PROMPTS))
    for start in range(0, len(chosen), MEASURED_PROMPTS):
        some = chosen[start : start + MEASURED_PROMPTS]
        copies = [
            [GenerationRow(row.request, row.prompt_ids, []) for _ in range(-(-size // len(some)))] for row in some
        ]
        _time_steps(generator, [row for of_one in copies for row in of_one][: max(size, len(some))], found)
        kept = [of_one[0] for of_one in copies]
        found.lengths += [len(row.generated) for row in kept if row.generated]
        found.ended += [row.is_finished for row in kept if row.generated]
        if not start and size > 2:
            # How much of a step's time is the rows'.
            few = [GenerationRow(row.request, row.prompt_ids, []) for row in some[:1] for _ in range(2)]
            _time_steps(generator, few, found)
        if found.seconds > MEASURED_SECONDS and max(found.lengths) > 1:
            break
    return found


def _time_steps(generator: Generator, rows: list[GenerationRow], found: TextTimes) -> None:
    """Run some steps and note their times."""
    clock, active = time.perf_counter(), len(rows)
    begun = found.seconds
    for step, left in enumerate(generator.steps(rows)):
        took = time.perf_counter() - clock
        if step:
            found.steps, found.step_seconds = found.steps + 1, found.step_seconds + took
            found.costs.append((active, took))
        else:
            found.read_tokens += _read_tokens(rows)
            found.read_seconds += took
        active = left
        if not active or step + 1 >= MEASURED_TOKENS or (step > 3 and found.seconds - begun > MEASURED_SECONDS):
            return
        clock = time.perf_counter()


def _read_tokens(rows: Sequence[GenerationRow]) -> int:
    """Return how many tokens are read of prompts in this order: not what one has in common with that before it."""
    tokens = 0
    before: tuple[int, ...] = ()
    for row in rows:
        if row.prompt_ids != before:
            shared = min(common_prefix(before, row.prompt_ids), len(row.prompt_ids) - 1) // READ_TOKENS * READ_TOKENS
            tokens += len(row.prompt_ids) - shared
        before = row.prompt_ids
    return tokens


def measure_texts(generator: Generator, rows: Sequence[GenerationRow], batch: int, *, warm_up: bool) -> TextTimes:
    """Begin some texts of a task, as the run would, and stop them after a few tokens."""
    if generator.uses_slots:
        return _measure_slots(generator, rows, batch, warm_up=warm_up)
    # Rows that are run alone (`rotary`) take a pass over the weights each.
    batch = 1 if any(map(generator.is_alone, rows)) else min(batch, len(rows))
    starts = range(0, len(rows), batch)
    distinct = {row.prompt_ids: None for row in rows}
    mean = sum(map(len, distinct)) / len(distinct)
    most = max(row.request.max_new_tokens for row in rows)
    found = TextTimes(len(starts), batch, round(mean * max(len(distinct), len(starts))), most)
    if warm_up:
        row = min(rows, key=lambda row: len(row.prompt_ids))
        next(generator.steps([row]))
    chosen = random.Random(0).sample(starts, min(len(starts), MEASURED_BATCHES))
    for number, start in enumerate(chosen):
        some = list(rows[start : start + batch])
        clock = time.perf_counter()
        for step, active in enumerate(generator.steps(some)):
            took = time.perf_counter() - clock
            if step:
                found.steps, found.step_seconds = found.steps + 1, found.step_seconds + took
            else:
                found.read_tokens += sum(map(len, {row.prompt_ids for row in some}))
                found.read_seconds += took
            if not active or step + 1 >= MEASURED_TOKENS or (step > 3 and found.seconds > MEASURED_SECONDS):
                break
            clock = time.perf_counter()
        # `steps` leaves out what is finished: a row that could have gone on has as many tokens as the batch had steps.
        found.lengths += [len(row.generated) for row in some]
        found.ended += [row.is_finished for row in some]
        if found.seconds > MEASURED_SECONDS and (number or found.lengths[0] > 1):
            break
    return found
