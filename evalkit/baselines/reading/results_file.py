"""What a results file of lm-eval says, as a log."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from evalkit.baselines.published import NO_SHARE, Log, ModelScores, Note, Row, ScoreTable
from evalkit.suites import load_suites
from evalkit.task_names import suite_of_task


def read_results_file(path: Path) -> Log:
    """Return what a results file of lm-eval says."""
    from evalkit.results.lm_eval_files import NoScoresError, read_foreign_run
    from evalkit.results.lm_eval_protocol import harness_of

    try:
        record = read_foreign_run(path, is_table=True)
    except NoScoresError:
        return Log(path.name, (), (), (Note(0, "no metric in it is a share; not read"),))
    foreign = record.foreign
    if foreign is None:
        raise AssertionError("a results file of lm-eval says how it was measured")
    rows = []
    for task, metrics in record.metrics.items():
        n = foreign.shots.get(task)
        for metric, found in metrics.items():
            if found.value is not None:
                value = Decimal(repr(found.value))
                error = None if found.stderr is None else Decimal(repr(found.stderr))
                rows.append(Row(1, task, task, metric, value, error, n, found.n or None))
    no_shares: dict[str, list[str]] = {}
    for task, metric in foreign.ignored:
        no_shares.setdefault(metric, []).append(task)
    ignored = [Note(0, f"{metric} of {_counted(tasks)} {NO_SHARE}") for metric, tasks in no_shares.items()]
    ignored += [Note(line, text, unread=True) for line, text in foreign.unread]
    ignored += [Note(line, text) for line, text in foreign.errors]
    known = [suite for row in rows if (suite := suite_of_task(row.task)) is not None]
    suite = max(known, key=known.count) if known else None
    others = {
        name: protocol for name, protocol in foreign.protocols.items() if protocol != load_suites()[name].protocol
    }
    table = ScoreTable(1, suite, (), tuple(rows), harness_of(record.lm_eval))
    model = ModelScores(record.model.name, 1, (table,), (), None, None, (), others, record.protocol)
    return Log(path.name, (model,), (), tuple(ignored))


def _counted(tasks: list[str]) -> str:
    return tasks[0] + (f" and {len(tasks) - 1} more tasks" if len(tasks) > 1 else "")
