"""Does a file say anything beside its scores? A closed grammar of lines; evalkit does not read prose.

Nothing in a file says "nous-2023". It is claimed only where every line is of the grammar below, for any other line
may say whose the scores are, or that they were measured otherwise, in more ways than a list of words can hold:

- nothing, a rule, a fence;
- the harness's own line, or the command that calls it, with settings that are known;
- a title of level 1 that is a model's name and no more;
- a heading or label of suites, tasks and words like "Results" alone;
- an average: such a label and one number;
- a row of a table, whose cells are numbers, names of tasks, metrics, suites and models, and known headings;
- front matter of known keys and single words, which name no quantised model and none that this one was made from.

It is asked of the text as written, with its links, tags, comments and marks, all of which may say something too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from evalkit.baselines.reading.cells import holds_nothing
from evalkit.baselines.reading.commands import odd_setting, settings_of
from evalkit.baselines.reading.table_lines import is_heading_word, is_rule, is_version_column, split_line
from evalkit.baselines.reading.vocabulary import is_plain_name
from evalkit.suites import load_suites
from evalkit.task_names import (
    ARROWS,
    METRICS,
    bare,
    comparison_role,
    is_metric,
    leading_suite,
    suite_of_task,
    task_and_metric,
    without_arrows,
)

Lines = Iterable[tuple[int, str]]

_SAFE_TAG = re.compile(
    r"</?(?:html|body|head|table|thead|tbody|tfoot|tr|td|th|colgroup|col|h[1-6]|p|div|center|section|article|br|hr|pre|code"
    r"|details|summary|b|strong|em|i|u|span|small|big|tt)"
    r"(?:\s+(?:align|valign|style|class|id|colspan|rowspan|width|height|border|scope|cellpadding|cellspacing|dir|lang|open)"
    r"(?:\s*=\s*(?:\"[\w\s:;.,%#-]{0,60}\"|'[\w\s:;.,%#-]{0,60}'|[\w%.-]{1,30}))?)*\s*/?>",
    re.IGNORECASE,
)
_TABLE = re.compile(r"<table\b.*?(?:</table\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_BETWEEN_CELLS = re.compile(
    r"(?:<(?:table|tr|thead|tbody|tfoot)\b[^>]*>|</(?:td|th|tr|thead|tbody|tfoot)\s*>)([^<]*\w[^<]*)", re.IGNORECASE
)
# Links and images, addresses, footnotes, text struck out, comments, what a diff or `grep` puts before a line.
_TELLING = re.compile(r"\]\s*\(|\]\[|!\[|\[\^|^\s*\[[^\]]*\]:|://|\bwww\.|~~|<!--|-->")
_PAGE = re.compile(r"\[(?:\*\*)?([\w./ -]+?)(?:\*\*)?\]\(https://huggingface\.co/[\w.-]+/([\w.-]+)\)")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3})(?=\S)([^*|]*?\S)\1(?![\w*])")
_FRONT_KEYS = frozenset(
    re.findall(
        r"\w+", "language license license_name tags datasets pipeline_tag library_name model_name thumbnail metrics"
    )
)
_DERIVED = re.compile(
    r"(?<![a-z])(?:gptq|gguf|ggml|awq|exl2|quanti[sz]ed|[2-8](?:\.[0-9]+)?[-_]?bpw|[2-8][-_]?bits?|int[48]|q[2-8]_[0-9k]\w*)(?![a-z])",
    re.IGNORECASE,
)
# What a label may say beside suites and tasks: nothing of whose, when, by whom, how often or of what data.
_LABEL_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
    results result scores score benchmarks benchmark evaluation evaluations evals eval average averages avg mean summary
    overall metrics metric suite suites table tables tasks performance 0-shot zero-shot macro
    评测结果 评估结果 测试结果 评测 评估 测评 结果 得分 分数 平均 平均分 平均分数 平均得分 平均成绩 平均值 总分 汇总
    基准测试
    """,
    )
)
_AVERAGE_WORDS = re.compile(r"average|avg|mean|score|pass@1|greedy|平均|得分|总分", re.IGNORECASE)
_NUMBER = r"[0-9]{1,4}(?:[.,][0-9]+)?\s?%?"
_AVERAGE = re.compile(
    rf"(?P<label>.*?)(?:\s*[:=]\s*|\s+(?:is\s+)?)(?P<number>{_NUMBER})(?:\s*(?:±|\+/?-)\s*{_NUMBER})?\W*", re.IGNORECASE
)
_ELAPSED = re.compile(r"\W*(?:metadata\W*)?elapsed[ _]time\W*[0-9:.]+\W*", re.IGNORECASE)
_SUITE = re.compile(
    r"gpt4[\s_-]*all|agi[\s_-]*eval|big[\s_-]*bench|truthful[\s_-]*qa(?:_mc)?|human[\s_-]*eval|nous[\s_-]*bench(?:mark)?",
    re.IGNORECASE,
)
_CELL_NUMBER = re.compile(r"[+-]?[0-9]{1,6}(?:[.,][0-9]+)?(?P<percent>\s?%)?(?:\s*(?:±|\+/?-)\s*[0-9.]+\s?%?)?")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(?:[_:|,-][a-zA-Z0-9]+)+|[a-z][a-z0-9]+")
"""A task or a metric in a row of numbers."""
_SHOTS_OR_UNIT = re.compile(r"[(\[]\s*(?:[0-9]{1,2}[\s-]?shots?|%)\s*[)\]]|%$", re.IGNORECASE)
"""What a table's label may say behind a suite's name: it is read as that suite's protocol."""
_SIZED = re.compile(r"(?<![^\W_])[0-9]+(?:[.x][0-9]+)*[bm](?![^\W_])", re.IGNORECASE)
"""The size in a file's name, which makes it a model's."""
_PLUS_MINUS = re.compile(rf"±|\+/?-|_|-+|{ARROWS}+")
_FACT = re.compile(
    r"\W*(?:models?|names?|base(?:\W*models?)?|licen[cs]es?|(?:(?:total|active|#)\W*)?(?:params?|parameters?)|sizes?(?:\W*b)?"
    r"|ranks?|ranking|\#|suites?|changes?|[δ∆]|变化|模型(?:名称?)?|参数量?|大小|排名|许可证?)?\W*",
    re.IGNORECASE,
)
"""Columns that say what a model is, and not how it was measured."""
_FACT_VALUE = re.compile(
    r"[0-9.]+\s?[BMT]|apache-2\.0|mit|cc-by(?:-nc)?(?:-sa)?(?:-[0-9.]+)?|llama[0-9.]*|gemma|other|none|yaml",
    re.IGNORECASE,
)


