"""May two results be compared? What differs between them in ways that move scores, named field by field.

A field that differs refuses the comparison unless the user allows it by name; what was allowed is part of the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.baselines import Baseline
from evalkit.comparison.pairing import cut_from, data_sha256
from evalkit.config.options import Setting
from evalkit.config.run_config import RunConfig
from evalkit.config.suites import Suite, find_task, load_suites, with_chat, with_programs
from evalkit.errors import ConfigError, did_you_mean, some
from evalkit.records.identity import MOVING, ModelIdentity
from evalkit.records.model import Foreign, RunRecord
from evalkit.results.lm_eval_settings import ASKING, REFUSED

FIELDS = {
    "protocol": "how requests are made",
    "data": "the documents",
    "limit": "the number of documents of each task",
    "tasks": "the tasks",
    "dtype": "the weights' number format",
    "add_bos": "a BOS token before every request",
    "apply_chat_template": "contexts in the model's chat template",
    "chat_template": "the text of the chat template in use",
    "system": "the system prompt",
    "max_new_tokens": "a lower limit on the length of generated texts",
    "fewshot_as_multiturn": "the examples as turns of a conversation (results files of lm-eval)",
    "gen_kwargs": "how texts are generated (results files of lm-eval)",
    "model_args": "arguments of the model that change what it is asked (results files of lm-eval)",
    "task_version": "the version of a task (results files of lm-eval)",
    "task_config": "a task's configuration (results files of lm-eval)",
    "requests": "a document's requests or gold answer, or lm-eval's hash over a task's (results files of lm-eval)",
    "other": "what else answers depend on, as the adapter says it: a server's version, its address...",
    "failed": "documents without a score",
}
"""What is checked, and what it stands for; besides these every option that moves scores."""

_ELSEWHERE = ("limit", "system_in_user", "seed")
# Options that a comparison says in its own way: the limit as documents, where the system prompt is with the prompt; of
# the seed only draws depend, and it is named without refusing.
_OF_PROGRAMS = ("samples", "temperature")
_OF_DRAWS = ("top_p", "top_k", "repetition_penalty")
# Options of tasks whose texts are programs; no other task's answers depend on them.
_OPTIONS = {key: setting for key, setting in MOVING.items() if key not in _ELSEWHERE}
FIELDS |= {key: setting.option.help for key, setting in _OPTIONS.items() if key not in FIELDS}


@dataclass(frozen=True)
class Difference:
    """One field in which two results differ.

    Attributes:
        field: a key of `FIELDS`.
        candidate: its value in the candidate.
        baseline: its value in the baseline; empty where the candidate's says it all.
    """

    field: str
    candidate: str
    baseline: str

    def __str__(self) -> str:
        return f"{self.field}: {self.candidate}" + (f", baseline {self.baseline}" if self.baseline else "")


def parse_fields(names: Iterable[str]) -> frozenset[str]:
    """Return the fields that a user allows to differ.

    Raises:
        ConfigError: no such field; names the nearest one.
    """
    found = [name.strip().replace("-", "_") for name in names]
    for name in found:
        if name not in FIELDS:
            raise ConfigError(
                f"--allow-different {name}: no such field{did_you_mean(name, FIELDS)} (known: {', '.join(FIELDS)})"
            )
    return frozenset(found)


def split(
    found: Sequence[Difference], allowed: frozenset[str], what: str, never: frozenset[str] = frozenset()
) -> list[Difference]:
    """Return the differences that were allowed.

    Args:
        found: all of them.
        allowed: fields that may differ.
        what: the two results, for the message.
        never: fields that may not differ here, even if the user allows it.

    Raises:
        ConfigError: a field differs that may not.
    """
    refused = [difference for difference in found if difference.field not in allowed - never]
    if refused:
        fields = list(dict.fromkeys(d.field for d in refused))
        remedy = f"to compare all the same: {' '.join(f'--allow-different {name}' for name in fields)}"
        if never.intersection(fields):
            remedy = "choose complete suites with --suite, or run what is missing"
        raise ConfigError(f"{what} are not comparable: {'; '.join(map(str, refused))} ({remedy})")
    return list(found)


def between_runs(candidate: RunRecord, baseline: RunRecord, tasks: Sequence[str]) -> list[Difference]:
    """Return in what two runs differ.

    Args:
        candidate: the run to judge.
        baseline: the run to judge it by.
        tasks: the tasks to compare; those that the candidate lacks count as a difference.
    """
    left, right = settings(candidate, tasks), settings(baseline, tasks)
    found = _protocols(candidate, baseline, tasks)
    found += [Difference(name, left[name], right[name]) for name in left if left[name] != right[name]]
    found += other_template(template_of(candidate), template_of(baseline))
    missing = [task for task in tasks if task not in candidate.metrics]
    if missing:
        found.append(Difference("tasks", f"without {some(missing)}", f"{len(tasks)} tasks"))
    common = [task for task in tasks if task not in missing]
    other = [task for task in common if not _same_content(candidate, baseline, task)]
    if other and (candidate.foreign is None) != (baseline.foreign is None):
        text = f"not known to be the same for {some(other)}: lm-eval and evalkit hash documents in different ways"
        found.append(Difference("data", text, ""))
    elif other:
        sides = [_content(record, other[0]) for record in (candidate, baseline)]
        found.append(Difference("data", f"{sides[0]} for {some(other)}", sides[1]))
    found += other_identity(candidate.identity, baseline.identity)
    found += _foreign(candidate, baseline, common, found)
    failed = [(_failed(candidate, common), _failed(baseline, common))]
    found += [Difference("failed", _documents(a), _documents(b)) for a, b in failed if a or b]
    return found


def with_published(candidate: RunRecord, baseline: Baseline, suites: Sequence[str]) -> list[Difference]:
    """Return in what a run differs from the conditions of a published result."""
    known = load_suites()
    names = [task.name for suite in suites for task in known[suite].tasks]
    found = [
        Difference("protocol", f"{own} for {suite}", baseline.protocol_of(suite))
        for suite in suites
        if baseline.protocol_of(suite) != (own := protocol_of(candidate, known[suite])) or is_unknown(own)
    ]
    config = candidate.config
    for name, setting in _options_of(names).items():
        if _is_changed(setting, value := getattr(config, name)):
            usual = setting.option.default or _setting(setting.default)
            found.append(Difference(name, _setting(value), f"{usual} ({baseline.protocol})"))
    if config.limit:
        found.append(Difference("limit", f"first {config.limit} of each task", "all"))
    missing = [name for name in names if name not in candidate.metrics]
    if missing:
        found.append(Difference("tasks", f"without {some(missing)}", f"{len(names)} tasks"))
    present = [name for name in names if name not in missing]
    data = candidate.data
    verdicts = {name: data[name].verdict if name in data else "unknown" for name in present}
    samples = [name for name, verdict in verdicts.items() if verdict == "samples"]
    other = [name for name, verdict in verdicts.items() if verdict == "other"]
    if samples:
        found.append(Difference("data", f"built-in samples for {some(samples)}", "the published data"))
    if other:
        found.append(Difference("data", f"other content for {some(other)}", "the published data"))
    failed = _failed(candidate, present)
    return [*found, *([Difference("failed", _documents(failed), "none known")] if failed else [])]


def not_recorded(candidate: RunRecord, suites: Sequence[Suite]) -> list[str]:
    """Return what a result that is set against a publication does not say, so that nothing is known of it, and what
    it says that a publication does not."""
    tasks = [task.name for suite in suites for task in suite.tasks]
    data = {name: candidate.data[name] for name in tasks if name in candidate.data}
    unknown = [name for name, entry in data.items() if entry.verdict == "unknown"]
    found = []
    if unknown:
        found.append(f"data: not recorded whether {some(unknown)} had the published content")
    if candidate.foreign is not None:
        said = {name: value for name, value in candidate.foreign.settings.items() if _field(name)}
        found += [f"{name}: {brief(value)}; the publication does not say its own" for name, value in said.items()]
    return found


def protocol_of(record: RunRecord, suite: Suite) -> str:
    """Return the protocol by which a run measured a suite; an imported run says its own."""
    return suite.protocol if record.foreign is None else record.foreign.protocols.get(suite.name, record.protocol)


def is_unknown(protocol: str) -> bool:
    """Tell whether nothing says how something was measured; two such results need not have one protocol."""
    return protocol.partition(",")[0] == "unknown"


def _protocols(candidate: RunRecord, baseline: RunRecord, tasks: Sequence[str]) -> list[Difference]:
    """Return how the protocols of common tasks differ: an imported file may have other shots for each."""
    other: dict[tuple[str, str], list[str]] = {}
    for task in tasks:
        if task in candidate.metrics and task in baseline.metrics:
            a, b = (
                record.protocol if record.foreign is None else record.foreign.task_protocols.get(task, record.protocol)
                for record in (candidate, baseline)
            )
            if a != b:
                other.setdefault((a, b), []).append(task)
    whole = len(other) == 1
    return [Difference("protocol", a if whole else f"{a} for {some(n)}", b) for (a, b), n in other.items()]


def settings(record: RunRecord, tasks: Iterable[str]) -> dict[str, str]:
    """Return what two runs must have in common beside the protocols of their tasks, as text: field -> value.

    All options that move scores are among it, whoever adds one.
    """
    config = record.config
    return {
        "limit": f"first {config.limit} of each task" if config.limit else "all",
        "dtype": record.model.dtype,
        **{key: _setting(getattr(config, key)) for key in _options_of(tasks)},
        "system": _setting(config.system) + (" in the user's turn" if config.system_in_user else ""),
    }


def _options_of(tasks: Iterable[str]) -> dict[str, Setting]:
    """Return the options that move scores of these tasks, but those that are said elsewhere."""
    has_programs = bool(with_programs(tasks))
    return {key: setting for key, setting in _OPTIONS.items() if has_programs or key not in (*_OF_PROGRAMS, *_OF_DRAWS)}


def _is_changed(setting: Setting, value: Any) -> bool:
    return bool((value or None) != (setting.default or None))


def differing_options(config: RunConfig, baseline: RunRecord, tasks: Iterable[str]) -> list[Difference]:
    """Return in which options that move scores a run that is asked for differs from one that there is."""
    asked = config.to_dict()
    sides = {key: (_setting(asked[key]), _setting(getattr(baseline.config, key))) for key in _options_of(tasks)}
    return [Difference(key, ours, theirs) for key, (ours, theirs) in sides.items() if ours != theirs]


def named(candidate: RunRecord, baseline: RunRecord) -> list[str]:
    """Return the options that move scores, differ, and do not refuse a comparison."""
    first, second = candidate.config.seed, baseline.config.seed
    is_known = candidate.foreign is None and baseline.foreign is None
    return [f"seed: {first}, baseline {second}; sampled texts depend on it"] if is_known and first != second else []


def recorded(candidate: RunRecord, baseline: RunRecord, tasks: Iterable[str]) -> list[tuple[str, str, str, str]]:
    """Return what else two results files of lm-eval say of how they measured, where it differs.

    As (field, setting, candidate's value, baseline's value); the field is a key of `FIELDS`, or empty where a
    difference is said and does not refuse. What only one of the files speaks of at all (versions, configurations) is
    not compared.
    """
    left, right = candidate.foreign, baseline.foreign
    if left is None or right is None:
        return []
    found = [
        (
            _field(name),
            name.partition(" ")[2] or name,
            left.settings.get(name, "none"),
            right.settings.get(name, "none"),
        )
        for name in {**left.settings, **right.settings}
        if left.settings.get(name) != right.settings.get(name)
    ]
    for task in tasks:
        a, b = left.task_settings.get(task, {}), right.task_settings.get(task, {})
        for name in {**a, **b}:
            kind, _, rest = name.partition(" ")
            of = f" of {rest.rpartition(' of ')[2]}" if " of " in name else ""
            known = f"configured{of}" if kind == "task_config" else name
            if kind == "configured" or a.get(name) == b.get(name) or known not in a or known not in b:
                continue
            label = rest if kind == "task_config" else name.removeprefix("task_")
            found.append((_field(name), f"{task}: {label}", a.get(name, "none"), b.get(name, "none")))
        found += _other_requests(left, right, task)
    return found


def one_sided(candidate: RunRecord, baseline: RunRecord) -> list[str]:
    """Return what of two results files of lm-eval only one records, so that it cannot be compared."""
    if candidate.foreign is None or baseline.foreign is None:
        return []
    found: dict[tuple[str, str], list[str]] = {}
    a, b = candidate.foreign.task_settings, baseline.foreign.task_settings
    for task in (task for task in a if task in b):
        for name in sorted(a[task].keys() ^ b[task].keys()):
            kind = {"configured": "configuration", "task_version": "version", "task_hash": "hash"}.get(name.split()[0])
            if kind is not None:
                found.setdefault((kind, "candidate" if name in a[task] else "baseline"), []).append(task)
    return [f"{kind}: only the {side} records that of {some(tasks)}" for (kind, side), tasks in found.items()]


def _field(name: str) -> str:
    """Return the field of `FIELDS` that a setting of lm-eval belongs to; empty for those that are only said."""
    kind, _, rest = name.partition(" ")
    if kind == "model_args":
        return kind if rest in ASKING else ""
    if kind == "task_hash":
        return "requests"
    return kind if kind in REFUSED else ""


def _other_requests(left: Foreign, right: Foreign, task: str) -> list[tuple[str, str, str, str]]:
    """Return a difference where documents of one hash were asked otherwise, or have another gold answer."""
    sides: list[dict[str, list[str]]] = []
    for side in (left, right):
        of_side: dict[str, list[str]] = {}
        for document, digest in zip(side.doc_hashes.get(task, ()), side.asked.get(task, ()), strict=True):
            of_side.setdefault(document, []).append(digest)
        sides.append(of_side)
    a, b = sides
    common = [name for name in a if name and name in b and a[name][0][0] == b[name][0][0]]
    other = [name for name in common if sorted(a[name]) != sorted(b[name])]
    if not other:
        return []
    return [("requests", f"{task}: requests or gold answers", f"{len(other):,} of {len(common):,} documents", "others")]


_EXPLAINED = ("apply_chat_template", "chat_template", "system", "add_bos", "fewshot_as_multiturn", "model_args")
"""Where one of these differs, so do the requests of every task."""


def _foreign(
    candidate: RunRecord, baseline: RunRecord, tasks: Sequence[str], others: Sequence[Difference]
) -> list[Difference]:
    """Return the differences of two results files of lm-eval that refuse a comparison.

    That requests, or lm-eval's hash over them, differ is named only where nothing else that is named explains it.
    """
    said = [entry for entry in recorded(candidate, baseline, tasks) if entry[0]]
    whole = any(d.field in (*_EXPLAINED, "protocol", "limit") for d in others) or any(e[0] in _EXPLAINED for e in said)
    explained = {name.partition(":")[0] for field, name, _, _ in said if field == "task_config"}
    by_data = {task for task in tasks if not _same_content(candidate, baseline, task)}
    asked = {name.partition(":")[0] for _, name, _, _ in said if name.endswith(": requests or gold answers")}
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for field, name, a, b in said:
        task, _, what = name.rpartition(": ")
        is_explained = whole or task in explained or (what.startswith("hash") and task in by_data | asked)
        if field == "requests" and is_explained:
            continue
        found.setdefault((field, what, a, b), []).append(task)
    return [_recorded_difference(*key, names) for key, names in found.items()]


def _recorded_difference(field: str, what: str, a: str, b: str, tasks: Sequence[str]) -> Difference:
    named = [task for task in tasks if task]
    if field == "requests" and not what.startswith("hash"):
        return Difference(field, f"others than the baseline's, or other gold answers, in {a} of {some(named)}", "")
    label = "" if what in (field, field.removeprefix("task_")) else f"{what} "
    return Difference(field, label + brief(a) + (f" for {some(named)}" if named else ""), brief(b))


def brief(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:37] + "..."


def template_of(record: RunRecord) -> str | None:
    """Return the sha256 of the chat template that a run used; None where it used none, or does not say."""
    if record.foreign is not None:
        return record.model.chat_template_sha256
    used = record.config.apply_chat_template or with_chat(record.metrics)
    return record.model.chat_template_sha256 if used else None


def other_template(candidate: str | None, baseline: str | None) -> list[Difference]:
    """Return the difference of two chat templates, given by `template_of`; none where one is not known."""
    if candidate is None or baseline is None or candidate == baseline:
        return []
    return [Difference("chat_template", f"sha256 {candidate[:12]}", f"sha256 {baseline[:12]}")]


def other_identity(candidate: ModelIdentity | None, baseline: ModelIdentity | None) -> list[Difference]:
    """Return the difference of what answers depend on besides model and options; none where one does not say."""
    if candidate is None or baseline is None:
        return []
    names = sorted(n for n in {**candidate.other, **baseline.other} if not _agree(candidate, baseline, n))
    sides = [", ".join(f"{name}={_setting(who.other.get(name))}" for name in names) for who in (candidate, baseline)]
    return [Difference("other", *sides)] if names else []


def _agree(candidate: ModelIdentity, baseline: ModelIdentity, name: str) -> bool:
    has = [name in who.other for who in (candidate, baseline)]
    return all(has) and bool(candidate.other[name] == baseline.other[name])


def _same_content(candidate: RunRecord, baseline: RunRecord, task: str) -> bool:
    # Two records without hashes are matched by the documents' content, which settles it as well.
    # A file that lost documents is no other data: pairing counts them.
    return data_sha256(candidate, task) == data_sha256(baseline, task) or cut_from(candidate, baseline, task)


def _content(record: RunRecord, task: str) -> str:
    sha256 = data_sha256(record, task)
    return f"sha256 {sha256[:12]}" if sha256 else "no hash"


def _failed(record: RunRecord, tasks: Iterable[str]) -> int:
    values = [record.metrics.get(task, {}).get(find_task(task).headline) for task in tasks]
    return sum(value.failed for value in values if value is not None)


def _documents(count: int) -> str:
    return f"{count} documents without a score" if count else "none"


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return str(value) if isinstance(value, int) else f"{value:g}"
    text = " ".join(str(value).split()) if value else ""
    return repr(text if len(text) <= 40 else text[:37] + "...") if text else "none"


def protocol_changes(record: RunRecord) -> list[str]:
    """Return the settings that change requests of any task from the protocol's."""
    said = ("limit", "seed", *_OF_PROGRAMS)
    options = {key: setting for key, setting in MOVING.items() if key not in said}
    return [key for key, setting in options.items() if _is_changed(setting, getattr(record.config, key))]


def sampling_changes(record: RunRecord) -> list[str]:
    """Return what was changed of how programs are written, with its value: ``temperature 0.8``; none without such."""
    options = {key: MOVING[key] for key in _OF_PROGRAMS} if with_programs(record.metrics) else {}
    values = {key: getattr(record.config, key) for key in options}
    return [f"{key} {_setting(value)}" for key, value in values.items() if _is_changed(options[key], value)]
