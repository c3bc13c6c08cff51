"""The gate: is the candidate worse than the baseline by more than a margin?

Each suite and their average are tested for non-inferiority, document by document where both runs have records, against
the published aggregate otherwise; `questions` says what the level means. A policy file gives suites and
tasks margins of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evalkit.baselines import Baseline, load_baseline
from evalkit.comparison import comparable
from evalkit.comparison.chosen import chosen_suites, model_title, names_a_run, suites_in, tasks_of
from evalkit.comparison.comparable import Difference
from evalkit.comparison.gate_asking import Asking
from evalkit.comparison.gate_missing import counted_by_name, in_neither, lost_of, with_lost, with_wrong
from evalkit.comparison.gate_policy import Policy, Rule
from evalkit.comparison.gate_sides import published_side, sides_of
from evalkit.comparison.pairing import TaskPair, TaskScores, pair, scores_of
from evalkit.comparison.questions import (
    Judged,
    Question,
    Verdict,
    judge,
    paired_question,
    paired_tests,
    part_title,
    unpaired_tests,
)
from evalkit.comparison.remarks import remarks, without_passages
from evalkit.comparison.run_scores import RunScores, run_scores
from evalkit.comparison.whole import LostDocumentsError
from evalkit.config.suites import Suite, load_suites
from evalkit.errors import ConfigError, StoreError
from evalkit.records.model import SAMPLES_FILE, RunRecord
from evalkit.records.samples import Sample
from evalkit.results.reading import has_samples, read_run

if TYPE_CHECKING:
    import pandas as pd

EXIT_CODES: dict[Verdict, int] = {"pass": 0, "worse": 1, "undecided": 3}


@dataclass(frozen=True)
class Gate:
    """A verdict and everything that belongs to it.

    Attributes:
        candidate: name of the candidate.
        baseline: name of the baseline.
        paired: True if the test went document by document.
        margin: largest acceptable loss in percentage points, where a part has none of its own.
        alpha: level; see `evalkit.comparison.questions`.
        judged: the suites in reporting order, then the average, then single tasks.
        allowed: fields that differ and were allowed to.
        notes: what a reader should know.
        sequential: what a sequential run adds: seed, looks, documents, what was saved; None otherwise.
        absent: what the policy wants and a run lacks, where that leaves the verdict undecided.
    """

    candidate: str
    baseline: str
    paired: bool
    margin: float
    alpha: float
    judged: tuple[Judged, ...]
    allowed: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    sequential: Mapping[str, object] | None = None
    absent: tuple[str, ...] = ()

    @property
    def blocking(self) -> tuple[Judged, ...]:
        """The parts that make the verdict."""
        return tuple(item for item in self.judged if item.asked.tier == "blocking")

    @property
    def verdict(self) -> Verdict:
        """Worse if any blocking part is, pass if all of them do, else undecided."""
        found = {item.verdict for item in self.blocking}
        if "worse" in found:
            return "worse"
        return "undecided" if "undecided" in found or self.absent else "pass"

    @property
    def exit_code(self) -> int:
        """0 pass, 1 worse, 3 undecided."""
        return EXIT_CODES[self.verdict]

    def __bool__(self) -> bool:
        """Whether it is passed: ``assert evalkit.gate(...)`` must not hold for a model that got worse."""
        return self.verdict == "pass"

    def __repr__(self) -> str:
        return f"<evalkit.Gate of {self.candidate} against {self.baseline}: {self.verdict}>"

    def _repr_markdown_(self) -> str:
        from evalkit.comparison.gate_text import gate_markdown

        return gate_markdown(self)

    def to_frame(self) -> pd.DataFrame:
        """Return a row a part: suites, their average, single tasks; scores in per cent, the rest in points.

        Columns: suite, title, baseline, candidate, difference (candidate minus baseline), stderr (the error that
        decided), low (the difference is at least this with confidence 1 - alpha; one-sided, so there is no high),
        margin, p (of being worse by the margin or more; small says that it isn't), p_worse (of not being; corrected
        for the number of parts), documents, needed (documents that would decide it), tier, verdict.
        """
        from evalkit.comparison.gate_text import gate_frame

        return gate_frame(self)


def check_levels(margin: float, alpha: float) -> None:
    """Raise `ConfigError` unless the margin (points) and the level make sense."""
    if not (math.isfinite(margin) and 0 < margin < 100):
        raise ConfigError(f"--margin {margin:g}: give percentage points above 0 and below 100")
    if not 0 < alpha < 0.5:
        raise ConfigError(f"--alpha {alpha:g}: give a level above 0 and below 0.5")


def gate(
    candidate: Path,
    baseline: str,
    *,
    margin: float = 1.0,
    alpha: float = 0.05,
    suites: Sequence[str] = (),
    allow_different: Sequence[str] = (),
    allow_missing: bool = False,
    policy: Policy | None = None,
) -> Gate:
    """Judge a finished run by another run or by a published result.

    Args:
        candidate: the folder of a finished run.
        baseline: the folder of another one, or what `load_baseline` takes.
        margin: largest acceptable loss in percentage points.
        alpha: level.
        suites: suites to judge; by default all that the baseline has and (of a published result) the candidate too.
        allow_different: fields of `comparable.FIELDS` that may differ.
        allow_missing: documents that the candidate lacks count as wrong, instead of refusing.
        policy: rules in place of `margin`, `alpha` and `suites`.

    Raises:
        ConfigError: wrong use, or results that are not comparable; the message names what differs.
        StoreError, DataError: a run cannot be read, or lacks scores or documents.
    """
    if policy is None:
        check_levels(margin, alpha)
        rule = Rule(margin)
        policy = Policy(alpha, rule, average=rule)
    asking = Asking(read_run(candidate), policy, tuple(suites), comparable.parse_fields(allow_different), allow_missing)
    if names_a_run(baseline):
        return _against_run(asking, read_run(Path(baseline)))
    return _against_published(asking, load_baseline(baseline))


def _against_run(asking: Asking, baseline: RunRecord) -> Gate:
    candidate, policy = asking.candidate, asking.policy
    both = f"{candidate.folder} and {baseline.folder}"
    theirs = suites_in(baseline)
    wanted = policy.suites or (dict.fromkeys(theirs, policy.default) if policy.source else {})
    of_suites = {name: tasks_of(baseline, [suite]) for name, suite in theirs.items()}
    lacking = asking.lacking(wanted, of_suites, "the baseline")
    names, notes, absent = asking.without_missing(wanted, lacking)
    lacking_tasks = {
        name: f"the {whose} lacks it"
        for whose, record in (("candidate", candidate), ("baseline", baseline))
        for name in policy.tasks
        if name not in record.metrics
    }
    singles, more_notes, more_absent = asking.without_missing(policy.tasks, lacking_tasks)
    if wanted and not names and not singles:
        return _nothing_judged(
            asking,
            both,
            f"{model_title(baseline)} (run {baseline.folder.name})",
            [*notes, *more_notes],
            [*absent, *more_absent],
        )
    chosen = []
    if names or not wanted:
        chosen = chosen_suites(names or asking.suites, theirs, str(baseline.folder))
    tasks = list(dict.fromkeys([*tasks_of(baseline, chosen), *singles]))
    granted = comparable.split(comparable.between_runs(candidate, baseline, tasks), asking.allowed, both)
    tasks = [task for task in tasks if task in candidate.metrics]
    chosen = [suite for suite in chosen if any(task.name in tasks for task in suite.tasks)]
    if not tasks:
        what = ""
        if any(task in baseline.metrics for task in candidate.metrics):
            what = f" of {', '.join(asking.suites) or 'the suites asked for'}"
        raise ConfigError(f"{both} have no task{what} in common, so there is nothing to judge")
    notes = [*remarks(candidate, baseline), *comparable.named(candidate, baseline), *notes, *more_notes]
    notes += asking.of_average(chosen)
    extra = [suite for name, suite in suites_in(candidate).items() if name not in theirs]
    if extra and not asking.suites and not policy.suites:
        notes.append(f"not judged, because the baseline lacks it: {', '.join(suite.title for suite in extra)}")
    more_tasks = [task for task in tasks_of(candidate, chosen) if task not in baseline.metrics]
    if more_tasks:
        notes.append(f"not judged, because the baseline lacks it: {', '.join(more_tasks)}")
    paired = all(has_samples(record) for record in (candidate, baseline))
    if paired:
        try:
            pairs = pair(
                candidate, baseline, tasks, drop_failed="failed" in asking.allowed, allow_missing=asking.allow_missing
            )
        except LostDocumentsError as error:
            raise StoreError(f"{error}, or see --allow-missing ({_MISSING})") from None
        notes += without_passages(
            {name: ((candidate, found.candidate), (baseline, found.baseline)) for name, found in pairs.items()}
        )
        scores = _checked_scores(asking, baseline, pairs, notes)
        tests = [*paired_tests(scores, chosen, policy.default.margin, asking.averaged(chosen))]
        tests += [_single(asking, pairs[name], policy.tasks[name]) for name in singles]
    else:
        known = [_run_scores(asking, record) for record in (candidate, baseline)]
        notes += _without_samples(known, chosen)
        for record, scores_of_run in zip((candidate, baseline), known, strict=True):
            notes += without_passages(_one_side(record, scores_of_run, tasks))
        if singles:
            raise ConfigError(f"{policy.source}: tasks: single tasks are judged by documents; a run lacks its own")
        parts = [_part_of(suite, tasks) for suite in chosen]
        own, other = (sides_of(scores, parts, beside) for scores, beside in zip(known, reversed(known), strict=True))
        averaged = {suite.name for suite in asking.averaged(chosen)}
        of_average = [part for part in parts if part.name in averaged]
        tests = unpaired_tests(own, other, parts, policy.default.margin, of_average)
    return Gate(
        model_title(candidate),
        f"{model_title(baseline)} (run {baseline.folder.name})",
        paired,
        policy.default.margin,
        policy.alpha,
        judge(asking.with_rules(tests), policy.alpha),
        tuple(granted),
        tuple(notes),
        absent=(*absent, *more_absent),
    )


def _nothing_judged(asking: Asking, both: str, baseline: str, notes: Sequence[str], absent: Sequence[str]) -> Gate:
    """Return the verdict where all that the policy wants is missing: open where it says so, else there is none."""
    if not absent:
        raise ConfigError(f"{both}: nothing is left to judge: {'; '.join(notes)}")
    policy = asking.policy
    candidate = model_title(asking.candidate)
    return Gate(
        candidate, baseline, False, policy.default.margin, policy.alpha, (), notes=tuple(notes), absent=tuple(absent)
    )


def _part_of(suite: Suite, tasks: Sequence[str]) -> Suite:
    """Return a suite of those of its tasks that are compared, which its title then counts."""
    common = tuple(task for task in suite.tasks if task.name in tasks)
    return msgspec.structs.replace(suite, tasks=common, title=part_title(suite, len(common)))


_MISSING = "what the candidate lacks is wrong, what the baseline lacks is left out"
"""What ``--allow-missing`` does."""


def _checked_scores(
    asking: Asking, baseline: RunRecord, pairs: Mapping[str, TaskPair], notes: list[str]
) -> dict[str, TaskScores]:
    """Return both runs' scores of the same documents; what one run lacks refuses, counts as wrong, or is said."""
    scores = scores_of(pairs)
    may_differ = bool({"data", "limit"} & asking.allowed)
    lacking = {name: found for name, found in pairs.items() if found.left_out}
    lost = {name: len(found.missing) for name, found in lacking.items() if found.missing}
    failed = {name: found.failed for name, found in lacking.items() if found.failed}
    extra = {
        name: count
        for name, found in lacking.items()
        if (count := found.left_out - len(found.missing) - found.failed) > 0
    }
    if lost and asking.allow_missing:
        # Other data may lack documents; those that the candidate's own record counts are lost all the same.
        own = {name: lost_of(asking.candidate, pairs[name], every=not may_differ) for name in lost}
        wrong = {name: len(found.missing) for name, found in own.items() if found.missing}
        for name in wrong:
            scores[name] = with_wrong(own[name], scores[name], own[name].task.headline, pairs)
        if wrong:
            notes.append(
                f"missing: the candidate lacks {counted_by_name(wrong)}, which count as wrong (--allow-missing)"
            )
        lost = {name: rest for name, count in lost.items() if (rest := count - wrong.get(name, 0))}
    if (lost or extra) and not may_differ:
        parts = [f"the candidate lacks {counted_by_name(lost)}"] if lost else []
        parts += [f"the baseline lacks {counted_by_name(extra)}"] if extra else []
        if lost or not asking.allow_missing:
            raise ConfigError(
                f"{asking.candidate.folder} and {baseline.folder}: other documents: {'; '.join(parts)}; rerun what is "
                f"incomplete, or see --allow-missing ({_MISSING})"
            )
    if asking.allow_missing:
        neither = {name: count for name, found in pairs.items() if (count := in_neither(asking.candidate, found))}
        for name, count in neither.items():
            scores[name] = with_lost(scores[name], count)
        if neither:
            what = "which count as right in the baseline and wrong in the candidate (--allow-missing)"
            notes.append(f"missing: neither run has {counted_by_name(neither)}, {what}")
    empty = [name for name, found in scores.items() if not len(found.candidate)]
    if empty:
        raise ConfigError(f"{', '.join(empty)}: nothing to compare, the runs have no document of it in common")
    left_out = [f"{counted_by_name(lost)} that the candidate lacks"] if lost else []
    left_out += [f"{counted_by_name(extra)} that the baseline lacks"] if extra else []
    left_out += [f"{counted_by_name(failed)} without a score in a run"] if failed else []
    if left_out:
        used = sum(len(found.differences) for found in scores.values())
        notes.append(f"{used:,} documents are judged; left out: {'; '.join(left_out)}")
    return scores


