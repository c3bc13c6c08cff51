"""Whose are the scores of a file? Where the closed grammar lets a model be named, and three ways to be sure.

A model's name may stand in a title, in the front matter, in a line of the harness or its command, in a cell of a table
of models, in the file's name, and (`reading.grammar`) nowhere else. The ways are those of docs/baselines.md: one model,
its own row beside others', or several of which each score has a label of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from evalkit.baselines.published import Log, ModelScores, Note
from evalkit.baselines.reading.commands import settings_of
from evalkit.baselines.reading.front_matter import front_end, named_in_front
from evalkit.baselines.reading.grammar import stem_of, title_of, titles_of
from evalkit.baselines.reading.own_rows import columns_of
from evalkit.baselines.reading.table_grammar import named_cells
from evalkit.baselines.reading.wording import OWN_ROLE, bare_title, is_title, model_of_file, same_model
from evalkit.results.harness_settings import is_placeholder, names_nobody
from evalkit.results.task_names import suite_of_task


@dataclass(frozen=True)
class _Naming:
    """A place where a model is named: its line (0: the file's name), the name, and what it is."""

    line: int
    name: str
    kind: str


class Namings:
    """The places of a file where a model is named.

    Attributes:
        title: the name in its title or front matter, or None.
        front: the name in its front matter, or None.
        file: the model's name in that of the file, or None.
        row: the only name in its tables of models, where the row has the numbers of all its scores; or None.
    """

    def __init__(self, log: Log) -> None:
        lines = list(log.lines)
        body, self.front = lines[front_end(lines) :], named_in_front(lines)
        file = model_of_file(stem_of(log.name))
        self.title, self.file = (
            title_of(lines),
            file if file is not None and (len(file) == 1 or not names_nobody(file)) else None,
        )
        titles = [_Naming(n, bare_title(text), "title") for n, text in titles_of(body) if is_title(text)]
        front = [_Naming(1, self.front, "front matter" if titles else "title")] if self.front is not None else []
        loaded = [(n, ((settings_of(text) or {}).get("pretrained") or "").strip("/ ")) for n, text in lines]
        settings = [_Naming(n, name, "settings") for n, name in loaded if name and not is_placeholder(name)]
        rows = [_Naming(n, name, "row") for n, name in named_cells(body) if not OWN_ROLE.fullmatch(name)]
        self._all = [
            *([_Naming(0, self.file, "file")] if self.file is not None else []),
            *titles,
            *front,
            *settings,
            *rows,
        ]
        self._log, self._columns = log, [column for table in log.comparisons for column in columns_of(table)]
        own = [c for c in self._columns if len(log.models) == 1 and rows and same_model(c.name, rows[0].name)]
        fits = any(c.fits(log.models[0]) for c in own) and all(same_model(r.name, rows[0].name) for r in rows)
        self.row = rows[0].name if fits and not names_nobody(rows[0].name) else None

    def doubt(self, called: Sequence[str], *, given: bool = False) -> Note | None:
        """Return why nobody knows for certain whose a file's scores are; None if they are those of the models `called`.

        Args:
            called: the name of each of the file's models.
            given: whether a user gave it.
        """
        if not self._log.lines:
            return None  # a results file, which is held to its own list
        if len(called) == 1:
            why = self._of_one(self._log.models[0], called[0], given=given)
        else:
            why = None if self._of_several(called) else Note(0, "")
        if why is None or why.message:
            return why
        names = _distinct(self._all)
        shown = ", ".join(f"{n.name} ({f'line {n.line}' if n.line else 'its own name'})" for n in names[:4])
        shown += f" and {len(names) - 4} more" if len(names) > 4 else ""
        several = f" and holds scores of {len(called)} models" if len(called) > 1 else ""
        other = len(called) == 1 and not any(_is(n.name, called[0]) for n in names)
        text = f"the file names {shown or 'nobody'}{several}" + (f", not {called[0]}" if other and names else "")
        known = f"--protocol nous-2023{' and --name' * (len(called) == 1)}"
        line = next((n.line for n in names if not _is(n.name, called[0])), names[0].line if names else 0)
        return Note(line, f"{text}: nothing says for certain whose these scores are; if you know, {known}")

    def _of_one(self, model: ModelScores, called: str, *, given: bool) -> Note | None:
        """Return None if all scores are the one model's that they are called after; else why not, or an empty text."""
        again = next((note for note in self._log.notes if note.again), None)
        if again is not None:
            return Note(
                again.line,
                f"the file has more than one set of scores ({again.message}), and nothing says whose each is",
            )
        others = [naming for naming in self._all if not _is(naming.name, called)]
        own = [c for c in self._columns if not others or OWN_ROLE.fullmatch(c.name) or same_model(c.name, called)]
        if (differs := next((note for c in own for note in c.differing(model)), None)) is not None:
            return differs
        fitting = [column for column in self._columns if column.fits(model)]
        if others:
            sure = all(n.kind == "row" for n in others) and bool(fitting) and all(c in own for c in fitting)
            sure = sure and (given or len(others) < len(self._all))
        else:
            sure = given or any(naming.kind != "row" or fitting for naming in self._all)
        return None if sure else Note(0, "")

    def _of_several(self, called: Sequence[str]) -> bool:
        """Tell whether each score of several models has a label of its own, and nothing says otherwise."""
        if any(note.again for note in self._log.notes):
            return False
        for column in self._columns:
            models = [m for m, name in zip(self._log.models, called, strict=True) if same_model(column.name, name)]
            if not models or any(column.differing(model) for model in models):
                return False
        if not all(any(_is(n.name, name) for name in called) for n in self._all if n.kind not in ("file", "settings")):
            return False
        by_suite, whole = (_blocks(self._log.models, by_suite=by_suite) for by_suite in (True, False))
        if self._each_has_own("settings", by_suite, called):
            return True
        tasks = ([row.task for table in model.tables for row in table.rows] for model in self._log.models)
        suites = ([str(score.suite) for score in model.averages] for model in self._log.models)
        measured = {frozenset((*rows, *printed)) for rows, printed in zip(tasks, suites, strict=True)}
        return len(measured) == 1 and self._each_has_own("title", whole, called) and self._settings_fit()

    def _each_has_own(self, kind: str, blocks: Iterable[tuple[int, int, int]], called: Sequence[str]) -> bool:
        """Tell whether exactly one label stands above each of the blocks, below the one before, and none elsewhere."""
        labels, end = sorted((n for n in self._all if n.kind == kind), key=lambda naming: naming.line), 0
        for label, block in zip_longest(labels, blocks):
            if label is None or block is None or not end < label.line < block[1]:
                return False
            if not same_model(label.name, called[block[0]]):
                return False
            end = block[2]
        return True

    def _settings_fit(self) -> bool:
        """Tell whether each line of the harness names the model of the title above it."""
        named, labels = None, [n for n in self._all if n.kind in ("title", "settings")]
        for label in sorted(labels, key=lambda naming: naming.line):
            named = label.name if label.kind == "title" else named
            if named is None or not same_model(label.name, named):
                return False
        return True


def _is(name: str, called: str) -> bool:
    """Tell whether a name is that which scores are called after, as it is or as the file's name."""
    return same_model(name, called) or same_model(name, model_of_file(called) or called)


def _blocks(models: Sequence[ModelScores], *, by_suite: bool) -> list[tuple[int, int, int]]:
    """Return (model, first line, last line) of each stretch of one model's scores, of one suite if so asked."""
    found: list[tuple[int, int, int, set[str | None]]] = []
    for place, model in enumerate(models):
        for table in model.tables:
            lines = [row.line for row in table.rows]
            suites = {suite_of_task(row.task) for row in table.rows}
            found += [(place, min(lines), max(lines), suites)] if lines else []
        printed = [*model.averages, *([model.humaneval] if model.humaneval is not None else [])]
        found += [(place, score.line, score.line, {score.suite}) for score in printed]
    blocks: list[tuple[int, int, int, set[str | None]]] = []
    for place, first, last, suites in sorted(found, key=lambda block: block[1]):
        before = blocks[-1] if blocks and blocks[-1][0] == place else None
        if before is not None and (not by_suite or before[3] & suites or suites == {"average"}):
            blocks[-1] = (place, before[1], max(before[2], last), before[3] | suites)
        else:
            blocks.append((place, first, last, suites))
    return [(place, first, last) for place, first, last, _ in blocks]


def _distinct(namings: Sequence[_Naming]) -> list[_Naming]:
    found: list[_Naming] = []
    for naming in namings:
        if not any(same_model(naming.name, known.name) for known in found):
            found.append(naming)
    return found
