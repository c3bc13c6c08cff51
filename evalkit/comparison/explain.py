"""Why does our number differ from a published one? What could account for the gap, ranked, with figures.

Sampling error comes first, because it needs no cause. Then what is found to differ: first what can move a score by any
amount, then by how many percentage points it accounts for at most. Last what was ruled out, or cannot be known from
the record and the publication.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.baselines import Baseline, SuiteScore, load_baseline
from evalkit.comparison import comparable
from evalkit.comparison.chosen import chosen_suites, model_title, names_a_run, suites_in
from evalkit.comparison.differing import setting_differences
from evalkit.comparison.explain_causes import Cause, Standing, data, documents, how_asked, is_own_protocol
from evalkit.comparison.explain_figures import (
    DTYPES,
    Facts,
    Figure,
    close_calls,
    graded_calls,
    other_metrics,
    task_gaps,
)
from evalkit.comparison.gate_sides import why_no_score
from evalkit.comparison.remarks import remarks
from evalkit.comparison.run_scores import run_scores
from evalkit.config.suites import Suite, same_documents
from evalkit.errors import ConfigError, some
from evalkit.records.model import RunRecord
from evalkit.results.reading import read_run
from evalkit.stats.estimates import Estimate, unpaired_difference
from evalkit.tables import Cell, Column, Table, escape_markdown, p_text, render_table, rounded, to_markdown

_ORDER: tuple[Standing, ...] = ("sampling", "found", "unknown", "ruled out")
SHOWN_TASKS = 5
UNSAID = ("unknown", "auto")
"""Number formats that say none."""
CLOSE_NATS = 0.1
"""Answers decided by less than this may change with the number format."""


@dataclass(frozen=True)
class Explanation:
    """One suite's gap.

    Attributes:
        suite: the suite.
        run: our score in per cent.
        published: the published one.
        difference: ours minus the published one, in points, with its error.
        causes: ranked.
        tasks: the tasks that contribute most to the gap; empty where no rows were published.
    """

    suite: Suite
    run: Estimate
    published: SuiteScore
    difference: Estimate
    causes: tuple[Cause, ...]
    tasks: tuple[Figure, ...]


@dataclass(frozen=True)
class Explained:
    """All suites' gaps, and what is said about them all.

    Attributes:
        record: the run.
        baseline: the publication.
        suites: in reporting order.
        notes: suites without a comparison, and why.
    """

    record: RunRecord
    baseline: Baseline
    suites: tuple[Explanation, ...]
    notes: tuple[str, ...]


def explain(run: Path, against: str, suites: Sequence[str] = (), *, across_protocols: bool = False) -> Explained:
    """Explain the gaps between a finished run and a published result.

    Args:
        run: the run's folder.
        against: a baseline's name, file or log.
        suites: suites to explain; by default all that both have.
        across_protocols: also explain what two protocols measured.

    Raises:
        ConfigError: nothing to compare, or `against` is a run, which `evalkit compare` compares exactly.
        StoreError, DataError: the run cannot be read.
    """
    record = read_run(run)
    if names_a_run(against):
        raise ConfigError(_of_two_runs(record, read_run(Path(against))))
    baseline = load_baseline(against)
    scores = run_scores(record)
    found, notes = [], []
    for suite in chosen_suites(suites, suites_in(record), str(record.folder)):
        published, own = baseline.score(suite), scores.suite(suite)
        if published is None:
            notes.append(f"{suite.title}: {baseline.name} published nothing for it")
        elif own is None:
            notes.append(f"{suite.title}: the run has {why_no_score(record, suite)}")
        elif (own_protocol := comparable.protocol_of(record, suite)) != baseline.protocol_of(suite.name) and (
            not across_protocols
        ):
            text = f"{own_protocol} against {baseline.protocol_of(suite.name)}"
            notes.append(f"{suite.title}: other protocols, {text}; --across-protocols explains it all the same")
        else:
            if own_protocol != baseline.protocol_of(suite.name):
                notes.append(
                    f"{suite.title}: across protocols, {own_protocol} against {baseline.protocol_of(suite.name)}"
                )
            found.append(_explained(Facts(scores, baseline, suite), own, published))
    if not found:
        raise ConfigError(f"{record.folder} and {baseline.slug}: nothing to compare ({'; '.join(notes) or 'no suite'})")
    return Explained(record, baseline, tuple(found), tuple(notes))


_LISTED = 8
"""Settings that are named where two runs are to be compared."""


def _of_two_runs(record: RunRecord, other: RunRecord) -> str:
    """Return why two runs are not explained but compared, and what of their settings could account for a gap."""
    tasks = [task for task in record.metrics if task in other.metrics]
    # What changes every request first, then what changes some, then how many there are.
    order = ("protocol", "chat_template", "apply_chat_template", "system", "add_bos", "max_new_tokens", "data", "dtype")
    places = {field: place for place, field in enumerate(order)}
    found = comparable.between_runs(record, other, tasks)
    found.sort(key=lambda difference: places.get(difference.field, len(places)))
    said = {difference.field for difference in found}
    more = [name for name, _, _ in setting_differences(record, other) if name.removeprefix("config.") not in said]
    besides = f"recorded besides with other values: {some(more, _LISTED)}" if more else ""
    causes = "; ".join([*map(str, found), *([besides] if besides else [])]) or "none; chance is left"
    return (
        f"--against {other.folder}: that is a run; what differs in settings: {causes}. `evalkit compare "
        f"{record.folder} {other.folder}` says document by document what came of it"
    )


def _explained(facts: Facts, own: Estimate, published: SuiteScore) -> Explanation:
    difference = unpaired_difference(own, published.estimate)
    causes = [_sampling(difference, published), *_causes(facts, own, published)]
    causes.sort(key=_rank)
    gaps = sorted(task_gaps(facts), key=lambda figure: -abs(figure.points))[:SHOWN_TASKS]
    return Explanation(facts.suite, own, published, difference, tuple(causes), tuple(gaps))


def _rank(cause: Cause) -> tuple[int, float]:
    # What differs without a bound could be everything; what is unknown without a figure says least.
    without = math.inf if cause.standing == "found" else -1.0
    return _ORDER.index(cause.standing), -(without if cause.points is None else cause.points)


def _sampling(difference: Estimate, published: SuiteScore) -> Cause:
    low, high = difference.interval()
    half = (high - low) / 2
    gap = abs(difference.value)
    verdict = "accounts for the whole gap" if gap <= half else f"leaves at least {gap - half:.2f} points to explain"
    bound = " (the publication's error is an upper bound)" if published.stderr_from == "bound" else ""
    text = f"a gap of up to ±{half:.2f} is chance at 95 %{bound}, p {_equals(difference.p_value())}: {verdict}"
    return Cause("sampling error", "sampling", half, text)


def _equals(p_value: float) -> str:
    text = p_text(p_value)
    return text if text.startswith("<") else f"= {text}"


def _causes(facts: Facts, own: Estimate, published: SuiteScore) -> Iterator[Cause]:
    yield from how_asked(facts)
    yield _metric(facts, own, published)
    yield _average(facts, published)
    yield documents(facts, own)
    yield data(facts)
    yield from _numerics(facts)
    yield from _defects(facts)
    yield Cause(
        "tokenizer, checkpoint",
        "unknown",
        None,
        "the publication names neither revision nor tokenizer version; "
        + (
            "the run's fingerprints are in its record"
            if facts.scores.record.foreign is None
            else "the results file has no fingerprints"
        ),
    )


def _metric(facts: Facts, own: Estimate, published: SuiteScore) -> Cause:
    gap = own.value - published.estimate.value
    nearest: tuple[float, str] | None = None
    for name, value in other_metrics(facts):
        rest = abs(value - published.estimate.value)
        if nearest is None or rest < nearest[0]:
            nearest = (rest, f"with {name} the run's average is {value:.2f}, {rest:.2f} from the published one")
    if nearest is None:
        if any(len(task.metrics) > 1 for task in facts.suite.tasks):
            return Cause("metric", "unknown", None, "not recorded by the run: other metrics of the suite's tasks")
        return Cause("metric", "ruled out", 0.0, "the suite has one metric a task")
    if abs(gap) - nearest[0] > 0.005:  # what is no closer than rounding explains nothing
        return Cause("metric", "found", abs(gap) - nearest[0], nearest[1])
    return Cause("metric", "ruled out", 0.0, nearest[1] + ", so no closer")


def _average(facts: Facts, published: SuiteScore) -> Cause:
    rows = facts.baseline.recomputed(facts.suite)
    if rows is None:
        return Cause("average", "unknown", None, "only an average was published, so it cannot be recomputed")
    off = abs(float(rows) - published.estimate.value)
    text = f"published {published.estimate.value:.2f}, recomputed from its rows {float(rounded(rows)):.2f}"
    return Cause("average", "found" if off > 0.005 else "ruled out", off if off > 0.005 else 0.0, text)


def _numerics(facts: Facts) -> Iterator[Cause]:
    record = facts.scores.record
    dtype = DTYPES.get(record.model.dtype.removeprefix("torch."), record.model.dtype)
    theirs = facts.published_dtype()
    quantized = record.model.quantization
    if quantized:
        yield Cause("quantisation", "found", None, f"the run's weights are quantised ({quantized})")
    close = close_calls(facts, CLOSE_NATS)
    if record.numerics is not None:
        points = record.numerics.points
        figure = f"float32 changes {points:.2f} points of answers at most, as the run's audit measured"
        known: float | None = points
    else:
        graded = graded_calls(facts, CLOSE_NATS)
        known = close if close is not None else graded
        if close is not None:
            figure = f"answers decided by less than {CLOSE_NATS:g} nats make {close:.2f} points"
        elif graded is not None:
            figure = f"choices that move by up to {CLOSE_NATS:g} nats move mc2 by {graded:.2f} points at most"
        elif not facts.scores.samples:
            figure = "no audit and no documents in the record"
        else:
            figure = "no audit, and what another dtype does to generated texts cannot be told from the documents"
    if dtype in UNSAID:
        published = f"published in {theirs}" if theirs is not None else "the publication does not say either"
        yield Cause("dtype", "unknown", known, f"not recorded by the run; {published}; {figure}")
    elif theirs is None:
        yield Cause("dtype", "unknown", known, f"run in {dtype}, the publication does not say; {figure}")
    elif theirs == dtype:
        yield Cause("dtype", "ruled out", 0.0, f"both {dtype}")
    else:
        yield Cause("dtype", "found", known, f"run in {dtype}, published in {theirs}; {figure}")


def _defects(facts: Facts) -> Iterator[Cause]:
    entries = facts.scores.record.data
    names = {n for task in facts.suite.tasks if (n := task.name) in entries and entries[n].verdict == "published"}
    same = [pair for pair in same_documents().items() if set(pair) <= names]
    if same and is_own_protocol(facts.baseline.protocol_of(facts.suite.name)):
        text = f"{same[0][0]} holds the documents of {same[0][1]}, in the publication as here"
        yield Cause("known defects of the data", "ruled out", 0.0, text)
    published = facts.baseline.pass_at_1(facts.suite)
    if published is not None:
        yield Cause("how HumanEval was measured", "unknown", None, published.note)


def gaps_table(explained: Explained) -> Table:
    """Return the gaps, a row a suite."""
    columns = (
        Column("Suite", "left", key="suite"),
        Column("Published", key="published"),
        Column("Run", key="run"),
        Column("Gap", signed=True, key="gap"),
        Column("Stderr", key="stderr"),
        Column("p", key="p"),
    )
    rows = tuple(
        (
            item.suite.title,
            rounded(item.published.estimate.value),
            rounded(item.run.value),
            rounded(item.difference.value),
            rounded(item.difference.stderr),
            p_text(item.difference.p_value()),
        )
        for item in explained.suites
    )
    baseline = explained.baseline
    about = f"{model_title(explained.record)} minus {baseline.name} ({baseline.source}, {baseline.retrieved})"
    said = (f"about the publication: {note}" for note in baseline.notes)
    return Table("", columns, rows, (about, *explained.notes, *said, *remarks(explained.record)))


def causes_table(items: Sequence[Explanation]) -> Table:
    """Return the ranked causes of one or several suites."""
    columns = (
        Column("Suite", "left", key="suite"),
        Column("Rank", key="rank"),
        Column("Cause", "left", key="cause"),
        Column("Standing", "left", key="standing"),
        Column("Points at most", key="points"),
        Column("Finding", "left", key="finding"),
    )
    rows: list[tuple[Cell, ...]] = []
    for item in items:
        for rank, cause in enumerate(item.causes, start=1):
            points = None if cause.points is None else rounded(cause.points)
            rows.append((item.suite.title, rank, cause.name, cause.standing, points, cause.finding))
    return Table("", columns, tuple(rows))


def _without_suite(table: Table) -> Table:
    return Table(table.title, table.columns[1:], tuple(row[1:] for row in table.rows), table.notes)


def _tasks_table(item: Explanation) -> Table:
    columns = (
        Column("Task", "left"),
        Column("Published"),
        Column("Run"),
        Column("Points of the gap", signed=True),
        Column("z", signed=True),
    )
    rows = tuple((f.name, rounded(f.published), rounded(f.run), rounded(f.points), rounded(f.z, 1)) for f in item.tasks)
    return Table("", columns, rows)


def explain_text(explained: Explained, form: str) -> str:
    """Return the explanation in one of the table formats; all but Markdown are the one table of causes."""
    if form != "markdown":
        table = causes_table(explained.suites)
        return render_table(Table(table.title, table.columns, table.rows, gaps_table(explained).notes), form)
    lines = [to_markdown(gaps_table(explained))]
    for item in explained.suites:
        lines += [f"## {escape_markdown(item.suite.title)}: gap {item.difference.value:+.2f}", ""]
        lines.append(to_markdown(_without_suite(causes_table([item]))))
        if item.tasks and len(item.suite.tasks) > 1:
            lines += ["Where the gap comes from:", "", to_markdown(_tasks_table(item))]
    return "\n".join(lines)
