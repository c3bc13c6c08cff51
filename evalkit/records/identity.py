"""What a run's scores depend on, as types; `evalkit.store.identity` collects it, resuming compares it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import field

from evalkit.config.options import declared_settings
from evalkit.config.run_config import RunConfig
from evalkit.config.yaml_files import Entry as Part
from evalkit.records.growth import grown, since
from evalkit.records.made import other_documents


class GenerationIdentity(Part, frozen=True, kw_only=True):
    """`Generation` as the identity has it."""

    end_ids: tuple[int, ...] = ()
    """The tokens that end a text."""
    ignored: tuple[str, ...] = ()
    """Names of the settings that are not applied."""
    engine: Annotated[str | None, since(2)] = None
    """What makes them instead of evalkit's own loop, and its version."""


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
    other: Annotated[dict[str, Any], since(1)] = field(default_factory=dict)
    """Whatever else answers depend on, of an answerer that is no model in the process: a server's version..."""


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
    """Of the configuration of all tasks there were; null since ``tasks`` says it."""
    tasks: Annotated[dict[str, str], since(1)] = field(default_factory=dict)
    """By task sha256 of what its file and its suite's say of requests and metrics; comments do not count."""
    code: Annotated[dict[str, str], since(4)] = field(default_factory=dict)
    """By task sha256 of the Python modules of its own functions; tasks without such are left out."""
    documents: Annotated[dict[str, str], since(4)] = field(default_factory=dict)
    """By task that was not published what it makes of its documents: ``sha256:documents:marks``, where the marks are
    four hexadecimal digits for each document in turn or, of many, for each few."""


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


class _SettingsIdentity(Part, frozen=True, kw_only=True):
    """The options that scores depend on."""

    tasks: tuple[str, ...]
    """Tasks in reporting order."""
    limit: int | None = None
    """First N documents of each task."""
    samples: int = 1
    """Completions for each HumanEval problem."""
    seed: int | None = None
    """Of torch, numpy and random."""


MOVING = {key: setting for key, setting in declared_settings(RunConfig).items() if setting.option.moves_scores}
"""The options that scores depend on, by key."""

if TYPE_CHECKING:

    class SettingsIdentity(_SettingsIdentity, frozen=True, kw_only=True):
        """The options that scores depend on: besides the declared ones all of `MOVING`."""

else:
    SettingsIdentity = grown(
        _SettingsIdentity,
        {key: (setting.kind, setting.default, setting.option.since) for key, setting in MOVING.items()},
    )


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


def of_task(whole: Identity | None, task: str) -> dict[str, str]:
    """Return what an identity says of how a task asks and scores, by its place there."""
    protocol = whole.protocol if whole is not None else None
    if protocol is None:
        return {}
    parts = {"tasks": protocol.tasks, "code": protocol.code, "documents": protocol.documents}
    return {f"protocol.{part}.{task}": said[task] for part, said in parts.items() if task in said}


def changed_of(first: Identity | None, second: Identity | None, task: str) -> list[str]:
    """Name what two identities say otherwise of how a task asks and scores: ``protocol.code.mine`` ..."""
    ours, theirs = of_task(first, task), of_task(second, task)
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)] if ours and theirs else []
    of = {name: other_documents(ours.get(name), theirs.get(name)) for name in names}
    return [f"{name} ({of[name]})" if of[name] else name for name in names]


def same_protocol(first: Identity | None, second: Identity | None, *tasks: str) -> bool | None:
    """Tell whether tasks of two runs were configured alike; None where the records do not say.

    Args:
        first, second: what the runs' scores depend on.
        tasks: which; none: all that both have.
    """
    a, b = (whole.protocol if whole is not None else None for whole in (first, second))
    if a is None or b is None:
        return None
    common = [task for task in tasks or a.tasks if task in a.tasks and task in b.tasks]
    if common:
        return all(of_task(first, task) == of_task(second, task) for task in common)
    return a.sha256 == b.sha256 if a.sha256 and b.sha256 else None
