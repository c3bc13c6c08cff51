"""What the user of the gate asks for: which suites a policy wants, what it says of missing ones, margins and tiers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.comparison.gate_policy import Policy, Rule
from evalkit.comparison.questions import AVERAGE, Question
from evalkit.config.suites import Suite
from evalkit.errors import ConfigError
from evalkit.records.model import RunRecord


@dataclass(frozen=True)
class Asking:
    """What the user asked for."""

    candidate: RunRecord
    policy: Policy
    suites: tuple[str, ...]
    allowed: frozenset[str]
    allow_missing: bool

    def without_missing(
        self, wanted: Mapping[str, Rule], lacking: Mapping[str, str]
    ) -> tuple[list[str], list[str], list[str]]:
        """Return which of the wanted are there, notes about the others, and which of them leave it undecided.

        Args:
            wanted: suites or tasks.
            lacking: those that are missing -> who lacks what.
        """
        there, notes, absent = [], [], []
        refused = [name for name, rule in wanted.items() if name in lacking and rule.missing == "refuse"]
        if refused:
            are = "; ".join(f"{name} is judged, but {lacking[name]}" for name in refused)
            named = "" if self.policy.suites or self.policy.tasks else ", or name what is judged below 'suites'"
            raise ConfigError(
                f"{self.policy.source}: {are}; run {'it' if len(refused) == 1 else 'them'}, or say "
                f"'missing: undecided' or 'missing: ignore' in the policy{named}"
            )
        for name, rule in wanted.items():
            if name not in lacking:
                there.append(name)
            else:
                notes.append(f"not judged, because {lacking[name]}: {name} (policy: {rule.missing})")
                if rule.missing == "undecided" and rule.tier == "blocking":
                    absent.append(name)
        return there, notes, absent

    def lacking(self, wanted: Iterable[str], theirs: Mapping[str, Sequence[str]], whose: str) -> dict[str, str]:
        """Return which suites are missing, and who lacks what of them.

        A suite is judged by the baseline's tasks of it: what the candidate has besides takes nothing from it. One of
        which the candidate has a part is missing only where its rule says what that means; otherwise the comparison
        refuses the missing tasks by name, unless the user lets them differ.

        Args:
            wanted: the suites.
            theirs: the baseline's suites -> its tasks of each.
            whose: the baseline, for the message.
        """
        found = {}
        for name in wanted:
            tasks = theirs.get(name, ())
            gone = [task for task in tasks if task not in self.candidate.metrics]
            takes_part = self.policy.rule(name).missing == "refuse" or "tasks" in self.allowed
            if not tasks:
                found[name] = f"{whose} lacks it"
            elif len(gone) == len(tasks):
                found[name] = "the candidate lacks it"
            elif gone and not takes_part:
                tasks_gone = f"{gone[0]} of its tasks" if len(gone) == 1 else f"{len(gone)} of its {len(tasks)} tasks"
                found[name] = f"the candidate lacks {tasks_gone}"
        return found

    def averaged(self, chosen: Sequence[Suite]) -> list[Suite]:
        """Return the suites that the average is of: an advisory one has no say in an average that decides."""
        average = self.policy.rule(AVERAGE)
        return [
            suite
            for suite in chosen
            if suite.in_total and (average.tier == "advisory" or self.policy.rule(suite.name).tier == "blocking")
        ]

    def of_average(self, chosen: Sequence[Suite]) -> list[str]:
        """Return a note if the average leaves suites out, or if the policy asks for it and there is none."""
        if self.policy.average is None:
            return []
        averaged = self.averaged(chosen)
        out = [suite.title for suite in chosen if suite.in_total and suite not in averaged]
        are = f"{', '.join(out)} {'is' if len(out) == 1 else 'are'} advisory"
        if len(averaged) > 1:
            titles = ", ".join(suite.title for suite in averaged)
            return [f"the average is that of {titles}: {are}, without a part in what decides"] if out else []
        if not self.policy.asks_average and not (out and len(averaged) + len(out) > 1):
            return []
        asked = f" that {self.policy.source} asks for" if self.policy.asks_average else ""
        return [f"not judged: the average{asked}, because it takes two suites{f', and {are}' if out else ''}"]

    def with_rules(self, questions: Sequence[Question]) -> list[Question]:
        """Give each question its rule's margin and tier; leave the average out if the policy does."""
        found = []
        for asked in questions:
            if asked.key == AVERAGE and self.policy.average is None:
                continue
            rule = self.policy.rule(asked.key)
            found.append(replace(asked, margin=rule.margin, tier=rule.tier))
        return found
