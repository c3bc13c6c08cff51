"""Was a score measured as nous-2023? Only if all that stands in and around it is of a known, innocent kind.

Nothing in a file says "nous-2023". A log of lm-eval 0.3 in the published layout, or a table of suites, is taken for it
where nothing else is said; so everything that is said has to be understood. The vocabulary below is closed: a word, a
column, a setting or a part of a label that is not in it may say that the prompts had examples, that only a part was
asked, that it was in German. Then the protocol is ``unknown``, and a note says why and where.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from evalkit.baselines.published import Log, ModelScores, Note, Row, ScoreTable
from evalkit.baselines.reading.cells import holds_nothing, score_of
from evalkit.baselines.reading.table_lines import is_rule, is_version_column, split_line
from evalkit.baselines.reading.taken_from import taken_from
from evalkit.baselines.reading.understood import is_short, left_over
from evalkit.baselines.reading.vocabulary import (
    KINDS,
    is_name,
    is_plain_name,
    label_of,
    names_another,
    names_harness,
    odd_setting,
    odd_word,
    other_way,
    settings_of,
    takes_no_part,
)
from evalkit.baselines.reading.whose import name_key
from evalkit.suites import is_graded, load_suites, load_tasks
from evalkit.task_names import (
    any_suite,
    comparison_role,
    is_benchmark,
    is_score_of_another,
    leading_suite,
    model_of_heading,
    names_something_else,
    suite_of_task,
    task_and_metric,
    without_arrows,
)

NOUS_2023 = "nous-2023"
_NAMELESS = ("base", "base model", "ours", "our model", "this model", "本模型")
_IF_KNOWN = f"; if you know that it was measured so: --protocol {NOUS_2023}"

# Headings of the published layout. "%" may stand beside the value's, "#" counts rows.
_LOG_COLUMN = re.compile(
    r"(?:tasks?(?: name)?|datasets?|benchmarks?|metrics?|%?\s*(?:values?|scores?|accuracy)\s*(?:\(?%\)?)?"
    r"|std[\s._]*err(?:or)?\.?|standard error|±|\+/?-|#|任务(?:名称?)?|数据集|基准(?:测试)?|测试集?"
    r"|指标|评价指标|度量|分数|得分|值|数值|成绩|结果|准确率|标准误差?|(?:acc|acc_norm|mc1|mc2|multiple_choice_grade|exact_str_match)(?:_stderr)?)?",
    re.IGNORECASE,
)
# Columns of a table of suites that say what a model is, not how it was measured.
_FACT_COLUMN = re.compile(
    r"\W*(?:models?|names?|base(?:\W*models?)?|licen[cs]es?|links?|urls?|(?:(?:total|active|#)\W*)?(?:params?|parameters?)|sizes?(?:\W*b)?|ranks?|ranking|\#|dates?"
    r"|organi[sz]ations?|authors?|benchmarks?|tasks?|suites?|datasets?|tests?|evals?|evaluations?|metrics?|scores?|results?"
    r"|details?|gist|模型(?:名称?)?|参数量?|大小|排名|链接|许可证?|基准(?:测试)?|任务|数据集|测试集?)?\W*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Text:
    """A file's lines with what each is.

    Attributes:
        lines: (number, text), as read.
        tables: whether each is a line of a table.
        fenced: whether each stands in a block of code.
        above: for each, the indices of the headings of Markdown that it stands below, the largest first.
    """

    lines: tuple[tuple[int, str], ...]
    tables: tuple[bool, ...]
    fenced: tuple[bool, ...]
    above: tuple[tuple[int, ...], ...]

    def is_heading(self, index: int) -> bool:
        return bool(self.above[index]) and self.above[index][-1] == index

    def leads(self, index: int) -> bool:
        """Tell whether a line begins with a suite's name, as plain headings of logs do."""
        return not self.tables[index] and leading_suite(self.lines[index][1]) is not None


