"""The options of `evalkit.run` and `evalkit.gate` as types (``python -m evalkit.api.functions``)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, TypeAlias, TypedDict

from evalkit.records.model import RunRecord

Text: TypeAlias = "str | os.PathLike[str]"


class GateOptions(TypedDict, total=False):
    """Options of `evalkit.gate` for its ``run_model``."""

    revision: Text | int | None
    """Revision of a hub model."""
    adapter: Text | None
    """PEFT adapter (LoRA ...) to apply to the model."""
    tokenizer: Text | None
    """Another tokenizer than the model's."""
    loader: Literal["auto", "openmind", "transformers"]
    """auto, openmind or transformers."""
    device: Text
    """auto, npu[:N], cuda[:N] or cpu."""
    dtype: Literal["auto", "float64", "float32", "bfloat16", "float16", "fp32", "bf16", "fp16"]
    """auto, bfloat16, float16, float32 or float64."""
    trust_remote_code: bool
    """Run code that the model's repository contains."""
    data: Text | Sequence[Text]
    """hub, openmind, samples or a folder; SUITE=SOURCE for one suite."""


class RunOptions(GateOptions, total=False):
    """Options of `evalkit.run`."""

    model: Text
    """Local folder, hub id, or 'tiny' (the built-in model)."""
    batch_size: Text | int
    """'auto' or rows a batch, for generation."""
    scorer: Literal["auto", "forest", "plain"]
    """auto, forest (shared prefixes once) or plain."""
    engine: Literal["evalkit", "vllm"]
    """What generates texts: evalkit (the model in this process), or vllm where it is installed."""
    max_batch_tokens: int | None
    """Token positions of a forward pass."""
    audit_fraction: float
    """Share of the documents to score again in float32."""
    max_length: int | None
    """Tokens a row may have."""
    add_bos: bool
    """Put BOS before every request."""
    system_in_user: bool
    """Put the system prompt at the head of the user's turn, for chat templates that take none."""
    suite: Text | Sequence[Text]
    """Suite; repeat for several: gpt4all, agieval, bigbench, truthfulqa, humaneval, humaneval_chat."""
    task: Text | Sequence[Text]
    """Single task; repeat for several (evalkit list tasks)."""
    limit: int | None
    """First N documents of each task."""
    samples: int
    """HumanEval: completions for each problem."""
    temperature: float
    """HumanEval: sampling temperature, 0 is greedy."""
    top_p: float
    """HumanEval: with a temperature, draw only among the likeliest tokens that together have this probability."""
    top_k: int
    """HumanEval: with a temperature, draw only among so many of the likeliest tokens; 0 is all."""
    repetition_penalty: float
    """HumanEval: divide what the model gives tokens that are there already by this; 1 is none."""
    output: Text
    """Folder that receives <model>/<time>/."""
    max_new_tokens: int | None
    """Lower the tokens of a generated text to this."""
    apply_chat_template: bool
    """Wrap contexts in the model's chat template."""
    system: Text | None
    """System prompt."""
    isolation: Literal["require", "best", "off"]
    """Model-written programs: require, best or off."""
    unsafe_code_execution: bool
    """Permits --isolation off."""
    seed: int
    """Seed of torch, numpy and random."""
    fresh: bool
    """Start anew, even if the same command left a run unfinished."""
    resume: bool
    """Continue an unfinished run; an error if there is none."""
    reuse: Text | RunRecord | None
    """Take scores of equal requests from the folder of another run."""
