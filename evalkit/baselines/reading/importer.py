"""A published log -> baselines. Takes what is printed, says what it could not take, adds nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.baselines.model import PASS_AT_1, Baseline, HumanEval, Metric, slug_of
from evalkit.baselines.published import Log, ModelScores, Note
from evalkit.baselines.reading.ledger import unaccounted
from evalkit.baselines.reading.logs import read_log
from evalkit.baselines.reading.names import is_number
from evalkit.baselines.reading.namings import Namings
from evalkit.baselines.reading.protocol import NOUS_2023, Claims
from evalkit.baselines.reading.summaries import models_of_tables
from evalkit.baselines.reading.text import read_lines
from evalkit.baselines.reading.vocabulary import other_way
from evalkit.baselines.reading.wording import is_model, is_sized, same_model
from evalkit.config.suites import load_suites
from evalkit.errors import ConfigError, DataError, did_you_mean
from evalkit.results.harness_settings import other_weights
from evalkit.results.task_names import bare, suite_of_task

UNKNOWN = "unknown"
UNKNOWN_HUMANEVAL = "The publication states neither the prompt format nor the temperature of the HumanEval run."


@dataclass(frozen=True)
class Imported:
    """What an import found.

    Attributes:
        baselines: one a model, in the order of the file.
        notes: what was not read, or not literally, by line; also kept in each baseline's notes.
        log: the file as it was read.
    """

    baselines: tuple[Baseline, ...]
    notes: tuple[Note, ...]
    log: Log


def _tasks(model: ModelScores) -> dict[str, dict[str, Metric]]:
    tasks: dict[str, dict[str, Metric]] = {}
    for table in model.tables:
        for row in table.rows:
            tasks.setdefault(row.task, {})[row.metric] = Metric(row.value, row.stderr, row.shots)
    return tasks


def _protocols(
    model: ModelScores, claims: Claims, whose: Note | None, *, several: bool
) -> tuple[str, dict[str, str], list[Note]]:
    """Return the protocol of the file, the suites that were measured otherwise, and why it is not known.

    Columns like "Filter" mean the 0.4 line of lm-eval, which adds BOS and asks some tasks differently; examples in the
    prompt, a limit, and other harnesses change scores as well. None of these is nous-2023, though names agree. What
    nothing names is nous-2023 only if all that stands around it is known (`reading.protocol`), and whose the scores
    are: `whose` says why not (`reading.namings`).
    """
    suites = {suite for table in model.tables for row in table.rows if (suite := suite_of_task(row.task))}
    suites |= {average.suite for average in model.averages if average.suite in load_suites()}
    suites |= {PASS_AT_1} if model.humaneval is not None else set()
    others = {suite: protocol for suite, protocol in model.protocols.items() if suite in suites}
    notes: dict[Note, list[str]] = {}
    for suite in sorted(suites):
        if others.get(suite, UNKNOWN) != UNKNOWN:
            continue
        why = model.doubts.get(suite) or claims.doubt(model, suite, several=several) or whose
        if why is None and suite in others:
            why = Note(model.line, "the file does not say how it was measured")
        if why is not None:
            others[suite] = UNKNOWN
            notes.setdefault(why, []).append(load_suites()[suite].title)
    doubts = [
        Note(why.line, f"{', '.join(titles)}: protocol {UNKNOWN}, not {NOUS_2023}: {why.message}")
        for why, titles in notes.items()
    ]
    if len(others) < len(suites):
        return NOUS_2023, others, doubts
    names = [*others.values(), *([model.protocol] if model.protocol is not None else [])]
    if not names:
        return UNKNOWN, {}, doubts
    first = max(names, key=names.count)
    return first, {suite: protocol for suite, protocol in others.items() if protocol != first}, doubts


def _given(protocol: str) -> list[Note]:
    """Return a note about a protocol that a user gives, if it may be misspelt."""
    if re.fullmatch(r"[A-Za-z][\w.-]*(?:, (?:[0-9/]+-shot|limit [0-9.]+|chat template))*", protocol) is None:
        raise ConfigError(f"--protocol: '{protocol}' is no protocol; write it as {NOUS_2023} or 'lm-eval-0.3, 5-shot'")
    known = (NOUS_2023, "lm-eval-0.3", "lm-eval-0.4", "lighteval", "open-llm-leaderboard", UNKNOWN)
    meant = "" if protocol.split(",")[0] in known else did_you_mean(protocol, known)
    return [Note(0, f"--protocol {protocol} is none that is known{meant}")] if meant else []


def _as_stated(model: ModelScores) -> tuple[ModelScores, list[Note]]:
    """Return a model without the scores of which the file itself says that they are not of nous-2023, and notes."""
    stated = {suite for suite, protocol in model.protocols.items() if protocol not in (UNKNOWN, NOUS_2023)}
    notes, tables = [], []
    for table in model.tables:
        other = table.harness not in ("lm-eval-0.3", UNKNOWN) or table.limit is not None
        out = [row for row in table.rows if other or row.shots]
        tables.append(replace(table, rows=tuple(row for row in table.rows if row not in out)))
        for row in out:
            how = f"{row.shots}-shot" if row.shots else table.harness if table.limit is None else f"limit {table.limit}"
            notes.append(
                Note(row.line, f"{row.task} {row.metric}: {how} by the file itself, so not {NOUS_2023}; left out")
            )
    gone = [average for average in model.averages if average.suite in stated]
    notes += [
        Note(a.line, f"average of {a.suite}: {model.protocols[str(a.suite)]} by the file itself; left out")
        for a in gone
    ]
    kept = tuple(average for average in model.averages if average not in gone)
    left = replace(model, tables=tuple(table for table in tables if table.rows), averages=kept)
    return left, notes


def _missing(model: ModelScores) -> list[Note]:
    notes = []
    averages = {average.suite for average in model.averages}
    rows = {row.task for table in model.tables for row in table.rows}
    for suite in load_suites().values():
        absent = [task.name for task in suite.tasks if task.name not in rows]
        if not suite.in_total or not absent:
            continue
        if len(absent) == len(suite.tasks):
            what = "only an average" if suite.name in averages else "no scores"
            notes.append(Note(0, f"{suite.title}: {what} read"))
        else:
            notes.append(Note(0, f"{suite.title}: no scores of {', '.join(absent)} read"))
    return notes


def _baseline(
    model: ModelScores, slug: str, name: str, source: str, retrieved: str, protocols: tuple[str, dict[str, str]]
) -> Baseline:
    protocol, others = protocols
    known = load_suites()
    humaneval = HumanEval(model.humaneval.percent, UNKNOWN_HUMANEVAL) if model.humaneval is not None else None
    printed = {average.suite: average.percent for average in model.averages}
    order = [task.name for suite in known.values() for task in suite.tasks]
    tasks = _tasks(model)
    ordered = sorted(tasks, key=lambda task: order.index(task) if task in order else len(order))
    return Baseline(
        slug=slug,
        name=name,
        protocol=protocol,
        source=source,
        retrieved=retrieved,
        averages={suite: printed[suite] for suite in known if suite in printed},
        tasks={task: tasks[task] for task in ordered},
        humaneval=humaneval,
        other_protocols=others,
        settings=model.settings,
    )


def import_log(
    path: Path,
    *,
    retrieved: str,
    name: str | None = None,
    source: str | None = None,
    protocol: str | None = None,
) -> Imported:
    """Read the baselines of a published log or model card.

    Args:
        path: a Markdown file, a text file or a saved web page.
        retrieved: date of retrieval, ISO 8601.
        name: the model's name, instead of the heading in the file or the file's name; its slug names the file.
        source: where the file is from; the file's name if None.
        protocol: how all of it was measured, as the user knows; by what the file says if None.

    Raises:
        DataError: the file cannot be read or has no scores.
        ConfigError: a name is given for a file of several models.
    """
    given = _given(protocol) if protocol is not None else []
    log = read_log(path)
    sure = [replace(m, averages=tuple(a for a in m.averages if not a.doubtful)) for m in log.models]
    log = replace(log, models=tuple(model for model in sure if model.tables or model.averages or model.humaneval))
    by_table, more = models_of_tables(log.comparisons) if not log.models else ([], [])
    more += unaccounted(log.lines, by_table, (), [*log.notes, *more]) if by_table else []
    notes = [*log.notes, *more]
    if by_table:
        log = replace(log, models=tuple(by_table), notes=(*log.notes, *more))
        if name is not None and len(by_table) > 1:
            log, name = _named(log, name, path), None
    if not log.models:
        shown = ", ".join(f"line {c.line}" for c in log.comparisons[:3]) + (", ..." if len(log.comparisons) > 3 else "")
        tables = (
            f"; its {len(log.comparisons)} comparison table(s) ({shown}) have no row or column that names a known task"
            " or suite alone; they are for `evalkit audit`"
            if log.comparisons
            else ""
        )
        raise DataError(
            f"{path}: no per-task scores and no suite averages were read"
            f"{_unread(notes) or _not_recognised(path)}{tables}{_of_others(path)}"
        )
    if name is not None and len(log.models) > 1:
        raise ConfigError(f"{path}: holds {len(log.models)} models; --name fits one only, leave it out")
    notes = [*log.notes, *given]
    notes += (
        []
        if by_table
        else [
            Note(c.line, f"comparison table of {_counted(len(c.headings))} not imported; `evalkit audit` checks it")
            for c in log.comparisons
        ]
    )
    grouped = [model for model in log.models if _holds_groups_only(model)]
    log = replace(log, models=tuple(model for model in log.models if model not in grouped))
    notes += [Note(model.line, "only scores of groups stand here; no baseline is made of them") for model in grouped]
    if not log.models:
        raise DataError(f"{path}: no per-task scores and no suite averages were read, only scores of groups of tasks")
    notes += _not_kept(log.models)
    baselines: list[Baseline] = []
    claims = Claims(log)
    more_notes: list[Note] = []
    namings = Namings(log)
    unnamed = sum(model.name is None for model in log.models)
    stem, named = _own_name(path, namings)
    notes += named if unnamed else []
    called = [
        model.name
        or (
            stem
            if unnamed == 1 and number == 1
            else f"{stem} {number}"
            if unnamed > 1
            else f"unnamed (line {model.line})"
        )
        for number, model in enumerate(log.models, start=1)  # the file's name may well be that of the first scores
    ]
    doubt = namings.doubt(called)
    if doubt is not None and name is not None:
        doubt = namings.doubt([name], given=True)
    for number, model in enumerate(log.models, start=1):
        title = name or called[number - 1]
        following = log.models[number].line if number < len(log.models) else None
        own = [
            note
            for note in notes
            if len(log.models) == 1
            or by_table
            or (note.line >= model.line and (following is None or note.line < following))
        ]
        slug = slug_of(title)
        while slug in {known.slug for known in baselines}:
            slug += "-2"
        whose = None if by_table and model.name is not None else doubt  # the row of a table names it
        said, others, doubts = _protocols(model, claims, whose, several=bool(by_table))
        if protocol is not None:
            said, others, doubts = protocol, {}, []
            own = [*own, Note(0, f"its protocol is {protocol} by --protocol, not by what the file says")]
            if protocol == NOUS_2023:
                model, left_out = _as_stated(model)
                own += left_out
                more_notes += left_out
                if not (model.tables or model.averages or model.humaneval):
                    lines = ", ".join(str(note.line) for note in left_out)
                    raise ConfigError(
                        f"{path}: --protocol {protocol}: the file says otherwise of all scores (line {lines})"
                    )
        more_notes += [note for note in doubts if note not in more_notes]
        baseline = _baseline(model, slug, title, source or path.name, retrieved, (said, others))
        kept = sorted([*own, *doubts], key=lambda note: note.line) + _missing(model)
        texts = (f"line {note.line}: {note.message}" if note.line else note.message for note in kept)
        baselines.append(replace(baseline, notes=tuple(texts)))
    return Imported(tuple(baselines), tuple(sorted([*notes, *more_notes], key=lambda note: note.line)), log)


def _not_kept(models: Iterable[ModelScores]) -> list[Note]:
    """Return notes of the averages and totals of suites, which no baseline holds: they follow from its scores."""
    found: dict[int, list[str]] = {}
    for model in models:
        for score in model.averages:
            if score.suite not in load_suites():
                found.setdefault(score.line, []).append(str(score.percent))
    return [
        Note(line, f"average {', '.join(numbers)}: of no single suite, not kept") for line, numbers in found.items()
    ]


def _own_name(path: Path, namings: Namings) -> tuple[str, list[Note]]:
    """Return the name of scores that nothing above them names, and a note where the file is called otherwise.

    It is the file's, or where that is another model's name, that of the title or of `model_name`; a file's that names
    no model is also that of the only model in the tables of models, if its row has the scores; a README.md is called
    after these, else after its folder.
    """
    stem = path.name if is_number(path.stem) else path.stem
    own = namings.title or (namings.row if namings.file is None else None)
    if re.fullmatch(r"(?:readme|model(?:[_ -]?card)?|index)(?:[._ (-].{0,8})?", path.stem, re.IGNORECASE):
        return own or path.resolve().parent.name, []
    if own is None or same_model(own, stem):
        return stem, []
    front = own == namings.front
    if not (front or is_model(stem)) and (is_sized(stem) or other_weights(stem) or other_way(stem.replace("_", " "))):
        return stem, []  # a model's name that says more than the text
    return own, [Note(0, f"called {own}, as its text says, not {stem} as the file's name")]


def _holds_groups_only(model: ModelScores) -> bool:
    """Tell whether a model has nothing but scores of groups of tasks, which an import does not take."""
    rows = any(table.rows for table in model.tables)
    return not rows and not model.averages and model.humaneval is None and any(t.groups for t in model.tables)


def is_called(name: str, wanted: str) -> bool:
    """Tell whether a model's name is the wanted one, in any spelling, with or without its organisation."""
    return bare(wanted) in (bare(name), bare(name.split("/")[-1]))


