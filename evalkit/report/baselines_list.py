"""What the commands about baselines print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

from evalkit.baselines import (
    Baseline,
    baseline_folders,
    default_folder,
    import_log,
    list_baselines,
    load_baseline,
    save_baseline,
    to_yaml,
)
from evalkit.comparison.power import plan, power_table
from evalkit.config.suites import find_suite, load_suites
from evalkit.errors import ConfigError
from evalkit.replacing import refuse_to_replace
from evalkit.tables import Column, Table


def baselines_table(warn: Callable[[str], None] | None = None) -> Table:
    """Return all baselines: slug, printed averages, HumanEval, number of published tasks, protocol and source.

    `warn` is told of files that cannot be read; without it they are an error.
    """
    suites = [suite for suite in load_suites().values() if suite.in_total]
    columns = [Column("Baseline", "left", key="slug"), *(Column(suite.title, key=suite.name) for suite in suites)]
    columns += [Column("HumanEval", key="humaneval"), Column("Tasks", key="tasks")]
    columns += [Column("Protocol", "left", key="protocol"), Column("Source", "left", key="source")]
    found = list_baselines(warn)
    rows = tuple(
        (
            baseline.slug,
            *(baseline.averages.get(suite.name) for suite in suites),
            baseline.humaneval.percent if baseline.humaneval is not None else None,
            len(baseline.tasks),
            _protocols(baseline),
            f"{baseline.source} ({baseline.retrieved})",
        )
        for baseline in found
    )
    notes = ["Averages as printed by the source; evalkit audit checks them"]
    notes += [f"HumanEval of {b.slug}: {b.humaneval.note}" for b in found if b.humaneval is not None]
    return Table("", tuple(columns), rows, tuple(notes))


def _protocols(baseline: Baseline) -> str:
    others = ", ".join(f"{suite}: {protocol}" for suite, protocol in baseline.other_protocols.items())
    return f"{baseline.protocol} ({others})" if others else baseline.protocol


def import_files(
    logs: Sequence[Path],
    *,
    name: str | None,
    source: str | None,
    retrieved: str | None,
    output: Path | None,
    force: bool,
    protocol: str | None = None,
) -> Iterator[str]:
    """Import logs, write their baselines, and yield the lines to print.

    Raises:
        ConfigError: options that do not fit together, or a file that is there already with other content.
        DataError: a log that cannot be read or has no scores.
    """
    if len(logs) > 1 and name is not None:
        raise ConfigError("--name fits one log; import several logs without it")
    is_file = output is not None and not output.is_dir() and output.suffix.lower() in (".yaml", ".yml")
    if len(logs) > 1 and is_file:
        raise ConfigError(f"--output {output}: that is one file, but there are {len(logs)} logs; name a folder")
    try:
        day = date.fromisoformat(retrieved) if retrieved is not None else date.today()
    except ValueError as error:
        raise ConfigError(f"--retrieved: '{retrieved}' is no date; write it as 2023-11-05") from error
    for path in logs:
        where = source.replace("{file}", path.name) if source is not None else None
        found = import_log(path, retrieved=day.isoformat(), name=name, source=where, protocol=protocol)
        several = len(logs) > 1 or len(found.baselines) > 1
        if several and is_file:
            raise ConfigError(
                f"{path}: holds {len(found.baselines)} models; --output {output} is one file, name a folder"
            )
        for note in found.notes:
            place = f"{path.name}:{note.line}" if note.line else path.name
            yield f"{place}: {'' if note.unread else 'note: '}{note.message}"
        unread = sum(note.unread for note in found.notes)
        if unread:
            yield f"{path.name}: {unread} place(s) could not be read, see above"
        for baseline in found.baselines:
            if output is not None and str(output) == "-":
                yield to_yaml(baseline).rstrip("\n")
                continue
            folder = default_folder() if output is None else output
            is_folder = output is None or folder.is_dir() or (several and not is_file)
            if not is_folder and not is_file:
                raise ConfigError(f"--output {output}: no such folder; make it, or name a file that ends in .yaml")
            target = folder / f"{baseline.slug}.yaml" if is_folder else folder
            refuse_to_replace("--output", target, logs, "a baseline")
            state = "wrote" if save_baseline(baseline, target, force=force) else "unchanged"
            numbers = sum(map(len, baseline.tasks.values()))
            averages = len(baseline.averages)
            held = f"{len(baseline.tasks)} tasks, {numbers} numbers, {averages} averages"
            yield f"{state} {target}: {held}{_found(target)}"


def _found(target: Path) -> str:
    """Say how a file is named on the command line that is in no folder of baselines."""
    known = {folder.resolve() for folder in baseline_folders()}
    return "" if target.absolute().parent.resolve() in known else "; give this path as the baseline, it has no name yet"


def power_report(
    suites: Sequence[str], *, effect: float | None, baseline: str, flips: float, alpha: float, power: float
) -> Table:
    """Return the table of `evalkit power`.

    Args:
        suites: names of suites; empty for all.
        effect: change to detect, in percentage points, or None.
        baseline: whose scores to expect.
        flips: per cent of documents that flip between the two runs.
        alpha: level.
        power: probability of detection.
    """
    chosen = [find_suite(name) for name in suites] or list(load_suites().values())
    expected = load_baseline(baseline)
    plans = [
        plan(suite, effect=effect, baseline=expected, flips=share, alpha=alpha, power=power)
        for suite in chosen
        for share in (flips / 100, None)
    ]
    notes = (
        f"Paired: two runs on the same documents, of which {flips:g} % flip (set it with --flips)",
        f"Unpaired: against published averages; scores as those of {expected.name}, one half where it has none",
        "or --limit: so many documents of each task, which needs fewer in all than the same share of each",
    )
    # Of d points at least d % of the documents are flips.
    beyond = max((found.smallest for found in plans if found.paired), default=0.0)
    too_few = (
        f"A change of {beyond:.2f} points takes {beyond:.2f} % flips at least: with {flips:g} % none is so large, "
        "so say more with --flips where a paired change is larger than it",
    )
    shown = (*notes[:1], *(too_few if beyond > flips else ()), *notes[1:])
    return power_table(plans, effect, alpha, power, shown if effect is not None else shown[:-1])
