"""The report as one HTML file that opens from disk: charts, tables that sort and filter, and a sample explorer.

What is safe about it: names, prompts and answers are untrusted text. Jinja2 escapes everything that it inserts; the
charts are SVG of the same template; samples are one JSON block in which ``<``, ``>`` and ``&`` are written as escapes,
and the script puts them on the page as text nodes. A content security policy allows exactly the file's own script and
style, by their hashes, and no connection at all, so that nothing would run or load even if an escape were forgotten.

The charts are made here and not by matplotlib, so that they follow light and dark, keep their text at reading size on
a phone, can be read aloud (every number stands beside its mark), and need nothing installed; `evalkit.report.plots`
makes the same charts for papers by matplotlib.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from evalkit import __version__
from evalkit.baselines import Baseline
from evalkit.comparison.comparable import protocol_changes, sampling_changes
from evalkit.comparison.points import Point, RunData, change_from, paired_samples, read_data, suite_points
from evalkit.comparison.questions import AVERAGE
from evalkit.config.suites import load_suites
from evalkit.languages import ENGLISH, Language
from evalkit.records.model import RunRecord
from evalkit.report.charts import (
    Model,
    charted_models,
    read_models,
    run_labels,
    suite_groups,
    task_groups,
    without_documents,
)
from evalkit.report.explorer import explorer_data
from evalkit.report.html_tables import comparison, facts, percent_text, signed, task_table, trend
from evalkit.report.run_report import warnings
from evalkit.stats.estimates import holm
from evalkit.store.files import write_atomically
from evalkit.tables import visible

PAGE = Path(__file__).resolve().parent / "page"


def breakable(name: str) -> Markup:
    """Return a name that may be broken after its underscores."""
    return Markup("_<wbr>").join(visible(name).split("_"))


def as_json_block(value: Any) -> Markup:
    """Return JSON for a ``<script type="application/json">``: nothing in it can end the block or open another."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # A lone surrogate is no UTF-8; JSON has an escape for it, which is Python's too.
    return Markup(text.encode("utf-8", "backslashreplace").decode("utf-8"))


@dataclass(frozen=True)
class _Change:
    """A change of a tile: against whom, how much, and what is to be said about the other score."""

    label: str
    point: Point
    paired: bool
    note: str

    @property
    def trend(self) -> str:
        return trend(self.point)


def _tiles(models: Sequence[Model], runs: Sequence[RunData], tr: Language) -> list[dict[str, Any]]:
    """Return the candidate's scores, each with its change from the first run or else the published results."""
    own = models[-1].scores
    paired = suite_points(paired_samples(runs[0], runs[-1])) if len(runs) > 1 else {}
    first = next(model for model in models if model.is_run)
    tiles: list[dict[str, Any]] = []
    others = [(m, changes_from(models[-1], m)) for m in models[:-1]]
    if own.average is not None:
        changes = [(m, found.get(AVERAGE), False) for m, found in others]
        if AVERAGE in paired:
            changes = [(first, paired[AVERAGE], True), *changes[: len(models) - len(runs)]]
        tiles.append(
            {"title": tr("Average Total"), "total": True, "point": own.average, "changes": _shown(changes, "")}
        )
    for name, suite in load_suites().items():
        point = own.suites.get(name)
        if point is None:
            continue
        changes = [(m, found.get(name), False) for m, found in others]
        if name in paired:
            changes = [(first, paired[name], True), *changes[: len(models) - len(runs)]]
        tiles.append({"title": suite.title, "total": False, "point": point, "changes": _shown(changes, name)})
    return tiles


