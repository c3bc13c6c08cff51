"""One question to a model, as the model cards do it: to see that a checkpoint loads, answers and stops.

The answer goes to standard output as it is made. What the machine did goes to standard error, so that a pipe gets the
answer alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from evalkit.config.run_config import InferConfig, ModelConfig
from evalkit.errors import ConfigError, ModelError
from evalkit.evaluation.requirements import check_packages

if TYPE_CHECKING:
    from evalkit.models.openmind import OpenMindLM
    from evalkit.scoring.completion import Detokenizer


@dataclass(frozen=True)
class Answer:
    """A model's answer and what it took."""

    text: str
    prompt_tokens: int
    # Generated tokens, the one that ends the answer included.
    tokens: int
    # Whether the model ended its answer, rather than being cut at `max_new_tokens`.
    ended: bool
    # Until the model is ready on its device and tried (and an engine started): its classes are imported, weights read.
    load_seconds: float
    # From the prompt being sent to the first token being known: on a CPU the weights are put in order in between.
    first_token_seconds: float
    # Tokens after the first, divided by the time since the first; None for an answer of one token.
    tokens_per_second: float | None

    def speed(self) -> str:
        """Return the times in one line."""
        rate = "" if self.tokens_per_second is None else f", {self.tokens_per_second:.1f} tokens/s"
        return (
            f"load {self.load_seconds:.1f} s, first token {self.first_token_seconds:.2f} s{rate} "
            f"({self.prompt_tokens} tokens in, {self.tokens} out{'' if self.ended else ', cut at the limit'})"
        )


def infer(
    config: ModelConfig, prompt: InferConfig, *, output: TextIO | None = None, notes: TextIO | None = None
) -> Answer:
    """Load a model, ask it one question and print the answer while it is made.

    Args:
        config: which model; ``add_bos`` is for a raw prompt, since a chat template writes its own.
        prompt: what to ask it, and how to answer.
        output: where the answer goes; standard output by default.
        notes: where device, dtype and times go; standard error by default.

    Raises:
        ConfigError: model and prompt do not go together.
        ModelError: the model cannot be used, has no chat template, or the prompt is longer than its context.
    """
    if config.add_bos and not prompt.raw:
        raise ConfigError("--add-bos is for --raw; a chat template writes all special tokens itself")
    if config.system_in_user and prompt.system is None:
        raise ConfigError("--system-in-user says where the chat template has --system; add it, or leave both out")
    check_packages()
    from evalkit.evaluation.preflight_model import check_alone, check_texts
    from evalkit.models import vllm_engine
    from evalkit.models.load import load
    from evalkit.scoring.completion import Detokenizer
    from evalkit.scoring.encode import encode_strings

    if config.engine == "vllm":
        vllm_engine.check_draws(prompt.temperature)

    output = output if output is not None else sys.stdout
    notes = notes if notes is not None else sys.stderr
    started = time.perf_counter()
    lm = load(config, lambda line: print(line, file=notes))
    load_seconds = time.perf_counter() - started
    for finding in check_alone(config, lm, needs_numbers=True, has_specials=not prompt.raw):
        notes.write(f"warning: {finding}\n")
    text = prompt.text if prompt.raw else _chat_text(lm, prompt, notes)
    check_texts(config.name, lm, [text])
    bos = lm.tokenizer.bos_token
    ids = list(encode_strings(lm.tokenizer, [text], add_special_tokens=config.add_bos, prefix_text=bos)[text])
    if not _end_ids(lm):
        notes.write("warning: no token ends a text of this model (no EOS): its answer goes on to --max-new-tokens\n")
    if len(ids) >= lm.max_length:
        raise ModelError(
            f"{config.name}: the prompt has {len(ids)} tokens, the model's context {lm.max_length}; shorten it"
        )
    started = time.perf_counter()
    with lm.running():
        if lm.engine is not None:
            lm.engine.start()
        else:
            _ = lm.generator  # chosen when first asked for
    load_seconds += time.perf_counter() - started
    generated, times = _generate(lm, ids, prompt, output)
    since_first = times[-1] - times[1]
    answer = Answer(
        text=Detokenizer(lm.tokenizer).completion(ids, generated),
        prompt_tokens=len(ids),
        tokens=len(generated),
        ended=generated[-1] in _end_ids(lm),
        load_seconds=load_seconds,
        first_token_seconds=times[1] - times[0],
        tokens_per_second=(len(generated) - 1) / since_first if since_first > 0 else None,
    )
    from evalkit.models.devices import product_name

    where = f"{lm.device} ({product_name(lm.device)}), {str(lm.model.dtype).removeprefix('torch.')}"
    engine = "" if lm.engine_name is None else f", text by {lm.engine_name}"
    notes.write(f"{where}, loader {lm.loader}{engine}; {answer.speed()}\n")
    return answer


