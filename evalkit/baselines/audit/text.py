"""What an audit prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from evalkit.baselines.audit.checks import Agreement, Finding
from evalkit.baselines.published import NO_SHARE, ModelScores
from evalkit.config.suites import load_suites
from evalkit.tables import Column, Table, escape_markdown, to_frame, to_markdown

if TYPE_CHECKING:
    import pandas as pd

    from evalkit.baselines.audit.findings import Audit

_QUIET = (Agreement.EXACT, Agreement.UNCHECKED)


def _shown(audit: Audit, *, everything: bool) -> list[Finding]:
    """Return the findings worth a line: without `everything`, rounded standard errors are left to the summary."""
    return [
        finding
        for finding in audit.findings
        if everything
        or not (
            finding.verdict in _QUIET
            or (finding.verdict is Agreement.ROUNDED and finding.what.endswith("standard error"))
        )
    ]


def audit_lines(audits: Sequence[Audit], *, everything: bool) -> Iterator[str]:
    """Yield the report: a paragraph a file, its worst first within the order of lines, and a summary each."""
    for audit in audits:
        yield f"{audit.name}"
        for finding in _shown(audit, everything=everything):
            place = f"  line {finding.line}: {finding.what}"
            numbers = f" {finding.printed}" if finding.printed else ""
            numbers += f", recomputed {finding.recomputed}" if finding.recomputed else ""
            yield f"{place}{numbers}: {finding.verdict.value}" + (f" ({finding.reason})" if finding.reason else "")
        for note in audit.log.notes:
            if note.unread or note.message.endswith(NO_SHARE):
                yield f"  line {note.line}: {note.message}" if note.line else f"  {note.message}"
        yield f"  {_summary(audit)}"


def _summary(audit: Audit) -> str:
    counts = [f"{audit.count(verdict)} {verdict.value}" for verdict in Agreement if audit.count(verdict)]
    return ", ".join(counts) or ("scores read, nothing to check" if audit.read else "no scores read")


def audit_markdown(audit: Audit) -> str:
    """Return one file's findings for a notebook: what is worth a line, and a summary."""
    table = audit_table([audit], everything=False)
    return f"{to_markdown(table)}\n{escape_markdown(_summary(audit))}\n" if table.rows else _summary(audit)


def audit_frame(audit: Audit) -> pd.DataFrame:
    """Return one file's findings; see `Audit.to_frame`."""
    rows = []
    for f in audit.findings:
        numbers, words = [], []
        for name, text in (("printed", f.printed), ("recomputed", f.recomputed)):
            try:
                numbers.append(float(text) if text else None)
            except ValueError:
                numbers.append(None)
                words.append(f"{name} {text}")
        rows.append((f.line, f.what, *numbers, f.verdict.value, "; ".join(filter(None, (*words, f.reason)))))
    columns = {"line": int, "what": str, "printed": float, "recomputed": float, "verdict": str, "reason": str}
    return to_frame(columns, rows)


def audit_table(audits: Sequence[Audit], *, everything: bool) -> Table:
    """Return the findings of several files as one table."""
    columns = (
        Column("File", "left"),
        Column("Line"),
        Column("What", "left"),
        Column("Printed"),
        Column("Recomputed"),
        Column("Verdict", "left"),
        Column("Reason", "left"),
    )
    rows = tuple(
        (a.name, f.line, f.what, f.printed or None, f.recomputed or None, f.verdict.value, f.reason or None)
        for a in audits
        for f in _shown(a, everything=everything)
    )
    return Table("", columns, rows)


def _numbers(model: ModelScores, suite: str) -> dict[tuple[str, str], tuple[object, object]]:
    return {
        (row.task, row.metric): (row.value, row.stderr)
        for table in model.tables
        if table.suite == suite
        for row in table.rows
    }


def copied_between(audits: Sequence[Audit]) -> Iterator[str]:
    """Yield a line for each suite that has most of its numbers in common in two files: one may be a copy.

    Different models agree on a row by chance now and then, hardly ever on half a suite's.
    """
    models = [(audit.name, model) for audit in audits for model in audit.log.models]
    for suite in load_suites().values():
        for (left, a), (right, b) in combinations(models, 2):
            if left == right:
                continue  # two models of one file are two models
            first, second = _numbers(a, suite.name), _numbers(b, suite.name)
            common = set(first) & set(second)
            same = sum(first[key] == second[key] for key in common)
            if len(common) >= 2 and 2 * same > len(common):
                text = f"{suite.title}: {same} of {len(common)} rows of {left} and {right} are the same"
                yield f"{text}: {Agreement.REMARK.value} (the same model, or copied?)"
