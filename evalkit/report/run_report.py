"""A run's report: header, one table a suite in the published layout, averages, summary. Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from evalkit.comparison.comparable import protocol_changes, sampling_changes
from evalkit.config.suites import Suite, Task, is_published, load_suites, load_tasks
from evalkit.languages import ENGLISH, Language
from evalkit.records.facts import DataFacts, ModelFacts, RequestCounts
from evalkit.records.model import MetricValue, Partial, RunRecord
from evalkit.results.lm_eval_settings import printed_version
from evalkit.tables import escape_markdown, rounded

SHOWN_PROBLEMS = 10
_HEADINGS = ("Task", "Version", "Metric", "Value", "", "Stderr")
# Text columns are padded on the right, numbers on the left; headings are centred: the layout of the published tables.
_NUMERIC = (False, True, False, True, False, True)


def published_layout(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows of (task, version, metric, value, ±, stderr) as the published tables are."""
    columns = list(zip(_HEADINGS, *rows, strict=True))
    widths = [max(3, *(len(cell) for cell in column)) for column in columns]
    head = "|".join(_centred(cell, width) for cell, width in zip(_HEADINGS, widths, strict=True))
    rule = "|".join(
        "-" * (width - 1) + ":" if numeric else "-" * width for width, numeric in zip(widths, _NUMERIC, strict=True)
    )
    body = [
        "|".join(
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, _NUMERIC, strict=True)
        )
        for row in rows
    ]
    return "\n".join(f"|{line}|" for line in [head, rule, *body])


def _centred(text: str, width: int) -> str:
    left = (width - len(text)) // 2
    return " " * left + text + " " * (width - len(text) - left)


def score_text(metric: MetricValue | None) -> tuple[str, str]:
    """Return value and standard error as printed: 4 decimals, or why there is no score."""
    if metric is None:
        return "n/a", "not recorded"
    if metric.value is None:
        return "n/a", f"{metric.failed} of {metric.n} failed"
    return f"{metric.value:.4f}", "n/a" if metric.stderr is None else f"{metric.stderr:.4f}"


def percent(value: Decimal | float | None) -> str:
    """Return a percentage with two decimals, or ``n/a``."""
    return "n/a" if value is None else str(rounded(value))


def said_version(task: Task, metric: str, record: RunRecord) -> int | str | None:
    """Return the version of a task that a run measured; another harness's as its file says it, None if it does not."""
    return task.version if record.foreign is None else printed_version(record.lm_eval, task.name, metric)


def suite_table(suite: Suite, metrics: Mapping[str, Mapping[str, MetricValue]], record: RunRecord | None = None) -> str:
    """Return the published-layout table of the suite's tasks that were run.

    Args:
        suite: whose tasks.
        metrics: task to metric to value.
        record: the run that they are of, whose versions are printed; without it those of the published tables.
    """
    rows = []
    for task in suite.tasks:
        if task.name not in metrics:
            continue
        # pass@10 and pass@100 are there only where enough samples were drawn.
        further = (name for name in metrics[task.name] if name not in task.metrics)
        above = ""
        for position, name in enumerate([*task.metrics, *further]):
            value, stderr = score_text(metrics[task.name].get(name))
            said = task.version if record is None else said_version(task, name, record)
            first, version = position == 0, "" if said is None else str(said)
            shown = version if first or version != above else ""  # two tasks of lm-eval may be one here
            above = version
            rows.append((task.name if first else "", shown, name, value, "±", stderr))
    return published_layout(rows)


def suite_average(suite: Suite, metrics: Mapping[str, Mapping[str, MetricValue]]) -> float | None:
    """Return the suite's average in percent; None if a task is missing or has no score."""
    values = [metrics.get(task.name, {}).get(task.headline) for task in suite.tasks]
    scores = [value.value for value in values if value is not None and value.value is not None]
    return 100 * sum(scores) / len(scores) if len(scores) == len(suite.tasks) else None


def summary_rows(
    metrics: Mapping[str, Mapping[str, MetricValue]], tr: Language = ENGLISH
) -> list[tuple[str, float | None]]:
    """Return (name, percent): the averages of the suites that were run, then Total Score and Average Total.

    Both totals need all four suites that enter them.
    """
    suites = load_suites()
    averages = {
        name: suite_average(suite, metrics)
        for name, suite in suites.items()
        if any(task.name in metrics for task in suite.tasks)
    }
    rows = [(suites[name].title, average) for name, average in averages.items() if suites[name].in_total]
    totalled = [averages.get(name) for name, suite in suites.items() if suite.in_total]
    known = [average for average in totalled if average is not None]
    if len(known) == len(totalled):
        rows.append((tr("Total Score"), sum(known)))
        rows.append((tr("Average Total"), sum(known) / len(known)))
    return rows + [(_named(suites[name]), averages[name]) for name in averages if not suites[name].in_total]