def _named(log: Log, name: str, path: Path) -> Log:
    """Return the log with the one model of a table of several that a user asks for."""
    found = [
        model for model in log.models if bare(name) in (bare(str(model.name)), bare(str(model.name).split("/")[-1]))
    ]
    if not found:
        names = [str(model.name) for model in log.models]
        raise ConfigError(f"{path}: --name {name}: no such model in its table{did_you_mean(name, names)}")
    return replace(log, models=tuple(found[:1]))


def _unread(notes: list[Note], shown: int = 3) -> str:
    """Say what was not read, with its lines."""
    found = sorted((note for note in notes if "not read" in note.message), key=lambda note: note.line)
    texts = [f"line {note.line}: {note.message}" if note.line else note.message for note in found[:shown]]
    return (
        "; " + "; ".join([*texts, *([f"and {len(found) - shown} more"] if len(found) > shown else [])]) if texts else ""
    )


def _not_recognised(path: Path, shown: int = 3) -> str:
    """Say which lines name a suite or a task, or hold scores, of a file whose forms are not known at all."""
    if path.suffix.lower() == ".json":
        return ""
    found: list[tuple[int, str]] = []
    for number, text in read_lines(path)[0]:
        if re.search(r"[0-9]{2}[.,][0-9]|(?<![0-9])[01]?[.,][0-9]{2}", text) and re.search(r"[^\W\d_]{2}", text):
            found.append((number, " ".join(text.replace("|", " | ").split())[:60]))
    texts = [f"line {number}: in no form that is known, not read: {text}" for number, text in found[:shown]]
    return (
        "; " + "; ".join([*texts, *([f"and {len(found) - shown} more"] if len(found) > shown else [])]) if texts else ""
    )


def _of_others(path: Path) -> str:
    """Say what would serve, for a file of a harness whose format is not read."""
    serves = "give a table of Task, Metric and Value, or lm-eval's results_*.json"
    if path.suffix.lower() == ".eval":
        return f"; logs of inspect are not read: {serves}"
    with path.open("rb") as file:
        first = file.readline(200).decode("utf-8", errors="replace").lower()
    if path.suffix.lower() == ".tex" or re.match(r"\s*(\\(begin|documentclass|section|usepackage)|%)", first):
        return f"; tables of LaTeX are not read: {serves}"
    if path.suffix.lower() in (".csv", ".tsv") and not re.match(r"[|\s]*dataset[\s,|]+version", first):
        return f"; CSV is not read: {serves}"
    if re.match(r"[|\s]*dataset[\s,|]+version[\s,|]+metric[\s,|]+mode\b", first):
        return f"; summaries of OpenCompass are not read: {serves}"
    return ""


def _counted(columns: int) -> str:
    return f"{columns} column" + ("" if columns == 1 else "s")