def changes_from(own: Model, other: Model) -> dict[str, Point]:
    """Return the unpaired changes of all suites and of their average; p-values are corrected over them (Holm)."""
    scores = [{AVERAGE: model.scores.average, **model.scores.suites} for model in (own, other)]
    found = {key: change for key, point in scores[0].items() if (change := change_from(point, scores[1].get(key)))}
    tested = {key: change.p_value for key, change in found.items() if change.p_value is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {key: replace(change, p_holm=adjusted.get(key)) for key, change in found.items()}


def _shown(changes: Sequence[tuple[Model, Point | None, bool]], suite: str) -> list[_Change]:
    found = [
        _Change(model.label, point, paired, model.scores.suites[suite].note if suite in model.scores.suites else "")
        for model, point, paired in changes
        if point is not None
    ]
    return found[:3]


def _footnotes(models: Sequence[Model]) -> list[tuple[str, str]]:
    """Return (model, note) for what must be said about published scores, each note once."""
    found = [(m.label, p.note) for m in models for p in m.scores.suites.values() if p.note and p.value is not None]
    return list(dict.fromkeys(found))


def script_messages(tr: Language) -> dict[str, str]:
    """Return the messages that the script shows, English template -> template in the language."""
    script = (PAGE / "report.js").read_text(encoding="utf-8")
    return (
        {text: tr.messages.get(text, text) for text in re.findall(r'\btr\("([^"]+)"', script)}
        if tr is not ENGLISH
        else {}
    )


def _warnings(run: RunData, tr: Language) -> list[str]:
    record = run.record
    found = warnings(record, tr)
    found += [without_documents(run, tr)] if not run.samples else []
    changes = protocol_changes(record) + sampling_changes(record)
    if changes:
        names = ", ".join(changes)
        found.append(tr("other protocol: {changes}; published scores are not comparable.", changes=names))
    return found


def _source(text: str) -> str:
    """Return the policy source that allows an inline script or style: the base64 sha256 of its text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def html_report(records: Sequence[RunRecord], baselines: Sequence[Baseline] = (), tr: Language = ENGLISH) -> str:
    """Return the report of one or more finished runs beside published results; the last run is the candidate.

    Raises:
        StoreError: a run's samples are missing or damaged.
    """
    runs = [read_data(record) for record in records]
    labels = run_labels(records)
    models = charted_models(runs, baselines, tr)
    style, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    explored = explorer_data(runs)
    data = {
        "messages": script_messages(tr),
        "runs": [{"letter": letter, "label": visible(label)} for letter, label in labels],
        **explored,
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=percent_text, signed=signed, breakable=breakable)
    groups = task_groups(models, runs)
    return environment.get_template("report.html").render(
        tr=tr,
        title=" / ".join(label for _, label in labels),
        policy=Markup(
            f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
        style=Markup(style),
        script=Markup(script),
        data=as_json_block(data),
        dates=sorted({record.started[:10] for record in records}),
        protocols=sorted({record.protocol for record in records}),
        runs=[{"label": label, "warnings": _warnings(run, tr)} for (_, label), run in zip(labels, runs, strict=True)],
        models=models,
        caveats=models[-1].caveats,
        caveated=bool(models[-1].caveats),
        tiles=_tiles(models, runs, tr),
        suite_groups=suite_groups(models, tr),
        footnotes=_footnotes(models),
        task_groups=groups,
        chance=any(row.chance is not None for group in groups for row in group.rows),
        suite_titles=[group.title for group in groups],
        comparison=comparison(models, runs, baselines, tr),
        **task_table(models, runs, baselines, tr),
        documents=f"{len(explored['docs']):,}",
        has_documents=bool(explored["docs"]),
        facts=facts(runs, tr),
        version=__version__,
    )


def write_html(path: Path, folders: Sequence[Path], against: Sequence[str] = (), tr: Language = ENGLISH) -> None:
    """Write the report of finished runs beside baselines or other runs to a file, whole or not at all.

    Raises:
        ConfigError, DataError, StoreError: a run or baseline cannot be read, or the file cannot be written.
    """
    records, baselines = read_models(folders, against)
    write_atomically(path, html_report(records, baselines, tr))
