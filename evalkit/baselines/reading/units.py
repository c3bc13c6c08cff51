"""Shares or per cent: the units of the scores in a table of several models.

The unit belongs to the scores of benchmarks. What stands beside them (MT-Bench, a perplexity, a model's size) says
nothing about it, and neither do changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from evalkit.baselines.published import ComparisonTable
from evalkit.baselines.reading.vocabulary import is_statistic
from evalkit.results.task_names import bare, is_benchmark, is_metric

SHARE, PERCENT, UNCLEAR = "share", "per cent", "unclear"

# Words that make a heading one of changes, errors or shares of another model, with a model's name beside them or not.
# They stand free: "vicuna-7b-delta" is a model's name.
_NO_MODEL = re.compile(
    r"[Δ±∆]|恢复|保留|变化|提升|下降|差异|差值|损失|误差|标准差|相对|(?:^|[\s(\[,;:%_#])(?:"
    r"chang(?:es?|ed)|deltas?|diff(?:s|\.|erences?)?|différences?|gains?|improvements?|improve[ds]?|recover\w*|recup\w*"
    r"|récup\w*|retention|retain\w*|preserv\w*|degrad\w*|drops?|loss(?:es)?|lost|gaps?|rel(?:\.|ative)?|ratios?|speed-?up"
    r"|std(?:[\s._-]*(?:ev|dev|err(?:or)?)\.?)?|stderr|standard[\s_]+(?:errors?|deviations?)|errors?|uncertainty|variance"
    r"|(?:9[059]\s*%?\s*)?(?:c\.?i\.?|confidence\s+intervals?)|p[\s-]?values?|vs\.?|versus|v\.s\."
    r"|(?:%|per\s?cent|percentage|share|fraction)\s+of|(?:compared|relative)\s+(?:to|with)"
    r")(?=$|[\s)\],;:%/(])"
    r"|(?:^|\s|\()%\s*of\b",
    re.IGNORECASE,
)
# Those of them that models are named with: "Foo vs Bar merge", "Loss-aware 7B", "golden ratio".
_IN_NAMES = re.compile(
    r"(?:^|(?<=[\s(\[,;:_#]))(?:loss(?:es)?|lost|gaps?|drops?|gains?|ratios?|vs\.?|versus)(?=$|[\s)\],;:/(])",
    re.IGNORECASE,
)
_CHANGED = re.compile(
    r"^\W*(?:(?:accuracy|perf(?:ormance|\.)?|quality|scores?|averages?|avg\.?|mean|total|relative|points?|max|abs(?:olute)?)\s+)*"
    r"(?:loss(?:es)?|lost|gaps?|drops?|gains?|ratios?|vs\.?|versus)(?=$|\W)",
    re.IGNORECASE,
)
_ERROR = re.compile(r"(?:^|[\s(\[_])(?:S\.?E\.?M?|S\.?D\.?)(?=$|[\s)\]])")
# Headings that say as a whole how much was asked, how, or what several models have in common.
_NO_NAME = re.compile(
    r"^\W*(?:(?:number|count|num|no\.?|nr\.?)?(?:\s+of)?\W*"
    r"(?:(?:n|k|few|num|in)?[-_ ]?(?:few)?shots?|num_fewshot|fewshot|n|questions?|items?|samples?|documents?"
    r"|docs|examples?|tasks?"
    r"|counts?|prompts?|weights?|seeds?|limits?|sizes?|params?|parameters?|tokens?|years?|dates?|versions?|v|metrics?)"
    r"|rank(?:ing|s)?|positions?|places?|averages?|avg|means?|medians?|max(?:imum)?|min(?:imum)?|sums?|totals?|wins?|best|worst"
    r"|normali[sz]ed(?:\s+scores?)?|prozent|per\s?cent|sota|state[\s-]of[\s-]the[\s-]art"
    r"|humans?(?:\s+(?:experts?|baselines?|performance|level))?|random(?:\s+(?:guess(?:ing)?|chance|baseline))?|chance"
    r"|排名|平均|均值|样本数|题目数?|题数|数量|人类|随机|shot\s*数|种子|大小|参数量?|版本)\W*$"
    r"|^\W+$",
    re.IGNORECASE,
)


_NUMBERS = re.compile(
    r"(?:values?|scores?|results?|accuracy|acc|分数|得分|值|数值|成绩|结果|准确率)\s*[(\[]?%?[)\]]?", re.IGNORECASE
)


def says_only_numbers(heading: str) -> bool:
    """Tell whether a column's heading says only that numbers stand below it, and not whose."""
    return _NUMBERS.fullmatch(heading) is not None