def _single(asking: Asking, found: TaskPair, rule: Rule) -> Question:
    """Return the question about one task, by the metric that its rule names."""
    name, metric = found.task.name, rule.metric or found.task.headline
    scores = found.scores(metric)
    if asking.allow_missing:
        wrong = float(rule.lower_is_better)
        scores = with_wrong(found, scores, metric, {name: found}, wrong)
        scores = with_lost(scores, in_neither(asking.candidate, found), wrong)
    title = name if rule.metric is None else f"{name} ({metric})"
    if not rule.lower_is_better:
        return paired_question(name, title, {name: scores}, {name: 1.0}, rule.margin)
    turned = replace(scores, candidate=-scores.candidate, baseline=-scores.baseline)
    title += ", lower is better: the difference is what was gained"
    asked = paired_question(name, title, {name: turned}, {name: 1.0}, rule.margin)
    return replace(asked, candidate=-asked.candidate, baseline=-asked.baseline)


def _against_published(asking: Asking, baseline: Baseline) -> Gate:
    candidate, policy, names = asking.candidate, asking.policy, asking.suites
    if policy.tasks:
        raise ConfigError(f"{policy.source}: tasks: single tasks are judged against a run, not against a publication")
    published = {name: score for name, suite in load_suites().items() if (score := baseline.score(suite)) is not None}
    of_suites = {name: [task.name for task in load_suites()[name].tasks] for name in published}
    rules = policy.suites or (dict.fromkeys(published, policy.default) if policy.source else {})
    lacking = asking.lacking(rules, of_suites, "the publication")
    wanted, notes_missing, absent = asking.without_missing(rules, lacking)
    if rules and not wanted:
        both = f"{candidate.folder} and {baseline.slug}"
        return _nothing_judged(asking, both, baseline.name, notes_missing, absent)
    names = tuple(wanted) or names
    available = {name: score for name, score in published.items() if names or name in suites_in(candidate)}
    chosen = chosen_suites(names, available, baseline.slug)
    if not chosen:
        raise ConfigError(f"{candidate.folder} has no suite for which {baseline.slug} has a score")
    differences = comparable.with_published(candidate, baseline, [suite.name for suite in chosen])
    # A suite's published average is one of all its tasks and documents.
    granted = comparable.split(
        differences, asking.allowed, f"{candidate.folder} and {baseline.slug}", never=frozenset({"tasks", "failed"})
    )
    notes = [f"unpaired: {baseline.name} is a published aggregate ({baseline.source}, {baseline.retrieved})"]
    dtype = candidate.model.dtype
    own_dtype = "not recorded either" if dtype == "unknown" else dtype
    notes += [f"dtype: the publication does not say its own; the candidate's is {own_dtype}"]
    notes += comparable.not_recorded(candidate, chosen)
    bounds = [suite.title for suite in chosen if published[suite.name].stderr_from == "bound"]
    if bounds:
        notes.append(f"only an average was published, so its error is an upper bound: {', '.join(bounds)}")
    notes += [f"HumanEval: {found.note}" for suite in chosen if (found := baseline.pass_at_1(suite)) is not None]
    unasked = [name for name in published if name not in available]
    if unasked:
        titles = ", ".join(load_suites()[name].title for name in unasked)
        notes.append(f"not judged, because the candidate did not run it: {titles}")
    extra = [suite.title for name, suite in suites_in(candidate).items() if name not in published]
    if extra and not asking.suites and not policy.suites:
        notes.append(f"not judged, because the publication lacks it: {', '.join(extra)}")
    notes += [*remarks(candidate), *notes_missing, *asking.of_average(chosen)]
    scores = _run_scores(asking, candidate)
    own = sides_of(scores, chosen)
    other = {
        suite.name: published_side(baseline, suite, published[suite.name]).widened(scores.design_effect(suite))
        for suite in chosen
    }
    notes += without_passages(_one_side(candidate, scores, tasks_of(candidate, chosen)))
    notes += _without_samples([scores], chosen)
    tests = unpaired_tests(own, other, chosen, policy.default.margin, asking.averaged(chosen))
    return Gate(
        model_title(candidate),
        baseline.name,
        False,
        policy.default.margin,
        policy.alpha,
        judge(asking.with_rules(tests), policy.alpha),
        tuple(granted),
        tuple(notes),
        absent=tuple(absent),
    )


