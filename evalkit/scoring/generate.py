"""Generation that equals lm-eval's ``generate_until`` under greedy decoding, with less work.

What is saved: equal prompts are read once, however many samples are wanted, and so is what prompts begin with in
common; a finished row makes room for the next at once (``schedule``); keys and values are written in place instead of
copied at each step (``slots``); where texts repeat what was said before, a step gives several tokens (``drafts``); on
the CPU the weights lie as its products want them (``prepacked``); stop strings are looked for in the last few tokens
instead of once a stop string over the whole batch (``completion.Stream``).

Models that slots are not for (their positions come from a mask, or change with the batch's longest row) are generated
for batch by batch, with keys and values that grow (``runner``): there rows that are finished leave, and none joins.
Rows that may become longer than the model's rotary embeddings stay the same for are run alone (``rotary``).

As in lm-eval: prompts are cut on the left to max_length - max_new_tokens; the text ends before the first stop string,
the stop strings being applied in their order; special tokens are not part of the text. Not as in lm-eval's ``hf``: the
text is what the new tokens add to the prompt's (``completion``). ``generate_choice`` leaves the loop to transformers
where a small probe does not agree with the plain scorer. Penalties and the like of the checkpoint's
generation_config.json are not applied: the protocol is greedy, or plain sampling, unless a request asks for more.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from evalkit.errors import ModelError
from evalkit.out_of_memory import is_out_of_memory
from evalkit.scoring.drafts import Drafts, Text
from evalkit.scoring.encode import encode_strings
from evalkit.scoring.generate_transformers import generate_row
from evalkit.scoring.parts import Budget, halved, in_parts, release_cache
from evalkit.scoring.prepacked import Prepacked
from evalkit.scoring.requests import GenerationRequest
from evalkit.scoring.rotary import Rotary
from evalkit.scoring.runner import ModelRunner
from evalkit.scoring.sampling import choose
from evalkit.scoring.schedule import READ_TOKENS, Batch, Flow, GenerationRow, in_families, make_rows
from evalkit.scoring.slots import Slots, why_no_slots
from evalkit.scoring.stopping import EndWatch, Stopping

MAX_ROWS = 128
"""Greatest number of rows of a batch. More hardly make products faster a row (random Mistral, one thread, 359 texts of
128 tokens: 36.4 CPU seconds with 64 rows, 32.7 with 128, 32.3 with 256), and a kill loses more texts in the making."""

FEWEST_PREPACKED = 4
"""oneDNN's products take longer for one to three rows than for four (SmolLM2-135M: 43, 47, 38 and 35 ms)."""


@dataclass(eq=False)
class Making:
    """A row whose text is being made.

    Attributes:
        row, watch: the row, and what says when it ends.
        text: its tokens, for drafts; None where none are made.
        draft: how it may go on behind its last token, in this step.
        match: tokens before the draft that agreed with where it is from.
    """

    row: GenerationRow
    watch: EndWatch
    text: Text | None = None
    draft: list[int] = field(default_factory=list)
    match: int = 0

    def tokens(self, drafted: int) -> tuple[int, ...]:
        """Return the row's tokens so far, prompt included, and the first ``drafted`` ones of its draft."""
        return (*self.row.prompt_ids, *self.row.generated, *self.draft[:drafted])


