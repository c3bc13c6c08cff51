"""A gate's verdict as text, Markdown, JSON and JUnit XML, all from the one `Gate`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from evalkit.errors import StoreError
from evalkit.report.gate import Gate, Judged
from evalkit.report.tables import Column, Table, escape_markdown, one_line, rounded, to_markdown

_SENTENCES = {
    "pass": "PASS: not worse than the baseline by more than {margin:g} points",
    "worse": "WORSE: worse than the baseline by more than {margin:g} points",
    "undecided": "UNDECIDED: too few documents to say whether the loss exceeds {margin:g} points",
}


def headline(gate: Gate) -> str:
    """Return the verdict as one sentence."""
    sentence = _SENTENCES[gate.verdict].format(margin=gate.margin)
    if gate.verdict == "worse":
        sentence += f" in {', '.join(item.asked.title for item in gate.judged if item.verdict == 'worse')}"
    return sentence


def remedy(item: Judged) -> str:
    """Return what would decide an undecided part."""
    there = item.asked.test.difference.documents
    own = f"; a margin of {-item.lowest:.2f} points would pass" if item.lowest < 0 else ""
    if item.needed is None:
        why = "the baseline's own error is too large" if item.asked.baseline_stderr else "the difference is the margin"
        return f"{item.asked.title}: no number of documents decides this, {why}{own}"
    return f"{item.asked.title}: needs about {item.needed:,} documents, has {there:,}{own}"


def gate_table(gate: Gate) -> Table:
    """Return the verdict table: a row a suite, then the average."""
    columns = (
        Column("Suite", "left", key="suite"),
        Column("Baseline", key="baseline"),
        Column("Candidate", key="candidate"),
        Column("Difference", signed=True, key="difference"),
        Column("Stderr", key="stderr"),
        Column(f"At least ({100 * (1 - gate.alpha):g} %)", signed=True, key="lowest"),
        Column("Documents", key="documents"),
        Column("Verdict", "left", key="verdict"),
    )
    rows = tuple(
        (
            item.asked.title,
            rounded(item.asked.baseline),
            rounded(item.asked.candidate),
            rounded(item.asked.test.difference.value),
            rounded(item.asked.test.difference.stderr),
            rounded(item.lowest),
            item.asked.test.difference.documents or None,
            item.verdict,
        )
        for item in gate.judged
    )
    return Table("", columns, rows, tuple(notes(gate)))


def notes(gate: Gate) -> list[str]:
    """Return the remarks below the table: how it was tested, what is missing, what was allowed."""
    how = "paired, document by document" if gate.paired else "unpaired, against aggregates"
    found = [
        f"{gate.candidate} against {gate.baseline}; {how}; percentage points, margin {gate.margin:g}, alpha "
        f"{gate.alpha:g}",
    ]
    if gate.sequential is None or gate.verdict == "undecided":
        found += [remedy(item) for item in gate.judged if item.verdict == "undecided"]
    else:
        found += [
            f"{item.asked.title}: not scored further, since the verdict is certain without it"
            for item in gate.judged
            if item.verdict == "undecided"
        ]
    same = [item.asked.title for item in gate.judged if item.asked.same]
    if same:
        found.append(f"the same log-probabilities and texts on every document: {', '.join(same)}")
    found += [f"allowed to differ: {difference}" for difference in gate.allowed]
    if gate.sequential is not None:
        found.append(str(gate.sequential["summary"]))
    return [*found, *gate.notes]


def gate_markdown(gate: Gate) -> str:
    """Return the verdict for a terminal, or for the summary of a CI step."""
    mark = {"pass": "✅", "worse": "❌", "undecided": "❔"}[gate.verdict]
    return f"### {mark} {escape_markdown(headline(gate))}\n\n{to_markdown(gate_table(gate))}"


def gate_json(gate: Gate) -> str:
    """Return everything, with unrounded numbers."""
    parts = [
        {
            "suite": item.asked.key,
            "title": item.asked.title,
            "baseline": item.asked.baseline,
            "candidate": item.asked.candidate,
            "difference": item.asked.test.difference.value,
            "stderr": item.asked.test.difference.stderr,
            "stderr_on_margin": item.asked.test.stderr,
            "lowest": item.lowest,
            "documents": item.asked.test.difference.documents,
            "p_not_worse": item.asked.test.p_fine,
            "p_worse": item.asked.test.p_worse,
            "p_worse_adjusted": item.p_worse,
            "same_answers": item.asked.same,
            "verdict": item.verdict,
            "documents_needed": item.needed,
        }
        for item in gate.judged
    ]
    found: dict[str, Any] = {
        "verdict": gate.verdict,
        "exit_code": gate.exit_code,
        "candidate": gate.candidate,
        "baseline": gate.baseline,
        "paired": gate.paired,
        "margin": gate.margin,
        "alpha": gate.alpha,
        "parts": parts,
        "allowed_different": [
            {"field": d.field, "candidate": d.candidate, "baseline": d.baseline} for d in gate.allowed
        ],
        "notes": list(gate.notes),
        "sequential": None if gate.sequential is None else dict(gate.sequential),
    }
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def _xml_text(text: str) -> str:
    """Drop the control characters that XML has no way to write."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


def gate_junit(gate: Gate) -> str:
    """Return a JUnit report: a test case a suite; ``worse`` is a failure, ``undecided`` an error."""
    root = ElementTree.Element("testsuites", name="evalkit gate")
    failures = sum(item.verdict == "worse" for item in gate.judged)
    errors = sum(item.verdict == "undecided" for item in gate.judged)
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=_xml_text(one_line(f"{gate.candidate} against {gate.baseline}")),
        tests=str(len(gate.judged)),
        failures=str(failures),
        errors=str(errors),
        skipped="0",
    )
    for item in gate.judged:
        case = ElementTree.SubElement(suite, "testcase", classname="evalkit.gate", name=_xml_text(item.asked.title))
        found = item.asked.test.difference
        text = f"difference {found.value:+.2f} ± {found.stderr:.2f} points, at least {item.lowest:+.2f}"
        if item.verdict == "worse":
            message = f"worse by more than {gate.margin:g} points: {text}"
            ElementTree.SubElement(case, "failure", type="worse", message=_xml_text(message))
        elif item.verdict == "undecided":
            message = f"{remedy(item)}; {text}"
            ElementTree.SubElement(case, "error", type="undecided", message=_xml_text(message))
        ElementTree.SubElement(case, "system-out").text = _xml_text(text)
    ElementTree.SubElement(suite, "system-out").text = _xml_text("\n".join([headline(gate), *notes(gate)]))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a report's file, making its folder; in place, because CI systems hand out files that must stay the same.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", errors="replace"))
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from None
