"""What a run's scores depend on, as types; `evalkit.store.identity` collects it, resuming compares it."""

from __future__ import annotations

from msgspec import field

from evalkit.yaml_files import Entry as Part


class GenerationIdentity(Part, frozen=True, kw_only=True):
    """`Generation` as the identity has it."""

    end_ids: tuple[int, ...] = ()
    """The tokens that end a text."""
    ignored: tuple[str, ...] = ()
    """Names of the settings that are not applied."""


class WeightsIdentity(Part, frozen=True, kw_only=True):
    """Which weights answered."""

    model_fingerprint: str | None = None
    """sha256 over configuration, the weight files that were loaded, model code and adapter."""
    adapter: str | None = None
    """sha256 over the adapter's files; null without one."""
    revision: str | None = None
    """The hub's commit."""
    architecture: str | None = None
    """The model's class."""
    quantization: str | None = None
    """Its method."""
    loader: str | None = None
    """What loaded it."""
    max_length: int | None = None
    """Tokens of its context."""


class TokenizerIdentity(Part, frozen=True, kw_only=True):
    """Which tokenizer made the requests' tokens."""

    tokenizer_fingerprint: str | None = None
    """sha256 of the ids of a fixed text."""
    tokenizer_files: str | None = None
    """sha256 over the tokenizer's files; null for the built-in model."""
    vocabulary: int | None = None
    """Entries of the tokenizer."""
    add_bos: bool | None = None
    """Whether the BOS token goes before texts."""


class ModelIdentity(Part, frozen=True, kw_only=True):
    """What answers depend on, on the model's side."""

    model: WeightsIdentity = WeightsIdentity()
    """The weights."""
    tokenizer: TokenizerIdentity = TokenizerIdentity()
    """The tokenizer."""
    chat_template: str | None = None
    """sha256 of the chat template and its arguments; null without one."""
    generation: GenerationIdentity | None = None
    """How texts are made."""
    dtype: str | None = None
    """Of the weights."""


class DataIdentity(Part, frozen=True, kw_only=True):
    """A task's documents."""

    sha256: str
    """Of the content."""
    documents: int
    """Number of them."""


class ProtocolIdentity(Part, frozen=True, kw_only=True):
    """How requests and metrics are made."""

    name: str
    """As ``protocol``."""
    sha256: str | None = None
    """Of the configuration of tasks, suites and protocols."""


class CodeIdentity(Part, frozen=True, kw_only=True):
    """The code that answers."""

    evalkit: str | None = None
    """evalkit's version."""
    sha256: str | None = None
    """Of its modules that make requests, answer them and make values of the answers."""


class ScorerIdentity(Part, frozen=True, kw_only=True):
    """What scores."""

    name: str
    """``forest`` or ``plain``."""
    attention: str | None = None
    """How the forest's mask is made."""


class DeviceIdentity(Part, frozen=True, kw_only=True):
    """What computes."""

    kind: str
    """``cpu``, ``npu`` or ``cuda``."""
    name: str | None = None
    """The product's name."""
    instruction_set: str | None = None
    """Of a CPU."""


class SettingsIdentity(Part, frozen=True, kw_only=True):
    """The options that change requests."""

    tasks: tuple[str, ...]
    """Tasks in reporting order."""
    limit: int | None = None
    """First N documents of each task."""
    add_bos: bool = False
    """The BOS token before every request."""
    apply_chat_template: bool = False
    """Contexts wrapped in the chat template."""
    system: str | None = None
    """System prompt."""
    system_in_user: bool = False
    """It stands at the head of the first user turn."""
    seed: int | None = None
    """Of torch, numpy and random."""
    samples: int = 1
    """Completions for each HumanEval problem."""
    temperature: float = 0.0
    """Of the completions."""
    max_new_tokens: int | None = None
    """Greatest number of tokens of a generated text."""


class Identity(ModelIdentity, frozen=True, kw_only=True):
    """What the scores depend on: two runs of one identity are one run, interrupted or not."""

    data: dict[str, DataIdentity] = field(default_factory=dict)
    """By task its documents."""
    protocol: ProtocolIdentity | None = None
    """How requests and metrics are made."""
    code: CodeIdentity = CodeIdentity()
    """The code that answers."""
    versions: dict[str, str | None] = field(default_factory=dict)
    """Of the libraries."""
    scorer: ScorerIdentity | None = None
    """What scores."""
    device: DeviceIdentity | None = None
    """What computes."""
    settings: SettingsIdentity | None = None
    """The options that change requests."""
    reuse: str | None = None
    """Name of the run that results were taken over from."""
