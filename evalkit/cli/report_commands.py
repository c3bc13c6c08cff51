"""The command-line side of baselines, audit, leaderboard and power; `evalkit.cli` adds these commands to its group."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from evalkit.api import functions as api
from evalkit.cli.written import Writing, Written

_FORMAT = click.Choice(["markdown", "csv", "json", "latex", "html"])
_FILE = click.Path(path_type=Path)


def _print(text: str) -> None:
    click.echo(text.rstrip("\n"))


def _warn(line: str) -> None:
    click.echo(f"evalkit: warning: {line}", err=True)


@click.group()
def baselines() -> None:
    """Published scores: list them, import them from a log."""


@baselines.command("list")
@click.option("--format", "form", type=_FORMAT, default="markdown", show_default=True, help="How to print the table.")
def list_command(form: str) -> None:
    """List all baselines with their printed averages."""
    from evalkit.report.baselines_list import baselines_table
    from evalkit.tables import render_table

    _print(render_table(baselines_table(_warn), form))


@baselines.command("import", cls=Writing)
@click.argument("logs", metavar="LOG...", nargs=-1, required=True, type=_FILE)
@click.option("--name", help="Name of the model.  [default: as the file names it, else the file's name]")
@click.option("--source", help="Where the log is from; {file} stands for its name.  [default: {file}]")
@click.option("--retrieved", help="Date of retrieval, YYYY-MM-DD.  [default: today]")
@click.option(
    "--output",
    type=Written("a baseline"),
    help="File or folder to write, '-' for stdout.  [default: <slug>.yaml in ./configs/baselines if there, else here]",
)
@click.option("--protocol", help="How all of it was measured, if you know better than the file, e.g. nous-2023.")
@click.option("--force", is_flag=True, help="Replace a file with other content.")
def import_command(
    logs: tuple[Path, ...],
    name: str | None,
    source: str | None,
    retrieved: str | None,
    output: Path | None,
    protocol: str | None,
    force: bool,
) -> None:
    """Import the scores of published logs or model cards (Markdown, text or saved web pages).

    Prints what could not be read, with line numbers. Nothing is made up: what a log lacks is absent from the baseline.
    """
    from evalkit.report.baselines_list import import_files

    lines = import_files(
        logs, name=name, source=source, retrieved=retrieved, output=output, force=force, protocol=protocol
    )
    for line in lines:
        click.echo(line, err=not line.startswith("name:"))


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@click.option("--all", "everything", is_flag=True, help="Also show what is exact or cannot be checked.")
@click.option("--strict", is_flag=True, help="Also fail on numbers that do not fit the number of documents.")
@click.option("--format", "form", type=_FORMAT, default=None, help="Print one table in this format instead of text.")
def audit(files: tuple[Path, ...], everything: bool, strict: bool, form: str | None) -> None:
    """Recompute the averages, totals, changes and standard errors of published tables.

    Exit code 1 if any is inconsistent, 4 if no scores were read from a file. Each number is exact, rounded from
    unrounded values, truncated, or inconsistent.
    """
    from evalkit.baselines.audit.text import audit_lines, audit_table, copied_between
    from evalkit.tables import render_table

    audits = [api.audit(path, strict=strict) for path in files]
    if form is not None:
        _print(render_table(audit_table(audits, everything=everything), form))
    else:
        for line in [*audit_lines(audits, everything=everything), *copied_between(audits)]:
            click.echo(line)
    nothing = [found.name for found in audits if not found.read]
    if nothing:
        click.echo(f"evalkit: no scores read: {', '.join(nothing)}", err=True)
    sys.exit(1 if any(found.inconsistent for found in audits) else 4 if nothing else 0)


@click.command()
@click.argument("runs", metavar="[RUN|FILE]...", nargs=-1)
@click.option("--sort", default="average", show_default=True, help="Suite to rank by, or 'average'.")
@click.option("--all", "all_records", is_flag=True, help="Also show second records of a model that is shown.")
@click.option("--format", "form", type=_FORMAT, default="markdown", show_default=True, help="How to print the table.")
@click.option("--across-protocols", is_flag=True, help="Also rank, with a mark, what another protocol measured.")
def leaderboard(runs: tuple[str, ...], sort: str, all_records: bool, form: str, across_protocols: bool) -> None:
    """Rank runs (and baseline files or logs) among all baselines, with standard errors and possible ranks."""
    from evalkit.tables import render_table

    found = api.leaderboard(runs, sort=sort, all=all_records, across_protocols=across_protocols, warn=_warn)
    _print(render_table(found.table(numeric=form in ("csv", "json")), form))


@click.command()
@click.option("--suite", "suites", multiple=True, help="Suite to plan for; repeat for several.  [default: all]")
@click.option("--effect", type=float, help="Change of the suite's average to detect, in percentage points.")
@click.option("--baseline", default="openhermes-2.5-mistral-7b", show_default=True, help="Whose scores to expect.")
@click.option(
    "--flips", type=float, default=10.0, show_default=True, help="Documents that flip between runs, per cent."
)
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Level of the two-sided test.")
@click.option("--power", "detected", type=float, default=0.8, show_default=True, help="Probability of detecting it.")
@click.option(
    "--run", "runs", multiple=True, type=_FILE, help="What this run detects; a second one measures what flips."
)
@click.option("--format", "form", type=_FORMAT, default="markdown", show_default=True, help="How to print the table.")
def power(
    suites: tuple[str, ...],
    effect: float | None,
    baseline: str,
    flips: float,
    alpha: float,
    detected: float,
    runs: tuple[Path, ...],
    form: str,
) -> None:
    """How many documents detect a change, and what is the smallest change that a suite (or a run) detects.

    Paired: two runs on the same documents. Unpaired: a run against published averages.
    """
    from evalkit.comparison.run_power import run_power
    from evalkit.report.baselines_list import power_report
    from evalkit.tables import render_table

    if runs:
        table = run_power(runs, suites, effect=effect, baseline=baseline, flips=flips, alpha=alpha, power=detected)
    else:
        table = power_report(suites, effect=effect, baseline=baseline, flips=flips, alpha=alpha, power=detected)
    _print(render_table(table, form))
