"""The options that a run was asked for, as its record keeps them: those of `evalkit.config.RunConfig`, by their names.

A type of its own, because a record outlives the options: what an earlier version did not know is null or its default.
"""

from __future__ import annotations

from evalkit.yaml_files import Entry as Part


class Asked(Part, frozen=True, kw_only=True):
    """What was asked for: flags and file merged."""

    model: str
    """Local folder, hub id, or ``tiny``."""
    suite: tuple[str, ...] = ()
    """Suites; with neither suite nor task: all."""
    task: tuple[str, ...] = ()
    """Single tasks."""
    data: tuple[str, ...] = ()
    """Sources of the documents, each ``SOURCE`` or ``SUITE=SOURCE``."""
    samples: int = 1
    """Completions for each HumanEval problem."""
    temperature: float = 0.0
    """Of the completions; 0 is greedy."""
    limit: int | float | None = None
    """First N documents of each task; null for all. Of an imported file, below 1 a share of each task."""
    output: str | None = None
    """Folder that received the run."""
    revision: str | None = None
    """Revision of a hub model."""
    tokenizer: str | None = None
    """Another tokenizer than the model's."""
    loader: str = "auto"
    """auto, openmind or transformers."""
    device: str = "auto"
    """auto, npu[:N], cuda[:N] or cpu."""
    dtype: str = "auto"
    """The weights' number format; auto is the checkpoint's."""
    batch_size: str = "auto"
    """auto or rows a batch, for generation."""
    scorer: str = "auto"
    """auto, forest or plain."""
    max_batch_tokens: int | None = None
    """Token positions of a forward pass; null: measured."""
    audit_fraction: float = 0.0
    """Share of the documents that were scored again in float32."""
    max_length: int | None = None
    """Tokens a row may have; null: the model's own limit."""
    max_new_tokens: int | None = None
    """Greatest number of tokens of a generated text; null: each task's own."""
    trust_remote_code: bool = False
    """Run code that the model's repository contains."""
    add_bos: bool = False
    """Put the BOS token before every request."""
    apply_chat_template: bool = False
    """Wrap contexts in the tokenizer's chat template."""
    system: str | None = None
    """System prompt."""
    system_in_user: bool = False
    """Put it at the head of the first user turn."""
    adapter: str | None = None
    """Folder of a PEFT adapter."""
    isolation: str = "require"
    """How model-written programs are run: require, best or off."""
    unsafe_code_execution: bool = False
    """Permits ``isolation: off``."""
    seed: int = 1234
    """Of torch, numpy and random."""
    fresh: bool = False
    """Begin a new run although an unfinished one could be continued."""
    resume: bool = False
    """Continue an unfinished run or fail."""
    reuse: str | None = None
    """Folder of another run whose scores of equal requests were taken over."""
    dry_run: bool = False
    """Only look at model, data and requests."""
    source_file: str | None = None
    """The configuration file."""