def _named(suite: Suite) -> str:
    """Return a suite's title with the metric that its average is of, where its tasks have one: ``HumanEval pass@1``."""
    headlines = {task.headline for task in suite.tasks}
    return f"{suite.title} {headlines.pop()}" if len(headlines) == 1 else suite.title


def header_rows(record: RunRecord, tr: Language = ENGLISH) -> list[tuple[str, str]]:
    """Return (name, value): what was run, on what, how and when."""
    model, versions = record.model, record.environment.versions
    shown = ("evalkit", "lm_eval", "transformers", "torch", "torch_npu", "openmind", "python")
    changes = protocol_changes(record) + sampling_changes(record)
    changed = tr(" (changed: {changes})", changes=", ".join(changes)) if changes else ""
    rows = [
        (tr("Model"), model.name),
        (tr("Protocol"), record.protocol + changed),
        (tr("Device"), f"{model.device} ({model.device_name})" if model.device_name else model.device),
        (tr("Dtype"), _dtype_text(model, tr)),
        *model_rows(record, tr),
        (tr("Loader"), model.loader),
        (tr("Scorer"), f"{record.scorer.name} ({record.scorer.reason})"),
        (tr("Data"), _data_text(record.data, tr)),
        (tr("Documents"), _documents_text(record, tr)),
        (tr("Versions"), ", ".join(f"{name} {versions[name]}" for name in shown if name in versions)),
        (tr("Date"), record.started),
        (tr("Duration"), _duration(record.duration_seconds, tr)),
    ]
    if record.numerics is not None:
        rows.append((tr("Numerics"), record.numerics.summary.removeprefix("numerics: ")))
    if record.isolation:
        rows.append((tr("Model-written programs"), record.isolation))
    return rows


def _dtype_text(model: ModelFacts, tr: Language) -> str:
    """Return the dtype that was computed in, and what the checkpoint's weights are quantised by."""
    method = model.quantization
    return model.dtype + (tr(" (weights quantised: {method})", method=method) if method else "")


def model_rows(record: RunRecord, tr: Language) -> list[tuple[str, str]]:
    """Return what else of the model a reader should know: an adapter, settings not in force, where --system went."""
    model, system = record.model, record.system
    ignored = {} if model.generation is None else model.generation.ignored
    rows = []
    if model.adapter is not None:
        rows.append((tr("Adapter"), f"{model.adapter.name} (sha256 {(model.adapter.sha256 or '')[:12]})"))
    if model.weights_unused:
        weights = f"{', '.join(model.weights or ())} (unused: {', '.join(model.weights_unused)})"
        rows.append((tr("Weights"), weights))
    if ignored:
        settings = ", ".join(f"{name}={value}" for name, value in ignored.items())
        rows.append((tr("Not applied"), tr("{settings} of generation_config.json", settings=settings)))
    if model.generation is not None and model.generation.engine is not None:
        rows.append((tr("Texts"), tr("made by {engine}", engine=model.generation.engine)))
    if system is not None:
        rows.append((tr("System prompt"), f"{system.text!r} ({system.place})"))
    return rows


def _duration(seconds: float | None, tr: Language) -> str:
    return tr("unfinished") if seconds is None else tr("{seconds} s", seconds=f"{seconds:.0f}")


def _documents_text(record: RunRecord, tr: Language) -> str:
    """Return which documents were scored, with their numbers where they are not those of the published data.

    `evalkit.baselines.reading.own_reports` reads it: an audit judges a report by the documents that it states.
    """
    limit, tasks = record.config.limit, load_tasks()
    text = tr("first {limit} of each task", limit=limit) if limit else tr("all")
    counts = {name: max((value.n for value in of_task.values()), default=0) for name, of_task in record.metrics.items()}
    unpublished = {name for name, entry in record.data.items() if entry.verdict in ("samples", "other")}
    others = {
        name: count
        for name, count in counts.items()
        if name not in tasks
        or name in unpublished
        or count != min(limit or tasks[name].documents, tasks[name].documents)
    }
    if not others:
        return text
    if len(others) == len(counts) and len(set(counts.values())) == 1:
        return f"{text} ({tr('{count} of each task', count=next(iter(counts.values())))})"
    return f"{text} ({', '.join(f'{name} {count}' for name, count in others.items())})"


def _data_text(data: Mapping[str, DataFacts], tr: Language) -> str:
    text = ", ".join(sorted({entry.source for entry in data.values()}))
    others = sorted(name for name, entry in data.items() if entry.verdict == "other" and is_published(name))
    if others:
        text += tr("; not the published content: {names}", names=", ".join(others))
    return text


