"""What `import evalkit` offers to notebooks and programs, and what the command line calls.

Names and defaults of keyword arguments are those of the command line's options. A run is named by its folder, or by
what `run` and `read_run` returned. Results show themselves in a notebook (``_repr_markdown_``) and become a pandas
frame with numbers as numbers (``to_frame``). What a user can do wrong ends in an `EvalkitError` of one line. Heavy
packages are imported by the functions that need them.
"""

from __future__ import annotations

import inspect
import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import click

from evalkit.api.arguments import RunLike, as_yaml_value, check_known, checked, name_of, path_of, texts_of
from evalkit.api.run_results import Plan, Run
from evalkit.config.options import build, declared_settings, given, typed_dict
from evalkit.config.run_config import ModelConfig, RunConfig, make_config
from evalkit.errors import ConfigError
from evalkit.records.model import RUN_FILE
from evalkit.streams import redirected

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from evalkit.api.run_options import GateOptions, RunOptions
    from evalkit.baselines.audit.findings import Audit
    from evalkit.comparison.compare import Comparison
    from evalkit.comparison.gate import Gate
    from evalkit.comparison.gate_policy import Policy
    from evalkit.comparison.leaderboard import Leaderboard
    from evalkit.evaluation.interrupt import StopSignals

PathLike: TypeAlias = "str | os.PathLike[str]"
Names: TypeAlias = "str | Sequence[str]"

GATED_OPTIONS = tuple(key for key, setting in declared_settings(RunConfig).items() if setting.option.gate)
"""Options of a run that `gate` takes besides, for ``run_model``."""


# --- run and read -----------------------------------------------------------------------------------------------------


@overload
def run(
    *,
    config: PathLike | None = ...,
    quiet: bool = ...,
    dry_run: Literal[False] | None = ...,
    **options: Unpack[RunOptions],
) -> Run: ...
@overload
def run(
    *, config: PathLike | None = ..., quiet: bool = ..., dry_run: Literal[True], **options: Unpack[RunOptions]
) -> Plan: ...
@overload
def run(
    *, config: PathLike | None = ..., quiet: bool = ..., dry_run: bool | None, **options: Unpack[RunOptions]
) -> Run | Plan: ...
def run(
    *,
    config: PathLike | None = None,
    quiet: bool = False,
    dry_run: bool | None = None,
    **options: Unpack[RunOptions],
) -> Run | Plan:
    """Run suites on a model; the same call again continues a run that was interrupted.

    It sets the seeds of random, NumPy and torch, as lm-eval does; who draws numbers afterwards sets them again.

    Args:
        config: YAML file with the options below as keys; arguments win.
        quiet: leave stderr empty; else progress is said there.
        dry_run: look at model and requests, score nothing, and return the `Plan`.
        options: see below; a list stands for an option that the command line repeats.

    Raises:
        ConfigError, DataError, ModelError, SandboxError, StoreError: before anything was computed, where it can be
            known.
    """
    check_known(options, declared_settings(RunConfig), "run")
    config, quiet, dry_run = checked(
        "run", config=(config, str | None), quiet=(quiet, bool), dry_run=(dry_run, bool | None)
    )
    asked = {name: as_yaml_value("run", name, value) for name, value in options.items()}
    command = ["evalkit.run", *(f"{name}={value}" for name, value in asked.items())]
    return run_as_asked(config, asked | {"dry_run": dry_run}, command, quiet=quiet)


def run_as_asked(
    config: PathLike | None,
    options: dict[str, Any],
    command: Sequence[str],
    *,
    quiet: bool = False,
    signals: StopSignals | None = None,
) -> Run | Plan:
    """Run what options say; `run` with what the command line adds.

    Args:
        config: YAML file, or None.
        options: by key; None and empty for those that are not given.
        command: for the record.
        quiet: leave stderr empty; else progress is said there.
        signals: see `evalkit.evaluation.run.run`.
    """
    asked = make_config(None if config is None else Path(config), options)
    with _stderr(quiet), _alone():
        from evalkit.evaluation.run import run as run_config

        try:
            finished = run_config(asked, command, _say, signals)
        except KeyboardInterrupt:
            if signals is None:
                _say("stopped; what was finished is kept, and the same call goes on from there")
            raise
    return Plan(finished.report) if finished.record is None else Run.of(finished.record)


def read_run(path: RunLike, *, partial: bool = False) -> Run:
    """Read a run from its folder, from its run.json, or from a results file of lm-eval.

    Args:
        path: where it is.
        partial: also an unfinished one: what is there, marked as unfinished.

    Raises:
        StoreError: no finished run is there, it is damaged, or it was written by a newer evalkit.
    """
    (partial,) = checked("read_run", partial=(partial, bool))
    folder = path_of(path)
    if partial and not (folder / RUN_FILE).exists() and folder.name != RUN_FILE:
        from evalkit.evaluation.partial import partial_record

        return Run.of(partial_record(folder))
    from evalkit.results import reading

    return Run.of(reading.read_run(folder))


