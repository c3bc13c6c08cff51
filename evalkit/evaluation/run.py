"""The main job: five suites on a model, a record and its report out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from evalkit.answering import Answerer, Session, Work
from evalkit.answering.asking import in_use_check
from evalkit.config.run_config import RunConfig, model_folder_name, suites_of
from evalkit.config.suites import load_suites, with_chat, with_programs
from evalkit.data import DataSource, LoadedData, resolve_sources
from evalkit.errors import ConfigError, StoreError
from evalkit.evaluation.environment import describe_environment, without_secrets
from evalkit.evaluation.evaluated import samples_of, system_of
from evalkit.evaluation.identified import Identified, check_finished_run, check_readable, identified, kept
from evalkit.evaluation.interrupt import Interrupted, StopSignals
from evalkit.evaluation.progress import Progress
from evalkit.evaluation.ready import check_ready
from evalkit.paths import user_path
from evalkit.records.asked import Asked
from evalkit.records.facts import RequestCounts, ScorerFacts
from evalkit.records.identity import Identity
from evalkit.records.model import RunFacts, RunRecord, WorkDone
from evalkit.records.samples import Sample, disputed_programs
from evalkit.report.run_report import disputed_text, requests_text, run_report
from evalkit.results.writing import part, write_run
from evalkit.sandbox.extract import remark_lines
from evalkit.store import runs
from evalkit.store.identity import asked, identity
from evalkit.store.ledger import Ledger
from evalkit.store.sections import SCORES, Source
from evalkit.tasks.documents import check_passages, load_all
from evalkit.tasks.humaneval import CHAT

if TYPE_CHECKING:
    from evalkit.tasks.lm_eval_tasks import Tasks
    from evalkit.tasks.programs import Programs

Say = Callable[[str], None]


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
    say: Say = lambda _: None,
    signals: StopSignals | None = None,
    load: Callable[[RunConfig, Say], Answerer] | None = None,
) -> Finished:
    """Run a configuration, or continue the unfinished run of the same one.

    Args:
        config: what to run.
        command: the command line, for the record.
        say: receives one line of progress at a time.
        signals: SIGINT and SIGTERM, where the caller has them wait for the batch in hand.
        load: makes what answers; None: the model of the configuration, in this process.

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
    asked_for = part(Asked, config.to_dict(), "config")
    sources = resolve_sources(config.data_sources(), load_suites(), suites_of(names))
    if config.reuse:
        runs.check_source(user_path(config.reuse))
    check_ready(config, names, sources, say, is_made=load is not None)
    data = load_all(names, sources, config.limit, say)
    tasks = _tasks(names, sources)
    parent = _folder_of_runs(config)

    with ExitStack() as stack:
        # 2. A safe place for model-written programs, or a refusal.
        programs = _enter_sandbox(config, names, stack, say)

        # 3. The model, or whoever answers in its place.
        answerer = (load or _load)(config, say)
        who = identified(config.model.name, answerer)

        # 4. One look at model, requests and the run to take scores from; what cannot come out right ends here.
        wanted = _identity(config, names, data, who, tasks.made)
        source = runs.source_run(user_path(config.reuse), wanted) if config.reuse else None
        facts = RunFacts(
            protocol=_protocol(names),
            started=started.isoformat(timespec="seconds"),
            duration_seconds=None,
            command=tuple(command),
            config=asked_for,
            suites=tuple(suites_of(names)),
            model=who.facts,
            scorer=part(ScorerFacts, _scorer(who.work), "scorer"),
            data={name: loaded.describe() for name, loaded in data.items()},
            environment=describe_environment(),
            system=system_of(config, names),
            identity=part(Identity, wanted, "identity"),
            work=WorkDone(reused_from=wanted["reuse"]),
        )
        check_readable(answerer, facts)
        remarks = [*tasks.remarks, *(source.remarks if source is not None else ())]
        plan, findings = _look(config, tasks, data, answerer, say, clock, remarks, chat=bool(with_chat(names)))
        if plan is not None:
            return Finished(None, plan)

        # 5. The run's folder: a new one, or that of the unfinished run with the same identity.
        opened, ledger = _open_run(config, parent, wanted, who.work, source, answerer, signals, say)
        stack.enter_context(opened.journal)
        runs.begin_session(opened.folder, command, started.isoformat(timespec="seconds"), opened.last_written)

        # 6. All requests of all tasks, through lm-eval; the ledger keeps each batch as it is finished.
        stack.enter_context(_explained_stop(opened.folder, ledger, say))
        work = opened.journal.header["work"]
        session = Session(
            ledger,
            config.seed,
            threads=work["threads"],
            rows=work["generation_rows"],
            prepacks=work.get("prepacks"),
        )
        evaluated = tasks.evaluate(config, answerer, session, programs)
        opened.journal.sync()
        requests = RequestCounts(**{mark: evaluated.marks.counts.get(mark, 0) for mark in ("cut", "apart")})
        for line in requests_text(requests):
            say(line)

        # 7. The record and the report, from the journal's results in canonical order.
        samples = samples_of(evaluated.samples, data, config.limit, evaluated.marks.of)
        disputed = disputed_programs(samples)
        answers = tuple(remark_lines(_chat_details(samples)))
        for line in [*disputed_text(disputed), *answers]:
            say(line)
        sessions = runs.read_sessions(opened.folder)
        facts = replace(
            facts,
            duration_seconds=round(runs.earlier_seconds(sessions) + time.monotonic() - clock, 3),
            scorer=part(ScorerFacts, work["scorer"], "scorer"),
            numerics=evaluated.numerics,
            isolation=_isolation(samples),
            disputed=disputed,
            answers=answers,
            preflight=tuple(findings),
            requests=requests,
            work=ledger.describe(),
            sessions=tuple(sessions),
        )
        lm_eval = {
            **evaluated.results,
            "config": {"model": "openmind", "model_args": {"pretrained": config.model.name}, "limit": config.limit},
            "date": started.timestamp(),
        }
        record = write_run(opened.folder, facts, lm_eval, samples, run_report, check_finished_run)
        return Finished(record, run_report(record))


