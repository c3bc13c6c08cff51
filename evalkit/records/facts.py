"""What a record says of model, scorer, data and machine, as types."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import field

from evalkit.config.yaml_files import Entry as Part
from evalkit.records.growth import since
from evalkit.records.identity import ModelIdentity


class Adapter(Part, frozen=True, kw_only=True):
    """The PEFT adapter that was applied."""

    name: str
    """As it was named."""
    sha256: str | None = None
    """Over its files."""


class Generation(Part, frozen=True, kw_only=True):
    """How texts are made."""

    end_ids: tuple[int, ...] = ()
    """The tokens that end a text."""
    ignored: dict[str, Any] = field(default_factory=dict)
    """Settings of generation_config.json that would change a text and are not applied: any of transformers' own."""
    engine: Annotated[str | None, since(2)] = None
    """What makes them instead of evalkit's own loop, and its version: ``vllm 0.32.0``."""


class ModelFacts(Part, frozen=True, kw_only=True):
    """The model, as it was loaded: what an adapter's ``describe()`` says."""

    name: str
    """As it was named: a folder, a hub's id, or ``tiny``."""
    origin: str | None = None
    """folder, hub, built-in..."""
    folder: str | None = None
    """The folder that it was loaded from, where it was named by one."""
    revision: str | None = None
    """The hub's commit."""
    loader: str
    """openmind, transformers or built-in."""
    device: str
    """``cpu``, ``npu:0``, ``cuda:0``..."""
    device_name: str | None = None
    """The product's name."""
    instruction_set: str | None = None
    """Of a CPU: what its kernels were chosen for."""
    dtype: str
    """What was computed in."""
    quantization: str | None = None
    """What the checkpoint's weights are quantised by."""
    architecture: str | None = None
    """The model's class."""
    parameters: int | None = None
    """Number of parameters."""
    max_length: int | None = None
    """Tokens of its context."""
    trust_remote_code: bool | None = None
    """Whether code of the model's repository was run."""
    tokenizer: str | None = None
    """The tokenizer's class."""
    vocabulary: int | None = None
    """Entries of the tokenizer."""
    add_bos: bool | None = None
    """Whether the BOS token went before requests."""
    has_chat_template: bool | None = None
    """Whether the tokenizer has one."""
    chat_template_sha256: str | None = None
    """sha256 of the chat template and its arguments."""
    weights: tuple[str, ...] | None = None
    """The files that were loaded."""
    weights_unused: tuple[str, ...] | None = None
    """Others that lie beside them."""
    adapter: Adapter | None = None
    """The PEFT adapter that was applied."""
    generation: Generation | None = None
    """How texts are made."""
    model_fingerprint: str | None = None
    """sha256 over configuration, weight files, model code and adapter."""
    tokenizer_fingerprint: str | None = None
    """sha256 of the ids of a fixed text."""
    identity: ModelIdentity | None = None
    """All that answers depend on, in the groups of the run's identity."""
    versions: dict[str, str | None] | None = None
    """Of the libraries in use, CUDA and CANN included; null for what is not installed."""


class ScorerFacts(Part, frozen=True, kw_only=True):
    """What scored the log-likelihoods."""

    name: str
    """``forest`` or ``plain``."""
    reason: str
    """Why it was taken, one sentence."""
    max_difference: float | None = None
    """Greatest difference between both on the probe, in nats."""


class Numerics(Part, frozen=True, kw_only=True):
    """What scoring a share of the documents again in float32 found."""

    requests: int
    """Number of requests scored again."""
    documents: int
    """Number of documents they belong to."""
    max_difference: float
    """Greatest difference of a log-probability, in nats."""
    mean_difference: float
    """Mean of the differences, in nats."""
    flipped: int
    """Documents whose most probable continuation differs."""
    flipped_greedy: int
    """Requests whose greedy flag differs."""
    dtype: str
    """What the run used."""
    points: float
    """Flipped documents in percentage points: the most by which rounding can have moved an accuracy."""
    summary: str
    """The sentence for the report."""


class DataFacts(Part, frozen=True, kw_only=True):
    """Where one task's documents came from."""

    source: str
    """``hub``, ``folder``, ``openmind``, ``samples``, or ``lm-eval`` for an imported results file."""
    location: str | None = None
    """The file or repository."""
    rows: int | None = None
    """Rows that were read."""
    documents: int | None = None
    """Documents of them: equal ones count once where the protocol says so."""
    sha256: str | None = None
    """Of the content."""
    expected_rows: int | None = None
    """What the manifest expects."""
    expected_sha256: str | None = None
    """What the manifest expects."""
    verdict: str
    """``published``, ``other``, ``samples``, or ``unknown`` for an imported results file."""


class Code(Part, frozen=True, kw_only=True):
    """evalkit's checkout."""

    commit: str | None = None
    """Its commit; null outside a checkout."""
    dirty: bool | None = None
    """Whether it had changes."""


class Environment(Part, frozen=True, kw_only=True):
    """What the run ran on."""

    versions: dict[str, str]
    """Of the packages that matter."""
    drivers: dict[str, str] = field(default_factory=dict)
    """Of the accelerators' drivers, firmware and CANN."""
    code: Code | None = None
    """evalkit's checkout."""
    platform: str | None = None
    """Operating system, its version, C library."""
    machine: str | None = None
    """Architecture of the processor."""
    cpu_count: int | None = None
    """Number of processors."""
    variables: dict[str, str] = field(default_factory=dict)
    """Environment variables that can change a score; none that holds a secret."""


class SystemPrompt(Part, frozen=True, kw_only=True):
    """The system prompt."""

    text: str
    """The prompt."""
    place: str
    """How it reached the model: system message, head of the first user turn, or before the context."""


class RequestCounts(Part, frozen=True, kw_only=True):
    """What happened to requests before the model saw them."""

    cut: int = 0
    """Lost their beginning, which had no place in the model's context."""
    apart: int = 0
    """Context and continuation were encoded apart, since a token spans their join."""