def free_text(raw: str, lines: Lines, name: str) -> list[tuple[int, str]]:
    """Return the lines of a file that are not of the grammar, as (number, text).

    Args:
        raw: the file's text as it was decoded.
        lines: its numbered lines in plain spelling (`evalkit.baselines.reading.text`).
        name: the file's name, which may be that of a quantised model.
    """
    plain = list(lines)
    found = dict(_written(raw, {number for number, text in plain if text.strip("`~ \t")}))
    if (said := _DERIVED.search(re.sub(r"\.\w{2,4}$", "", name))) is not None:
        found[0] = f"the file's name says '{said[0]}'"
    start = 0
    if plain and plain[0][1].strip() == "---":
        start = next((i + 1 for i, (_, text) in enumerate(plain[1:], 1) if text.strip() == "---"), 0)
        for number, text in plain[1 : max(start - 1, 0)]:
            if not _is_front_matter(text):
                found.setdefault(number, text)
    body = plain[start:]
    titles = dict(_titles(body))
    for number, text in body:
        if number not in titles and not is_known(text):
            found.setdefault(number, odd_setting(text) or text)
    for number, text in (*_odd_cells(body), *_of_another(body, titles, re.sub(r"\.\w{2,4}$", "", name))):
        found.setdefault(number, text)
    return sorted((number, " ".join(text.split())) for number, text in found.items())


