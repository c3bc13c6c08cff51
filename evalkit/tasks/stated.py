"""What a task's own file states, compared with its suite's and with what scores can be made of; knows no lm-eval.

Errors, averages and comparisons are of means of which more is better. What is otherwise, or not said and otherwise by
lm-eval's own default, is refused when the task is loaded: after the work it would be a traceback, or a wrong verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evalkit.config.generation_settings import settings_fault
from evalkit.config.suites import find_task, suite_fault
from evalkit.config.yaml_files import shown
from evalkit.errors import ConfigError, did_you_mean

_MEANS = "errors, averages and comparisons are of means of which more is better"


_REQUESTS = ("multiple_choice", "loglikelihood", "generate_until")


def _is_given(value: Any) -> bool:
    return value not in (None, [], "")


# What of lm-eval's forms is not asked here: by key whether a value is such a one, and what to do.
_NOT_HERE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "custom_dataset": (
        lambda value: value is None,
        "documents come through configs/datasets.yaml here, so that they are those of the record; write 'include: "
        "../_template' and 'dataset_kwargs: {dataset: <the task>}' in place of dataset_path",
    ),
    "output_type": (
        lambda value: value not in (*_REQUESTS, None),
        f"requests are {', '.join(_REQUESTS[:-1])} or {_REQUESTS[-1]} here; write one of these",
    ),
    "doc_to_image": (_is_given, "there are no images here; leave the task out"),
    "doc_to_audio": (_is_given, "there are no sounds here; leave the task out"),
    "use_prompt": (_is_given, "promptsource is not used here; write the prompt as doc_to_text"),
    "filter_list": (
        lambda value: isinstance(value, list) and len(value) > 1,
        "a metric has one value of a document; keep one filter, and make the others tasks of their own",
    ),
}


def check_written(where: str, written: Mapping[str, Any], registered: Mapping[str, bool | None]) -> None:
    """Refuse what lm-eval would stumble over, before it is given the file.

    Args:
        where: the file, for messages.
        written: what stands in it and in what it includes, functions by their names.
        registered: by metric of lm-eval's own whether more is better; None: not said.

    Raises:
        ConfigError: examples are asked for, a setting of ``generation_kwargs`` cannot be, ``metric_list`` is no list of
            metrics, or one that lm-eval does not know is left to its defaults.
    """
    shots = written.get("num_fewshot")
    if shots is not None and (shots != 0 or isinstance(shots, bool)):
        raise ConfigError(
            f"{where}: num_fewshot: {_as_yaml(shots)}, but documents are asked without examples here; leave it out, "
            "and let the function of the context write the examples"
        )
    for key, (is_such, remedy) in _NOT_HERE.items():
        if is_such(written.get(key)):
            raise ConfigError(f"{where}: {key}: {shown(written.get(key))}, but {remedy}")
    settings = written.get("generation_kwargs")
    if settings is not None and (wrong := settings_fault(settings)) is not None:
        raise ConfigError(f"{where}: generation_kwargs: {wrong}")
    entries = written.get("metric_list")
    if entries is None:
        return  # lm-eval's own for its kind of requests
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{where}: metric_list: expected a list of metrics, found {shown(entries)}")
    has_own = written.get("process_results") is not None
    for place, entry in enumerate(entries, start=1):
        metric = entry.get("metric") if isinstance(entry, dict) else None
        if not isinstance(metric, str) or not metric:
            raise ConfigError(
                f"{where}: metric_list: item {place}: expected 'metric: <its name>', found {shown(entry)}"
            )
        if not has_own and metric not in registered and not entry.get("hf_evaluate"):
            name = metric.rpartition("/")[2]  # of a function lm-eval gives the file's path
            raise ConfigError(
                f"{where}: metric_list: '{name}' is no metric of lm-eval's{did_you_mean(name, registered)}; name "
                "one, or make it in a function of your own (process_results)"
            )
        lacking = next((key for key in ("aggregation", "higher_is_better") if key not in entry), None)
        if lacking is not None and metric not in registered:
            remedy = "write aggregation: mean and higher_is_better: true, if it is such a one"
            raise ConfigError(
                f"{where}: metric_list: '{metric}' says no {lacking}, and is no metric of lm-eval's, which has a "
                f"default; {_MEANS}; {remedy}"
            )


def check_loaded(
    name: str,
    where: str,
    version: Any,
    metrics: Sequence[str],
    aggregations: Mapping[str, str],
    directions: Mapping[str, Any],
    registered: Mapping[str, bool | None],
    *,
    has_own: bool,
) -> None:
    """Refuse a task whose file and whose suite's file disagree, or of whose metrics no scores can be made.

    Args:
        name: the task's.
        where: its file, for messages.
        version: as lm-eval loaded it.
        metrics: in their order.
        aggregations: by metric, defaults filled in.
        directions: by metric whether more is better, defaults filled in.
        registered: as in `check_written`.
        has_own: a function of the task's own makes them, else lm-eval's.

    Raises:
        ConfigError: as said.
    """
    ours = find_task(name)
    theirs = version, tuple(metrics)
    for what, suite, task in zip(("version", "metrics"), (ours.version, ours.metrics), theirs, strict=True):
        if suite != task:
            texts = [f"[{', '.join(x)}]" if isinstance(x, tuple) else x for x in (suite, task)]
            raise suite_fault(ours, what, f"{texts[0]}, but {where} says {texts[1]}; make them equal")
    for metric in metrics:
        said = (("aggregation", aggregations.get(metric), "mean"), ("higher_is_better", directions.get(metric), True))
        for key, found, wanted in said:
            if type(found) is not type(wanted) or found != wanted:  # 1 is no true
                remedy = "make it such a one" if has_own else "add process_results, a function that makes such a one"
                raise ConfigError(
                    f"{where}: metric '{metric}' has {key}: {_as_yaml(found)}, but {_MEANS}; {remedy}, with "
                    f"{key}: {str(wanted).lower()}"
                )
        if registered.get(metric) is False:
            raise ConfigError(
                f"{where}: metric '{metric}' is lm-eval's own, of which less is better, but {_MEANS}; make it such a "
                "one, and give it a name of its own"
            )


def _as_yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else shown(value)
