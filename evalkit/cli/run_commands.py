"""The command-line side of comparing runs: compare, gate, explain; `evalkit.cli` adds these commands to its group."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from evalkit.api import functions as api
from evalkit.cli.written import Writing, Written
from evalkit.config.options import command_options
from evalkit.config.run_config import RunConfig

_FORMAT = click.Choice(["markdown", "csv", "json", "latex", "html"])
_FILE = click.Path(path_type=Path)


def _print(text: str) -> None:
    click.echo(text.rstrip("\n"))


@click.command()
@click.argument("a", metavar="A", type=_FILE)
@click.argument("b", metavar="B", type=_FILE)
@click.option("--suite", "suites", multiple=True, help="Suite to compare; repeat for several.  [default: all]")
@click.option("--task", "tasks", multiple=True, help="Single task to compare; repeat for several.")
@click.option("--flips", type=click.IntRange(min=0), help="Documents to show.  [default: 5; json: all]")
@click.option("--format", "form", type=_FORMAT, default="markdown", show_default=True, help="How to print it.")
def compare(a: Path, b: Path, suites: tuple[str, ...], tasks: tuple[str, ...], flips: int | None, form: str) -> None:
    """What changed from run A to run B: settings, scores with intervals and p-values, documents that flipped."""
    from evalkit.comparison.compare_text import compare_text

    _print(compare_text(api.compare(a, b, suite=suites, task=tasks), form, flips))


@click.command(cls=Writing)
@click.argument("candidate", metavar="[CANDIDATE]", required=False, type=_FILE)
@click.option("--baseline", metavar="RUN|BASELINE", help="What the candidate must not fall behind.")
@click.option("--margin", type=float, help="Acceptable loss, percentage points.  [default: 1.0]")
@click.option("--alpha", type=float, help="Level of the verdict as a whole.  [default: 0.05]")
@click.option("--policy", "policy_file", type=_FILE, help="YAML file: margins and tiers of suites and tasks, alpha.")
@click.option("--aa", nargs=2, type=_FILE, metavar="RUN1 RUN2", help="Report the noise between two runs of one model.")
@click.option("--suite", "suites", multiple=True, help="Suite to judge; repeat for several.  [default: all]")
@click.option(
    "--allow-different", multiple=True, metavar="FIELD", help="Compare although this field differs: dtype, data..."
)
@click.option("--across-protocols", is_flag=True, help="Compare although the protocols differ; the result is marked.")
@click.option("--allow-missing", is_flag=True, help="Take documents that the candidate lacks as wrong.")
@click.option("--junit", type=Written("a JUnit report"), help="Also write a JUnit report.")
@click.option("--markdown", type=Written("Markdown"), help="Also write Markdown, e.g. for $GITHUB_STEP_SUMMARY.")
@click.option("--json", "json_file", type=Written("a gate's JSON"), help="Also write JSON with unrounded numbers.")
@click.option("--run-model", metavar="MODEL", help="Instead of CANDIDATE: score this model, only as far as needed.")
@click.option("--order-seed", type=int, default=0, show_default=True, help="With --run-model: order of documents.")
@command_options(
    RunConfig,
    only=api.GATED_OPTIONS,
    prefix="With --run-model: ",
    defaults={"data": "the baseline's", "dtype": "the baseline's"},
)
def gate(
    candidate: Path | None,
    baseline: str | None,
    margin: float | None,
    alpha: float | None,
    policy_file: Path | None,
    aa: tuple[Path, Path] | None,
    suites: tuple[str, ...],
    allow_different: tuple[str, ...],
    across_protocols: bool,
    allow_missing: bool,
    junit: Path | None,
    markdown: Path | None,
    json_file: Path | None,
    run_model: str | None,
    order_seed: int,
    **model_options: Any,
) -> None:
    """Is a model worse than a baseline by more than a margin? For CI.

    Exit code 0: no. 1: yes, with confidence. 3: undecided, more documents are needed. 2: wrong use, or results that
    cannot be compared.
    """
    from evalkit.comparison import gate_text

    if aa is not None:
        from evalkit.comparison.gate_noise import noise_between, noise_text
        from evalkit.errors import ConfigError

        extra: dict[str, object] = {
            "a candidate": candidate,
            "--run-model": run_model,
            "--baseline": baseline,
            "--policy": policy_file,
        }
        extra |= {"--margin": margin, "--junit": junit, "--allow-missing": allow_missing or None}
        for name, value in extra.items():
            if value is not None:
                raise ConfigError(f"--aa compares two runs of one model and judges nothing; leave {name} out")
        found_noise = noise_between(
            *aa, alpha=0.05 if alpha is None else alpha, suites=suites, allow_different=allow_different
        )
        for path, form in ((markdown, "markdown"), (json_file, "json")):
            if path is not None:
                gate_text.write_text(path, noise_text(found_noise, form))
        _print(noise_text(found_noise, "markdown"))
        return
    found = api.gate(
        candidate,
        baseline,
        margin=margin,
        alpha=alpha,
        policy=policy_file,
        suite=suites,
        allow_different=allow_different,
        across_protocols=across_protocols,
        allow_missing=allow_missing,
        run_model=run_model,
        order_seed=order_seed,
        **model_options,
    )
    for path, write in (
        (junit, gate_text.gate_junit),
        (markdown, gate_text.gate_markdown),
        (json_file, gate_text.gate_json),
    ):
        if path is not None:
            gate_text.write_text(path, write(found))
    _print(gate_text.gate_markdown(found))
    sys.exit(found.exit_code)


@click.command()
@click.argument("run", metavar="RUN", type=_FILE)
@click.option("--across-protocols", is_flag=True, help="Compare although the protocols differ; the result is marked.")
@click.option("--against", required=True, metavar="BASELINE", help="The published result; two runs: evalkit compare.")
@click.option("--suite", "suites", multiple=True, help="Suite to explain; repeat for several.  [default: all]")
@click.option("--format", "form", type=_FORMAT, default="markdown", show_default=True, help="How to print it.")
def explain(run: Path, against: str, suites: tuple[str, ...], form: str, across_protocols: bool) -> None:
    """Why a run's numbers differ from published ones: what could account for the gap, ranked, with figures."""
    from evalkit.comparison.explain import explain as explain_run
    from evalkit.comparison.explain import explain_text

    _print(explain_text(explain_run(run, against, suites, across_protocols=across_protocols), form))
