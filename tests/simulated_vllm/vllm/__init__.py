"""The part of vLLM that ``--engine vllm`` uses, a row at a time by transformers: for tests without vLLM.

``SIMULATED_VLLM`` makes it go wrong: ``weights`` (another model's), ``nan``, ``fails``, ``short`` (ends texts early),
``gone`` (cannot start). Tokens come two a step, as from an engine that guesses ahead.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch

from vllm.sampling_params import SamplingParams

__all__ = ["LLM", "SamplingParams"]
STARTED: list[dict[str, Any]] = []
"""Arguments of each engine that was made."""
SCRIPT: list[int] = []
"""What every text says, but the probe's; empty: what the model says."""


@dataclass
class _Request:
    ids: list[int]
    params: SamplingParams
    draws: torch.Generator
    count: int = 0
    logprobs: list[Any] = field(default_factory=list)


class _Engine:
    def __init__(self, folder: str, dtype: str) -> None:
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        self.fault = os.environ.get("SIMULATED_VLLM", "")
        if self.fault == "weights":
            for parameter in self.model.parameters():
                parameter.data.mul_(1.5)
        self.requests: dict[str, _Request] = {}
        self.asked: list[tuple[list[int], SamplingParams]] = []
        self.aborted: list[str] = []

    def add_request(self, name: str, prompt: dict[str, list[int]], params: SamplingParams) -> None:
        ids = prompt["prompt_token_ids"]
        self.asked.append((ids, params))
        self.requests[name] = _Request(list(ids), params, torch.Generator().manual_seed(params.seed or 0))

    def abort_request(self, names: list[str]) -> None:
        self.aborted += names
        for name in names:
            self.requests.pop(name, None)  # as vLLM, which is asked about texts that ended by themselves too

    def step(self) -> list[Any]:
        found = []
        for name, request in list(self.requests.items()):
            tokens, logprobs, finished = [], [], False
            for _ in range(2):
                token, logprob = self._next(request)
                tokens.append(token)
                logprobs.append({token: SimpleNamespace(logprob=logprob)})
                is_full = request.count >= (4 if self._is_cut(request) else request.params.max_tokens)
                finished = is_full or token in (request.params.stop_token_ids or ())
                if finished:
                    del self.requests[name]
                    break
            made = SimpleNamespace(token_ids=tokens, logprobs=logprobs)
            found.append(SimpleNamespace(request_id=name, outputs=[made], finished=finished))
        return found

    def _is_cut(self, request: _Request) -> bool:
        return self.fault == "short" and request.params.stop_token_ids is not None

    @torch.inference_mode()
    def _next(self, request: _Request) -> tuple[int, float]:
        is_probe = request.params.stop_token_ids is None
        if self.fault == "fails" and not is_probe and request.count >= 2:
            raise RuntimeError("EngineCore encountered an issue.\nSee stack trace above")
        logits = self.model(torch.tensor([request.ids])).logits[0, -1].float()
        if self.fault == "nan" and not is_probe and request.count >= 2:
            logits = logits * float("nan")
        if SCRIPT and not is_probe:
            token = SCRIPT[request.count]
        elif request.params.temperature == 0:
            token = int(logits.nan_to_num().argmax())
        else:
            chances = torch.softmax(logits / request.params.temperature, -1)
            token = int(torch.multinomial(chances, 1, generator=request.draws))
        request.ids.append(token)
        request.count += 1
        return token, float(torch.log_softmax(logits, -1)[token])


class LLM:
    """Stands for vLLM's class of this name."""

    def __init__(self, model: str, *, dtype: str, **options: Any) -> None:
        STARTED.append({"model": model, "dtype": dtype, **options})
        if os.environ.get("SIMULATED_VLLM") == "gone":
            raise RuntimeError("Engine core initialization failed. See root cause above.")
        self.llm_engine = _Engine(model, dtype)