def _tasks(names: Sequence[str], sources: Mapping[str, DataSource]) -> Tasks:
    from evalkit.tasks.lm_eval_tasks import Tasks

    return Tasks(names, sources)


def _look(
    config: RunConfig,
    tasks: Tasks,
    data: Mapping[str, LoadedData],
    answerer: Answerer,
    say: Say,
    clock: float,
    remarks: Sequence[str],
    *,
    chat: bool,
) -> tuple[str | None, list[str]]:
    """Build all requests; return the plan where only that is wanted, and the warnings.

    Args:
        clock: `time.monotonic` at the beginning.
        remarks: warnings that there are already.
        chat: whether some task always asks through the chat template.

    Raises:
        ModelError, ConfigError: nothing right can come.
    """
    from evalkit.evaluation.preflight import check_answerer, check_asked, model_here

    findings = [*remarks, *check_answerer(config, answerer, chat=chat)]
    tasks.build(config, answerer)
    requests = tasks.requests()
    if not (config.apply_chat_template or config.system):
        check_passages(data, requests)
    findings += check_asked(config.model.name, answerer, requests)
    for finding in findings:
        say(f"warning: {finding}")
    if not config.dry_run:
        return None, findings
    from evalkit.evaluation.dry_run import plan_text

    plan = plan_text(model_here(answerer), requests, time.monotonic() - clock)
    return plan + "\n\ndry run: nothing was scored and nothing was written", findings


@contextmanager
def _explained_stop(folder: Path, ledger: Ledger, say: Say) -> Iterator[None]:
    """Say what is kept, and how to go on, where a signal ends the run; a dashboard learns of any end."""
    try:
        yield
    except Interrupted as stop:
        there = runs.progress_text(ledger.sections)
        say(f"stopped by {stop}: {there}, in {folder}; the same command goes on from there")
        ledger.stop()
        stop.is_explained = True
        raise
    except ConfigError as error:  # a task's function, of answers that are all there
        ledger.stop()
        raise ConfigError(f"{error}; {kept(folder)}") from error.__cause__
    except BaseException:
        ledger.stop()
        raise


def _folder_of_runs(config: RunConfig) -> Path:
    """Return ``<output>/<model>``, made and writable: a run of hours must not find out at its end.

    Raises:
        StoreError: it can't be made, or not be written.
    """
    parent = user_path(config.output) / model_folder_name(config.model.name)
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


def _identity(
    config: RunConfig,
    names: Sequence[str],
    data: Mapping[str, LoadedData],
    who: Identified,
    made: Mapping[str, str],
) -> dict[str, Any]:
    """Return what the run's scores depend on."""
    return identity(
        config,
        _protocol(names),
        {name: loaded.describe() for name, loaded in data.items()},
        {**who.described, "scorer": {"name": who.work.scorer, "attention": who.work.attention}},
        made,
        reuse=user_path(config.reuse).resolve().name if config.reuse else None,
    )


def _open_run(
    config: RunConfig,
    parent: Path,
    wanted: Mapping[str, Any],
    ours: Work,
    source: Source | None,
    answerer: Answerer,
    signals: StopSignals,
    say: Say,
) -> tuple[runs.OpenRun, Ledger]:
    # The last bits of a sum depend on the number of threads and on how weights lie, a text's on what shares its batch.
    work = {
        "threads": ours.threads,
        "generation_rows": ours.rows,
        "prepacks": ours.prepacks,
        "scorer": _scorer(ours),
    }
    opened = runs.open_run(parent, wanted, asked(config), work=work, fresh=config.fresh, resume=config.resume, say=say)
    try:
        ledger = Ledger(
            opened.journal,
            opened.records,
            source=source,
            watch=lambda what, total, done, by_task: Progress(
                what, total, "tokens" if what == SCORES else what, done, by_task, opened.folder
            ),
            held=signals.held,
            check=signals.check,
            before=in_use_check(answerer),
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


def _scorer(work: Work) -> dict[str, Any]:
    return {"name": work.scorer, "reason": work.reason, "max_difference": work.max_difference}


def _enter_sandbox(config: RunConfig, names: Sequence[str], stack: ExitStack, say: Say) -> Programs | None:
    if not with_programs(names):
        return None
    from evalkit.sandbox import Checker
    from evalkit.tasks.programs import Programs

    checker = stack.enter_context(Checker(isolation=config.isolation))
    say(f"model-written programs run in: {checker.level}")
    return Programs(checker)


def _load(config: RunConfig, say: Say) -> Answerer:
    from evalkit.models.load import load_to_score

    return load_to_score(config.model, config.seed, say)


def _protocol(names: Sequence[str]) -> str:
    suites = load_suites()
    return ", ".join(sorted({suites[suite].protocol for suite in suites_of(names)}))


def _chat_details(samples: Iterable[Sample]) -> Iterator[tuple[str, str]]:
    """Yield task id and verdict's detail of each program that was taken out of a chat model's answer."""
    for sample in samples:
        if sample.task == CHAT:
            yield from ((verdict["task_id"], verdict["detail"]) for verdict in sample.details.get("verdicts", ()))


def _isolation(samples: Sequence[Sample]) -> str | None:
    levels = {verdict["isolation"] for sample in samples for verdict in sample.details.get("verdicts", ())}
    return ", ".join(sorted(levels)) or None
