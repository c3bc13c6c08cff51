"""Events of a file -> models: which table and which average belongs to whom."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from decimal import Decimal

from evalkit.baselines.published import ModelScores, Note, PrintedScore, Row, RowsAverage, ScoreTable
from evalkit.baselines.reading.averages import (
    OVERALL,
    average_of_list,
    averages_come_first,
    is_mean_of,
    leading,
    one_a_task,
    other_rows,
    settle_first,
    settle_last,
    suite_values,
)
from evalkit.baselines.reading.open_models import OpenModel
from evalkit.baselines.reading.prose import (
    Aside,
    Event,
    Label,
    ModelHeading,
    OtherHeading,
    Settings,
    Shots,
    SuiteHeading,
)
from evalkit.baselines.reading.vocabulary import is_version, name_in, settings_of, who
from evalkit.baselines.reading.whose import (
    is_of_humaneval,
    model_lines,
    name_key,
    still_below,
    title_line,
    unnamed_labels,
)
from evalkit.suites import load_suites, load_tasks
from evalkit.task_names import bare, is_score_of_another, names_other_benchmark, names_something_else, suite_of_task

_LEADERBOARD = re.compile(r"open[\s_-]*llm|leaderboard|open\s*大模型|排行榜", re.IGNORECASE)


_PUBLISHED = "lm-eval-0.3"
"""The harness whose tables are the published ones'."""


def _add_table(model: OpenModel, table: ScoreTable, notes: list[Note]) -> ScoreTable | None:
    """Add a table's new rows to a model; a row that the model has already is noted."""
    rows = []
    for row in table.rows:
        known, harness = model.rows.get((row.task, row.metric), (None, ""))
        earlier = next((found for (task, _), found in model.rows.items() if task == row.task), None)
        if earlier is not None and earlier[1] == _PUBLISHED != table.harness:
            # A leaderboard's footer below a card's own tables: a measurement of its own, of no part in the suite's.
            text = f"{row.task} again, measured otherwise than on line {earlier[0].line}, which is kept"
            notes.append(Note(row.line, text))
        elif known is None:
            model.rows[row.task, row.metric] = row, table.harness
            rows.append(row)
        elif harness != table.harness or (known.shots or 0) != (row.shots or 0):
            text = f"{row.task} {row.metric} again, measured otherwise than on line {known.line}, which is kept"
            notes.append(Note(row.line, text))
        elif (known.value, known.stderr) == (row.value, row.stderr):
            notes.append(Note(row.line, f"{row.task} {row.metric} again, as on line {known.line}"))
        else:
            text = f"{row.task} {row.metric} again, other than on line {known.line}, which is kept"
            notes.append(Note(row.line, text, unread=True))
    if not rows and not table.groups:
        return None
    kept = replace(table, line=rows[0].line if rows else table.line, rows=tuple(rows))
    model.tables.append(kept)
    for row in rows:
        found = model.measured(suite_of_task(row.task))
        found.harnesses.add(table.harness)
        found.shots.add(row.shots or 0)
        found.limits |= {table.limit} if table.limit is not None else set()
    return kept


def _limited(task: str, limit: str | None) -> int | None:
    """Return how many documents of a task lm-eval's ``--limit`` leaves: a count, or below 1 a share, rounded up."""
    known = load_tasks().get(task)
    if limit is None or known is None or Decimal(limit) <= 0:
        return None
    wanted = Decimal(limit) if Decimal(limit) >= 1 else Decimal(limit) * known.documents
    return min(math.ceil(wanted), known.documents)


def _is_another_model(model: OpenModel, table: ScoreTable, candidate: ModelHeading | None) -> bool:
    """Tell whether a table repeats most of a model's rows with other numbers, or any below another model's name."""
    known = [
        (row, found[0])
        for row in table.rows
        if (found := model.rows.get((row.task, row.metric))) is not None
        and found[1] == table.harness
        and (found[0].shots or 0) == (row.shots or 0)
    ]
    renamed = candidate is not None and candidate.line > model.line and candidate.name != model.name
    if renamed and candidate is not None and model.tables and candidate.line > model.tables[-1].line and known:
        return True
    return 2 * sum(row.value != before.value for row, before in known) > len(table.rows)