def warnings(record: RunRecord, tr: Language = ENGLISH) -> list[str]:
    """Return what a reader must know before using the numbers."""
    found = []
    if any(entry.verdict == "samples" for entry in record.data.values()):
        found.append(tr("samples: not a score. The built-in samples are no benchmark; use --data hub or a folder."))
    if record.config.limit:
        found.append(tr("limited: only the first documents of each task were scored; averages are not comparable."))
    failed = [
        tr("{task}: {metric}: {failed} of {n} failed", task=task, metric=metric, failed=value.failed, n=value.n)
        for task, of_task in record.metrics.items()
        for metric, value in of_task.items()
        if value.failed
    ]
    if record.foreign is not None:
        found += [text for _, text in (*record.foreign.unread, *record.foreign.errors)]
    if record.partial is not None:
        there = record.partial.there
        found.insert(0, tr("partial: the run is not finished ({there}); no number here is a result.", there=there))
    work = record.work
    if work is not None and work.reused_from:
        values = {"count": f"{sum(section.reused for section in work.sections):,}", "run": work.reused_from}
        found.append(tr("reused: {count} answers were taken from the run {run}; last bits may differ.", **values))
        found += [f"{remark}." for remark in record.reuse_remarks]
    answers = [tr("code taken out of answers: {line}.", line=line) for line in record.answers]
    counts = record.requests or RequestCounts()
    return found + requests_text(counts, tr) + disputed_text(record.disputed, tr) + answers + failed


def disputed_text(problems: Sequence[str], tr: Language = ENGLISH) -> list[str]:
    """Return what to say of programs that failed and pass in one process: a line, or none where there is none.

    Args:
        problems: their task ids, one entry a program.
    """
    if not problems:
        return []
    different = list(dict.fromkeys(problems))
    names = ", ".join(different[:SHOWN_PROBLEMS]) + (", ..." if len(different) > SHOWN_PROBLEMS else "")
    return [
        tr(
            "disputed: {count} programs failed and pass in one process, where a program can fake its result: {names}; "
            "look at them (evalkit humaneval show).",
            count=f"{len(problems):,}",
            names=names,
        )
    ]


def requests_text(counts: RequestCounts, tr: Language = ENGLISH) -> list[str]:
    """Return what happened to requests before the model saw them, one line each."""
    found = []
    if counts.cut:
        found.append(
            tr(
                "cut: {count} requests lost their beginning, since they are longer than the model's context.",
                count=f"{counts.cut:,}",
            )
        )
    if counts.apart:
        found.append(
            tr(
                "encoded apart: in {count} requests a token spans the join of context and continuation, so the two "
                "were encoded apart.",
                count=f"{counts.apart:,}",
            )
        )
    return found


def _partial_note(suite: Suite, partial: Partial, tr: Language) -> str:
    """Return the mark of an unfinished run's table: how many of the documents it is made of."""
    counts = [partial.documents[task.name] for task in suite.tasks if task.name in partial.documents]
    there, total = f"{sum(there for there, _ in counts):,}", f"{sum(of for _, of in counts):,}"
    return f"**{tr('partial: {there} of {total} documents', there=there, total=total)}**"


def run_report(record: RunRecord, tr: Language = ENGLISH) -> str:
    """Return the report of a finished run as Markdown; the tables of tasks keep the published layout."""
    lines = [f"# {escape_markdown(record.model.name)}", ""]
    lines += [f"**{warning}**\n" for warning in warnings(record, tr)]
    lines += [
        tr("- {name}: {value}", name=name, value=escape_markdown(value)) for name, value in header_rows(record, tr)
    ]
    lines.append("")
    partial = record.partial
    for suite in load_suites().values():
        without = [task.name for task in suite.tasks if partial is not None and task.name in partial.without_verdicts]
        if partial is not None and without:
            counts = [partial.documents[name] for name in without]
            there, total = f"{sum(c for c, _ in counts):,}", f"{sum(of for _, of in counts):,}"
            note = tr("partial: the texts of {there} of {total} problems are there", there=there, total=total)
            lines += [f"## {suite.title}", "", f"**{note}**", ""]
            lines += [tr("No score: a report runs no programs; the run does, when all texts are there."), ""]
            continue
        if not any(task.name in record.metrics for task in suite.tasks):
            continue
        average = suite_average(suite, record.metrics) if partial is None else None
        lines += [f"## {suite.title}", ""]
        lines += [_partial_note(suite, partial, tr), ""] if partial is not None else []
        lines += [suite_table(suite, record.metrics, record), ""]
        missing = sum(task.name not in record.metrics for task in suite.tasks)
        note = ""
        if missing:
            note = tr(" ({missing} of {count} tasks not run)", missing=missing, count=len(suite.tasks))
        lines += [tr("Average: {average}", average=percent(average)) + note, ""]
    rows = summary_rows(record.metrics, tr)
    if rows and partial is None:
        width = max(len(name) for name, _ in rows)
        lines += [f"## {tr('Summary')}", "", f"|{tr('Suite').ljust(width)}|{tr('Score').rjust(6)}|"]
        lines.append(f"|{'-' * width}|-----:|")
        lines += [f"|{name.ljust(width)}|{percent(value).rjust(6)}|" for name, value in rows]
        lines.append("")
    return "\n".join(lines)
