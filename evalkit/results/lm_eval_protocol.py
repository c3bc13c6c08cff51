"""How a results file of lm-eval says that its tasks were measured: which line of the harness, shots, limit, template.

The 0.3 line wrote ``config.num_fewshot``, one for the whole file, and metrics without filters; the 0.4 line writes
``n-shot`` and ``configs`` task by task and metrics as ``acc,none``. What the published tables used is the 0.3 line
with no examples in the prompt, so only such a file can be of nous-2023, and only where its tasks have the tables'
names and versions.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.config.suites import load_suites, load_tasks
from evalkit.records.model import Foreign
from evalkit.results.harness_settings import odd_results
from evalkit.results.task_names import task_and_metric, task_and_shots

_ALL = "all"
"""In a file of lighteval the means of each metric over all its tasks; no task."""

_OF_0_4 = frozenset({"configs", "n-shot", "n-samples", "group_subtasks", "lm_eval_version", "higher_is_better"})


def mapping_at(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return what stands under a key of a results file; an empty mapping where that is none."""
    value = found.get(key)
    return value if isinstance(value, dict) else {}


def harness_of(found: Mapping[str, Any]) -> str:
    """Return which harness wrote a results file: ``lm-eval-0.3``, ``lm-eval-0.4``, ``lighteval`` or ``unknown``.

    ``open-llm-leaderboard`` is a file of lighteval whose tasks are all those of the leaderboard's first version.
    """
    if "config_general" in found:
        named = {task_and_shots(name)[2] for name in found["results"] if name != _ALL}
        return "open-llm-leaderboard" if named == {"open-llm-leaderboard"} else "lighteval"
    filtered = any("," in key for values in found["results"].values() if isinstance(values, dict) for key in values)
    if filtered or _OF_0_4 & found.keys():
        return "lm-eval-0.4"
    return "lm-eval-0.3" if "num_fewshot" in mapping_at(found, "config") else "unknown"


