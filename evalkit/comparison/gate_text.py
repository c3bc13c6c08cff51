"""A gate's verdict as text, Markdown, JSON and JUnit XML, all from the one `Gate`."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from evalkit.comparison.pairing import SAME_LOGPROB
from evalkit.comparison.questions import Judged, is_too_few
from evalkit.errors import StoreError
from evalkit.stats.estimates import t_quantile
from evalkit.stats.paired import FEWEST_BESIDE, FEWEST_OF_TASK, PairedTest
from evalkit.tables import Column, Table, escape_markdown, one_line, rounded, to_frame, to_markdown

if TYPE_CHECKING:
    import pandas as pd

    from evalkit.comparison.gate import Gate

_SENTENCES = {
    "pass": "PASS: not worse than the baseline by more than {margin}",
    "worse": "WORSE: worse than the baseline by more than {margin}",
    "undecided": "UNDECIDED: {why} to say whether the loss exceeds {margin}",
}


def _points(margin: float) -> str:
    return f"{margin:g} point{'' if margin == 1 else 's'}"


def headline(gate: Gate) -> str:
    """Return the verdict as one sentence."""
    open_parts = [item for item in gate.blocking if item.verdict == "undecided"]
    margins = {item.asked.margin for item in gate.blocking}
    margin = _points(min(margins)) if len(margins) == 1 else "its margin"
    if gate.verdict == "undecided" and not open_parts:
        return f"UNDECIDED: not judged: {', '.join(gate.absent)}"
    why = "too few independent passages" if any(_lacks_passages(item) for item in open_parts) else ("too few documents")
    sentence = _SENTENCES[gate.verdict].format(margin=margin, why=why)
    if gate.verdict == "worse":
        sentence += f" in {', '.join(item.asked.title for item in gate.blocking if item.verdict == 'worse')}"
    if not gate.blocking:
        sentence = "PASS: nothing blocks, every part is advisory"
    beside = [item for item in gate.judged if item.asked.tier != "blocking" and item.verdict != "pass"]
    if beside and gate.verdict == "pass":
        sentence += " in any part that blocks" if gate.blocking else ""
        sentence += f"; advisory: {', '.join(f'{item.asked.title} {item.verdict}' for item in beside)}"
    return sentence


def _lacks_passages(item: Judged) -> bool:
    """True if documents share passages, and so few passages could not pass even if nothing had changed."""
    test = item.asked.source
    if not isinstance(test, PairedTest) or not test.is_clustered:
        return False
    return test.hidden(item.asked.margin / 100) > item.alpha


def too_few_text(test: PairedTest) -> str:
    """Return why a test `is_too_few`."""
    if test.clusters < FEWEST_BESIDE:
        return (
            f"{test.clusters} independent documents of several tasks are too few for the stated rates of error, which "
            f"want {FEWEST_BESIDE}"
        )
    return (
        "one of its tasks has a single independent document, or a single passage, which says nothing about the task's "
        f"spread: {FEWEST_OF_TASK} a task are wanted"
    )


def what_decides(item: Judged) -> str:
    """Return what would decide an undecided part."""
    there = item.test.difference.documents
    own = f"; a margin of {item.passing_margin:.2f} points would pass" if item.passing_margin is not None else ""
    few = ""
    if is_too_few(item.asked) and isinstance(item.asked.source, PairedTest):
        few = f"{too_few_text(item.asked.source)}; "
    elif _lacks_passages(item) and isinstance(item.asked.source, PairedTest):
        test = item.asked.source
        hidden = 100 * test.hidden(item.asked.margin / 100)
        least = math.ceil(1e4 * test.smallest_margin(item.alpha) - 1e-6) / 100
        few = (
            f"too few independent passages: if whole passages were lost, {_points(item.asked.margin)} in the mean, "
            f"{there:,} documents in {test.clusters:,} clusters could show no change at all in {hidden:.1f} % of runs; "
            f"had no document changed, a margin of {least:.2f} points would pass; "
        )
        own = own.replace("; a margin", "; as it is, a margin")
    if item.needed is None:
        unpaired = not isinstance(item.asked.source, PairedTest)
        none = "no number of documents decides this, the difference is the margin"
        if unpaired and item.test.difference.value + item.asked.margin != 0:
            none = "no number of documents of the candidate's alone decides this, the baseline's own error is too large"
        return f"{item.asked.title}: {few}{none}{own}"
    more = f", more than the {item.asked.existing:,} that exist" if item.needed > item.asked.existing else ""
    return f"{item.asked.title}: {few}needs about {item.needed:,} documents{more}, has {there:,}{own}"


def gate_table(gate: Gate) -> Table:
    """Return the verdict table: a row a suite, then the average."""
    columns = (
        Column("Suite", "left", key="suite"),
        Column("Baseline", key="baseline"),
        Column("Candidate", key="candidate"),
        Column("Difference", signed=True, key="difference"),
        Column("Stderr", key="stderr"),
        Column(f"At least ({100 * (1 - gate.alpha):g} %)", signed=True, key="lowest"),
        *([Column("Margin", key="margin")] if _has_rules(gate) else []),
        Column("Documents", key="documents"),
        Column("Verdict", "left", key="verdict"),
    )
    rows = tuple(
        (
            item.asked.title,
            rounded(item.asked.baseline),
            rounded(item.asked.candidate),
            rounded(item.test.difference.value),
            rounded(item.stderr),
            rounded(item.lowest),
            *([rounded(item.asked.margin)] if _has_rules(gate) else []),
            item.test.difference.documents or None,
            item.verdict + ("" if item.asked.tier == "blocking" else f" ({item.asked.tier})"),
        )
        for item in gate.judged
    )
    return Table("", columns, rows, tuple(notes(gate)))


def _has_margins(gate: Gate) -> bool:
    """True if not all parts have one margin."""
    return len({item.asked.margin for item in gate.judged}) > 1


def _has_rules(gate: Gate) -> bool:
    """True if a part has a margin or a tier of its own."""
    return any(item.asked.margin != gate.margin or item.asked.tier != "blocking" for item in gate.judged)


def notes(gate: Gate) -> list[str]:
    """Return the remarks below the table: how it was tested, what is missing, what was allowed."""
    how = "paired, document by document" if gate.paired else "unpaired, against aggregates"
    if not gate.judged:
        how = "nothing was compared"
    # Where parts have margins of their own, the table's column says them.
    margin = "" if _has_margins(gate) else f"margin {gate.judged[0].asked.margin if gate.judged else gate.margin:g}, "
    found = [f"{gate.candidate} against {gate.baseline}; {how}; percentage points, {margin}alpha {gate.alpha:g}"]
    if gate.sequential is None or gate.verdict == "undecided":
        found += [what_decides(item) for item in gate.judged if item.verdict == "undecided"]
    else:
        whole = gate.sequential.get("whole_suites", ())
        assert isinstance(whole, (list, tuple))
        found += [
            f"{item.asked.title}: not scored further, since the verdict is certain without it"
            if item.asked.key not in whole
            else f"{item.asked.title}: undecided though all of it was scored; the verdict is certain without it"
            for item in gate.judged
            if item.verdict == "undecided"
        ]
    if any(not item.asked.same for item in gate.judged):
        bound = (
            f"'At least' is the bound, {t_quantile(1 - gate.alpha, math.inf):.3f} times Stderr below the difference"
            if gate.sequential is None
            else f"'At least' is the bound of a suite's last look; all looks' bounds hold together with "
            f"{100 * (1 - gate.alpha):g} %, so it lies further below the difference than that of a single look"
        )
        is_few = any(is_too_few(item.asked) and not item.asked.same for item in gate.judged)
        few = " and there are documents enough" if is_few else ""
        found.append(f"Stderr is the error that decided: {bound}; it passes if that is above minus the margin{few}")
    same = [item for item in gate.judged if item.asked.same]
    if same:
        what = f"the same texts and log-probabilities (within {SAME_LOGPROB} nats) on every document"
        titles = [item.asked.title for item in same]
        if gate.sequential is not None:
            what += " looked at"
            titles = [f"{item.asked.title} ({item.test.difference.documents:,})" for item in same]
        found.append(f"{what}: {', '.join(titles)}")
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
            "difference": item.test.difference.value,
            "stderr": item.stderr,
            "stderr_seen": item.test.difference.stderr,
            "lowest": item.lowest,
            "margin": item.asked.margin,
            "passing_margin": item.passing_margin,
            "tier": item.asked.tier,
            "documents": item.test.difference.documents,
            "clusters": getattr(item.asked.source, "clusters", None),
            "p_not_worse": item.test.p_fine,
            "p_worse": item.test.p_worse,
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
        "absent": list(gate.absent),
        "sequential": None if gate.sequential is None else dict(gate.sequential),
    }
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def gate_frame(gate: Gate) -> pd.DataFrame:
    """Return the parts with unrounded numbers; see `Gate.to_frame`."""
    columns: dict[str, type] = {"suite": str, "title": str}
    numbers = ("baseline", "candidate", "difference", "stderr", "low", "margin", "p", "p_worse")
    columns |= dict.fromkeys(numbers, float)
    columns |= {"documents": int, "needed": int, "tier": str, "verdict": str}
    rows = [
        (
            item.asked.key,
            item.asked.title,
            item.asked.baseline,
            item.asked.candidate,
            item.test.difference.value,
            item.stderr,
            item.lowest,
            item.asked.margin,
            item.test.p_fine,
            item.p_worse,
            item.test.difference.documents,
            item.needed,
            item.asked.tier,
            item.verdict,
        )
        for item in gate.judged
    ]
    return to_frame(columns, rows)


def _xml_text(text: str) -> str:
    """Drop the control characters that XML has no way to write."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