def names_no_model(heading: str, others: Sequence[str] = ()) -> bool:
    """Tell whether the heading of a column (of a row, in a table on its side) is no model's name.

    It says changes, errors, shares of another model, ranks, averages, or how much was asked; with a model's name beside
    that or not. Two of the `others`, the table's headings, with a minus or a stroke between them are a change too.
    """
    plain = heading.strip("*_` ")
    if not plain:
        return False
    if "~~" in plain:
        return True  # struck out
    if _is_of_metric(plain) and any(_is_of_metric(other) for other in others if other != heading):
        return True
    said = _NO_MODEL.search(plain)
    if is_statistic(plain) and not (said and _IN_NAMES.search(plain)):
        return True
    if _ERROR.search(plain) or _NO_NAME.match(plain) or (said and not _IN_NAMES.search(plain)):
        return True
    if said and _is_change(plain, others):
        return True
    counted = re.fullmatch(
        r"(.*\S)\s+[(\[]?(?:n|k|sizes?|shots?|seeds?|counts?|samples|questions)[)\]]?", plain, re.IGNORECASE
    )
    if counted is not None and bare(counted[1]) in [bare(other) for other in others]:
        return True
    parts = re.split(r"\s+[-–−—]\s+|\s*−\s*|\s*/\s*", plain)
    known = [bare(other) for other in others if other.strip() != heading.strip()]
    return len(parts) == 2 and all(bare(part) and any(other.endswith(bare(part)) for other in known) for part in parts)


def _is_of_metric(heading: str) -> bool:
    """Tell whether a heading names a metric and how many examples the prompt had, and no model."""
    words = re.sub(r"[0-9]+[\s-]*shots?|[^\w@ ]", " ", heading.strip("*_` "), flags=re.IGNORECASE).split()
    return any(map(is_metric, words)) and all(map(is_metric, words))


def _is_change(plain: str, others: Sequence[str]) -> bool:
    """Tell whether a heading with a word that stands in models' names, too, is one of changes.

    It begins with the word, says per cent, or has the name of another heading beside the word.
    """
    if _CHANGED.match(plain) or _NO_MODEL.search(_IN_NAMES.sub(" ", plain)) or re.search(r"%|per\s?cent", plain):
        return True
    parts = [bare(part) for part in _IN_NAMES.split(plain) if bare(part)]
    known = [bare(other) for other in others if bare(other) != bare(plain)]
    return not parts or any(other.endswith(part) or part.endswith(other) for part in parts for other in known if other)


def model_columns(table: ComparisonTable) -> list[int]:
    """Return the columns that are models: those with a name that says nothing else."""
    headings = table.headings
    return [i for i, heading in enumerate(headings) if heading.strip() and not names_no_model(heading, headings)]


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _finer(column: int, cells: Mapping[tuple[int, int], Decimal], percent: set[tuple[int, int]]) -> bool:
    """Tell whether a model's numbers have two places more than the percentages of other models, as shares have."""
    own = [(r, value) for (r, c), value in cells.items() if c == column and value]
    finest = [(value, max((_places(cells[r, c]) for s, c in percent if s == r), default=None)) for r, value in own]
    return len(own) > 1 and all(places is not None and _places(value) >= places + 2 for value, places in finest)


def units_of(table: ComparisonTable) -> dict[tuple[int, int], str]:
    """Return (row, column) -> unit of every score of a benchmark: ``share``, ``per cent`` or ``unclear``.

    A per cent sign, of the cell or of a heading, decides. A value above 1 is no share. One of at most 1 is a share if
    all other scores of its model and all of its benchmark may be shares as well; among percentages nobody knows: 0.6
    may be a weak model's per cent as well as a slip. A model whose numbers all have two places more than the others'
    percentages is in shares.
    """
    columns = model_columns(table)
    cells: dict[tuple[int, int], Decimal] = {}
    said: set[tuple[int, int]] = set()
    for r, row in enumerate(table.rows):
        if not is_benchmark(row.label):
            continue
        for c in columns:
            value = row.cells[c] if c < len(row.cells) else None
            if value is None or (c < len(row.changes) and row.changes[c]):
                continue
            cells[r, c] = value
            signed = c < len(row.percent) and row.percent[c]
            if signed or "%" in row.label or "%" in table.headings[c] or "%" in table.corner:
                said.add((r, c))
    percent = {place for place, value in cells.items() if value > 1 or place in said}
    rows = {r for r, _ in percent}
    models = {c for _, c in percent}
    units = {}
    for place, value in cells.items():
        beside = place[1] in models or (place[0] in rows and not _finer(place[1], cells, percent))
        units[place] = PERCENT if place in percent or not value else UNCLEAR if beside else SHARE
    return units