def _named_metrics(table: ScoreTable, heading: str | None, notes: list[Note]) -> ScoreTable:
    """Settle what a table of labels and numbers holds: the headline metrics of a suite, or scores of unknown kind."""
    if not table.labelled:
        return table
    tasks = load_tasks()
    found = {row.task for row in table.rows if row.shots is None and row.metric == "score"}
    whole = [s for s in load_suites().values() if len(s.tasks) > 1 and {task.name for task in s.tasks} <= found]
    suites = {suite_of_task(row.task) for row in table.rows}
    suite = heading if heading is not None and suites <= {heading, None} else whole[0].name if whole else None
    if suite is None or not any(suite_of_task(task) == suite for task in found):
        shots = any(row.shots is not None for row in table.rows)
        known = "open-llm-leaderboard" if shots and table.averages else "unknown"
        return replace(table, harness=known if table.harness == "lm-eval-0.3" else table.harness, suite=None)
    notes.append(Note(table.line, "the table names no metrics; its scores are read as the headline metrics"))
    rows = [
        replace(row, metric=tasks[row.task].headline) if suite_of_task(row.task) == suite else row for row in table.rows
    ]
    return replace(table, rows=tuple(rows), suite=suite)


def models_of(events: list[Event]) -> tuple[list[ModelScores], list[Note]]:
    """Return the models of a file in its order, and notes about scores that found no place."""
    notes: list[Note] = []
    boundaries = model_lines(events)
    before_tables = averages_come_first(events)
    current = OpenModel(None, events[0].line if events else 0)
    models = [current]
    labels = unnamed_labels(events)
    names = [bare(events[i].name) for i in boundaries if isinstance(events[i], ModelHeading)]  # type: ignore[union-attr]
    apart: Aside | None = None  # what stands between the rows above and an average
    heading: str | None = None  # the suite named last by a heading or a table
    level = 0  # of that heading
    elsewhere: str | None = None  # the heading of something else that we are below
    parent: tuple[int, str] | None = None  # level and harness of a section of a leaderboard
    below: list[Shots] = []  # what the headings that we are below say about examples in the prompt
    section: list[Row] = []  # rows since the last heading
    settled = False  # an average of these rows was read
    left: tuple[str, list[Row]] | None = None  # the suite, and its rows, that a single score of something else follows
    listed: list[str] = []  # what stands beside the suites that are listed right above, see `SuiteHeading.beside`
    waiting: list[PrintedScore] = []  # averages whose table comes later
    on_top: list[tuple[OpenModel, PrintedScore]] = []  # averages above all suites of a model
    settings: str | None = None
    limit: str | None = None
    few: int | None = None  # examples in the prompt, by the harness's line
    few_line = 0
    candidate: ModelHeading | None = None  # last heading that may be a model's name
    labels_here: list[Label] = []  # lines since the last table that say something beside the known words
    short_labels: set[str] = set()  # what those of the file's labels say that are no sentences
    headed: list[Label] = []  # those of them that the next scores stand below
    lent = 0  # level below which a heading ends what a label above the file's first scores says; 0 without one
    headed_by: dict[int, int] = {}  # line -> level of the headings of Markdown
    title = title_line(events)
    titled = next((e.name for e in events if isinstance(e, ModelHeading) and e.line == title), None)
    line_before = line_now = 0  # of the two last lines that say something
    said_last: tuple[int, dict[str, str]] = (0, {})  # the last line of settings

    def shots_here() -> tuple[int | None, bool]:
        """Return the number of examples that was named last, and whether some were named without a number."""
        if below and (below[-1].line > few_line or not few):
            return below[-1].count, below[-1].count is None
        return few or None, False

    def begin(name: str | None, line: int, *, new: bool = False, inside: bool = False) -> None:
        """Go on with a model: that of the name, if it was there before, unless the numbers say that it is new.

        A label `inside` a suite's heading leaves the suite as it is.
        """
        nonlocal current, heading, elsewhere, section, settled, headed
        known = [m for m in models if name is not None and name_key(name) in (name_key(m.name), name_key(m.pretrained))]
        if known and not new:
            current = known[0]
        else:
            current = OpenModel(name, line)
            models.append(current)
        section, settled = [], False
        labels_here.clear()
        headed = []
        current.label = current.label or name
        if not inside:
            heading, elsewhere = None, None

    def load(settings: dict[str, str], line: int) -> None:
        """Go on with the model that a line of settings names: the same only if all that it says of it is the same."""
        nonlocal current
        names = ("pretrained", "path", "engine", "model", "base_url")
        loaded = next((settings[key].strip("/ ") for key in names if settings.get(key, "").strip("/ ")), None)
        identity = who(settings)
        if current.tables and current.identity not in (None, identity):
            beside = current.identity or ()
            if current.name is None and current.pretrained == loaded:
                current.name = " ".join(
                    [loaded or "", *(f"{k}={v}" for k, v in beside if (k, v) not in identity)]
                ).strip()
            current.name = current.name or current.pretrained
            known = [m for m in models if m.identity == identity and m is not current]
            if known:
                current = known[0]
                begin(current.name, line, inside=True)
            else:
                others = [m.identity for m in models if m.identity is not None and m.pretrained == loaded]
                own = [f"{k}={v}" for k, v in identity if others and (k, v) not in others[-1]]
                begin(" ".join([loaded or "", *own]).strip() or None, line, new=True, inside=True)
        elif not current.tables and current.pretrained not in (None, loaded) and not current.empty:
            current.name = current.name or current.pretrained
            begin(loaded, line, inside=True)
        current.pretrained, current.identity = loaded or current.pretrained, identity

    def part(score: ScoreTable | PrintedScore) -> None:
        """Begin another model where what stands above a table says something that did not stand above the last one.

        The name that the file has is that of scores which no other label stands above.
        """
        nonlocal lent, headed
        named = [label for label in headed if label.line < score.line and label.line != title]
        headed = []
        # Where the file has others' scores already, what says anything may name one more.
        own = bool(named) and named[-1].short and is_version(named[-1].text) and titled is not None
        if not (current.empty and current.name is None and named):
            pass
        elif named[-1].names or own or (len(models) > 1 and named[-1].short):
            label = named[-1]
            name = f"{titled} {label.text}" if own else name_in(label.text)
            begin(name, score.line, inside=heading is not None)
            # A line of text right above the scores is theirs alone; above headings, that of all that they head.
            headings = [known for line, known in headed_by.items() if line > label.line]
            lent = min(label.level + 1 if label.level else 7, headings[0] if headings else 7)
            notes.append(Note(score.line, f"'{label.text[:60]}' stands above it: read as that model's"))
            return
        above = [label for label in labels_here if label.line < score.line]
        if isinstance(score, PrintedScore):  # a sentence between averages says something of them, or of nothing
            above = [label for label in above if label.short or label.names]
        labels_here.clear()
        if not above:
            return
        text = above[-1].text
        if current.empty if isinstance(score, PrintedScore) else not current.tables:
            current.label = current.label or text
        elif name_key(text) in (name_key(current.label), name_key(current.name)):
            pass
        else:
            current.name = current.name or (current.label if current.label in short_labels else titled)
            known = [m for m in models if name_key(m.label) == name_key(text)]
            theirs = text if text in short_labels else None  # the words of a sentence are nobody's name
            begin(known[0].name if known and known[0].name else theirs, score.line, inside=heading is not None)
            current.label = text
            notes.append(Note(score.line, f"'{text[:60]}' stands above it: read as another model"))

    def keep(score: PrintedScore, suite: str) -> None:
        same = [known for known in current.averages if known.suite == suite]
        if parent is not None and suite in load_suites():
            if same or any(suite_of_task(task) == suite for task, _ in current.rows):
                notes.append(Note(score.line, f"average {score.percent} of {suite}: measured by {parent[1]}; not read"))
                return
            current.measured(suite).harnesses.add(parent[1])
        if same and same[0].percent != score.percent:
            if OVERALL.search(score.label) and not leading(score.label) and suite in load_suites():
                keep(replace(score, suite="average"), "average")
                return
            text = f"second average of {suite}, {score.percent}, other than on line {same[0].line}, which is kept"
            notes.append(Note(score.line, text, unread=True))
        elif not same:
            current.averages.append(replace(score, suite=suite))
            if suite in load_suites():
                found = current.measured(suite)
                said, some = shots_here()
                found.shots |= {said} if said else set()
                found.harnesses |= {"unknown"} if some else set()
                found.limits |= {limit} if limit is not None else set()

    def average_of_rows(score: PrintedScore, rows: list[Row], what: str) -> None:
        if not rows and not suite_values(current) and not names_something_else(what, None):
            on_top.append((current, score))
            return
        what = re.sub(r"^[\s\-+>]+(?=\w)", "", what)
        notes.append(
            Note(score.line, f"average {score.percent} of {what or 'rows'}: no suite of evalkit; not imported")
        )
        group = [row for row in rows if row.printed_task.lower() == what.lower().strip("# :")]
        rows = group or rows  # the printed average of a group's section is the group's own score
        if rows:
            current.other_averages.append(RowsAverage(score.line, what, score.percent, one_a_task(rows)))

    for index, event in enumerate(events):
        if event.line != line_now:
            line_before, line_now = line_now, event.line
        if isinstance(event, (SuiteHeading, OtherHeading, Shots)):
            below = [known for known in below if known.level < (event.level or 7)]
        if isinstance(event, Shots):
            below.append(event)
            continue
        if isinstance(event, (SuiteHeading, OtherHeading)) and event.level:
            headed_by[event.line] = event.level
            if event.level < lent:
                current, lent = models[0], 0
            headed = [label for label in headed if still_below(label, event, adjacent=label.line == line_before)]
        if isinstance(event, Label):
            short_labels |= {event.text} if event.short or event.names else set()
            labels_here.append(event)
            headed.append(event)
            continue
        own = heading is not None and not section  # an average that is its suite's only score
        if isinstance(event, PrintedScore) and (
            event.suite in (*load_suites(), "pass@1") or (event.suite is None and own)
        ):
            part(event)
        if isinstance(event, Aside):
            if event.kind != "sentence" or names_something_else(event.text, heading):
                apart = event
            continue
        if isinstance(event, (SuiteHeading, OtherHeading, ScoreTable)):
            apart = None
        if isinstance(event, SuiteHeading):
            goes_on = event.beside == "number" or (listed and event.level == 0) or event.beside == "nothing"
            listed = [*listed, event.beside] if goes_on else []
        elif isinstance(event, (OtherHeading, ScoreTable)) or index in boundaries or index in labels:
            listed = []
        if isinstance(event, ModelHeading):
            candidate = event
            if index in boundaries and index - 1 not in labels:
                begin(event.name, event.line, inside=names.count(bare(event.name)) > 1)
        elif index in labels:
            begin(labels[index].strip("*_ "), event.line, inside=heading is not None)
        elif isinstance(event, OtherHeading):
            if parent is not None and 0 < event.level <= parent[0]:
                parent = None
            if _LEADERBOARD.search(event.text):
                parent = (event.level or 7, "open-llm-leaderboard")
            # A smaller heading below a suite's is part of it, unless it names another benchmark.
            if heading is None or not event.level > level > 0 or names_other_benchmark(event.text):
                own_rows = (heading, section) if heading is not None and not settled else left
                left = own_rows if is_score_of_another(event.text) else None
                heading, elsewhere = None, event.text
                section, settled = [], False
        elif isinstance(event, SuiteHeading):
            if parent is not None and 0 < event.level <= parent[0]:
                parent = None
            heading, level, elsewhere = event.suite, event.level, None
            section, settled, left = [], False, None
        elif isinstance(event, Settings):
            settings = event.text
            said_now = settings_of(event.text) or {}
            if said_last[0] == event.line - 1:  # a command over several lines
                said_now = said_last[1] | said_now
            said_last = (event.line, said_now)
            found = re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", said_now.get("limit", ""))
            limit = f"{Decimal(found[0]).normalize():f}" if found is not None else None
            found = re.fullmatch(r"[0-9]{1,4}", said_now.get("num_fewshot", ""))
            few, few_line = int(found[0]) if found is not None else None, event.line
            load(said_now, event.line)
        elif isinstance(event, ScoreTable):
            left = None
            named = _named_metrics(event, heading, notes)
            said, some = shots_here()
            rows = [row if row.shots is not None else replace(row, shots=said) for row in named.rows]
            rows = [replace(row, documents=_limited(row.task, limit)) for row in rows]
            harness = named.harness
            if harness == "lm-eval-0.3" and parent is not None:
                harness = parent[1]
            elif harness == "lm-eval-0.3" and elsewhere is not None and names_other_benchmark(elsewhere):
                harness = "unknown"
            if harness == "lm-eval-0.3" and some:
                harness = "unknown"  # some examples, nobody knows how many
            table = replace(named, rows=tuple(rows), harness=harness, limit=limit)
            part(table)
            if _is_another_model(current, table, candidate):
                begin(candidate.name if candidate is not None else None, event.line, new=True)
                notes.append(Note(event.line, "the same tasks again with other numbers: read as another model"))
            if current.settings is None:
                current.settings = settings
            _add_table(current, table, notes)
            section += table.rows
            suites = {suite_of_task(row.task) for row in table.rows}
            suite = load_suites().get(table.suite or "")
            # Without a heading the rows decide: all of one suite, and no single one of many.
            alone = suite is not None and elsewhere_is_plain(elsewhere) and suites == {table.suite} and parent is None
            if alone and suite is not None and heading is None:
                tasks = {row.task for row in table.rows}
                most = 2 * len(tasks) >= len(suite.tasks)
                heading = suite.name if most or elsewhere is None else None
            elif heading is not None and table.suite not in (heading, None) and suites == {table.suite}:
                heading = table.suite
            elif table.rows and table.suite is None and heading is not None and not any(suites):
                heading, elsewhere = None, f"{table.rows[0].printed_task}..."
            if heading is not None:
                for score in waiting:
                    keep(score, heading)
                waiting.clear()
            for score in table.averages:
                others = other_rows(score, list(table.rows), heading) if heading is not None else None
                if others is not None:
                    average_of_rows(score, list(table.rows), others)
                elif heading is not None and suites - {None} <= {heading}:
                    keep(score, str(heading))
                else:
                    average_of_rows(score, list(table.rows), elsewhere or "its table")
                settled = True
        elif event.suite == "pass@1" and not is_of_humaneval(heading, elsewhere, apart):
            notes.append(
                Note(event.line, f"pass@1 {event.percent}: of what, the file does not say; not read", unread=True)
            )
        elif event.suite in ("humaneval", "pass@1") or (event.suite is None and heading == "humaneval"):
            if current.humaneval is not None and current.humaneval.percent != event.percent:
                notes.append(Note(event.line, f"second HumanEval score {event.percent} not read", unread=True))
            else:
                current.humaneval = PrintedScore(event.line, "humaneval", event.percent)
        elif (
            apart is not None
            and event.suite is None
            and not (apart.kind == "comparison" and OVERALL.search(event.label) and len(suite_values(current)) > 1)
        ):
            what = " ".join(apart.text.split())[:40]
            notes.append(Note(event.line, f"average {event.percent}: stands below '{what}', not below rows; not read"))
            apart = replace(apart, kind="comparison")  # it has its average; one of the suites may follow
        elif apart is not None and event.suite is None:
            keep(replace(event, suite="average"), "average")
        elif event.suite is not None:
            if parent is None or event.suite in load_suites():
                keep(event, event.suite)
        elif before_tables:
            waiting.append(event)
        elif left is not None and not section and is_mean_of(event, left[1], left[0]):
            keep(event, left[0])
            left = None
        elif (of_list := average_of_list(listed, {average.suite for average in current.averages}, heading)) is not None:
            listed = []
            overall = OVERALL.search(event.label) is not None and len(suite_values(current)) > 1
            if (of_list or overall) and parent is None:
                keep(replace(event, suite="average"), "average")
            else:
                why = "of what, the list above it does not say"
                notes.append(Note(event.line, f"average {event.percent}: {why}; not read", unread=True))
        elif heading is not None and not settled and (others := other_rows(event, section, heading)) is not None:
            average_of_rows(event, section, others)
            settled = True
        elif heading is not None:
            listed = []
            keep(event, heading)
        elif (
            not section and _is_of_suites(event.label, elsewhere) and len(suite_values(current)) > 1 and parent is None
        ):
            keep(replace(event, suite="average"), "average")
        elif not settled:
            average_of_rows(event, section, elsewhere or "")
            settled = True
        elif OVERALL.search(event.label) and len(suite_values(current)) > 1 and parent is None:
            keep(replace(event, suite="average"), "average")
        else:
            notes.append(Note(event.line, f"average {event.percent}: of what, the file does not say; not read"))
    notes += [Note(score.line, f"average {score.percent}: no suite beside it", unread=True) for score in waiting]
    for model in models:
        settle_last(model, notes)
    for model, score in on_top:
        settle_first(next((m for m in models if m.tables), model) if model.empty else model, score, notes)
    return [_humaneval_from_table(model.done()) for model in models if not model.empty], notes


def _is_of_suites(label: str, elsewhere: str | None) -> bool:
    """Tell whether an average below a heading of its own ("Summary") is that of the suites."""
    if elsewhere is None or names_something_else(elsewhere, None):
        return False
    own = re.search(r"summary|overall|total|averages?\b|final|总|汇总|平均", elsewhere, re.IGNORECASE) is not None
    general = re.search(r"results?|scores?|evaluation|结果|评测", elsewhere, re.IGNORECASE) is not None
    return own or (general and OVERALL.search(label) is not None)


def elsewhere_is_plain(text: str | None) -> bool:
    """Tell whether the heading above names no other benchmark, as "Results" and a model's name do not."""
    return text is None or not names_other_benchmark(text)


def _humaneval_from_table(model: ModelScores) -> ModelScores:
    """Take pass@1 from a task row where the file has one and no text says it."""
    if model.humaneval is not None:
        return model
    for table in model.tables:
        for row in table.rows:
            if (row.task, row.metric) == ("humaneval", "pass@1"):
                return replace(model, humaneval=PrintedScore(row.line, "humaneval", row.value * Decimal(100)))
    return model