def _chat_text(lm: OpenMindLM, prompt: InferConfig, notes: TextIO) -> str:
    """Return the conversation as the model's own template writes it, up to where the answer begins."""
    from evalkit.models.chat import check_chat_template

    remedy = ", or send the prompt as it is (evalkit infer --raw)"
    for finding in check_chat_template(
        lm.pretrained,
        lm.tokenizer,
        system=prompt.system,
        system_in_user=lm.system_in_user,
        arguments=dict(lm.chat_template_args or {}),
        remedy=remedy,
        end_ids=_end_ids(lm),
    ):
        notes.write(f"warning: {finding}\n")
    history = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
    return lm.apply_chat_template([*history, {"role": "user", "content": prompt.text}], add_generation_prompt=True)


class _Writer:
    """Writes an answer as far as its characters are complete, and notes when each token was known.

    Attributes:
        times: the clock in seconds, when the prompt was sent and at each token.
    """

    def __init__(self, decoder: Detokenizer, prompt_ids: list[int], output: TextIO) -> None:
        from evalkit.scoring.completion import Stream

        self._stream, self._output, self._written = Stream(decoder, prompt_ids), output, 0
        self.times = [time.perf_counter()]

    def push(self, token: int) -> None:
        """Take the next token."""
        self.times.append(time.perf_counter())
        self._stream.push(token)
        self._write(len(self._stream.text.rstrip("\ufffd")))

    def end(self) -> None:
        """Write what is left."""
        self._write(len(self._stream.text))
        self._output.write("\n")
        self._output.flush()

    def _write(self, end: int) -> None:
        self._output.write(self._stream.text[self._written : end])
        self._output.flush()
        self._written = max(self._written, end)


def _generate(lm: OpenMindLM, ids: list[int], prompt: InferConfig, output: TextIO) -> tuple[list[int], list[float]]:
    """Generate and stream, as a run would generate.

    Returns:
        The generated ids, and the clock (seconds) when the prompt was sent and when each of them was known.
    """
    from evalkit.scoring.completion import Detokenizer
    from evalkit.scoring.generate_transformers import generate_row
    from evalkit.scoring.requests import GenerationRequest
    from evalkit.scoring.schedule import GenerationRow

    most = min(prompt.max_new_tokens, lm.max_length - len(ids))
    writer = _Writer(Detokenizer(lm.tokenizer), ids, output)
    request = GenerationRequest(
        prompt.text,
        max_new_tokens=most,
        temperature=prompt.temperature,
        top_p=prompt.top_p,
        top_k=prompt.top_k,
        repetition_penalty=prompt.repetition_penalty,
        seed=prompt.seed,
    )
    row = GenerationRow(request, tuple(ids), [0])
    generator = lm.generator if lm.engine is None else None
    with lm.running():
        if lm.engine is not None:
            steps: Iterable[object] = lm.engine.grow(iter([row]))
        elif generator is None:
            row.generated = _generate_by_transformers(lm, ids, prompt, most, writer)
            steps = ()
        elif generator.is_alone(row):
            generate_row(lm.model, row, generator.stopping, writer.push)
            steps = ()
        else:
            steps = generator.steps([row], has_drafts=True)
        known = 0
        for _ in steps:
            for token in row.generated[known : len(row.generated) - row.has_failed]:
                writer.push(token)
            known = len(row.generated)
    writer.end()
    if row.has_failed:
        raise ModelError(f"{lm.pretrained}: computes NaN instead of numbers after {len(row.generated) - 1} new tokens")
    return row.generated, writer.times


def _generate_by_transformers(
    lm: OpenMindLM, ids: list[int], prompt: InferConfig, most: int, writer: _Writer
) -> list[int]:
    """Generate with the loop of transformers, for models that ours is not for; returns the generated ids."""
    import torch

    from evalkit.scoring.generate_transformers import LEAST_TEMPERATURE

    class Streamer:
        """What transformers hands its tokens to, the prompt first."""

        is_begun = False

        def put(self, value: Any) -> None:
            if self.is_begun:
                for token in value.flatten().tolist():
                    writer.push(int(token))
            self.is_begun = True

        def end(self) -> None:
            """The answer is ended elsewhere."""

    # All of them are named: a checkpoint's generation_config.json may hold other defaults.
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if prompt.temperature > 0:
        temperature = max(prompt.temperature, LEAST_TEMPERATURE)
        sampling = {"do_sample": True, "temperature": temperature, "top_p": prompt.top_p, "top_k": prompt.top_k}
    if prompt.repetition_penalty != 1:
        sampling["repetition_penalty"] = prompt.repetition_penalty
    torch.manual_seed(prompt.seed)
    row = torch.tensor([ids], device=lm.device)
    with torch.no_grad():
        generated = lm.model.generate(
            input_ids=row,
            attention_mask=torch.ones_like(row),
            max_new_tokens=most,
            eos_token_id=sorted(_end_ids(lm)) or None,
            pad_token_id=lm.tokenizer.pad_token_id,
            streamer=Streamer(),
            **sampling,
        )
    found: list[int] = generated[0, len(ids) :].tolist()
    return found


def _end_ids(lm: OpenMindLM) -> frozenset[int]:
    """Return the ids that end an answer."""
    from evalkit.scoring import stopping

    return stopping.end_ids(lm.model, lm.tokenizer)
