"""The main job: five suites on a model, a record and its report out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from evalkit.config import RunConfig, model_folder_name, suites_of
from evalkit.data import DataSource, LoadedData, resolve_sources
from evalkit.environment import describe_environment, without_secrets
from evalkit.errors import StoreError
from evalkit.evaluated import build_tasks, evaluate_tasks, samples_of, system_of
from evalkit.interrupt import Interrupted, StopSignals
from evalkit.paths import user_path
from evalkit.progress import Progress
from evalkit.ready import check_ready
from evalkit.records.asked import Asked
from evalkit.records.facts import ModelFacts, Numerics, RequestCounts, ScorerFacts
from evalkit.records.identity import Identity
from evalkit.records.model import RunFacts, RunRecord
from evalkit.records.writing import part, write_run
from evalkit.report.run_report import requests_text, run_report
from evalkit.store import runs
from evalkit.store.identity import asked, identity
from evalkit.store.ledger import Ledger
from evalkit.store.sections import SCORES, Source
from evalkit.suites import find_task, load_suites, with_chat, with_programs


@dataclass(frozen=True)
class Finished:
    """What ``run`` returns.

    Attributes:
        record: the finished run; None for a dry run.
        report: its report, Markdown; of a dry run the plan.
    """

    record: RunRecord | None
    report: str


def run(
    config: RunConfig,
    command: Sequence[str],
    say: Callable[[str], None] = lambda _: None,
    signals: StopSignals | None = None,
) -> Finished:
    """Run a configuration, or continue the unfinished run of the same one.

    Args:
        config: what to run.
        command: the command line, for the record.
        say: receives one line of progress at a time.
        signals: SIGINT and SIGTERM, where the caller has them wait for the batch in hand.

    Raises:
        ConfigError, DataError, ModelError, SandboxError, StoreError: before anything was computed, where it can be
            known; every message is one line with the remedy.
        Interrupted: by one of ``signals``; what was finished is kept, and the same call goes on from there.
    """
    signals = signals or StopSignals()
    command = without_secrets(command)
    started = datetime.now(timezone.utc)
    clock = time.monotonic()

    # 1. What to run, and on which documents. Everything that can be wrong here is found before the model is loaded.
    names = config.task_names()
    sources = resolve_sources(config.data_sources(), load_suites(), suites_of(names))
    check_ready(config, names, sources, say)
    data = _load_data(names, sources, config.limit, say)
    parent = _folder_of_runs(config)

    with ExitStack() as stack:
        # 2. A safe place for model-written programs, or a refusal.
        verdicts = _enter_sandbox(config, names, stack, say)

        # 3. The model.
        model = load_model(config, say)
        described = model.describe()
        model_facts = part(ModelFacts, {"name": config.model, **described}, "model.describe()")
        model.on_text = _check_program

        # 4. One look at model and requests; what cannot come out right ends here.
        tasks, plan, findings = _look(config, names, sources, model, say, clock)
        if plan is not None:
            return Finished(None, plan)

        # 5. The run's folder: a new one, or that of the unfinished run with the same identity.
        opened, model.ledger = _open_run(config, parent, names, data, model, described, signals, say)
        stack.enter_context(opened.journal)
        runs.begin_session(opened.folder, command, started.isoformat(timespec="seconds"), opened.last_written)

        # 6. All requests of all tasks, through lm-eval; the ledger keeps each batch as it is finished.
        stack.enter_context(_explained_stop(opened.folder, model.ledger, say))
        evaluated = evaluate_tasks(config, names, sources, model, tasks)
        opened.journal.sync()
        requests = RequestCounts(**{mark: model.marks.counts.get(mark, 0) for mark in ("cut", "apart")})
        for line in requests_text(requests):
            say(line)

        # 7. The record and the report, from the journal's results in canonical order.
        samples = samples_of(evaluated.pop("samples"), data, config.limit, verdicts, model.marks.of)
        sessions = runs.read_sessions(opened.folder)
        facts = RunFacts(
            protocol=_protocol(names),
            started=started.isoformat(timespec="seconds"),
            duration_seconds=round(runs.earlier_seconds(sessions) + time.monotonic() - clock, 3),
            command=tuple(command),
            config=part(Asked, config.to_dict(), "config"),
            suites=tuple(suites_of(names)),
            model=model_facts,
            scorer=part(ScorerFacts, opened.journal.header["work"]["scorer"], "scorer"),
            numerics=_numerics(model.audit),
            data={name: loaded.describe() for name, loaded in data.items()},
            environment=describe_environment(),
            isolation=_isolation(verdicts),
            preflight=tuple(findings),
            system=system_of(config, names),
            requests=requests,
            identity=part(Identity, opened.journal.header["identity"], "identity"),
            work=model.ledger.describe(),
            sessions=tuple(sessions),
        )
        evaluated["config"] = {"model": "openmind", "model_args": {"pretrained": config.model}, "limit": config.limit}
        evaluated["date"] = started.timestamp()
        record = write_run(opened.folder, facts, evaluated, samples, run_report)
        return Finished(record, run_report(record))


def _look(
    config: RunConfig,
    names: Sequence[str],
    sources: Mapping[str, DataSource],
    model: Any,
    say: Callable[[str], None],
    clock: float,
) -> tuple[dict[str, Any], str | None, list[str]]:
    """Return lm-eval's tasks with their requests, the plan where only that is wanted, and the warnings.

    Args:
        clock: `time.monotonic` at the beginning.

    Raises:
        ModelError, ConfigError: nothing right can come.
    """
    from evalkit.preflight import asked_of, check_model, check_requests

    findings = check_model(config, model, chat=bool(with_chat(names)))
    tasks = build_tasks(config, names, sources, model)
    asked_for = asked_of(model, tasks["tasks"])
    findings += check_requests(config.model, model, asked_for)
    for finding in findings:
        say(f"warning: {finding}")
    if not config.dry_run:
        return tasks, None, findings
    from evalkit.dry_run import documents_of, plan_text

    spent = time.monotonic() - clock
    plan = plan_text(model, tasks["tasks"], asked_for, documents_of(tasks["tasks"]), spent)
    return tasks, plan + "\n\ndry run: nothing was scored and nothing was written", findings


@contextmanager
def _explained_stop(folder: Path, ledger: Ledger, say: Callable[[str], None]) -> Iterator[None]:
    """Say what is kept, and how to go on, where a signal ends the run."""
    try:
        yield
    except Interrupted as stop:
        there = runs.progress_text(ledger.sections)
        say(f"stopped by {stop}: {there}, in {folder}; the same command goes on from there")
        stop.is_explained = True
        raise


def _folder_of_runs(config: RunConfig) -> Path:
    """Return ``<output>/<model>``, made and writable: a run of hours must not find out at its end.

    Raises:
        StoreError: it can't be made, or not be written.
    """
    parent = user_path(config.output) / model_folder_name(config.model)
    if config.dry_run:
        there = next(folder for folder in (parent, *parent.absolute().parents) if folder.exists())
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            raise StoreError(f"{parent}: cannot be made in {there}; choose another place with --output")
        return parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{parent}: cannot be made ({error.strerror}); choose another place with --output") from None
    if not os.access(parent, os.W_OK | os.X_OK):
        raise StoreError(f"{parent}: not writable; choose another place with --output")
    return parent


def _open_run(
    config: RunConfig,
    parent: Path,
    names: Sequence[str],
    data: Mapping[str, LoadedData],
    model: Any,
    described: Mapping[str, Any],
    signals: StopSignals,
    say: Callable[[str], None],
) -> tuple[runs.OpenRun, Ledger]:
    scorer = {"name": model.scorer.name, "attention": str(getattr(model.scorer, "attention", ""))}
    wanted = identity(
        config,
        _protocol(names),
        {name: loaded.describe() for name, loaded in data.items()},
        {**described, "scorer": scorer},
        reuse=user_path(config.reuse).resolve().name if config.reuse else None,
    )
    source: Source | None = None
    if config.reuse:
        source = runs.source_run(user_path(config.reuse), wanted)
    # The last bits of a sum depend on the number of threads, and a text's on what shares its batch.
    work = {
        "threads": model.threads,
        "generation_rows": int(model.batch_size_per_gpu),
        "scorer": asdict(model.scorer_choice),
    }
    opened = runs.open_run(parent, wanted, asked(config), work=work, fresh=config.fresh, resume=config.resume, say=say)
    try:
        model.threads = opened.journal.header["work"]["threads"]
        model.batch_size_per_gpu = opened.journal.header["work"]["generation_rows"]
        ledger = Ledger(
            opened.journal,
            opened.records,
            source=source,
            watch=lambda what, total, done: Progress(what, total, "tokens" if what == SCORES else what, done),
            held=signals.held,
            check=signals.check,
            before=model.check_in_use,
        )
    except BaseException:
        opened.journal.close()
        raise
    if opened.is_resumed:
        say(f"continuing {opened.folder}: {runs.progress_text(ledger.sections)}")
    else:
        say(f"run folder: {opened.folder}")
    if source is not None:
        say(f"taking scores of equal requests from {config.reuse}; their last bits may differ from computed ones")
    return opened, ledger


def _load_data(
    names: Sequence[str], sources: Mapping[str, DataSource], limit: int | None, say: Callable[[str], None]
) -> dict[str, LoadedData]:
    from evalkit.tasks.documents import load

    data = {name: load(name, sources[find_task(name).suite]) for name in names}
    there = sum(len(loaded.documents) for loaded in data.values())
    asked = sum(len(loaded.documents[:limit]) for loaded in data.values())
    documents = (
        "1 document"
        if there == 1
        else f"{asked:,} documents"
        if asked == there
        else f"{asked:,} of {there:,} documents"
    )
    say(f"{len(data)} task{'s' if len(data) != 1 else ''}, {documents}")
    for name, loaded in data.items():
        if loaded.verdict == "other":
            say(f"{name}: complete, but its content is not that behind the published scores ({loaded.location})")
    return data


def _enter_sandbox(
    config: RunConfig, names: Sequence[str], stack: ExitStack, say: Callable[[str], None]
) -> dict[str, list[dict[str, Any]]]:
    if not with_programs(names):
        return {}
    from evalkit.sandbox import Checker
    from evalkit.tasks.humaneval import execution

    checker = stack.enter_context(Checker(isolation=config.isolation))
    say(f"model-written programs run in: {checker.level}")
    return stack.enter_context(execution(checker))


def load_model(config: RunConfig, say: Callable[[str], None]) -> Any:
    say(f"loading {config.model}")
    import torch

    from evalkit.models.openmind import OpenMindLM
    from evalkit.models.scored import GENERATION_ROWS

    model = OpenMindLM(
        pretrained=config.model,
        revision=config.revision,
        tokenizer=config.tokenizer,
        loader=config.loader,
        device=config.device,
        dtype=config.dtype,
        batch_size=config.batch_size,
        scorer=config.scorer,
        max_batch_tokens=config.max_batch_tokens,
        audit_fraction=config.audit_fraction,
        max_length=config.max_length,
        trust_remote_code=config.trust_remote_code,
        add_bos_token=config.add_bos,
        adapter=config.adapter,
        system_in_user=config.system_in_user,
    )
    torch.manual_seed(config.seed)
    model.seed = config.seed
    if str(model.batch_size_per_gpu) == "auto":
        model.batch_size_per_gpu = GENERATION_ROWS
    described = model.describe()
    for line in model.remarks():
        say(line)
    say(f"model on {described['device']}, {described['dtype']}; scorer: {model.scorer_choice.name}")
    return model


def _protocol(names: Sequence[str]) -> str:
    suites = load_suites()
    return ", ".join(sorted({suites[suite].protocol for suite in suites_of(names)}))


def _check_program(request: Any, text: str) -> None:
    """Check a program while the model writes the next ones; texts of other tasks pass by."""
    from evalkit.tasks.humaneval import begin

    begin(request.task_name, request.doc, text)


def _numerics(audit: Any) -> Numerics | None:
    return None if audit is None else Numerics(**audit.to_dict(), summary=audit.describe())


def _isolation(verdicts: Mapping[str, Sequence[Mapping[str, Any]]]) -> str | None:
    levels = {verdict["isolation"] for of_problem in verdicts.values() for verdict in of_problem}
    return ", ".join(sorted(levels)) or None