def scored_names(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the tasks of a results file, without groups: name in the file -> name without suite and shots.

    ``leaderboard|arc:challenge|25`` is ``arc:challenge``, except where the file has it twice: then nothing says which
    of the two is meant, and both keep their names.
    """
    groups = {*mapping_at(found, "groups"), *([_ALL] if "config_general" in found else [])}
    short = {name: task_and_shots(name) for name in found["results"] if name not in groups}
    plain = {name: task if harness is not None else name for name, (task, _, harness) in short.items()}
    times = Counter(task_and_metric(task, "")[0] for task in plain.values())
    return {name: task if times[task_and_metric(task, "")[0]] == 1 else name for name, task in plain.items()}


def members_of(found: Mapping[str, Any], group: str) -> tuple[str, ...]:
    """Return the tasks of a group of a results file, also those of groups below it; empty if the file lacks any."""
    below, results = mapping_at(found, "group_subtasks"), mapping_at(found, "results")
    members: dict[str, None] = {}
    waiting, seen = [group], {group}
    while waiting:
        for name in _names(below.get(waiting.pop())):
            if _names(below.get(name)):
                waiting += [name] if name not in seen else []
                seen.add(name)
            elif name in results:
                members[name] = None
            else:
                return ()
    return tuple(members)


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _whole(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal():  # a file that was written or edited by others
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def shots_of(found: Mapping[str, Any], name: str) -> int | None:
    """Return the number of examples in the prompts of a task, as the file names it; None if the file does not say."""
    own = mapping_at(mapping_at(found, "configs"), name).get("num_fewshot")
    places = (mapping_at(found, "n-shot").get(name), own, mapping_at(found, "config").get("num_fewshot"))
    said = next((n for place in places if (n := _whole(place)) is not None), None)
    return said if said is not None else task_and_shots(name)[1]


def limit_of(found: Mapping[str, Any]) -> int | float | None:
    """Return the file's limit: a number of documents, or below 1 a share of each task; None if it has none.

    Where the configuration has none, the numbers of documents may tell: fewer than the task had, or has.
    """
    limit = mapping_at(found, "config").get("limit", mapping_at(found, "config_general").get("max_samples"))
    if isinstance(limit, str):
        try:
            limit = float(limit)
        except ValueError:
            limit = None
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit < math.inf:
        return _limit_counted(found)
    return int(limit) if float(limit).is_integer() else limit


COUNTED = "evalkit counted"
"""Key under which `lm_eval_numbers.counted` adds what a file does not count; no harness writes it."""


def counts_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return by task what is known of its number of documents."""
    return {**mapping_at(found, COUNTED), **mapping_at(found, "n-samples")}


def is_counted(found: Mapping[str, Any], task: str) -> bool:
    """Tell whether a file says how many documents of a task were scored: it counts them, or has a place for a limit."""
    names = [name for name, plain in scored_names(found).items() if task_and_metric(plain, "acc")[0] == task]
    return "limit" in mapping_at(found, "config") or any(name in counts_of(found) for name in names)


def _limit_counted(found: Mapping[str, Any]) -> int | float | None:
    """Return the limit that the numbers of documents show: the same number of each task, else the same share."""
    cut: list[tuple[int, int]] = []
    names = scored_names(found)
    for name, entry in counts_of(found).items():
        scored = _whole(entry.get("effective")) if isinstance(entry, dict) else None
        if name not in names or not scored:
            continue
        task = load_tasks().get(task_and_metric(names[name], "acc")[0])
        whole = max(_whole(entry.get("original")) or 0, task.documents if task is not None else 0)
        if scored < whole:
            cut.append((scored, whole))
    if not cut:
        return None
    shares = [scored / whole for scored, whole in cut]
    even = max(shares) - min(shares) < 0.01 and len({scored for scored, _ in cut}) > 1
    return round(min(shares), 3) if even and round(min(shares), 3) > 0 else max(scored for scored, _ in cut)


def task_protocol(found: Mapping[str, Any], name: str) -> str:
    """Return the protocol by which a task was measured, as ``lm-eval-0.4, 25-shot``; `name` is the file's."""
    harness, shots, limit = harness_of(found), shots_of(found, name), limit_of(found)
    templated = bool(found.get("chat_template") or found.get("chat_template_sha"))
    known = load_tasks().get(name)
    plain = shots == 0 and limit is None and not templated and odd_results(found) is None
    published = known is not None and mapping_at(found, "versions").get(name) == known.version
    if harness == "lm-eval-0.3" and plain and published:
        return load_suites()[known.suite].protocol if known is not None else harness
    return _text(harness, [shots] if shots else [], limit, templated)


def _text(harness: str, shots: Iterable[int], limit: float | None, templated: bool) -> str:
    parts = [harness]
    if harness != "open-llm-leaderboard" and any(shots := list(shots)):  # whose shots its name says
        parts += ["/".join(map(str, sorted(shots))) + "-shot"]
    parts += [f"limit {limit:g}"] if limit is not None else []
    parts += ["chat template"] if templated else []
    return ", ".join(parts)


def joint_protocol(found: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return one protocol for several tasks, as the file names them: with all their shots where these differ."""
    names = list(names)
    protocols = {task_protocol(found, name) for name in names}
    if len(protocols) == 1:
        return protocols.pop()
    shots = {n for name in names if (n := shots_of(found, name)) is not None}
    templated = bool(found.get("chat_template") or found.get("chat_template_sha"))
    return _text(harness_of(found), shots, limit_of(found), templated)


def measured(
    found: Mapping[str, Any],
    ignored: Iterable[tuple[str, str]],
    unread: Iterable[tuple[int, str]],
    doc_hashes: Mapping[str, Sequence[str]],
) -> Foreign:
    """Return how a file's tasks were measured, and what else it says."""
    names = scored_names(found)
    of_task = {task_and_metric(plain, "acc")[0]: name for name, plain in names.items()}
    suites: dict[str, list[str]] = {}
    for task, name in of_task.items():
        if (known := load_tasks().get(task)) is not None:
            suites.setdefault(known.suite, []).append(name)
    return Foreign(
        harness="lm-eval",
        protocols={suite: joint_protocol(found, members) for suite, members in suites.items()},
        task_protocols={task: task_protocol(found, name) for task, name in of_task.items()},
        shots={task: shots_of(found, name) for task, name in of_task.items()},
        ignored=tuple(ignored),
        unread=tuple(unread),
        doc_hashes={task: tuple(of_task) for task, of_task in doc_hashes.items()},
    )


def model_name(found: Mapping[str, Any], file: Path) -> str:
    """Return the name of the model: as the file names it, else what was loaded, else what the file is called."""
    config = mapping_at(found, "config")
    general = mapping_at(found, "config_general")
    arguments = config.get("model_args")
    loaded = [arguments.get(key) for key in ("pretrained", "model", "path")] if isinstance(arguments, dict) else []
    text = arguments if isinstance(arguments, str) else ""
    written = re.search(r"(?:^|[,\s(])(?:pretrained|model|path)\s*=\s*[\"']?([^,\"')]+)", text)
    named = [found.get("model_name"), general.get("model_name"), *loaded, written[1] if written is not None else None]
    known = next((name.strip() for name in named if isinstance(name, str) and name.strip()), None)
    if known is not None:
        return known
    return (file.absolute().parent.name if file.name.startswith("results") else "") or file.stem


def dtype_of(found: Mapping[str, Any]) -> str:
    """Return the weights' number format, or ``unknown``."""
    config = mapping_at(found, "config")
    arguments = config.get("model_args")
    text = json.dumps(arguments) if isinstance(arguments, dict) else str(arguments or "")
    dtype = re.search(r"dtype[\"']?\s*[=:]\s*[\"']?([\w.]+)", text)
    asked = dtype[1] if dtype is not None else "unknown"
    loaded = config.get("model_dtype")  # the 0.4 line: what it came to
    return (
        loaded.removeprefix("torch.") if asked in ("unknown", "auto") and isinstance(loaded, str) and loaded else asked
    )