def _text_of(lines: Iterable[tuple[int, str]]) -> _Text:
    known = tuple(lines)
    start = 0
    if known and known[0][1].strip() == "---":  # what a hub reads; it is no part of the text
        start = next((i + 1 for i, (_, text) in enumerate(known[1:], 1) if text.strip() == "---"), 0)
    known = known[start:]
    tables, fenced, above = [], [], []
    stack: list[tuple[int, int]] = []
    inside = False
    for index, (_, text) in enumerate(known):
        fence = text.strip().startswith(("```", "~~~"))
        table = split_line(text) is not None and not _labels(text)
        found = re.match(r"\s*(#{1,6})\s+\S", text)
        if found is not None and not table and not (inside and not _holds_table(known, index)):
            stack = [(level, i) for level, i in stack if level < len(found[1])] + [(len(found[1]), index)]
        tables.append(table)
        fenced.append(inside or fence)
        above.append(tuple(i for _, i in stack))
        inside = inside != fence
    return _Text(known, tuple(tables), tuple(fenced), tuple(above))


def _labels(text: str) -> bool:
    """Tell whether a line with bars is no row of a table, but a model's name in a frame: "| Bar-13B |"."""
    line = split_line(text)
    said = [cell for cell in (line.before, *line.cells, line.after) if cell] if line is not None else []
    label = label_of(said[0]) if len(said) == 1 else None
    return label is not None and names_another(said[0], label)


def _holds_table(lines: tuple[tuple[int, str], ...], index: int) -> bool:
    """Tell whether a block of code goes on with a table before it ends: then it is a log, and no program."""
    for _, text in lines[index:]:
        if text.strip().startswith(("```", "~~~")):
            return False
        if split_line(text) is not None:
            return True
    return False


def _cut(text: str, most: int = 60) -> str:
    """Return the beginning of a text, and that it is one."""
    return text if len(text) <= most else f"{text[:most]}..."


# Repositories of quantised weights repeat the card of the whole model, with its scores.
_REPEATED_CARD = re.compile(
    r"\b(?:original|upstream|base|source)\s+(?:model(?:['’]s)?\s+)?(?:card|readme|description)\b"
    r"|\boriginal\s+model\s*:|\bquanti[sz](?:ed|ation)\s+(?:made\s+)?by\b",
    re.IGNORECASE,
)
_QUANTISED = re.compile(
    r"(?<![a-z])(?:gptq|gguf|ggml|awq|exl2|[2-8](?:\.[0-9]+)?[-_]?bpw|[2-8][-_]?bits?|int[48]|q[2-8]_[0-9k]\w*)(?![a-z])",
    re.IGNORECASE,
)


