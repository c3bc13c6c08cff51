"""Was a score measured as nous-2023? Only if the file says nothing that is not understood, and its tables fit.

Nothing in a file says "nous-2023". A log of lm-eval 0.3 in the published layout, or a table of suites, is taken for it
where no line of the file is outside the closed grammar (`evalkit.baselines.reading.grammar`), and columns, versions and
standard errors are those of then. Else the protocol is ``unknown``, and a note says why and where.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from evalkit.baselines.published import Log, ModelScores, Note, Row, ScoreTable
from evalkit.baselines.reading.cells import holds_nothing
from evalkit.baselines.reading.columns import is_version_column, split_line
from evalkit.baselines.reading.commands import settings_of
from evalkit.baselines.reading.vocabulary import is_plain_name
from evalkit.config.suites import is_graded, load_suites, load_tasks
from evalkit.results.harness_settings import KINDS
from evalkit.results.task_names import leading_suite, suite_of_task, without_arrows

NOUS_2023 = "nous-2023"

# Headings of the published layout. "%" may stand beside the value's, "#" counts rows.
_LOG_COLUMN = re.compile(
    r"(?:tasks?(?: name)?|datasets?|benchmarks?|metrics?|%?\s*(?:values?|scores?|accuracy)\s*(?:\(?%\)?)?"
    r"|std[\s._]*err(?:or)?\.?|standard error|±|\+/?-|#|任务(?:名称?)?|数据集|基准(?:测试)?|测试集?"
    r"|指标|评价指标|度量|分数|得分|值|数值|成绩|结果|准确率|标准误差?|(?:acc|acc_norm|mc1|mc2|multiple_choice_grade|exact_str_match)(?:_stderr)?)?",
    re.IGNORECASE,
)


def _cut(text: str, most: int = 60) -> str:
    """Return the beginning of a text, and that it is one."""
    return text if len(text) <= most else f"{text[:most]}..."


class Claims:
    """Tells for each score of a file whether it may be called nous-2023."""

    def __init__(self, log: Log) -> None:
        self._lines = log.lines
        self._places = {number: index for index, (number, _) in reversed(list(enumerate(log.lines)))}
        self._free = _said(log.free)
        self._asked = _tasks_of_commands(log.lines)

    def doubt(self, model: ModelScores, suite: str, *, several: bool) -> Note | None:
        """Return why a model's score of a suite is not to be called nous-2023, with its line; None if it is.

        `several` says that the model is one of a table of several, where its name has to be known as one.
        """
        if not self._lines:
            return None  # a results file: its own reader says how it was measured
        if self._free is not None:
            return self._free
        if several and model.name is not None and not is_plain_name(model.name):
            return Note(model.line, f"'{_cut(model.name)}' is not certainly a model")
        tables = [table for table in model.tables if any(suite_of_task(row.task) == suite for row in table.rows)]
        found = next((note for table in tables if (note := self._of_table(table, suite)) is not None), None)
        return found or self._not_asked(tables, suite)

    def _not_asked(self, tables: list[ScoreTable], suite: str) -> Note | None:
        """Return a note about a task that the command above its table, or else any of the file, did not ask for."""
        if not self._asked or suite == "humaneval":
            return None
        everything = frozenset(task for _, _, tasks in self._asked for task in tasks)
        for row in (row for table in tables for row in table.rows if suite_of_task(row.task) == suite):
            place = self._places.get(row.line, 0)
            above = [known for known in self._asked if known[0] <= place]
            if row.task not in (above[-1][2] if above else everything):
                line = (above or self._asked)[-1][1]
                return Note(line, f"the command asks for other tasks than {row.task} (line {row.line})")
        absent = [task.name for task in load_suites()[suite].tasks if task.name not in everything]
        if not tables and absent:
            return Note(
                self._asked[-1][1], f"no command asks for {absent[0]}, which {load_suites()[suite].title} needs"
            )
        return None

    def _of_table(self, table: ScoreTable, suite: str) -> Note | None:
        for heading in table.headings:
            if not (is_version_column(heading) or _LOG_COLUMN.fullmatch(without_arrows(heading).strip(" :*_`"))):
                return Note(table.line, f"column '{_cut(heading.strip())}' is not known")
        plain = [heading.lower().strip(" :*_`") for heading in table.headings]
        version = next((i for i, heading in enumerate(plain) if is_version_column(heading)), None)
        if table.harness == "lm-eval-0.3" and version is None and not self._has_versions(table):
            return Note(
                table.line, "its rows have no versions and no line of the harness, so lm-eval 0.4 may have made them"
            )
        versioned: set[str] = set()
        for row in table.rows:
            if suite_of_task(row.task) != suite:
                continue
            if (most := documents_at_most(row)) is not None and 2 * most < load_tasks()[row.task].documents:
                text = f"the standard error of {row.task} {row.metric} is that of about {most} documents, a limited run"
                return Note(row.line, text)
            known = load_tasks()[row.task].version
            said = self._version(row, version, len(plain)) if version is not None else ""
            if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", said) and float(said) > float(known):
                return Note(row.line, f"version {said} of {row.task}, newer than {known}")
            if re.fullmatch(r"[0-9]+(?:\.0)?", said):
                versioned.add(row.task)
            elif said and not holds_nothing(said):
                return Note(row.line, f"version '{said[:20]}' of {row.task}, which is none of then")
            if (note := self._misplaced(row.line, suite)) is not None:
                return note
        for row in table.rows if table.harness == "lm-eval-0.3" and version is not None else ():
            if suite_of_task(row.task) == suite and row.task not in versioned:
                return Note(row.line, f"no version of {row.task}, though the table has a column of them")
        return None

    def _version(self, row: Row, column: int, columns: int) -> str:
        """Return what stands in a row's column of versions; behind the task's name, where the line is no whole row."""
        lines = [line for number, line in self._lines if number == row.line]
        found = split_line(lines[0]) if len(lines) == 1 else None
        if found is not None:
            cells = (*([found.before] if found.before else []), *found.cells, *([found.after] if found.after else []))
            if len(cells) == columns:
                return cells[column].strip()
        behind = rf"(?<!\w){re.escape(row.printed_task)}[ `]*\|\s*([^|\s]*)\s*\|"
        return next((said[1] for line in lines if (said := re.search(behind, line))), "")

    def _has_versions(self, table: ScoreTable) -> bool:
        """Tell whether a table without a column of versions is of the 0.3 line: its rows name them, or its harness did.

        A row without a heading above has its version between the task's name and the metric's. The harness's line
        holds to the next one, or to the next model's title.
        """
        place = self._places.get(table.line, 0)
        for row in table.rows if not table.headings else ():
            text = self._lines[self._places.get(row.line, place)][1]
            if re.search(rf"{re.escape(row.printed_task)}[\s|`]+[0-9](?:\.0)?[\s|]+{re.escape(row.metric)}", text):
                return True
        for _, text in self._lines[place::-1]:
            if (settings := settings_of(text)) is not None:
                return settings.get("kind") in KINDS or "provide_description" in settings
            if re.match(r"\s*#\s", text):
                return False
        return False

    def _misplaced(self, number: int, suite: str) -> Note | None:
        """Return a note if the label right above a table of tasks is that of another suite."""
        inside = True
        for _, text in self._lines[self._places[number] :: -1]:
            table = split_line(text) is not None
            inside = inside and table
            if table and not inside:
                return None
            named = leading_suite(text) if not table else None
            if named is not None:
                return None if named[0] == suite else Note(number, f"it stands below '{_cut(text.strip())}'")
        return None


def _tasks_of_commands(lines: Sequence[tuple[int, str]]) -> list[tuple[int, int, frozenset[str]]]:
    """Return the tasks that commands name, as (position, line, tasks); of those with no table between, all of them."""
    found: list[tuple[int, int, frozenset[str]]] = []
    together = False
    for position, (number, text) in enumerate(lines):
        if split_line(text) is not None:
            together = False
        elif (names := (settings_of(text) or {}).get("tasks")) is not None:
            tasks = {t for name in names.split(",") for t in _tasks_called(name.strip())}
            before = found.pop()[2] if together else frozenset()
            found.append((position, number, before | tasks))
            together = True
    return found


def _tasks_called(name: str) -> list[str]:
    return [task.name for task in load_suites()[name].tasks] if name in load_suites() else [name]


def _said(free: tuple[tuple[int, str], ...], shown: int = 3) -> Note | None:
    """Return the one note about all lines of a file that are not of the grammar; None without any."""
    if not free:
        return None
    texts = [f"line {number} '{_cut(text)}'" if number else text for number, text in free[:shown]]
    more = f" and {len(free) - shown} more" if len(free) > shown else ""
    text = (
        f"not only scores: {'; '.join(texts)}{more}. evalkit does not read prose: read it, and if none of it says"
        f" whose the scores are or that they were measured otherwise, --protocol {NOUS_2023}"
    )
    return Note(free[0][0], text)


def documents_at_most(row: Row) -> int | None:
    """Return of how many documents at most a printed standard error is; None where it does not say."""
    if row.stderr is None or is_graded(row.task, row.metric) or not 0 < row.value < 1:
        return None
    half, error_half = (Decimal(5).scaleb(int(x.as_tuple().exponent) - 1) for x in (row.value, row.stderr))
    error = row.stderr - error_half
    widest = max(share * (1 - share) for share in (row.value - half, row.value, row.value + half))
    return int(widest / error**2) + 1 if error > 0 else None