class Generator:
    """Generates completions.

    Args:
        model: a transformers causal language model in evaluation mode for which ``unsupported`` returns None.
        tokenizer: its tokenizer.
        max_length: the model's context length in tokens.
        add_special_tokens: False for protocol nous-2023; None: as the tokenizer is set up.
        max_rows: greatest number of rows of a batch; becomes less where memory runs out.
        uses_slots: False: batch by batch, whatever the model.

    Attributes:
        is_invariant: a row's numbers were seen not to depend on what else is in the batch, to the bit; for whoever
            tried it to set.
        one_thread: steps compute their attention on one thread, since that was seen to be needed for it.
        rotary: says which rows are run alone.
        drafts: several tokens of a row may be looked at in one step, since that, too, was seen to change no bit.
        guesses: what the drafts are from.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        max_length: int,
        add_special_tokens: bool | None = False,
        max_rows: int = MAX_ROWS,
        uses_slots: bool = True,
        prepacks: bool | None = None,
    ) -> None:
        self._prepacks = prepacks
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.runner = ModelRunner(model)
        self.stopping = Stopping(model, tokenizer)
        self._add_special_tokens = add_special_tokens
        self._budget = Budget(max_rows)
        self.rotary = Rotary(model)
        self.uses_slots = uses_slots and why_no_slots(model) is None
        self.is_invariant = False
        self.one_thread = False
        self.drafts = False
        self.guesses = Drafts()

    @functools.cached_property
    def prepacked(self) -> Prepacked:
        """The weights as the processor wants them; made when they are first needed."""
        return Prepacked(self.runner.model, wanted=self._prepacks)

    def new_slots(self, rows: int, tokens: int) -> Slots:
        """Return slots for so many rows of so many tokens, prompt included."""
        # Without oneDNN's order of the weights, products of a number of rows that is no multiple of four a thread have
        # kernels of their own.
        on_cpu = self.runner.device.type == "cpu"
        multiple = 1 if self.prepacked or not on_cpu else 4 * torch.get_num_threads()
        return Slots(
            self.runner.model,
            rows,
            tokens,
            row_multiple=multiple,
            fewest=FEWEST_PREPACKED if self.prepacked else 2,
            one_thread=self.one_thread,
        )

    def is_alone(self, row: GenerationRow) -> bool:
        """Whether a row is run alone, since the model's positions change with its length."""
        return self.rotary.is_long(row.tokens)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[str | None]:
        """Return the completions, in the order of the requests; None where the model's logits were not finite.

        Raises:
            ConfigError: max_new_tokens leaves no room for a prompt.
            ModelError: a single row does not fit into memory.
        """
        texts: list[str | None] = [None] * len(requests)
        for row, text in self.stream(self.rows(requests)):
            for index in row.indices:
                texts[index] = text
        return texts

    def stream(
        self, rows: Sequence[GenerationRow], *, waiting: Iterable[GenerationRow] | None = None, max_rows: int = MAX_ROWS
    ) -> Iterator[tuple[GenerationRow, str | None]]:
        """Generate for rows; yields each as soon as it is finished, with its text.

        Args:
            rows: all of them, by which slots are sized.
            waiting: those of them that are to be made, asked for one by one when there is a slot; None: all, in the
                order of `in_families`. With slots only.
            max_rows: greatest number of rows at once.
        """
        if not rows:
            return
        if not self.uses_slots:
            for row in self._finished([row for row in rows if not self.is_alone(row)]):
                yield row, self._text(row)
            for row in filter(self.is_alone, rows):
                generate_row(self.runner.model, row, self.stopping)
                yield row, self._text(row)
            return
        if waiting is None:
            waiting = in_families(rows, lambda row: row.prompt_ids, READ_TOKENS)
        flow = Flow(waiting, 0)
        tokens = max(row.tokens for row in rows)
        size = min(self._budget.size, max_rows, self.runner.rows_that_fit(tokens), len(rows))
        given: list[GenerationRow] = []
        while True:
            flow.slots = size
            try:
                with self.prepacked.used():
                    for finished in self._flow(flow, self.new_slots(size, tokens), has_drafts=self.drafts):
                        given = finished
                        for row in finished:
                            yield row, self._text(row)
                return
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                message = str(error).splitlines()[0] if str(error) else type(error).__name__
                longest = max((len(row.prompt_ids) for row in flow.active), default=0)
            release_cache(self.runner.device)
            if size == 1:
                raise ModelError(
                    f"out of memory on {self.runner.device} for one prompt of {longest} tokens ({message}); "
                    "use a smaller dtype, a larger device or a smaller max_length"
                )
            size = self._budget.size = size // 2
            flow.start_again(given)

    @torch.inference_mode()
    def _flow(self, flow: Flow, slots: Slots, *, has_drafts: bool) -> Iterator[list[GenerationRow]]:
        """Generate a token a step, or more, for each row of a flow in slots; yields the rows that this finishes."""
        making: dict[int, Making] = {}
        while True:
            rows = [making[id(row)] for row in flow.active]
            tokens = [row.generated[-1] for row in flow.active]
            lengths = [len(row.prompt_ids) + len(row.generated) - 1 for row in flow.active]
            self._draft(rows)
            logits = [slots.step(tokens, lengths, [one.draft for one in rows])] if rows else []
            for slot, row in flow.join():
                making[id(row)] = one = self._begin(row, has_drafts=has_drafts)
                rows.append(one)
                logits.append(slots.read(slot, row.prompt_ids)[None])
            if not logits:
                return
            while not self._take(torch.cat(logits) if len(logits) > 1 else logits[0], rows):
                # Keys and values of a draft may be no numbers, which no mask keeps from the tokens before it.
                for slot, length in enumerate(lengths):
                    slots.clear(slot, length + 1)
                    rows[slot].draft = []
                logits[0] = slots.step(tokens, lengths)
            # Before slots are moved, for which there may be no memory: then these are not lost.
            yield [row for row in flow.active if row.is_finished]
            for row, slot, last in flow.leave():
                del making[id(row)]
                if row.has_failed:
                    slots.clear(slot)
                if slot != last:
                    moved = flow.active[slot]
                    if moved.has_failed:
                        slots.clear(last)  # it leaves next, and has left its numbers there
                    else:
                        slots.move(last, slot, len(moved.prompt_ids) + len(moved.generated) - 1)

    def _begin(self, row: GenerationRow, *, has_drafts: bool) -> Making:
        watch = self.stopping.watch(row.prompt_ids, row.request.until, row.request.max_new_tokens)
        return Making(row, watch, self.guesses.begin(row.prompt_ids) if has_drafts else None)

    def _draft(self, rows: Sequence[Making]) -> None:
        """Say for each row with what its text may go on."""
        room = READ_TOKENS - len(rows)
        for one in rows:
            one.draft, one.match = [], 0
            if one.text is not None:
                most = one.row.request.max_new_tokens - len(one.row.generated) - 1
                one.draft, one.match = self.guesses.propose(one.text, len(rows), min(most, room))
                room -= len(one.draft)

    def _take(self, logits: torch.Tensor, rows: Sequence[Making]) -> bool:
        """Give each row its next tokens by its logits; returns False where that must be done without drafts.

        Args:
            logits: [rows + drafted, vocabulary] of rows that have tokens, of their drafts, of rows that begin.
            rows: those that begin last.
        """
        before = sum(1 for one in rows if one.row.generated)
        # Whose token each row of the logits is for, and how many come between it and the row's last.
        places = [(one, 0) for one in rows[:before]]
        places += [(one, k) for one in rows[:before] for k in range(1, len(one.draft) + 1)]
        places += [(one, 0) for one in rows[before:]]
        tokens, is_finite = choose(
            logits,
            [one.row.request for one, _ in places],
            [len(one.row.generated) + k for one, k in places],
            [one.tokens(k) if one.row.request.repetition_penalty != 1 else () for one, k in places],
        )
        if len(places) > len(rows) and not all(is_finite):
            return False
        chosen: dict[int, list[tuple[int, bool]]] = {id(one): [] for one in rows}
        for (one, _), token, has_numbers in zip(places, tokens, is_finite, strict=True):
            chosen[id(one)].append((token, has_numbers))
        for one in rows:
            right = 0
            for (token, has_numbers), guess in zip(chosen[id(one)], [*one.draft, None], strict=True):
                self._push(one, token, has_numbers)
                right += token == guess
                if one.row.is_finished or token != guess:
                    break
            if one.text is not None:
                self.guesses.judge(one.match, len(one.draft), right)
        return True

    def _push(self, one: Making, token: int, is_finite: bool) -> None:
        row = one.row
        row.generated.append(token)
        row.has_failed = not is_finite
        row.is_finished = row.has_failed or one.watch.push(token)
        if one.text is not None:
            self.guesses.push(one.text, token)

    def _text(self, row: GenerationRow) -> str | None:
        if row.has_failed:
            return None
        whole = self.stopping.decoder.completion(row.prompt_ids, row.generated)
        return self.stopping.cut(whole, row.request.until)

    def rows(self, requests: Sequence[GenerationRequest]) -> list[GenerationRow]:
        """Return the completions to be made, the longest prompts first; see `make_rows`."""
        encoded = encode_strings(
            self.tokenizer,
            (request.prompt for request in requests),
            add_special_tokens=self._add_special_tokens,
            prefix_text=self.tokenizer.bos_token,
        )
        return make_rows(requests, encoded, self.max_length)

    def _finished(self, rows: list[GenerationRow]) -> Iterator[GenerationRow]:
        """Generate for all rows, in batches that fit, and in parts of these where memory runs out."""
        while rows:
            size = min(self._budget.size, self.runner.rows_that_fit(rows[0].tokens))
            batch, rows = rows[:size], rows[size:]
            for done in in_parts(
                batch,
                self._generate,
                size=len,
                halves=halved,
                name=lambda part: f"one prompt of {len(part[0].prompt_ids)} tokens",
                budget=self._budget,
                device=self.runner.device,
            ):
                yield from done

    def _generate(self, rows: list[GenerationRow]) -> list[GenerationRow]:
        for _ in self.steps(rows):
            pass
        return rows

    @torch.inference_mode()
    def steps(self, rows: Sequence[GenerationRow], *, has_drafts: bool = False) -> Iterator[int]:
        """Generate a token a step for every unfinished row, and yield how many are left; the first reads the prompts.

        Args:
            rows: begun anew; their ``generated`` is filled in.
            has_drafts: more than a token a step, where `drafts` says that this can be.
        """
        if self.uses_slots:
            flow = Flow(rows, len(rows))
            with self.prepacked.used():
                slots = self.new_slots(len(rows), max(row.tokens for row in rows))
                for _ in self._flow(flow, slots, has_drafts=has_drafts and self.drafts):
                    yield sum(not row.is_finished for row in flow.active)
            return
        batch = Batch(rows)
        making = {id(row): self._begin(row, has_drafts=False) for row in rows}
        most = max(len(row.prompt_ids) for row in rows) + max(row.request.max_new_tokens for row in rows)
        state, logits = self.runner.read([row.prompt_ids for row in rows], most)
        while True:
            self._take(logits, [making[id(row)] for row in batch.active])
            kept = batch.leave()
            yield len(batch.active)
            if not batch.active:
                return
            logits = self.runner.step(state, kept, [row.generated[-1] for row in batch.active])
