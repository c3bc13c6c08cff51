"""Does a file say anything beside its scores? A closed grammar of lines; evalkit does not read prose.

Nothing in a file says "nous-2023". It is claimed only where every line is of the grammar below, for any other line
may say whose the scores are, or that they were measured otherwise, in more ways than a list of words can hold:

- nothing, a rule, a fence, a tag that says nothing (`reading.as_written`);
- the harness's own line, or the command that calls it, with settings that are known (`reading.settings`);
- a title that is a model's name and no more, and the same one wherever one stands (`reading.wording`);
- a heading or label of suites, tasks and words like "Results" alone;
- an average: such a label and one number;
- a row of a table, of which each cell is known (`reading.table_grammar`);
- front matter of known keys and values (`reading.front_matter`).

It is asked of the text as written, with its links, tags, comments and marks, all of which may say something too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from evalkit.baselines.reading.as_written import SAFE_TAG, told_as_written
from evalkit.baselines.reading.columns import split_line
from evalkit.baselines.reading.commands import on_one_line
from evalkit.baselines.reading.fences import without_fences
from evalkit.baselines.reading.front_matter import front_end, named_in_front, odd_front_matter
from evalkit.baselines.reading.log_lines import code_lines
from evalkit.baselines.reading.settings import odd_setting
from evalkit.baselines.reading.table_grammar import odd_cells
from evalkit.baselines.reading.vocabulary import other_way
from evalkit.baselines.reading.wording import (
    bare_title,
    is_average,
    is_label,
    is_title,
)
from evalkit.results.harness_settings import other_weights

Lines = Iterable[tuple[int, str]]

_ELAPSED = re.compile(r"[\s*_`-]*elapsed[ _]time\s*[:=]?\s*[0-9:.]+\s*", re.IGNORECASE)


def free_text(raw: str, lines: Lines, name: str) -> list[tuple[int, str]]:
    """Return the lines of a file that are not of the grammar, as (number, text).

    Args:
        raw: the file's text as it was decoded.
        lines: its numbered lines in plain spelling (`evalkit.baselines.reading.text`).
        name: the file's name, which may be that of a quantised model.
    """
    plain = list(lines)
    found = dict(told_as_written(raw, {number for number, text in plain if text.strip("`~ \t")}))
    plain = on_one_line(plain)
    stem = stem_of(name)
    if (said := other_weights(stem) or other_way(stem.replace("_", " "))) is not None:
        found[0] = f"the file's name says '{said}'"
    for number, text in odd_front_matter(plain, title_of(plain)):
        found.setdefault(number, text)
    body = plain[front_end(plain) :]
    titles = dict(titles_of(body))
    for number, text in body:
        if number not in titles and not is_known(text):
            found.setdefault(number, odd_setting(text) or text)
    for number, text in odd_cells(body):
        found.setdefault(number, text)
    return sorted((number, " ".join(text.split())) for number, text in found.items())


def stem_of(name: str) -> str:
    """Return a file's name without its ending."""
    return re.sub(r"\.\w{2,4}$", "", name)


def titles_of(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the file's titles: the first heading, above all scores, and others of level 1 that are models' names.

    A title of one letter says nothing.
    """
    first = True
    code = code_lines(lines)  # a comment of a program is no title
    for number, text in lines:
        if split_line(text) is not None or not text.strip():
            if text.strip():
                first = False
            continue
        found = re.fullmatch(r"\s*(#{1,6})\s+(.*?)[\s#]*", text)
        if (
            found is not None
            and number not in code
            and (first or found[1] == "#")
            and (is_title(found[2]) or re.fullmatch("[A-Za-z]", found[2]))
        ):
            yield number, found[2]
        first = first and (found is None or is_label(found[2]))


def title_of(lines: Lines) -> str | None:
    """Return the model's name that a file's title above all scores, or its front matter, gives; None without one."""
    known = list(lines)
    start = front_end(known)
    end = next((i for i, (_, text) in enumerate(known[start:], start) if split_line(text) is not None), len(known))
    titles = (bare_title(title) for _, title in titles_of(known[start:end]) if is_title(title))
    return next(titles, None) or named_in_front(known)


def is_known(text: str) -> bool:
    """Tell whether a line is of the grammar and no title; tables are judged cell by cell elsewhere."""
    if split_line(text) is not None:
        return True
    said = re.sub(r"^[\s>]+", "", without_fences(SAFE_TAG.sub(" ", text))).strip()
    if re.fullmatch(r"[-=_*~`#>|:.\s+]*", said):
        return True
    if _ELAPSED.fullmatch(said) or (odd := odd_setting(said)) is None:
        return True
    if odd != "":
        return False
    said = re.sub(r"^#{1,6}\s+|\s+#+$", "", said)
    return is_label(said) or is_average(said)