# --- compare and judge ------------------------------------------------------------------------------------------------


def compare(a: RunLike, b: RunLike, *, suite: Names = (), task: Names = ()) -> Comparison:
    """Say what changed from one finished run to another, on the documents that both scored.

    Args:
        a: the first run.
        b: the second one; differences are B minus A, in percentage points.
        suite: suites to compare; with neither suite nor task all.
        task: single tasks to compare besides.

    Raises:
        StoreError, ConfigError, DataError: a run cannot be read, or they have nothing in common.
    """
    from evalkit.comparison import compare as comparing

    suites, tasks = texts_of("compare", "suite", suite), texts_of("compare", "task", task)
    return comparing.compare(path_of(a), path_of(b), suites=suites, tasks=tasks)


def gate(
    candidate: RunLike | None = None,
    baseline: RunLike | None = None,
    *,
    margin: float | None = None,
    alpha: float | None = None,
    policy: PathLike | Policy | None = None,
    suite: Names = (),
    allow_different: Names = (),
    across_protocols: bool = False,
    allow_missing: bool = False,
    run_model: str | None = None,
    order_seed: int = 0,
    quiet: bool = False,
    **options: Unpack[GateOptions],
) -> Gate:
    """Say whether a model is worse than a baseline by more than a margin.

    Args:
        candidate: a finished run; None with `run_model`.
        baseline: a run, or the name or file of a published result.
        margin: acceptable loss in percentage points; 1.0 unless given.
        alpha: level of the verdict as a whole, a probability; 0.05 unless given.
        policy: YAML file in place of margin, alpha and suite: margins and tiers of suites and tasks.
        suite: suites to judge; all unless given.
        allow_different: fields that may differ: dtype, data...
        across_protocols: compare although the protocols differ; the result is marked.
        allow_missing: take documents that the candidate lacks as wrong.
        run_model: in place of a candidate: score this model, only as far as needed.
        order_seed: with `run_model`: order of documents.
        quiet: leave stderr empty; else progress is said there.
        options: with `run_model`: data, device, dtype, loader, revision, adapter, tokenizer, trust_remote_code, as
            for `run`.

    Raises:
        ConfigError: wrong use, or not comparable; the message names what differs.
        StoreError, DataError, ModelError: as for a run.
    """
    check_known(options, GATED_OPTIONS, "gate")
    margin, alpha, across_protocols, allow_missing, run_model, order_seed, quiet = checked(
        "gate",
        margin=(margin, float | None),
        alpha=(alpha, float | None),
        across_protocols=(across_protocols, bool),
        allow_missing=(allow_missing, bool),
        run_model=(run_model, str | None),
        order_seed=(order_seed, int),
        quiet=(quiet, bool),
    )
    if baseline is None:
        raise ConfigError("--baseline: give the run or the published result that the candidate must not fall behind")
    if (candidate is None) == (run_model is None):
        raise ConfigError("give either the folder of a finished run, or --run-model MODEL")
    suites, different = texts_of("gate", "suite", suite), texts_of("gate", "allow_different", allow_different)
    different = (*different, "protocol") if across_protocols else different
    if policy is not None:
        from evalkit.comparison.gate_policy import Policy, read_policy

        said = {"--margin": margin, "--alpha": alpha, "--suite": suites or None}
        for name, given_value in said.items():
            if given_value is not None:
                raise ConfigError(f"{name} and --policy: the policy file says it; leave {name} out")
        if run_model is not None:
            raise ConfigError("--policy goes with a finished run; with --run-model give --margin, --alpha and --suite")
        policy = policy if isinstance(policy, Policy) else read_policy(path_of(policy))
    asked = given({name: as_yaml_value("gate", name, value) for name, value in options.items()})
    levels = {"margin": 1.0 if margin is None else margin, "alpha": 0.05 if alpha is None else alpha}
    if candidate is not None:
        if asked or order_seed:
            name = next(iter(asked), "order_seed").replace("_", "-")
            raise ConfigError(f"--{name} goes with --run-model; a finished run has its own settings")
        from evalkit.comparison import gate as judging

        return judging.gate(
            path_of(candidate),
            name_of(baseline),
            **levels,
            suites=suites,
            allow_different=different,
            allow_missing=allow_missing,
            policy=policy,
        )
    from evalkit.evaluation.gate_run import gate_model

    if allow_missing:
        raise ConfigError("--allow-missing goes with a finished run; --run-model scores every document anew")
    with _stderr(quiet), _alone():
        return gate_model(
            build(ModelConfig, {"model": run_model, **asked}),
            name_of(baseline),
            **levels,
            suites=suites,
            allow_different=different,
            seed=order_seed,
            data=texts_of("gate", "data", asked.get("data", ())),
            say=_say,
        )