class Claims:
    """Tells for each score of a file whether it may be called nous-2023."""

    def __init__(self, log: Log) -> None:
        self._text = _text_of(log.lines)
        self._places = {number: index for index, (number, _) in reversed(list(enumerate(self._text.lines)))}
        self._blocks: dict[tuple[int, str, frozenset[str]], Note | None] = {}
        self._wide: Note | None = self._of_another_model(log.name) or self._elsewhere()
        self._title = self._title_line()
        title = self._text.lines[self._title][1].strip(" #*_`") if self._title is not None else ""
        stem = re.sub(r"\.\w{2,4}$", "", log.name)
        self._own = frozenset({title, model_of_heading(title), *([stem] if is_name(stem) else [])} - {""})
        self._all = frozenset(str(model.name) for model in log.models if model.name is not None)

    def doubt(self, model: ModelScores, suite: str, *, several: bool) -> Note | None:
        """Return why a model's score of a suite is not to be called nous-2023, with its line; None if it is.

        `several` says that the model is one of a table of several, where its name has to be known as one.
        """
        if not self._text.lines:
            return None  # a results file: its own reader says how it was measured
        if several and model.name is not None and not is_plain_name(model.name):
            return Note(model.line, f"'{_cut(model.name)}' is not certainly a model")
        names = self._own | self._all if several else self._names(model)
        for table in model.tables:
            if any(suite_of_task(row.task) == suite for row in table.rows) and (
                found := self._of_table(table, suite, names)
            ):
                return found
        scores = [score for score in model.averages if score.suite == suite]
        scores += [model.humaneval] if model.humaneval is not None and suite == "humaneval" else []
        for score in scores:
            if (found := self._around(score.line, suite, names)) is not None:
                return found
        return self._wide

    def _title_line(self) -> int | None:
        """Return the index of the file's title: its first heading, above all scores, of level 1 or a model's name."""
        text = self._text
        first = next((i for i in range(len(text.lines)) if text.tables[i] or text.is_heading(i)), None)
        if first is None or text.tables[first]:
            return None
        said = text.lines[first][1]
        return first if re.match(r"\s*#\s", said) or is_name(said) else None

    def _names(self, model: ModelScores) -> frozenset[str]:
        """Return what a model is called: by the file's title too, if it is the file's own."""
        loaded = (settings_of(model.settings or "") or {}).get("pretrained", "").strip("/ ")
        name = model.name or loaded
        names = {name} if name and is_name(name) and name.lower() not in _NAMELESS else set()
        keys = {name_key(name) for name in self._own}
        own = model.name is None or name_key(model.name) in keys or name_key(model.name.split("/")[-1]) in keys
        return frozenset(names | self._own if own else names)

    def _of_table(self, table: ScoreTable, suite: str, names: frozenset[str]) -> Note | None:
        for heading in table.headings:
            if not (is_version_column(heading) or _LOG_COLUMN.fullmatch(without_arrows(heading).strip(" :*_`"))):
                return Note(table.line, f"column '{_cut(heading.strip())}' is not known")
        plain = [heading.lower().strip(" :*_`") for heading in table.headings]
        version = next((i for i, heading in enumerate(plain) if is_version_column(heading)), None)
        if table.harness == "lm-eval-0.3" and version is None and not self._has_versions(table, names):
            return Note(
                table.line, "its rows have no versions and no line of the harness, so lm-eval 0.4 may have made them"
            )
        versioned: set[str] = set()
        for row in table.rows:
            if suite_of_task(row.task) != suite:
                continue
            if (most := _documents_at_most(row)) is not None and 2 * most < load_tasks()[row.task].documents:
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
            if (note := self._around(row.line, suite, names)) or (note := self._misplaced(row.line, suite)):
                return note
        for row in table.rows if table.harness == "lm-eval-0.3" and version is not None else ():
            if suite_of_task(row.task) == suite and row.task not in versioned:
                return Note(row.line, f"no version of {row.task}, though the table has a column of them")
        return None

    def _version(self, row: Row, column: int, columns: int) -> str:
        """Return what stands in a row's column of versions; behind the task's name, where the line is no whole row."""
        lines = [line for number, line in self._text.lines if number == row.line]
        found = split_line(lines[0]) if len(lines) == 1 else None
        if found is not None:
            cells = (*([found.before] if found.before else []), *found.cells, *([found.after] if found.after else []))
            if len(cells) == columns:
                return cells[column].strip()
        behind = rf"(?<!\w){re.escape(row.printed_task)}[ `]*\|\s*([^|\s]*)\s*\|"
        return next((said[1] for line in lines if (said := re.search(behind, line))), "")

    def _has_versions(self, table: ScoreTable, names: frozenset[str]) -> bool:
        """Tell whether a table without a column of versions is of the 0.3 line: its rows name them, or its harness did.

        A row without a heading above has its version between the task's name and the metric's. The harness's line is
        the table's if no other table stands between them, or if it names its model.
        """
        for row in table.rows if not table.headings else ():
            text = self._line(row.line)
            if re.search(rf"{re.escape(row.printed_task)}[\s|`]+[0-9](?:\.0)?[\s|]+{re.escape(row.metric)}", text):
                return True
        first = self._places.get(table.line, 0)
        while first > 0 and self._text.tables[first - 1]:
            first -= 1
        for above in range(self._places.get(table.line, 0), -1, -1):
            if (settings := settings_of(self._text.lines[above][1])) is not None:
                loaded = name_key(settings.get("pretrained", "").strip("/ ").split("/")[-1])
                theirs = any(self._text.tables[above:first]) and (names or self._all)
                if theirs and loaded not in {name_key(name.split("/")[-1]) for name in names}:
                    return False
                return settings.get("kind") in KINDS or "provide_description" in settings
        return False

    def _misplaced(self, number: int, suite: str) -> Note | None:
        """Return a note if the heading right above a table of tasks is that of another suite."""
        text = self._text
        index = self._places[number]
        while index > 0 and text.tables[index]:
            index -= 1
        while index > 0 and not (text.tables[index] or text.leads(index) or text.is_heading(index)):
            index -= 1
        named = any_suite(text.lines[index][1]) if not text.tables[index] else None
        if named in (None, suite) or (index == 0 and not text.leads(0)):
            return None
        return Note(number, f"it stands below '{_cut(text.lines[index][1].strip())}'")

    def _line(self, number: int) -> str:
        index = self._places.get(number)
        return self._text.lines[index][1] if index is not None else ""

    def _around(self, number: int, suite: str, names: frozenset[str]) -> Note | None:
        """Return what is not understood around a line with scores, and in the table that it is a line of."""
        index = self._places.get(number)
        if index is None:
            return Note(number, "its line was not found again")
        first = last = index
        is_table = self._text.tables
        if is_table[index]:
            while first > 0 and is_table[first - 1]:
                first -= 1
            while last + 1 < len(is_table) and is_table[last + 1]:
                last += 1
        key = (first, suite, names)
        if key not in self._blocks:
            self._blocks[key] = next(self._doubts(first, last, suite, names), None)
        return self._blocks[key]

    def _doubts(self, first: int, last: int, suite: str, names: frozenset[str]) -> Iterator[Note]:
        text = self._text
        if text.tables[first]:
            yield from self._in_table(first, last, suite)
        else:
            yield from self._said(first, names)
        above = list(self._above(first))
        heading = max((i for i in above if text.is_heading(i) or text.leads(i)), default=-1)
        for index in (*above, *self._below(last)):
            yield from self._said(index, names, prose=index < heading)
        settings = next((i for i in range(first - 1, -1, -1) if settings_of(text.lines[i][1]) is not None), None)
        if settings is not None:
            yield from self._said(settings, names)  # it holds until the next one
        for index in {*text.above[first]} | {i for i in text.above[last] if i > first}:
            yield from self._said(index, names)

    def _above(self, first: int) -> Iterator[int]:
        """Yield what stands above scores: up to a table or a heading, and above the heading of a suite as far again."""
        text, heading = self._text, None
        for index in range(first - 1, -1, -1):
            if text.tables[index]:
                break
            if heading is not None and text.is_heading(index):
                if self._is_empty(index, heading):
                    yield index
                break
            yield index
            if text.is_heading(index) or text.leads(index):
                if heading is not None or any_suite(text.lines[index][1]) is None:
                    break
                heading = index
        if heading is not None:
            yield from self._label_of_all(heading)

    def _is_empty(self, index: int, heading: int) -> bool:
        """Tell whether a heading of no larger level, with nothing below it, stands right above another one."""
        text = self._text
        empty = not any(line.strip("`~ \t") for _, line in text.lines[index + 1 : heading])
        return (
            empty
            and text.is_heading(heading)
            and index not in text.above[heading]
            and _level(text, index) >= _level(text, heading)
        )

    def _label_of_all(self, heading: int) -> Iterator[int]:
        """Yield the label that stands right above a suite's heading, or above the first of those that follow it."""
        text = self._text
        for index in range(heading, 0, -1):
            if text.tables[index] or not (text.is_heading(index) or text.leads(index)):
                continue
            if any_suite(text.lines[index][1]) is None:
                return
            above = index - 1
            while above >= 0 and not text.tables[above] and not text.lines[above][1].strip("`~ \t"):
                above -= 1
            said = text.lines[above][1] if above >= 0 and not text.tables[above] else ""
            if said.rstrip("`*_ \t").endswith((":", "：")) and not (text.is_heading(above) or text.leads(above)):
                yield above
                return

    def _below(self, last: int) -> Iterator[int]:
        """Yield the text right below scores, except what speaks of the next ones."""
        text, began = self._text, False
        for index in range(last + 1, len(text.lines)):
            if text.tables[index] or text.is_heading(index) or text.leads(index):
                return
            blank = not text.lines[index][1].strip("`~ \t")
            if settings_of(text.lines[index][1]) is not None and any(text.tables[index:]):
                return  # of the next table
            if self._labels_what_follows(index) or (blank and began):
                return
            began = began or not blank
            yield index

    def _labels_what_follows(self, index: int) -> bool:
        """Tell whether a line right above a heading speaks of what follows: it ends in a colon or names a model."""
        text, said = self._text, self._text.lines[index][1].strip()
        label = label_of(said)
        names = label is not None and names_another(said, label) and not re.search(r"\babove\b", said, re.IGNORECASE)
        colon = said.strip("`*_ \t").endswith(":")
        if not (names or colon or re.match(r"model(?:[ _]name)?\s*:", said, re.IGNORECASE)):
            return False
        rest = range(index + 1, len(text.lines))
        ends = [i for i in rest if text.tables[i] or text.is_heading(i) or text.leads(i)]
        if colon:
            return bool(ends)
        following = next((i for i in rest if text.lines[i][1].strip("`~ \t")), None)
        return following is not None and following in ends[:1]

    def _said(self, index: int, names: frozenset[str], *, prose: bool = False) -> Iterator[Note]:
        """Yield a note about a line that is not understood; in long `prose` above headings certain words count."""
        number, line = self._text.lines[index]
        if self._text.tables[index] or is_score_of_another(line):
            return
        found = odd_setting(line)
        if found is None:
            return  # the harness's own line, and all of it is as it was then
        heading = self._text.is_heading(index)
        if found == "" and index != self._title and is_short(line, heading=heading):
            found = other_way(line) or left_over(line, self._named(index, names), heading=heading)
        elif found == "" and prose:
            found = other_way(line) or taken_from(line, names_model=False)
        elif found == "":
            found = odd_word(line, title=index == self._title)
        if found:
            yield Note(number, f"'{found}' in '{_cut(' '.join(line.split()))}' is not known{_IF_KNOWN}")

    def _named(self, index: int, names: frozenset[str]) -> frozenset[str]:
        """Return the models that a line may name: of another model than the file's only a heading may be."""
        if not self._text.is_heading(index):
            return names if not self._own or names & self._own else frozenset()
        said = model_of_heading(self._text.lines[index][1].strip(" #*_`:"))
        nobody = not any(is_name(name) for name in (*names, *self._own))
        return names | {said} if nobody and is_plain_name(said) else names

    def _in_table(self, first: int, last: int, suite: str) -> Iterator[Note]:
        rows = []
        for number, line in self._text.lines[first : last + 1]:
            found = split_line(line)
            assert found is not None  # it is a line of a table
            cells = (*([found.before] if found.before else []), *found.cells, *([found.after] if found.after else []))
            if not is_rule(cells):
                rows.append((number, cells))
        for number, cells in rows:
            for cell in cells:
                role = comparison_role(cell)
                if score_of(cell) is not None or (role in load_suites() and role != suite) or _is_task(cell):
                    continue  # a number, or the label of another suite, which says nothing of this one
                if way := other_way(cell):
                    yield Note(number, f"'{way}' in the table: '{_cut(cell)}'")
        head = rows[0][1] if rows else ()
        suites = [cell for cell in head if any_suite(cell) is not None or comparison_role(cell) in load_suites()]
        if len(suites) > 1:  # models by suites: all other columns have to be known
            for cell in head:
                other = comparison_role(cell) in load_suites() and comparison_role(cell) != suite
                if not (other or _is_plain_label(cell) or _FACT_COLUMN.fullmatch(cell)):
                    yield Note(rows[0][0], f"column '{_cut(cell)}' is not known")
        elif not any(_is_task(cells[0]) for _, cells in rows if cells):
            for number, cells in rows[1:]:
                label = cells[0] if cells else ""
                other = comparison_role(label) in load_suites() and comparison_role(label) != suite
                if not (other or _is_plain_label(label) or _FACT_COLUMN.fullmatch(label) or is_name(label)):
                    yield Note(number, f"row '{_cut(label)}' is not known")

    def _of_another_model(self, name: str) -> Note | None:
        """Return why the scores may be those of the model that the file's own was made from: its card is repeated."""
        for number, line in self._text.lines:
            if (found := _REPEATED_CARD.search(line)) is not None:
                return Note(number, f"'{found[0]}': the scores may be the original model's{_IF_KNOWN}")
        if (found := _QUANTISED.search(re.sub(r"\.\w{2,4}$", "", name))) is not None:
            return Note(1, f"'{found[0]}' in the file's name: the scores may be the original model's{_IF_KNOWN}")
        return None

    def _elsewhere(self) -> Note | None:
        """Return what the file says of all its scores in another place: examples in the prompts, a limit."""
        text = self._text
        for index, (number, line) in enumerate(text.lines):
            if text.tables[index] or text.fenced[index] or takes_no_part(line) or settings_of(line) is not None:
                continue
            others = [i for i in text.above[index] if names_something_else(text.lines[i][1], None)]
            others = [i for i in others if any_suite(text.lines[i][1]) is None]
            of_another = names_something_else(line, None) and any_suite(line) is None
            if others or (of_another and not names_harness(line)):
                continue
            inside = [i for i in text.above[index] if any_suite(text.lines[i][1]) is not None]
            if inside or text.leads(index) or text.is_heading(index):
                continue  # it speaks of its own section, which is judged with its scores
            if (found := other_way(line, wide=True)) is not None:
                return Note(number, f"'{found}' in '{_cut(' '.join(line.split()))}'")
        return None


