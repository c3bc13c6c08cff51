"""A loaded model as lm-eval's, scored and generating through ``evalkit.scoring``; a ledger keeps the results."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs

from evalkit.errors import ModelError
from evalkit.marks import Marks
from evalkit.models.generation import generation_requests, make_plain
from evalkit.scoring.choice import ScorerChoice, choose_scorer
from evalkit.scoring.encode import Encoded, encode_pairs, encode_strings
from evalkit.scoring.generate import Generator
from evalkit.scoring.generate_choice import choose_generator
from evalkit.scoring.generate_transformers import Wish
from evalkit.scoring.generate_transformers import generate as generate_by_transformers
from evalkit.scoring.packs import Scorer, score
from evalkit.scoring.parts import is_out_of_memory
from evalkit.scoring.recheck import Recheck, recheck
from evalkit.scoring.requests import GenerationRequest, Score, TokenRequest
from evalkit.store.ledger import Ledger
from evalkit.store.sections import FailedText, Prompt, plan_batches

# Rows of a generated batch where the batch size is ``auto``.
GENERATION_ROWS = 16
# What a batch's scores may take on the CPU, where there is no out-of-memory error to learn a batch size from.
CPU_BATCH_BYTES = 1 << 30


def _told_to_nobody(_request: Any, _text: str) -> None:
    """Stand for nobody who wants to be told."""


class ScoredLM(HFLM):  # type: ignore[misc]  # lm-eval has no type information
    """A model and a tokenizer that are loaded and on their device."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        batch_size: int | str,
        scorer: str = "auto",
        max_batch_tokens: int | None = None,
        audit_fraction: float = 0.0,
        **options: Any,
    ) -> None:
        """Wrap a model; the arguments are those of `OpenMindLM`, ``options`` those of `HFLM`."""
        # What the checkpoint's generation settings ask for beyond the protocol, by name; none of it is applied.
        self.ignored_settings: dict[str, Any] = make_plain(model)
        before = set(tokenizer.get_vocab())
        with _ties_kept(model):
            super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, **options)
        # HFLM adds a token to fill up rows where the checkpoint has none: it is nothing of the checkpoint's.
        self.tokens_of_lm_eval = frozenset(set(self.tokenizer.get_vocab()) - before)
        self._scorer_kind = scorer
        self._max_batch_tokens = max_batch_tokens
        self._audit_fraction = audit_fraction
        # What the audit of the last log-likelihood requests found; None without one.
        self.audit: Recheck | None = None
        # Where `evalkit run` keeps results; with it, nothing is computed that is there already.
        self.ledger: Ledger | None = None
        # Of sampled generation, where a ledger keeps the texts.
        self.seed = 0
        # What happened to requests, by document; the record marks those.
        self.marks = Marks()
        # Contexts that `apply_chat_template` has made already, by hash.
        self._rendered: set[int] = set()
        # Told of each finished text (the request, its text): `evalkit run` checks programs while the model goes on.
        self.on_text: Callable[[Any, str], None] = _told_to_nobody
        if str(batch_size).startswith("auto") and self.device.type == "cpu":
            self.batch_size_per_gpu = self._cpu_batch_size()

    @property
    def threads(self) -> int | None:
        """Number of threads that a model on the CPU computes with; None elsewhere. Can be set."""
        return torch.get_num_threads() if self.device.type == "cpu" else None

    @threads.setter
    def threads(self, count: int | None) -> None:
        if self.device.type == "cpu" and count is not None and count != torch.get_num_threads():
            torch.set_num_threads(count)

    @functools.cached_property
    def _chosen_scorer(self) -> tuple[Scorer, ScorerChoice]:
        with self.running():
            return choose_scorer(
                self.model,
                max_length=int(self.max_length),
                kind=self._scorer_kind,
                max_batch_tokens=self._max_batch_tokens,
            )

    @property
    def scorer(self) -> Scorer:
        """What scores this model's log-likelihood requests; chosen by a probe on first use."""
        return self._chosen_scorer[0]

    @property
    def scorer_choice(self) -> ScorerChoice:
        """Which scorer that is, and why."""
        return self._chosen_scorer[1]

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Score]:  # noqa: ARG002
        """Score all requests of all tasks together, so that they share prefixes across tasks.

        Args:
            requests: lm-eval instances with (context, continuation) as arguments.
            disable_tqdm: lm-eval's; progress is shown otherwise.

        Returns:
            (log-probability in nats, is greedy) of each request.
        """
        pairs = [tuple(request.args) for request in requests]
        whole = self.encode(pairs)
        encoded = whole.requests
        self.marks.add("apart", (requests[position] for position in whole.apart))
        # The last token of a request is only predicted, never read.
        longest = int(self.max_length) + 1
        self.marks.add(
            "cut",
            (
                request
                for request, ids in zip(requests, encoded, strict=True)
                if len(ids.context_ids) + len(ids.continuation_ids) > longest
            ),
        )
        if self.ledger is not None:
            self.ledger.asked = [(str(request.task_name), int(request.doc_id or 0)) for request in requests]
        scores = self._score(encoded)
        if self.ledger is not None:
            self.marks.add("reused", (requests[position] for position in self.ledger.reused))
        if self._audit_fraction and requests:
            documents = [(request.task_name, request.doc_id) for request in requests]
            with self.running():
                self.audit = recheck(
                    self.model, encoded, scores, documents, self._audit_fraction, max_length=int(self.max_length)
                )
        for pair, found in zip(pairs, scores, strict=True):
            self.cache_hook.add_partial("loglikelihood", pair, found)
        return scores

    def encode(self, pairs: Sequence[tuple[str, str]]) -> Encoded:
        """Return (context, continuation) pairs as token ids; see `encode_pairs`."""
        prefix = self.prefix_token_id
        return encode_pairs(
            self.tokenizer,
            pairs,
            prefix_token_id=None if prefix is None else int(prefix),
            add_special_tokens=bool(self.add_bos_token),
        )

    def _loglikelihood_tokens(self, requests: Sequence[Any], **_options: Any) -> list[Score]:
        # `loglikelihood_rolling` of HFLM cuts its text into windows of tokens and comes here.
        return self._score([TokenRequest(tuple(context), tuple(target)) for _, context, target in requests])

    def _score(self, requests: Sequence[TokenRequest]) -> list[Score]:
        with self.running():
            return score(self.scorer, requests) if self.ledger is None else self.ledger.score(requests, self.scorer)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """Generate a text for each request, in their order.

        Args:
            requests: lm-eval instances with (context, settings) as arguments.
            disable_tqdm: lm-eval's; where a ledger keeps the texts, that shows the progress.

        Returns:
            The texts: what the generated tokens add to the prompt's text.
        """
        asked = requests
        requests = [self.in_chat_template(request) for request in requests]
        wanted = generation_requests(requests, self.seed, int(self.max_gen_toks))
        self._mark_cut_prompts(asked, requests)
        if self.ledger is None:
            return [FailedText() if text is None else text for text in self._generate(requests, wanted)]
        if str(self.batch_size_per_gpu) == "auto":
            self.batch_size_per_gpu = GENERATION_ROWS
        numbered = self._chosen_generator[0] is not None
        prompts = [
            Prompt(
                str(request.args[0]),
                {**request.args[1], "seed": ours.seed, "sample": ours.sample}
                if numbered and ours is not None and ours.temperature
                else dict(request.args[1]),
            )
            for request, ours in zip(requests, wanted, strict=True)
        ]

        told: set[int] = set()

        def tell(positions: Sequence[int], texts: Sequence[str | None]) -> None:
            for position, text in zip(positions, texts, strict=True):
                if text is not None and position not in told:
                    told.add(position)
                    self.on_text(requests[position], text)

        def generate_batch(positions: Sequence[int]) -> list[str | None]:
            # Draws must not depend on how many batches this process has generated before.
            torch.manual_seed(self.seed + min(positions))
            texts = self._generate([requests[p] for p in positions], [wanted[p] for p in positions])
            tell(positions, texts)
            return texts

        self.ledger.asked = [(str(request.task_name), int(request.doc_id or 0)) for request in asked]
        texts = self.ledger.generate(
            prompts,
            lambda todo: plan_batches(todo, int(self.batch_size_per_gpu)),
            generate_batch,
        )
        tell(range(len(texts)), texts)  # those that were there before
        self.marks.add("reused", (asked[position] for position in self.ledger.reused))
        return [FailedText() if text is None else text for text in texts]

    def in_chat_template(self, request: Any) -> Any:
        """Put a request's context into the chat template where its settings say ``chat``; others are as they were."""
        context, settings = request.args[0], dict(request.args[1])
        if not settings.pop("chat", False):
            return request
        if hash(context) in self._rendered:  # as with --apply-chat-template
            return dataclasses.replace(request, arguments=(context, settings), resps=[])
        messages = [{"role": "user", "content": context}]
        return dataclasses.replace(request, arguments=(self.apply_chat_template(messages), settings), resps=[])

    def _mark_cut_prompts(self, asked: Sequence[Any], shown: Sequence[Any]) -> None:
        """Mark those whose beginning has no place in the context beside the new tokens."""
        room = [int(self.max_length) - int(request.args[1].get("max_gen_toks", self.max_gen_toks)) for request in shown]
        # A token stands for a byte at least: shorter texts need no look.
        near = [i for i, request in enumerate(shown) if len(str(request.args[0]).encode()) > room[i] - 2]
        encoded = encode_strings(
            self.tokenizer,
            (str(shown[i].args[0]) for i in near),
            add_special_tokens=bool(self.add_bos_token),
            prefix_text=self.tokenizer.bos_token,
        )
        self.marks.add("cut", (asked[i] for i in near if len(encoded[str(shown[i].args[0])]) > room[i]))

    @property
    def generator(self) -> Generator | None:
        """What generates; None where this model needs the loop of transformers."""
        return self._chosen_generator[0]

    def new_generator(self) -> Generator:
        """Return what generates where this model can be driven so, which is not tried."""
        return Generator(
            self.model,
            self.tokenizer,
            max_length=int(self.max_length),
            add_special_tokens=bool(self.add_bos_token),
        )

    @functools.cached_property
    def _chosen_generator(self) -> tuple[Generator | None, str]:
        """What generates and why; None where this model needs the loop of transformers."""
        with self.running():
            return choose_generator(
                self.model,
                self.tokenizer,
                max_length=int(self.max_length),
                add_special_tokens=bool(self.add_bos_token),
            )

    def _generate(self, requests: Sequence[Any], wanted: Sequence[GenerationRequest | None]) -> list[str | None]:
        """Generate with our loop; with that of transformers where the model or a request asks for more.

        None stands for a text that could not be generated, since the model gave no numbers.
        """
        with self.running():
            simple = [request for request in wanted if request is not None]
            generator = self._chosen_generator[0]
            if generator is not None and len(simple) == len(wanted) and self.think_end_token is None:
                return generator.generate(simple)
            return self._generate_by_transformers(requests)

    def _generate_by_transformers(self, requests: Sequence[Any]) -> list[str | None]:
        if str(self.batch_size_per_gpu).startswith("auto"):
            self.batch_size_per_gpu = GENERATION_ROWS
        encoded = encode_strings(
            self.tokenizer,
            (str(request.args[0]) for request in requests),
            add_special_tokens=bool(self.add_bos_token),
            prefix_text=self.tokenizer.bos_token,
        )
        wishes = []
        for request in requests:
            settings = normalize_gen_kwargs(dict(request.args[1]), int(self.max_gen_toks))
            until, count = settings.pop("until"), settings.pop("max_gen_toks")
            if not settings.get("do_sample"):
                # Named, so that nothing is left open that transformers would fill in.
                settings = {**settings, "do_sample": False, "temperature": None, "top_p": None, "top_k": None}
            else:
                settings.setdefault("top_k", 0)
            ids = encoded[str(request.args[0])] or (int(self.prefix_token_id),)
            wishes.append(Wish(ids, tuple(until), int(count), settings))
        return generate_by_transformers(
            self.model,
            self.tokenizer,
            wishes,
            max_length=int(self.max_length),
            rows=int(self.batch_size_per_gpu),
            think_end=self.think_end_token,
        )

    def _cpu_batch_size(self) -> int:
        """Return how many rows' scores (rows × tokens × vocabulary, twice, in float32) fit into `CPU_BATCH_BYTES`."""
        row_bytes = min(self.max_length, 1024) * len(self.tokenizer) * 4 * 2
        return max(1, min(64, CPU_BATCH_BYTES // int(row_bytes)))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Explain running out of memory, and keep HFLM's `print` calls out of the report on stdout."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ModelError(
                f"{self.pretrained}: out of memory on {self.device} at batch size {self.batch_size}; "
                "use a smaller --batch-size, or --batch-size auto"
            ) from error


@contextmanager
def _ties_kept(model: Any) -> Iterator[None]:
    """Let HFLM's constructor tie no weights: the loader has, and a head of the files' own or an adapter's would go."""
    model.tie_weights = _nothing
    try:
        yield
    finally:
        del model.tie_weights


def _nothing(*_: Any, **__: Any) -> None:
    pass
