"""What a run's record says, as types: the key ``evalkit`` of ``run.json``, and what readers get beside it.

The types are the documentation: ``docs/run.schema.json`` is made of them. A key that is not declared here is refused,
written or read; what evalkit wrote before is brought into this form by `evalkit.results.former`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from msgspec import field

from evalkit.config.yaml_files import Entry as Part
from evalkit.records.asked import Asked
from evalkit.records.facts import DataFacts, Environment, ModelFacts, Numerics, RequestCounts, ScorerFacts, SystemPrompt
from evalkit.records.growth import newest_minor, since
from evalkit.records.identity import Identity
from evalkit.records.samples import Sample

SCHEMA_VERSION = 3
"""2 added identity, work and sessions; 3 what each sample's metrics chose. docs/results.md has the history; keys that
were added since are counted by `SCHEMA_MINOR`."""

RUN_FILE = "run.json"
SAMPLES_FILE = "samples.jsonl"
REPORT_FILE = "report.md"


class MetricValue(Part, frozen=True, kw_only=True):
    """A metric over a task's documents."""

    value: float | None
    """Mean over the documents, a fraction; null if a sample failed, because there is no score then."""
    stderr: float | None
    """Sample standard deviation / sqrt(n); null for fewer than two documents or without a value."""
    n: int
    """Number of documents."""
    failed: int
    """Documents without a finite value."""


class WorkSection(Part, frozen=True, kw_only=True):
    """One call of the model with all its requests."""

    what: str
    """``log-likelihoods`` or ``texts``."""
    requests: int
    """Number of requests."""
    reused: int = 0
    """Those whose results were taken from another run."""
    plan_sha256: str | None = None
    """Of the plan."""
    packs: int = 0
    """Number of packs of the plan."""
    split_packs: dict[str, int] = field(default_factory=dict)
    """Pack number to number of parts, for packs that were split because memory ran out."""


class WorkDone(Part, frozen=True, kw_only=True):
    """How the work was done."""

    reused_from: str | None = None
    """Name of the run that results were taken over from."""
    sections: tuple[WorkSection, ...] = ()
    """In the order of the calls."""


class RunSession(Part, frozen=True, kw_only=True, omit_defaults=True):
    """A process that worked on the run: a line of ``sessions.jsonl``."""

    started: str
    """ISO 8601."""
    host: str | None = None
    """The machine's name."""
    pid: int | None = None
    """The process."""
    command: tuple[str, ...] = ()
    """Its command line, secrets blotted out."""
    previous_until: str | None = None
    """When the session before it wrote its last result."""


class Partial(Part, frozen=True, kw_only=True):
    """How much of an unfinished run is there."""

    documents: dict[str, tuple[int, int]]
    """By task (documents that are answered, documents of the run)."""
    without_verdicts: tuple[str, ...]
    """Tasks whose texts are there and whose programs were not run."""
    there: str
    """The same in a sentence."""


class Foreign(Part, frozen=True, kw_only=True):
    """What an imported results file says that a run of evalkit need not say."""

    harness: str
    """``lm-eval``."""
    protocols: dict[str, str]
    """By suite how its tasks were measured."""
    task_protocols: dict[str, str]
    """By task how it was measured."""
    shots: dict[str, int | None]
    """By task the number of examples in its prompts; null where the file does not say."""
    ignored: tuple[tuple[str, str], ...]
    """(task, metric) of its numbers that are no shares."""
    unread: tuple[tuple[int, str], ...]
    """(line, what) of its numbers that are none."""
    errors: tuple[tuple[int, str], ...] = ()
    """(line, what) of its standard errors that are not those of its scores."""
    doc_hashes: dict[str, tuple[str, ...]]
    """By task lm-eval's hash of each document, which tells a cut file from other data."""
    unpaired_because: str | None = None
    """Why samples files that lie beside it are not taken for its documents."""
    settings: dict[str, str] = field(default_factory=dict)
    """What else it says of how it was measured, for all tasks; `evalkit.results.lm_eval_settings`."""
    task_settings: dict[str, dict[str, str]] = field(default_factory=dict)
    """The same by task."""
    asked: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By task a digest of each document's requests and gold answer, in the order of `doc_hashes`."""


REUSE_REMARK = "--reuse "
"""What a warning about answers that were taken over begins with."""


class RunFacts(Part, frozen=True, kw_only=True):
    """The key ``evalkit`` of ``run.json``."""

    protocol: str
    """Name of the protocol, e.g. ``nous-2023``."""
    started: str
    """When the process that finished the run began: UTC time."""
    duration_seconds: float | None
    """Of all sessions together; null for an unfinished run."""
    command: tuple[str, ...] = ()
    """Its command line, secrets blotted out."""
    config: Asked
    """What was asked for: flags and file merged."""
    suites: tuple[str, ...] = ()
    """Suites that were run."""
    model: ModelFacts
    """The model, as it was loaded."""
    scorer: ScorerFacts
    """What scored."""
    numerics: Numerics | None = None
    """With ``--audit-fraction``: what scoring again in float32 found."""
    data: dict[str, DataFacts]
    """By task where its documents came from."""
    environment: Environment
    """What the run ran on."""
    isolation: str | None = None
    """How model-written programs were confined; null where none were run."""
    disputed: Annotated[tuple[str, ...], since(2)] = ()
    """Problems of model-written programs that failed and pass in one process, one entry a program."""
    answers: Annotated[tuple[str, ...], since(3)] = ()
    """What was remarked when code was taken out of answers: a line for each remark, with how many and which."""
    preflight: tuple[str, ...] = ()
    """The warnings of the look before the work, one line each."""
    system: SystemPrompt | None = None
    """The system prompt; null without one."""
    requests: RequestCounts | None = None
    """What happened to requests before the model saw them."""
    identity: Identity | None = None
    """What the scores depend on; null where it is not known."""
    work: WorkDone | None = None
    """How the work was done."""
    sessions: tuple[RunSession, ...] = ()
    """The processes that worked on the run."""
    metrics: dict[str, dict[str, MetricValue]] = field(name="tasks", default_factory=dict)
    """Task -> metric -> value."""

    @property
    def reuse_remarks(self) -> list[str]:
        """What a reader should know of answers that were taken over from another run, those of other code above all."""
        return [finding for finding in self.preflight if finding.startswith(REUSE_REMARK)]


class RunRecord(RunFacts, frozen=True, kw_only=True):
    """A run as every command takes it: finished, unfinished (`partial`) or another harness's (`foreign`)."""

    folder: Path
    """Where it was read from."""
    lm_eval: dict[str, Any]
    """lm-eval's part of ``run.json``: ``results``, ``versions``, ``n-samples``..., whatever lm-eval writes."""
    partial: Partial | None = None
    """How much is there, if the run is not finished."""
    foreign: Foreign | None = None
    """What an imported results file says besides."""


SCHEMA_MINOR = newest_minor(RunFacts, Sample)
"""Greatest number that a key of a record, or of a sample, says of itself; see `evalkit.records.growth`."""