def _level(text: _Text, index: int) -> int:
    """Return the level of a heading of Markdown."""
    said = text.lines[index][1].strip()
    return len(said) - len(said.lstrip("#"))


def _documents_at_most(row: Row) -> int | None:
    """Return of how many documents at most a printed standard error is; None where it does not say."""
    if row.stderr is None or is_graded(row.task, row.metric) or not 0 < row.value < 1:
        return None
    half, error_half = (Decimal(5).scaleb(int(x.as_tuple().exponent) - 1) for x in (row.value, row.stderr))
    error = row.stderr - error_half
    widest = max(share * (1 - share) for share in (row.value - half, row.value, row.value + half))
    return int(widest / error**2) + 1 if error > 0 else None


def _is_task(cell: str) -> bool:
    return suite_of_task(task_and_metric(cell, "score")[0]) is not None


def _is_plain_label(label: str) -> bool:
    """Tell whether the label of a row or column names a benchmark or an average, and says nothing else."""
    if not re.search(r"\w", label) or holds_nothing(label):
        return True
    if comparison_role(label) in load_suites():
        return odd_word(label) is None
    if comparison_role(label) in ("average", "total"):
        return odd_word(label) is None
    task, _ = task_and_metric(label, "score")
    return suite_of_task(task) is not None or is_benchmark(label) or names_something_else(label, None)