def _written(raw: str, shown: set[int]) -> Iterator[tuple[int, str]]:
    """Yield what only the text as written shows: addresses, marks, tags that say something, hidden lines."""
    raw = raw.replace("\r\n", "\n").replace("\r", "\n")
    page = "<html" in raw[:2000].lower() or "<!doctype html" in raw[:2000].lower()
    inside: set[int] = set()  # lines of tables of HTML: their text has the number of their row's end
    for table in _TABLE.finditer(raw):
        first = raw.count("\n", 0, table.start()) + 1
        inside |= set(range(first, first + table[0].count("\n") + 1))
        for found in _BETWEEN_CELLS.finditer(table[0]):
            yield first + table[0].count("\n", 0, found.start(1)), found[1]
    for number, line in enumerate(raw.split("\n"), 1):
        rest = _PAGE.sub(_without_own_page, _SAFE_TAG.sub(" ", line))
        stars = re.sub(r"^\s*\*(?=\s)", " ", line)
        while stars != (stars := _EMPHASIS.sub(r" \2 ", stars)):
            pass
        hidden = not page and number not in inside and number not in shown and re.search(r"\w", rest.strip("`~ \t"))
        fence = re.fullmatch(r"\s*(?:```+|~~~+)\s*(?:text|txt|markdown|md|log|console|plaintext)?\s*", line)
        told = _TELLING.search(rest) or re.search(r"<\s*[/a-zA-Z!]", rest) or "*" in stars
        if told or (hidden and not fence):
            yield number, line


def _without_own_page(found: re.Match[str]) -> str:
    """Return a model's name that is a link to the page of that model."""
    return found[1] if bare(found[1].split("/")[-1]) == bare(found[2]) else found[0]


def _is_front_matter(text: str) -> bool:
    found = re.fullmatch(r"\s*(?:(?P<key>\w+)\s*:|-)\s*(?P<value>\[[\w\s,./+-]*\]|\S*)\s*", text)
    said = found is None or _DERIVED.search(found["value"]) is not None
    return not text.strip() or (not said and found is not None and found["key"] in {None, *_FRONT_KEYS})


