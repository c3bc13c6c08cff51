"""The command line: one short function a command, no logic. Imports are lazy, so that `--help` is instant."""

from __future__ import annotations

import errno
import functools
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from evalkit import __version__
from evalkit.api.functions import read_run, run_as_asked
from evalkit.api.run_results import Plan
from evalkit.cli import output
from evalkit.cli.humaneval import humaneval
from evalkit.cli.report_commands import audit, baselines, leaderboard, power
from evalkit.cli.run_commands import compare, explain, gate
from evalkit.cli.written import Writing, Written
from evalkit.config.options import build, command_options, given
from evalkit.config.run_config import InferConfig, ModelConfig, RunConfig
from evalkit.errors import EvalkitError, first_line
from evalkit.out_of_memory import is_out_of_memory

_FOLDER = click.Path(path_type=Path)
INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h


def _say(line: str) -> None:
    """Progress goes to stderr: stdout holds the result alone."""
    click.echo(f"evalkit: {line}", err=True)


class _Group(click.Group):
    """A group that prints a user's mistake as one line, and a traceback only with ``--debug``."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line; click itself would print a wrong option or argument as four lines."""
        run: Callable[[], Any] = functools.partial(
            super().main, args, prog_name, complete_var, standalone_mode=False, **extra
        )
        if not standalone_mode:
            return run()
        if output.is_closed():
            click.echo("error: standard output is closed; send it somewhere, if need be to /dev/null", err=True)
            sys.exit(2)
        try:
            code = run()
            sys.stdout.flush()
        except click.ClickException as error:
            if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
                error.show()
                sys.exit(error.exit_code)
            context: click.Context | None = getattr(error, "ctx", None)
            where = context.command_path if context else "evalkit"
            click.echo(f"error: {' '.join(error.format_message().split()).rstrip('.')}; see {where} --help", err=True)
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("aborted", err=True)
            sys.exit(130)
        except OSError as error:  # of --help and of the last flush; those of commands end in `invoke`
            if (full := output.exit_code_of(error)) is None:
                _end_by_own_fault()
            sys.exit(full)
        except Exception:
            _end_by_own_fault()
        sys.exit(code or 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EvalkitError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except Exception as error:
            code = None if ctx.params.get("debug") else _code_of(error)
            if code is None:
                raise
            ctx.exit(code)


def _code_of(error: Exception) -> int | None:
    """Say what the machine lacks, or what a name is too long for, and return the exit code; None: none of these."""
    if is_out_of_memory(error):
        said = f"out of memory ({first_line(error)}); stop other programs or raise this process's limit"
        click.echo(f"error: {said} (ulimit, container, job)", err=True)
        return 2
    if not isinstance(error, OSError):
        return None
    if (code := output.exit_code_of(error)) is None and error.errno == errno.ENAMETOOLONG:  # of any path of the user's
        name = str(error.filename)
        click.echo(f"error: {name[:40]}...: a file name of {len(name):,} characters is too long", err=True)
        return 2
    return code


def _end_by_own_fault() -> NoReturn:
    """Print the traceback of a fault of ours and end: exit code 1 would tell CI that a model got worse."""
    traceback.print_exc()
    click.echo("error: a fault of evalkit itself; please report it with the lines above", err=True)
    sys.exit(INTERNAL_ERROR)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="evalkit")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Evaluate a language model on the suites of the Hermes model cards."""
    if not debug:
        _quiet_libraries()


def _quiet_libraries() -> None:
    """Keep stderr for our own lines; libraries read these variables when they are imported."""
    import os

    for name, value in (
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("LMEVAL_LOG_LEVEL", "ERROR"),
        ("TOKENIZERS_PARALLELISM", "true"),
        ("TQDM_DISABLE", "1"),
        ("TRANSFORMERS_VERBOSITY", "error"),
    ):
        os.environ.setdefault(name, value)


@main.command()
@click.option("--config", "config_file", type=_FOLDER, help="YAML file with these options as keys; flags win.")
@command_options(RunConfig)
def run(config_file: Path | None, **flags: Any) -> None:
    """Run suites on a model; prints the report. The same command again continues a run that was interrupted."""
    from evalkit.evaluation.interrupt import Interrupted, StopSignals

    try:
        with StopSignals() as signals:
            found = run_as_asked(config_file, flags, sys.argv, signals=signals)
    except Interrupted as stop:
        if not stop.is_explained:
            _say(f"stopped by {stop} before anything new was computed")
        sys.exit(stop.exit_code)
    click.echo(found.report)
    if isinstance(found, Plan):
        return
    here = Path.cwd()
    _say(f"results in {found.folder.relative_to(here) if found.folder.is_relative_to(here) else found.folder}")
    if any(value.failed for of_task in found.metrics.values() for value in of_task.values()):
        _say("some samples failed, and their tasks have no score: see the report")
        sys.exit(3)


@main.command(cls=Writing)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=_FOLDER)
@click.option("--partial", is_flag=True, help="Also of unfinished runs: what is there, marked as unfinished.")
@click.option(
    "--against", multiple=True, metavar="BASELINE|RUN", help="Add the comparison with this; repeat for several."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "csv", "json", "latex", "html"]),
    default="markdown",
    show_default=True,
    help="markdown is the whole report; the others are one table: the comparison, or all scores.",
)
@click.option(
    "--html",
    type=Written("an HTML page"),
    help="Write a page to look at instead: charts, tables, samples. The last RUN leads.",
)
@click.option(
    "--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Language of the report."
)
def report(
    runs: tuple[Path, ...], partial: bool, against: tuple[str, ...], form: str, html: Path | None, lang: str
) -> None:
    """Rebuild the tables of finished runs from their folders."""
    from evalkit.languages import load_language

    tr = load_language(lang)
    if html is not None:
        from evalkit.paths import make_parent
        from evalkit.report.html import write_html

        make_parent(html, "--html")
        write_html(html, runs, against, tr)
        _say(f"report in {html}")
        return
    from evalkit.report.against import report_text

    for folder in runs:
        click.echo(report_text(read_run(folder, partial=partial), against, form, tr))


@main.command(cls=Writing)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=_FOLDER)
@click.option("--out", type=Written("a picture"), required=True, help="Picture to write: .svg, .png or .pdf.")
@click.option("--against", multiple=True, metavar="BASELINE|RUN", help="Draw this beside them; repeat for several.")
@click.option(
    "--kind", type=click.Choice(["suites", "tasks"]), default="suites", show_default=True, help="What to draw."
)
@click.option(
    "--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Language of the labels."
)
def plot(runs: tuple[Path, ...], out: Path, against: tuple[str, ...], kind: str, lang: str) -> None:
    """Draw runs and baselines with 95 % intervals, as a figure for a paper."""
    from evalkit.paths import make_parent
    from evalkit.report.plots import plot_runs

    make_parent(out, "--out")
    note = plot_runs(runs, against, out, kind, lang)
    _say(f"figure in {out}" + (f"; {note}" if note else ""))


@main.group()
def results() -> None:
    """Work with the folders of finished runs."""


@results.command(cls=Writing)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=_FOLDER)
@click.option("--format", "kind", type=click.Choice(["parquet", "sqlite", "csv"]), required=True, help="Format.")
@click.option("--table", type=click.Choice(["samples", "metrics", "runs"]), default="samples", show_default=True)
@click.option(
    "--output",
    type=Written("an exported table"),
    help="File to write.  [default: TABLE.FORMAT; for sqlite evalkit.sqlite]",
)
def export(runs: tuple[Path, ...], kind: str, table: str, output: Path | None) -> None:
    """Write finished runs as tables; sqlite holds all three tables in one file."""
    from evalkit.results.export import export_runs

    path, rows = export_runs(runs, kind, table, output)
    _say(f"{rows:,} rows in {path}")


@main.command()
@click.option("--data", multiple=True, default=("samples",), help="Source of the documents, as for run.")
@click.option("--task", multiple=True, help="Task to verify; repeat for several.  [default: all 34]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(data: tuple[str, ...], task: tuple[str, ...], as_json: bool) -> None:
    """Prove that requests and metrics are those behind the published scores."""
    from evalkit.evaluation.verify import print_verification

    sys.exit(print_verification(data, task, as_json))


@main.command()
@command_options(
    ModelConfig,
    InferConfig,
    without=("batch_size", "scorer", "max_batch_tokens", "audit_fraction", "max_length"),
    says={"add_bos": "With --raw: put the tokenizer's BOS token before the prompt."},
)
def infer(**flags: Any) -> None:
    """Ask a model one question, with its chat template; prints speed figures."""
    from evalkit.evaluation.infer import infer as infer_model

    infer_model(build(ModelConfig, given(flags)), build(InferConfig, given(flags)))


@main.command("list")
@click.argument("what", type=click.Choice(["suites", "tasks", "models", "data"]))
@click.option("--data", multiple=True, default=("samples",), help="For data: the source to look at, as for run.")
@click.option(
    "--path", is_flag=True, help="For tasks: print the folder of their configs, for lm-eval's --include_path."
)
def list_(what: str, data: tuple[str, ...], path: bool) -> None:
    """Show what there is: suites, tasks, models, or data and where it comes from."""
    if path:
        from evalkit.paths import configs_dir

        click.echo(configs_dir() / "tasks")
        return
    from evalkit.cli.listing import listing

    click.echo(listing(what, data))


for command in (audit, baselines, compare, explain, gate, humaneval, leaderboard, power):
    main.add_command(command)
