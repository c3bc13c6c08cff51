"""The command-line side of comparing runs: compare, gate, explain; `evalkit.cli` adds these commands to its group."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from evalkit.config import ModelConfig, RunConfig
from evalkit.options import build, given, options

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
    from evalkit.comparison.compare import compare as compare_runs
    from evalkit.comparison.compare import compare_text

    _print(compare_text(compare_runs(a, b, suites=suites, tasks=tasks), form, flips))


@click.command()
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
@click.option("--junit", type=_FILE, help="Also write a JUnit report.")
@click.option("--markdown", type=_FILE, help="Also write Markdown, e.g. for $GITHUB_STEP_SUMMARY.")
@click.option("--json", "json_file", type=_FILE, help="Also write JSON with unrounded numbers.")
@click.option("--run-model", metavar="MODEL", help="Instead of CANDIDATE: score this model, only as far as needed.")
@click.option("--order-seed", type=int, default=0, show_default=True, help="With --run-model: order of documents.")
@options(
    RunConfig,
    only=("data", "device", "dtype", "loader", "revision", "adapter", "tokenizer", "trust_remote_code"),
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
    from evalkit.comparison.gate import gate as judge_run
    from evalkit.errors import ConfigError

    levels = {"margin": 1.0 if margin is None else margin, "alpha": 0.05 if alpha is None else alpha}
    if aa is not None:
        from evalkit.comparison.gate_noise import noise_between, noise_text

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
        found_noise = noise_between(*aa, alpha=levels["alpha"], suites=suites, allow_different=allow_different)
        for path, form in ((markdown, "markdown"), (json_file, "json")):
            if path is not None:
                gate_text.write_text(path, noise_text(found_noise, form))
        _print(noise_text(found_noise, "markdown"))
        return
    if baseline is None:
        raise ConfigError("--baseline: give the run or the published result that the candidate must not fall behind")
    if (candidate is None) == (run_model is None):
        raise ConfigError("give either the folder of a finished run, or --run-model MODEL")
    if across_protocols:
        allow_different = (*allow_different, "protocol")
    policy = None
    if policy_file is not None:
        from evalkit.comparison.gate_policy import read_policy

        said: dict[str, object] = {"--margin": margin, "--alpha": alpha, "--suite": suites or None}
        for name, given_value in said.items():
            if given_value is not None:
                raise ConfigError(f"{name} and --policy: the policy file says it; leave {name} out")
        if run_model is not None:
            raise ConfigError("--policy goes with a finished run; with --run-model give --margin, --alpha and --suite")
        policy = read_policy(policy_file)
    asked = given(model_options)
    if candidate is not None:
        if asked or order_seed:
            name = next(iter(asked), "order_seed").replace("_", "-")
            raise ConfigError(f"--{name} goes with --run-model; a finished run has its own settings")
        found = judge_run(
            candidate,
            baseline,
            **levels,
            suites=suites,
            allow_different=allow_different,
            allow_missing=allow_missing,
            policy=policy,
        )
    else:
        from evalkit.evaluation.gate_run import gate_model

        if allow_missing:
            raise ConfigError("--allow-missing goes with a finished run; --run-model scores every document anew")
        found = gate_model(
            build(ModelConfig, {"model": run_model, **asked}),
            baseline,
            **levels,
            suites=suites,
            allow_different=allow_different,
            seed=order_seed,
            data=asked.get("data", ()),
            say=lambda line: click.echo(f"evalkit: {line}", err=True),
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