def _titles(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the file's titles: the first heading, above all scores, and others of level 1 that are models' names.

    A title of one letter says nothing.
    """
    first = True
    for number, text in lines:
        if split_line(text) is not None or not text.strip():
            if text.strip():
                first = False
            continue
        found = re.fullmatch(r"\s*(#{1,6})\s+(.*?)[\s#]*", text)
        if found is not None and (first or found[1] == "#") and (is_title(found[2]) or len(found[2]) == 1):
            yield number, found[2]
        first = first and (found is None or _label_rest(found[2]) == "")


def title_of(lines: Lines) -> str | None:
    """Return the model's name that a file's title, or its front matter, gives; None without one."""
    known = list(lines)
    start = 0
    if known and known[0][1].strip() == "---":
        start = next((i + 1 for i, (_, text) in enumerate(known[1:], 1) if text.strip() == "---"), 0)
    said = (re.fullmatch(r"model_name\s*:\s*(\S+)\s*", text) for _, text in known[:start])
    titles = (_bare_title(title) for _, title in _titles(known[start:]) if is_title(title))
    return next(titles, None) or next((found[1] for found in said if found is not None), None)


def _of_another(lines: list[tuple[int, str]], titles: dict[int, str], stem: str) -> Iterator[tuple[int, str]]:
    """Yield titles and the harness's lines that name another model than the file: whose are the other tables?"""
    title, scored = None, False
    for number, text in lines:
        title = titles.get(number, title)
        scored = scored or split_line(text) is not None
        if number in titles and _SIZED.search(stem) and len(titles[number]) > 1 and not same_model(title or "", stem):
            yield number, text
        loaded = (settings_of(text) or {}).get("pretrained", "").strip("/ ")
        if loaded and (title or scored) and not same_model(loaded, title or stem):
            yield number, f"pretrained={loaded}"


def same_model(one: str, other: str) -> bool:
    """Tell whether two names may be one model's: the same words and numbers, in any order and spelling.

    >>> same_model("mistralAI/Mixtral-8x7B-Instruct-v0.1", "Mixtral-7x8-Instruct-v0.1")
    True
    >>> same_model("a/Foo-13B", "Foo-7B")
    False
    """

    def parts(name: str) -> list[str]:
        words = re.findall(r"[0-9]+|[a-z]+", name.split("/")[-1].lower())
        return sorted(word for word in words if word not in ("b", "v", "x", "hf", "base", "0"))

    return parts(one) == parts(other)


def is_title(text: str) -> bool:
    """Tell whether a title is a model's name and nothing else.

    >>> [is_title(text) for text in ("Nous Hermes 2 - Solar 10.7B", "模型 M-7B 评测", "👑 Foo-7B", "Foo-7B in 4 bits")]
    [True, True, True, False]
    """
    said = _bare_title(text)
    return _DERIVED.search(said) is None and not _is_label(said) and is_plain_name(said.replace(" - ", " "))


def _bare_title(text: str) -> str:
    """Return a title without what it says beside the name: "Model card for", "评测结果", pictures."""
    said = re.sub(
        r"^model card (?:for|of)\s+|^模型\s*[:：]?\s*|\s*(?:评测|评估|测试)?(?:结果)?$", "", text.strip(), flags=re.I
    )
    return re.sub(r"^[^\w(]+|[^\w)]+$", "", without_arrows(said))


def is_known(text: str) -> bool:
    """Tell whether a line is of the grammar and no title; rows of tables are judged cell by cell elsewhere."""
    line = split_line(text)
    if line is not None:
        around = (line.before, line.after) if line.cells else ()
        return all(not said or _is_cell(said) or is_known(said) for said in around)
    said = re.sub(
        r"^\s*(?:```+|~~~+)\s*(?:text|txt|markdown|md|log|console|plaintext)?(?![\w-])|(?:```+|~~~+)\s*$", "", text
    )
    said = re.sub(r"^[\s>]+", "", said).strip()
    if not re.search(r"[^\W_]", said):
        return re.fullmatch(r"[\W_]*", said) is not None and not re.search(r"[†‡§]", said)
    if settings_of(said) is not None or said.startswith("--"):
        return odd_setting(said) is None
    if _ELAPSED.fullmatch(said):
        return True
    said = re.sub(r"^#{1,6}\s+", "", said)
    return _is_label(said) or _is_average(said)


def _is_average(text: str) -> bool:
    found = _AVERAGE.fullmatch(re.sub(r"^[-+•]\s+", "", text))
    if found is None:
        return False
    label = found["label"]
    named = leading_suite(label) is not None or _AVERAGE_WORDS.search(label) is not None
    return named and _label_rest(re.sub(r"\b(?:pass\s?@\s?1|greedy)(?!\w)", " ", label)) == ""


def _is_label(text: str) -> bool:
    """Tell whether a heading or label names suites, tasks and results, and says nothing else.

    >>> [_is_label(text) for text in ("1. GPT4All Benchmark results:", "GPT4All (7 tasks)", "AGIEval 评测结果")]
    [True, True, True]
    >>> [_is_label(text) for text in ("Combined results:", "GPT4All (5 tasks)", "基准：", "Results at 40%:")]
    [False, False, False, False]
    """
    return _label_rest(text) == ""


def _label_rest(text: str) -> str:
    """Return what a label says beside the known words; a number of tasks is known where the suite has so many."""
    text = re.sub(r"^(?:[0-9]{1,2}[.)]|[0-9]{1,2}(?:\.[0-9]{1,2}){1,3}\.?)\s+", "", text.strip())
    suite = leading_suite(_SUITE.search(text)[0]) if _SUITE.search(text) else None  # type: ignore[index]
    if suite is not None:
        count = len(load_suites()[suite[0]].tasks)
        text = re.sub(rf"\(\s*{count}\s*\)|\b{count}\s+(?:sub)?tasks\b", " ", text, flags=re.IGNORECASE)
    text = re.sub(
        r"\((?:higher is better|%)\)|[(\[]?\bzero[\s-]shot\b[)\]]?", " ", _SUITE.sub(" ", text), flags=re.IGNORECASE
    )
    words = re.findall(r"[^\s,;:：()\[\]/&|]+", text)
    return " ".join(word for word in words if re.search(r"\w|[†‡§*?]", word) and not _is_label_word(word))


def _is_label_word(word: str) -> bool:
    plain = word.strip("*_`.-+#↑").lower()
    task = task_and_metric(plain, "")[0]
    return plain in _LABEL_WORDS or plain in METRICS or plain in ("and", "和") or suite_of_task(task) is not None


def _odd_cells(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield rows of tables with a cell that is not known, or with more than their heading says."""
    heading: tuple[str, ...] | None = None
    opened = (False, False)  # whether the rows have no bar at either end
    units: dict[int, bool] = {}  # column -> whether its numbers have a per cent sign
    for number, text in lines:
        line = split_line(text)
        if line is None:
            if text.strip("`~ \t"):
                heading, units = None, {}
            continue
        cells = (*([line.before] if line.before else []), *line.cells)
        if is_rule(cells):
            continue
        numbers = {i: found for i, cell in enumerate(cells) if (found := _CELL_NUMBER.fullmatch(cell)) is not None}
        rows = any(re.fullmatch(r"metrics?|指标", cell.strip(" *_`:"), re.IGNORECASE) for cell in cells)
        odd = [
            cell
            for cell in cells
            if not (_is_cell(cell) or (_IDENTIFIER.fullmatch(cell) if numbers else is_heading_word(cell, of_rows=rows)))
        ]
        ends = (line.before, line.after)
        odd += [said for said, free in zip(ends, opened, strict=True) if numbers and not free and is_plain_name(said)]
        if not numbers:
            odd += [
                cell for cell in cells if rows and is_plain_name(cell) and not (_is_label(cell) or _is_heading(cell))
            ]
            heading, units = (cells if len(cells) > 1 else None), {}
            opened = (bool(line.before), bool(line.after))
        elif heading is not None and len(heading) >= len(cells):
            # A column that no heading names holds plus-minus signs, or the labels of a table's rows.
            odd += [c for i, c in enumerate(cells) if i and not heading[i].strip() and not _is_sign(c)]
        filled = [cell for cell in cells if cell.strip()]
        if len(filled) == 1 and not numbers and is_plain_name(filled[0]):
            odd += filled  # a label in a frame
        for i, found in numbers.items():
            signed = found["percent"] is not None
            if units.setdefault(i, signed) != signed and found[0].strip("0.%") != "":
                odd.append(cells[i])
        if odd:
            yield number, f"{odd[0]} (in a table)"


def _is_sign(cell: str) -> bool:
    return not cell.strip() or _PLUS_MINUS.fullmatch(cell.strip()) is not None


def _is_cell(cell: str) -> bool:
    """Tell whether a cell is a number, a sign, a heading, or the name of a task, a metric, a suite or a model."""
    plain = without_arrows(cell.strip()).strip("`").strip()
    if _is_sign(plain) or _CELL_NUMBER.fullmatch(plain) or holds_nothing(plain) or _is_heading(plain):
        return True
    if re.search(r"[†‡§*?!^\u2217]", plain):
        return False
    return (
        _is_label(_SHOTS_OR_UNIT.sub(" ", plain))
        or is_metric(plain)
        or _FACT_VALUE.fullmatch(plain) is not None
        or is_plain_name(plain)
    )


def _is_heading(cell: str) -> bool:
    plain = re.sub(rf"\s*{ARROWS}+|\s*\(?%\)?", "", cell).strip(" :_`")
    return (
        is_heading_word(plain, of_rows=False)
        or is_version_column(plain)
        or _FACT.fullmatch(plain) is not None
        or re.fullmatch(r"(?:\w+)_stderr", plain) is not None
        or (comparison_role(plain) in ("average", "total") and _is_label(re.sub(r"\btotal\b", "", plain, flags=re.I)))
    )
