"""The model in this process, scoring and generating through ``evalkit.scoring``: an `Answerer`, and lm-eval's model.

`ScoredLM.scores` and `ScoredLM.texts` are the work. `loglikelihood` and `generate_until` are the same for lm-eval's own
command, which keeps nothing.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from lm_eval.models.huggingface import HFLM

from evalkit.answering import (
    Capabilities,
    PendingText,
    ScoreRequest,
    Scores,
    Session,
    TextRequest,
    Texts,
    Work,
    score_requests,
    text_requests,
)
from evalkit.config.generation_settings import MAX_TOKENS, max_tokens
from evalkit.config.options import declared_settings
from evalkit.config.run_config import ModelConfig
from evalkit.errors import ModelError
from evalkit.models.generation import KNOWN_SETTINGS, generation_requests, make_plain, normalised
from evalkit.out_of_memory import is_out_of_memory
from evalkit.scoring.choice import ScorerChoice, choose_scorer
from evalkit.scoring.encode import Encoded, encode_pairs, encode_strings
from evalkit.scoring.generate import MAX_ROWS, Generator
from evalkit.scoring.generate_choice import choose_generator
from evalkit.scoring.generate_transformers import LEAST_TEMPERATURE, Wish
from evalkit.scoring.generate_transformers import generate as generate_by_transformers
from evalkit.scoring.packs import Scorer, score
from evalkit.scoring.prepacked import Prepacked
from evalkit.scoring.recheck import recheck
from evalkit.scoring.requests import GenerationRequest, Score, TokenRequest
from evalkit.scoring.schedule import GenerationRow
from evalkit.store.sections import FailedText, RenderedPrompt, plan_batches, plan_texts
from evalkit.streams import redirected, stream_target

# Rows of a generated batch where the batch size is ``auto``.
GENERATION_ROWS = 16
# Texts that an engine is given at once, where the batch size is ``auto``; how many it runs together, it decides itself.
ENGINE_ROWS = 256
# What a batch's scores may take on the CPU, where there is no out-of-memory error to learn a batch size from.
CPU_BATCH_BYTES = 1 << 30


class Streams(Protocol):
    """Who generates texts that are begun while others are under way: `Generator`, or an engine beside the model."""

    def rows(self, requests: Sequence[GenerationRequest]) -> list[GenerationRow]:
        """Return the completions to be made."""
        ...

    def stream(
        self, rows: Sequence[GenerationRow], *, waiting: Iterable[GenerationRow] | None = None, max_rows: int = MAX_ROWS
    ) -> Iterator[tuple[GenerationRow, str | None]]:
        """Yield each row that is finished, with its text."""
        ...


class Engine(Streams, Protocol):
    """An engine beside the model."""

    def start(self) -> None:
        """Start what generates, where that has not been done."""
        ...

    def grow(self, source: Iterator[GenerationRow], max_rows: int = 1) -> Iterator[GenerationRow]:
        """Yield each row whenever it has new tokens, for who shows them as they come."""
        ...


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
        # Contexts that `apply_chat_template` has made already, by hash.
        self._rendered: set[int] = set()
        self._is_batch_auto = str(batch_size).startswith("auto")
        # Whether generation orders the weights (`Work.prepacks`); None: as memory allows.
        self._prepacks: bool | None = None
        # What generates instead of this model, by its name and version; set by who loads.
        self.engine: Engine | None = None
        self.engine_name: str | None = None
        if self._is_batch_auto and self.device.type == "cpu":
            # For lm-eval's own loops, which have scores of every position.
            self.batch_size_per_gpu = self._cpu_batch_size()

    # --- the answering protocol --------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """Scores, texts, and the chat template that the tokenizer has."""
        has_template = bool(getattr(self.tokenizer, "chat_template", None))
        return Capabilities(chat_template=has_template, options=declared_settings(ModelConfig))

    @property
    def in_process(self) -> ScoredLM:
        """The model is here."""
        return self

    def work(self) -> Work:
        """Return what this process would do by itself."""
        choice = self.scorer_choice
        return Work(
            scorer=choice.name,
            reason=choice.reason,
            threads=torch.get_num_threads() if self.device.type == "cpu" else None,
            rows=self.generation_rows,
            attention=str(getattr(self.scorer, "attention", "")),
            max_difference=choice.max_difference,
            prepacks=bool(Prepacked(self.model)) if self.device.type == "cpu" else None,
        )

    @property
    def generation_rows(self) -> int:
        """Rows of a generated batch, where nothing else is prescribed."""
        return GENERATION_ROWS if self._is_batch_auto else int(self.batch_size_per_gpu)

    def scores(self, requests: Sequence[ScoreRequest], session: Session) -> Scores:
        """Score all requests of all tasks together, so that they share prefixes across tasks."""
        self._keep_to(session)
        pairs = [(request.context, request.continuation) for request in requests]
        whole = self.encode(pairs)
        encoded = whole.requests
        ids = dict(zip(pairs, encoded, strict=True))
        # The last token of a request is only predicted, never read.
        longest = int(self.max_length) + 1
        cut = [k for k, ids in enumerate(encoded) if len(ids.context_ids) + len(ids.continuation_ids) > longest]
        with self.running():
            scores, reused = session.scored(requests, lambda r: ids[r.context, r.continuation], self.scorer)
        numerics = None
        if self._audit_fraction and requests:
            documents = [(request.task, request.doc_id) for request in requests]
            with self.running():
                numerics = recheck(
                    self.model, encoded, scores, documents, self._audit_fraction, max_length=int(self.max_length)
                )
        return Scores(scores, {"apart": list(whole.apart), "cut": cut, "reused": reused}, numerics)

    def texts(self, requests: Sequence[TextRequest], session: Session) -> Texts:
        """Generate a text for each request: what the generated tokens add to the prompt's text."""
        self._keep_to(session)
        shown = [self.in_chat_template(request) for request in requests]
        wanted = generation_requests(shown, session.seed, int(self.max_gen_toks))
        numbered = session.ledger is not None and (self.engine or self._chosen_generator[0]) is not None
        place = {id(request): position for position, request in enumerate(requests)}

        def prompt_of(request: TextRequest) -> RenderedPrompt:
            position = place[id(request)]
            seen, ours = shown[position], wanted[position]
            if numbered and ours is not None and ours.temperature:
                return RenderedPrompt(seen.prompt, {**seen.settings, "seed": ours.seed, "sample": ours.sample})
            return RenderedPrompt(seen.prompt, seen.settings)

        rows = session.rows or self.generation_rows

        def generate_batch(batch: Sequence[PendingText]) -> dict[PendingText, str | None]:
            positions = [place[id(each.request)] for each in batch]
            if session.ledger is not None:
                # Draws must not depend on how many batches this process has generated before.
                torch.manual_seed(session.seed + min(positions))
            texts = self._generate([shown[p] for p in positions], [wanted[p] for p in positions], rows)
            return dict(zip(batch, texts, strict=True))

        cut = self._cut_prompts(shown)
        streams = self._streams(requests, wanted) if requests else None
        if streams is not None:
            one_each = {id(asked): ours for asked, ours in zip(requests, wanted, strict=True) if ours is not None}
            most = rows
            if self._is_batch_auto:
                most = MAX_ROWS if self.engine is None else ENGINE_ROWS
            texts, reused = session.written_stream(
                requests, prompt_of, plan_texts, lambda batches: self._stream(streams, batches, one_each, most)
            )
        else:
            texts, reused = session.written(requests, prompt_of, lambda todo: plan_batches(todo, rows), generate_batch)
        return Texts(texts, {"cut": cut, "reused": reused})

    def _keep_to(self, session: Session) -> None:
        if self.device.type != "cpu":
            return
        threads = torch.get_num_threads() if session.threads is None else session.threads
        other_threads = threads != torch.get_num_threads()
        if other_threads:
            torch.set_num_threads(threads)
        prepacks = bool(Prepacked(self.model, wanted=self._prepacks))
        other_weights = session.prepacks is not None and session.prepacks != prepacks
        if session.prepacks is not None:  # not to be decided again, when less memory is free
            self._prepacks = session.prepacks
        if other_threads or other_weights:
            self.__dict__.pop("_chosen_generator", None)  # what its probe found is of another way to multiply

    # --- lm-eval's model ---------------------------------------------------------------------------------------------

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Score]:  # noqa: ARG002
        """Score lm-eval's instances; returns (log-probability in nats, is greedy) of each."""
        scores = list(self.scores(score_requests(requests), Session()).answers)
        for request, found in zip(requests, scores, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, found)
        return scores

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """Generate a text for each of lm-eval's instances, in their order."""
        texts = self.texts(text_requests(requests), Session()).answers
        return [FailedText() if text is None else text for text in texts]

    def _loglikelihood_tokens(self, requests: Sequence[Any], **_options: Any) -> list[Score]:
        # `loglikelihood_rolling` of HFLM cuts its text into windows of tokens and comes here.
        with self.running():
            return score(self.scorer, [TokenRequest(tuple(context), tuple(target)) for _, context, target in requests])

    # --- how it is done ----------------------------------------------------------------------------------------------

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

    def encode(self, pairs: Sequence[tuple[str, str]]) -> Encoded:
        """Return (context, continuation) pairs as token ids; see `encode_pairs`."""
        prefix = self.prefix_token_id
        return encode_pairs(
            self.tokenizer,
            pairs,
            prefix_token_id=None if prefix is None else int(prefix),
            add_special_tokens=bool(self.add_bos_token),
        )

    def in_chat_template(self, request: TextRequest) -> TextRequest:
        """Put a request's prompt into the chat template where its settings say ``chat``; others are as they were."""
        settings = dict(request.settings)
        if not settings.pop("chat", False):
            return request
        prompt = request.prompt
        if hash(prompt) not in self._rendered:  # as with --apply-chat-template
            prompt = self.apply_chat_template([{"role": "user", "content": prompt}])
        return dataclasses.replace(request, prompt=prompt, settings=settings)

    def _cut_prompts(self, shown: Sequence[TextRequest]) -> list[int]:
        """Return which have a beginning that has no place in the context beside the new tokens."""
        room = [int(self.max_length) - max_tokens(r.settings, int(self.max_gen_toks)) for r in shown]
        # A token stands for a byte at least: shorter texts need no look.
        near = [i for i, request in enumerate(shown) if len(request.prompt.encode()) > room[i] - 2]
        encoded = encode_strings(
            self.tokenizer,
            (shown[i].prompt for i in near),
            add_special_tokens=bool(self.add_bos_token),
            prefix_text=self.tokenizer.bos_token,
        )
        return [i for i in near if len(encoded[shown[i].prompt]) > room[i]]

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
            prepacks=self._prepacks,
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
                prepacks=self._prepacks,
            )

    def _streams(self, requests: Sequence[TextRequest], wanted: Sequence[GenerationRequest | None]) -> Streams | None:
        """Return what makes each text apart; None where a text depends on its company, or needs transformers' loop.

        Raises:
            ModelError: an engine is to generate, and does not know what a request asks for.
        """
        if self.engine is not None:
            unknown = next((r for r, ours in zip(requests, wanted, strict=True) if ours is None), None)
            if unknown is not None:
                settings = ", ".join(sorted(unknown.settings.keys() - KNOWN_SETTINGS - set(MAX_TOKENS)))
                raise ModelError(
                    f"--engine: {unknown.task} asks for {settings}, which only transformers' own loop does; leave "
                    "--engine out"
                )
            return self.engine
        generator = self._chosen_generator[0]
        if generator is None or not generator.is_invariant or None in wanted or self.think_end_token is not None:
            return None
        return generator

    def _stream(
        self,
        streams: Streams,
        batches: Iterator[tuple[int, list[PendingText]]],
        wanted: Mapping[int, GenerationRequest],
        max_rows: int,
    ) -> Iterator[tuple[int, dict[PendingText, str | None]]]:
        """Generate batches side by side; yields (number, texts) of each that is finished.

        Args:
            streams: generates.
            batches: (number, what is pending), asked for when there is room.
            wanted: all requests, by the id of what was asked, in their order.
            max_rows: greatest number of texts at once.
        """
        rows = streams.rows(list(wanted.values()))
        keys = list(wanted)
        row_of = {keys[index]: row for row in rows for index in row.indices}
        begun: dict[int, list[PendingText]] = {}
        texts: dict[int, str | None] = {}
        seen: set[int] = set()

        def waiting() -> Iterator[GenerationRow]:
            for number, batch in batches:
                begun[number] = batch
                for row in dict.fromkeys(row_of[id(each.request)] for each in batch):
                    if id(row) not in seen:
                        seen.add(id(row))
                        yield row

        def finished() -> Iterator[tuple[int, dict[PendingText, str | None]]]:
            for number, batch in list(begun.items()):
                if all(id(row_of[id(each.request)]) in texts for each in batch):
                    del begun[number]
                    yield number, {each: texts[id(row_of[id(each.request)])] for each in batch}

        with self.running():
            for row, text in streams.stream(rows, waiting=waiting(), max_rows=max_rows):
                texts[id(row)] = text
                yield from finished()
            yield from finished()

    def _generate(
        self, requests: Sequence[TextRequest], wanted: Sequence[GenerationRequest | None], rows: int
    ) -> list[str | None]:
        """Generate with our loop; with that of transformers where the model or a request asks for more.

        None stands for a text that could not be generated, since the model gave no numbers.
        """
        with self.running():
            simple = [request for request in wanted if request is not None]
            generator = self._chosen_generator[0]
            if generator is not None and len(simple) == len(wanted) and self.think_end_token is None:
                return generator.generate(simple)
            return self._generate_by_transformers(requests, rows)

    def _generate_by_transformers(self, requests: Sequence[TextRequest], rows: int) -> list[str | None]:
        encoded = encode_strings(
            self.tokenizer,
            (request.prompt for request in requests),
            add_special_tokens=bool(self.add_bos_token),
            prefix_text=self.tokenizer.bos_token,
        )
        wishes = []
        for request in requests:
            settings = normalised(request, int(self.max_gen_toks))
            until, count = settings.pop("until"), settings.pop("max_gen_toks")
            # With a temperature of 0 lm-eval leaves do_sample as it is, and transformers refuses to draw.
            if not settings.get("do_sample") or settings.get("temperature") == 0:
                # Named, so that nothing is left open that transformers would fill in.
                settings = {**settings, "do_sample": False, "temperature": None, "top_p": None, "top_k": None}
            else:
                settings["top_k"] = max(0, settings.get("top_k") or 0)
                if settings.get("temperature"):
                    settings["temperature"] = max(float(settings["temperature"]), LEAST_TEMPERATURE)
            ids = encoded[request.prompt] or (int(self.prefix_token_id),)
            wishes.append(Wish(ids, tuple(until), int(count), settings))
        return generate_by_transformers(
            self.model,
            self.tokenizer,
            wishes,
            max_length=int(self.max_length),
            rows=rows,
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
            with redirected("stdout", stream_target("stderr")):
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