def _run_scores(asking: Asking, record: RunRecord) -> RunScores:
    """Return a run's scores for an unpaired comparison, where nothing says which documents are lost."""
    try:
        return run_scores(record)
    except LostDocumentsError as error:
        if not asking.allow_missing:
            raise
        why = "--allow-missing needs both runs' documents, to say which are missing"
        raise StoreError(f"{error} ({why})") from None


def _one_side(
    record: RunRecord, scores: RunScores, tasks: Iterable[str]
) -> dict[str, tuple[tuple[RunRecord, Sequence[Sample]]]]:
    """Return by task a run's own documents, as far as they are there."""
    samples = scores.samples or {}
    return {name: ((record, samples[name]),) for name in tasks if name in samples}


def _without_samples(known: Sequence[RunScores], judged: Sequence[Suite]) -> list[str]:
    """Say what is not known without the documents of a run or two, and what that does to the judged suites' errors."""
    lacking = [scores.record for scores in known if scores.samples is None]
    if not lacking:
        return []
    tasks = set.intersection(*(set(scores.record.metrics) for scores in known))
    passages = [suite.title for suite in judged if any(task.passages and task.name in tasks for task in suite.tasks)]
    errors = ["so documents cannot be paired, which makes errors larger"] if len(known) > 1 else []
    if passages and len(lacking) == len(known):
        errors.append(
            f"so errors of suites with passages ({', '.join(passages)}) are the largest that passages can make: all "
            "questions of one right or wrong together"
        )
    folders = " and ".join(str(record.folder) for record in lacking)
    return [f"unpaired: no {SAMPLES_FILE} in {folders}, {', and '.join(errors)}"] if errors else []