def gate_junit(gate: Gate) -> str:
    """Return a JUnit report: a test case a suite; ``worse`` is a failure, ``undecided`` an error, and so is what the
    policy wants and a run lacks."""
    root = ElementTree.Element("testsuites", name="evalkit gate")
    failures = sum(item.verdict == "worse" for item in gate.blocking)
    errors = sum(item.verdict == "undecided" for item in gate.blocking) + len(gate.absent)
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=_xml_text(one_line(f"{gate.candidate} against {gate.baseline}")),
        tests=str(len(gate.judged) + len(gate.absent)),
        failures=str(failures),
        errors=str(errors),
        skipped="0",
    )
    for item in gate.judged:
        case = ElementTree.SubElement(suite, "testcase", classname="evalkit.gate", name=_xml_text(item.asked.title))
        text = f"difference {item.test.difference.value:+.2f} ± {item.stderr:.2f} points, at least {item.lowest:+.2f}"
        if item.asked.tier != "blocking":
            text = f"{item.verdict} ({item.asked.tier}): {text}"
        elif item.verdict == "worse":
            message = f"worse by more than {_points(item.asked.margin)}: {text}"
            ElementTree.SubElement(case, "failure", type="worse", message=_xml_text(message))
        elif item.verdict == "undecided":
            message = f"{what_decides(item)}; {text}"
            ElementTree.SubElement(case, "error", type="undecided", message=_xml_text(message))
        ElementTree.SubElement(case, "system-out").text = _xml_text(text)
    for name in gate.absent:
        case = ElementTree.SubElement(suite, "testcase", classname="evalkit.gate", name=_xml_text(name))
        message = f"not judged, because it is missing (see the notes), and the policy says 'missing: undecided': {name}"
        ElementTree.SubElement(case, "error", type="undecided", message=_xml_text(message))
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
