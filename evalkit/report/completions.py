"""A run's HumanEval completions and what became of them, to be read."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from evalkit.errors import ConfigError
from evalkit.records.samples import Sample
from evalkit.results.reading import read_run, read_samples
from evalkit.sandbox.extract import remark_lines
from evalkit.sandbox.verdict import disputed_lines, is_disputed

# Lines of a program's own output that are shown.
SHOWN_OUTPUT_LINES = 10


def completions(folder: Path, *, failed_only: bool = False, problems: Iterable[str] = ()) -> Iterator[str]:
    """Yield the completions of a run, one block of text each, then a line that counts them.

    Args:
        folder: a finished run.
        failed_only: leave out what passed.
        problems: task ids such as ``HumanEval/3``; empty for all.

    Raises:
        StoreError: no finished run is there.
        ConfigError: the run has no completions, or not those of a problem asked for.
    """
    record = read_run(folder)
    wanted = set(problems)
    samples = [sample for sample in read_samples(record.folder) if "verdicts" in sample.details]
    if not samples:
        raise ConfigError(f"{folder}: this run has no programs; run it with --suite humaneval")
    known = {verdict["task_id"] for sample in samples for verdict in sample.details["verdicts"]}
    if wanted - known:
        raise ConfigError(f"{folder}: no problem '{sorted(wanted - known)[0]}' in this run")
    shown = passed = total = 0
    disputed, remarks = [], []
    for sample in samples:
        for number, verdict in enumerate(sample.details["verdicts"]):
            if wanted and verdict["task_id"] not in wanted:
                continue
            total += 1
            passed += verdict["passed"]
            disputed.append((verdict["task_id"], is_disputed(verdict)))
            remarks.append((verdict["task_id"], verdict["detail"]))
            if failed_only and verdict["passed"]:
                continue
            shown += 1
            yield _block(sample, number, verdict)
    yield "\n".join([*remark_lines(remarks), *disputed_lines(disputed), f"{passed} of {total} passed; {shown} shown"])


def _block(sample: Sample, number: int, verdict: dict[str, Any]) -> str:
    several = f", sample {number + 1}" if len(sample.generated) > 1 else ""
    detail = f": {verdict['detail']}" if verdict["detail"] else ""
    lines = [
        f"── {verdict['task_id']} ({sample.task}{several}): {verdict['label']}, {verdict['seconds']:.2f} s{detail}",
        "",
        textwrap.indent(_text(sample.context).rstrip() + "\n", "    "),
        textwrap.indent(sample.generated[number].rstrip() or "(empty)", "  > ", lambda _: True),
        "",
    ]
    output = verdict["output"].rstrip().splitlines()
    if output:
        more = f" (first {SHOWN_OUTPUT_LINES} of {len(output)} lines)" if len(output) > SHOWN_OUTPUT_LINES else ""
        lines += [f"  printed{more}:", *(f"  | {line}" for line in output[:SHOWN_OUTPUT_LINES]), ""]
    return "".join(c if c in "\n\t" or c.isprintable() else f"\\x{ord(c):02x}" for c in "\n".join(lines))


def _text(context: Any) -> str:
    return context if isinstance(context, str) else str(context[0])
