"""Generation that equals lm-eval's ``generate_until`` under greedy decoding, with less work.

What is saved: equal prompts are prefilled once, however many samples are wanted; the prefix that a batch has in common
is prefilled once for all its rows; a row leaves the batch when it is finished instead of waiting for the slowest; stop
strings are looked for in the last few tokens instead of once a stop string over the whole batch. A batch's prompts
are of similar length because requests are sorted by it.

As in lm-eval: prompts are cut on the left to max_length - max_new_tokens; the text ends before the first stop string,
the stop strings being applied in their order; special tokens are not part of the text. Not as in lm-eval's ``hf``: the
text is what the new tokens add to the prompt's (``completion``). ``generate_probe`` leaves the loop to transformers
where a small probe does not agree with the plain scorer. Penalties and the like of the checkpoint's
generation_config.json are not applied: the protocol is greedy, or plain sampling.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from evalkit.errors import ConfigError, ModelError
from evalkit.scoring.completion import Decoder, Stream, first_stop
from evalkit.scoring.encode import encode_strings
from evalkit.scoring.head import selected_logits
from evalkit.scoring.memory import (
    free_bytes,
    is_out_of_memory,
    model_device,
    release_cache,
    text_config,
)

MAX_ROWS = 64
"""Greatest number of rows of a batch."""

CACHE_BYTES = 1 << 30
"""Keys and values of a batch where the free memory is not known or larger than four times this."""

SHORTEST_SHARED_PREFIX = 16
"""Fewer common tokens are not worth a forward pass of their own."""


@dataclass(frozen=True)
class GenerationRequest:
    """One completion that is wanted.

    Attributes:
        prompt: text.
        until: stop strings, in the order in which they are applied; the text ends before them.
        max_new_tokens: greatest number of tokens generated.
        temperature: 0 for greedy decoding.
        top_p: with a temperature: sample from the most probable tokens that hold this share.
        seed: with a temperature: this and ``sample`` determine the draws, whatever else is in the batch.
        sample: number of this completion among those of one prompt.
    """

    prompt: str
    until: tuple[str, ...] = ()
    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    sample: int = 0


@dataclass(frozen=True)
class BatchResult:
    """Completions of one finished batch.

    Attributes:
        batch: number of the batch.
        requests: indices of the requests.
        texts: in the order of ``requests``; None where the model's logits were not finite.
        tokens: number of generated tokens.
    """

    batch: int
    requests: tuple[int, ...]
    texts: tuple[str | None, ...]
    tokens: int


class Generator:
    """Generates completions.

    Args:
        model: a transformers causal language model in evaluation mode for which ``unsupported`` returns None.
        tokenizer: its tokenizer.
        max_length: the model's context length in tokens.
        add_special_tokens: False for protocol nous-2023; None: as the tokenizer is set up.
        max_rows: greatest number of rows of a batch.
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
        self.model = model
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.max_rows = max_rows
        self.device = model_device(model)
        self._add_special_tokens = add_special_tokens
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        self._end_ids = end_ids(model, tokenizer)
        self._end_text = end_text(tokenizer)
        self.decoder = Decoder(tokenizer)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[str | None]:
        """Return the completions, in the order of the requests; None where the model's logits were not finite.

        Raises:
            ConfigError: max_new_tokens leaves no room for a prompt.
            ModelError: a single row does not fit into memory.
        """
        texts: list[str | None] = [None] * len(requests)
        for result in self.iter_batches(requests):
            for index, text in zip(result.requests, result.texts, strict=True):
                texts[index] = text
        return texts

    def iter_batches(self, requests: Sequence[GenerationRequest]) -> Iterator[BatchResult]:
        """Yield each batch's completions as it is finished, the longest prompts first."""
        rows = self.rows(requests)
        number = 0
        while rows:
            size = self._rows_that_fit(rows[0])
            batch, rows = rows[:size], rows[size:]
            for done in self._finish(batch):
                yield BatchResult(
                    number,
                    tuple(index for row in done for index in row.indices),
                    tuple(self._text(row) for row in done for _ in row.indices),
                    sum(len(row.generated) for row in done),
                )
                number += 1

    def rows(self, requests: Sequence[GenerationRequest]) -> list[Row]:
        """Return the completions to be made, the longest prompts first; equal requests share one.

        Raises:
            ConfigError: max_new_tokens leaves no room for a prompt.
        """
        for request in requests:
            if request.max_new_tokens >= self.max_length:
                raise ConfigError(
                    f"max_new_tokens {request.max_new_tokens} leaves no room for a prompt in the model's "
                    f"{self.max_length} tokens; lower it"
                )
        encoded = encode_strings(
            self.tokenizer,
            (request.prompt for request in requests),
            add_special_tokens=self._add_special_tokens,
            prefix_text=self.tokenizer.bos_token,
        )
        # Equal greedy requests have equal answers; sampled ones differ by their sample number.
        jobs: dict[GenerationRequest, list[int]] = {}
        for index, request in enumerate(requests):
            jobs.setdefault(request, []).append(index)
        rows = [
            Row(request, encoded[request.prompt][-(self.max_length - request.max_new_tokens) :], indices)
            for request, indices in jobs.items()
        ]
        return sorted(rows, key=lambda row: (-len(row.prompt_ids), row.prompt_ids, row.request.sample))

    def _rows_that_fit(self, longest: Row) -> int:
        config = text_config(self.model)
        heads = int(getattr(config, "num_attention_heads", 0) or 32)
        kept_heads = int(getattr(config, "num_key_value_heads", 0) or heads)
        width = int(getattr(config, "hidden_size", 0) or 4096) // heads * kept_heads
        layers = int(getattr(config, "num_hidden_layers", 0) or 32)
        length = len(longest.prompt_ids) + longest.request.max_new_tokens
        free = free_bytes(self.device)
        usable = CACHE_BYTES if free is None else free // 4
        # Keys and values, twice: the cache is copied when rows leave.
        return max(1, min(self.max_rows, usable // (length * layers * width * 4 * 2 * 2)))

    def _finish(self, batch: list[Row]) -> Iterator[list[Row]]:
        """Generate for a batch, in as many parts as memory demands."""
        todo = [batch]
        while todo:
            part = todo.pop(0)
            for row in part:
                row.begin(self.decoder)
            try:
                self._generate(part)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                message = str(error).splitlines()[0] if str(error) else type(error).__name__
            else:
                yield part
                continue
            release_cache(self.device)
            half = len(part) // 2
            if not half:
                raise ModelError(
                    f"out of memory on {self.device} for one prompt of {len(part[0].prompt_ids)} tokens ({message}); "
                    "use a smaller dtype, a larger device or a smaller max_length"
                )
            self.max_rows = half
            todo[:0] = [part[:half], part[half:]]

    def _generate(self, batch: list[Row]) -> None:
        """Fill in ``generated`` of every row."""
        for _ in self.steps(batch):
            pass

    @torch.inference_mode()
    def steps(self, batch: list[Row]) -> Iterator[int]:
        """Generate a token a step for every unfinished row, and yield how many are left; the first reads the prompts.

        Args:
            batch: rows that ``begin`` was called for; their ``generated`` is filled in.
        """
        state = self.prefill(batch)
        active = list(batch)
        logits = state.logits
        while True:
            chosen = self._choose(active, logits)
            still: list[int] = []
            for k, (row, token) in enumerate(zip(active, chosen, strict=True)):
                row.generated.append(token)
                row.is_finished = self._is_finished(row)
                if not row.is_finished:
                    still.append(k)
            yield len(still)
            if not still:
                return
            if len(still) < len(active):
                state.keep(torch.tensor(still, device=self.device))
                active = [active[k] for k in still]
            tokens = torch.tensor([[row.generated[-1]] for row in active], device=self.device)
            logits = self.forward(state, tokens, torch.ones_like(tokens))

    def prefill(self, batch: list[Row]) -> State:
        """Run the prompts, each distinct one once, and return the state after them, one row for each of the batch."""
        distinct = list(dict.fromkeys(row.prompt_ids for row in batch))
        longest = max(map(len, distinct))
        common = _common_prefix(distinct) if len(distinct) > 1 else 0
        window = getattr(text_config(self.model), "sliding_window", None)
        if window is not None and longest + max(row.request.max_new_tokens for row in batch) > window:
            common = 0  # the padding between prefix and rest would count as distance
        if common < SHORTEST_SHARED_PREFIX:
            common = 0
        state = State.empty()
        if common:
            prefix = torch.tensor([distinct[0][:common]], device=self.device)
            self.forward(state, prefix, torch.ones_like(prefix))
            state.keep(torch.zeros(len(distinct), dtype=torch.long, device=self.device))
        # Padding lies to the left of what is left of each prompt, so that all rows end together.
        ids = torch.zeros(len(distinct), longest - common, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for k, prompt in enumerate(distinct):
            ids[k, longest - len(prompt) :] = torch.tensor(prompt[common:])
            mask[k, longest - len(prompt) :] = 1
        state.logits = self.forward(state, ids.to(self.device), mask.to(self.device))
        place = {prompt: k for k, prompt in enumerate(distinct)}
        state.keep(torch.tensor([place[row.prompt_ids] for row in batch], device=self.device))
        return state

    def forward(self, state: State, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Run tokens on top of the state and return the logits [rows, vocabulary] after the last of each row.

        Args:
            state: keys and values of what came before; is extended.
            ids: [rows, new] token ids.
            mask: [rows, new] 1 for tokens, 0 for padding.
        """
        state.mask = mask if state.mask is None else torch.cat([state.mask, mask], dim=1)
        inputs: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": state.mask,
            "past_key_values": state.cache,
            "use_cache": True,
        }
        if self._takes_positions:
            positions = (state.mask.cumsum(dim=1) - 1).clamp_(min=0)
            inputs["position_ids"] = positions[:, -ids.shape[1] :]
        last = torch.arange(1, len(ids) + 1, device=self.device) * ids.shape[1] - 1
        return selected_logits(self.model, inputs, last)

    def _choose(self, rows: Sequence[Row], logits: torch.Tensor) -> list[int]:
        """Return the next token of each row."""
        best = logits.max(dim=-1)
        tokens: list[int] = best.indices.tolist()
        # The maximum of a row with NaN is NaN.
        is_finite: list[bool] = torch.isfinite(best.values).tolist()
        for k, row in enumerate(rows):
            row.has_failed = not is_finite[k]
            if row.has_failed:
                continue
            if row.request.temperature > 0:
                scaled = logits[k].double() / row.request.temperature
                tokens[k] = _draw(torch.softmax(scaled, dim=-1).cpu().numpy(), row.request.top_p, row.draw())
        return tokens

    def _is_finished(self, row: Row) -> bool:
        if row.has_failed:
            return True
        has_stopped = row.stream is not None and row.stream.push(row.generated[-1], self._stops(row.request))
        return has_stopped or len(row.generated) >= row.request.max_new_tokens or row.generated[-1] in self._end_ids

    def _stops(self, request: GenerationRequest) -> list[str]:
        return stop_strings(request.until, self._end_text)

    def _text(self, row: Row) -> str | None:
        if row.has_failed:
            return None
        return first_stop(self.decoder.completion(row.prompt_ids, row.generated), self._stops(row.request))


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a text: those of the model's generation settings and the tokenizer's.

    Fine-tuned checkpoints often name their new end token in one of the two only; lm-eval, too, stops at either.
    """
    settings = getattr(model, "generation_config", None)
    ends = getattr(settings, "eos_token_id", None)
    listed = ends if isinstance(ends, list | tuple) else () if ends is None else (ends,)
    own = () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
    return frozenset(int(end) for end in (*listed, *own))


def end_text(tokenizer: Any) -> str | None:
    """Return how the tokenizer writes its end token; a model may write it letter by letter."""
    if tokenizer.eos_token_id is None:
        return None
    return str(tokenizer.decode([tokenizer.eos_token_id], skip_special_tokens=False))


def stop_strings(until: Sequence[str], end: str | None) -> list[str]:
    """Return the strings that end a text: those asked for, and the end token's text, as in lm-eval."""
    stops = [*until, *([end] if end is not None and end not in until else [])]
    return [stop for stop in stops if stop]


class Row:
    """A completion in the making.

    Attributes:
        request: what is wanted.
        prompt_ids: the prompt's tokens, cut to what fits.
        indices: the requests that get this completion.
        generated: tokens so far, an end token included.
        stream: their text.
        has_failed: the model's logits after them were not finite.
        is_finished: nothing more is generated.
    """

    def __init__(self, request: GenerationRequest, prompt_ids: tuple[int, ...], indices: list[int]) -> None:
        self.request = request
        self.prompt_ids = prompt_ids
        self.indices = indices
        self.generated: list[int] = []
        self.stream: Stream | None = None
        self.has_failed = False
        self.is_finished = False
        self._key = hashlib.sha256(f"{request.seed}:{request.sample}:{request.prompt}".encode()).digest()

    def begin(self, decoder: Decoder) -> None:
        """Forget what was generated; begin anew."""
        self.generated.clear()
        self.stream = Stream(decoder, self.prompt_ids)
        self.has_failed = False
        self.is_finished = False

    def draw(self) -> float:
        """Return the uniform random number in [0, 1) of the next token; it depends on its position and the row only."""
        digest = hashlib.sha256(self._key + len(self.generated).to_bytes(8, "big")).digest()
        return int.from_bytes(digest[:7], "big") / 2**56


class State:
    """Keys and values of a batch.

    Attributes:
        cache: transformers' cache.
        mask: [rows, length] 1 for tokens, 0 for padding; None before the first token.
        logits: [rows, vocabulary] after the prompt.
    """

    def __init__(self, cache: Any, mask: torch.Tensor | None, logits: torch.Tensor) -> None:
        self.cache = cache
        self.mask = mask
        self.logits = logits

    @staticmethod
    def empty() -> State:
        """Return the state before the first token."""
        from transformers import DynamicCache

        return State(DynamicCache(), None, torch.empty(0))

    def keep(self, rows: torch.Tensor) -> None:
        """Keep these rows, in this order; a row may be kept several times."""
        self.cache.reorder_cache(rows)
        if self.mask is not None:
            self.mask = self.mask.index_select(0, rows)
        if len(self.logits):
            self.logits = self.logits.index_select(0, rows)


def _common_prefix(prompts: Sequence[tuple[int, ...]]) -> int:
    """Return how many leading tokens all prompts share, less one: each prompt keeps a token of its own."""
    first, last = min(prompts), max(prompts)
    shortest = min(map(len, prompts))
    common = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), shortest)
    return min(common, shortest - 1)


def _draw(probabilities: Any, top_p: float, uniform: float) -> int:
    """Return the token at ``uniform`` of the distribution, cut to its most probable tokens.

    Args:
        probabilities: [vocabulary], float64.
        top_p: share to keep; the token that crosses it is kept too.
        uniform: random number in [0, 1).
    """
    order = np.argsort(-probabilities, kind="stable")
    total = np.cumsum(probabilities[order])
    kept = int(np.searchsorted(total, min(top_p, 1.0) * total[-1])) + 1
    kept = min(kept, len(order))
    return int(order[min(int(np.searchsorted(total[:kept], uniform * total[kept - 1], side="right")), kept - 1)])