# --- what others published --------------------------------------------------------------------------------------------


def audit(path: PathLike, *, strict: bool = False) -> Audit:
    """Recompute the averages, totals, changes and standard errors of a published log, model card or web page.

    Args:
        path: the file.
        strict: also take numbers that do not fit the number of documents as inconsistent.

    Raises:
        DataError: the file cannot be read.
    """
    from evalkit.baselines.audit.findings import audit_file

    (strict,) = checked("audit", strict=(strict, bool))
    return audit_file(path_of(path), strict=strict)


def leaderboard(
    runs: RunLike | Iterable[RunLike] = (),
    *,
    sort: str = "average",
    all: bool = False,
    across_protocols: bool = False,
    warn: Callable[[str], None] | None = None,
) -> Leaderboard:
    """Rank runs (and baseline files or logs) among all published baselines, with standard errors and possible ranks.

    Args:
        runs: those to rank among them.
        sort: suite to rank by, or ``average``; scores are in per cent.
        all: also show second records of a model that is shown.
        across_protocols: also rank, with a mark, what another protocol measured.
        warn: is told of files of baselines that cannot be read; unless given, stderr is.

    Raises:
        ConfigError, DataError, StoreError: a run cannot be found or read, or `sort` is no suite.
    """
    from evalkit.comparison.leaderboard import Leaderboard, standings

    sort, all, across_protocols = checked(
        "leaderboard", sort=(sort, str), all=(all, bool), across_protocols=(across_protocols, bool)
    )
    several = runs if isinstance(runs, Iterable) and not isinstance(runs, (str, bytes, os.PathLike)) else [runs]
    names = [name_of(each) for each in several]
    models = standings(names, all_records=all, warn=warn or (lambda line: _say(f"warning: {line}")))
    return Leaderboard(tuple(models), sort, across_protocols)


# --- arguments --------------------------------------------------------------------------------------------------------


def _say(line: str) -> None:
    """Progress goes to stderr: stdout holds the result alone."""
    click.echo(f"evalkit: {line}", err=True)


_running = threading.RLock()


@contextmanager
def _alone() -> Iterator[None]:
    """Let one thread at a time run a model: seeds and torch's number of threads are the whole process's."""
    if not _running.acquire(blocking=False):
        _say("waiting for a run in another thread of this process")
        _running.acquire()
    try:
        yield
    finally:
        _running.release()


def _stderr(quiet: bool) -> AbstractContextManager[object]:
    """Return where libraries' bars and our progress go nowhere, if that is wished."""
    return redirected("stderr", io.StringIO()) if quiet else nullcontext()


def _describe_options() -> None:
    """Give `run` the fields of `RunConfig` as its signature and in its docstring, where notebooks look for them."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = {name: found for name, found in inspect.signature(run).parameters.items() if name in ("config", "quiet")}
    of_config = {
        key: inspect.Parameter(
            key,
            keyword,
            default=inspect.Parameter.empty if key == "model" else setting.default,
            annotation=setting.kind,
        )
        for key, setting in declared_settings(RunConfig).items()
    }
    run.__signature__ = inspect.Signature([*of_config.values(), *own.values()])  # type: ignore[attr-defined]
    lines = [
        f"    {key}: {setting.option.help}" + (f" [default: {text}]" if (text := setting.default_text()) else "")
        for key, setting in declared_settings(RunConfig).items()
    ]
    run.__doc__ = "\n".join([inspect.cleandoc(run.__doc__ or ""), "", "Options:", *lines, ""])


_describe_options()


def option_types() -> str:
    """Return the text of evalkit/api/run_options.py, by which a type checker knows the options of `run` and `gate`."""
    known = declared_settings(RunConfig)
    of_gate = [known[key] for key in GATED_OPTIONS]
    of_run = [setting for key, setting in known.items() if key not in ("dry_run", *GATED_OPTIONS)]
    return _TYPES_HEAD + "\n\n".join(
        [
            typed_dict("GateOptions", "Options of `evalkit.gate` for its ``run_model``.", of_gate),
            typed_dict("RunOptions", "Options of `evalkit.run`.", of_run, "GateOptions"),
        ]
    )


_TYPES_HEAD = '''"""The options of `evalkit.run` and `evalkit.gate` as types (``python -m evalkit.api.functions``)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, TypeAlias, TypedDict

from evalkit.records.model import RunRecord

Text: TypeAlias = "str | os.PathLike[str]"


'''

if __name__ == "__main__":
    (Path(__file__).parent / "run_options.py").write_text(option_types(), encoding="utf-8")
