"""Generation that equals lm-eval's ``generate_until`` under greedy decoding, with less work.

What is saved: equal prompts are read once, however many samples are wanted; the prefix that a batch has in common is
read once for all its rows; a row leaves the batch when it is finished instead of waiting for the slowest (all three:
``schedule``); stop strings are looked for in the last few tokens instead of once a stop string over the whole batch
(``completion.Stream``).

As in lm-eval: prompts are cut on the left to max_length - max_new_tokens; the text ends before the first stop string,
the stop strings being applied in their order; special tokens are not part of the text. Not as in lm-eval's ``hf``: the
text is what the new tokens add to the prompt's (``completion``). ``generate_choice`` leaves the loop to transformers
where a small probe does not agree with the plain scorer. Penalties and the like of the checkpoint's
generation_config.json are not applied: the protocol is greedy, or plain sampling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from evalkit.scoring.encode import encode_strings
from evalkit.scoring.parts import Budget, halved, in_parts
from evalkit.scoring.requests import GenerationRequest
from evalkit.scoring.runner import ModelRunner
from evalkit.scoring.sampling import choose
from evalkit.scoring.schedule import Batch, Row, make_rows
from evalkit.scoring.stopping import Stopping

MAX_ROWS = 64
"""Greatest number of rows of a batch."""


class Generator:
    """Generates completions.

    Args:
        model: a transformers causal language model in evaluation mode for which ``unsupported`` returns None.
        tokenizer: its tokenizer.
        max_length: the model's context length in tokens.
        add_special_tokens: False for protocol nous-2023; None: as the tokenizer is set up.
        max_rows: greatest number of rows of a batch; becomes less where memory runs out.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        max_length: int,
        add_special_tokens: bool | None = False,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.runner = ModelRunner(model)
        self.stopping = Stopping(model, tokenizer)
        self._add_special_tokens = add_special_tokens
        self._budget = Budget(max_rows)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[str | None]:
        """Return the completions, in the order of the requests; None where the model's logits were not finite.

        Raises:
            ConfigError: max_new_tokens leaves no room for a prompt.
            ModelError: a single row does not fit into memory.
        """
        texts: list[str | None] = [None] * len(requests)
        for row in self._finished(self.rows(requests)):
            if not row.has_failed:
                whole = self.stopping.decoder.completion(row.prompt_ids, row.generated)
                for index in row.indices:
                    texts[index] = self.stopping.cut(whole, row.request.until)
        return texts

    def rows(self, requests: Sequence[GenerationRequest]) -> list[Row]:
        """Return the completions to be made, the longest prompts first; see `make_rows`."""
        encoded = encode_strings(
            self.tokenizer,
            (request.prompt for request in requests),
            add_special_tokens=self._add_special_tokens,
            prefix_text=self.tokenizer.bos_token,
        )
        return make_rows(requests, encoded, self.max_length)

    def _finished(self, rows: list[Row]) -> Iterator[Row]:
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

    def _generate(self, rows: list[Row]) -> list[Row]:
        for _ in self.steps(rows):
            pass
        return rows

    @torch.inference_mode()
    def steps(self, rows: Sequence[Row]) -> Iterator[int]:
        """Generate a token a step for every unfinished row, and yield how many are left; the first reads the prompts.

        Args:
            rows: begun anew; their ``generated`` is filled in.
        """
        batch = Batch(rows)
        watches = {
            id(row): self.stopping.watch(row.prompt_ids, row.request.until, row.request.max_new_tokens) for row in rows
        }
        most = max(len(row.prompt_ids) for row in rows) + max(row.request.max_new_tokens for row in rows)
        state, logits = self.runner.read([row.prompt_ids for row in rows], most)
        while True:
            active = batch.active
            tokens, is_finite = choose(logits, [r.request for r in active], [len(r.generated) for r in active])
            for row, token, has_numbers in zip(active, tokens, is_finite, strict=True):
                row.generated.append(token)
                row.has_failed = not has_numbers
                row.is_finished = row.has_failed or watches[id(row)].push(token)
            kept = batch.leave()
            yield len(batch.active)
            if not batch.active:
                return
            logits = self.runner.step(state, kept, [row.generated[-1] for row in batch.active])
