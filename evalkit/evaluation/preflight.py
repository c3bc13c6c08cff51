"""One look before the work: is what will be asked what this model and its tokenizer can answer?

Asked in two steps. `check_answerer` needs the model alone (`preflight_model.py`), and stops where nothing right can
come. `check_asked` looks at all requests that the run will make (`preflight_requests.py`).

Every finding is one line with its remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from evalkit.answering import Answerer, Request, ScoreRequest
from evalkit.config.options import declared_settings
from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.config.suites import load_suites
from evalkit.errors import ModelError
from evalkit.evaluation.preflight_model import check_alone
from evalkit.evaluation.preflight_requests import asked_of, check_requests
from evalkit.models.chat import check_chat_template

if TYPE_CHECKING:
    from evalkit.models.scored import ScoredLM


def check_answerer(config: RunConfig, answerer: Answerer, *, chat: bool, needs_numbers: bool = False) -> list[str]:
    """Look at who will answer; see `look_at_model` for the arguments and what a model in this process is asked.

    Raises:
        ModelError: nothing right can come of it.
    """
    taken = answerer.capabilities.options
    for key, setting in declared_settings(ModelConfig).items():
        if key != "model" and key not in taken and getattr(config.model, setting.name) != setting.default:
            raise ModelError(f"{config.model.name}: takes no {setting.flag}; leave it out")
    model = model_here(answerer)
    if model is not None:
        return look_at_model(config, model, chat, needs_numbers=needs_numbers)
    if (chat or config.apply_chat_template) and not answerer.capabilities.chat_template:
        remedy = "leave --apply-chat-template out" if config.apply_chat_template else "leave that suite out"
        raise ModelError(f"{config.model.name}: has no chat template, which this run needs; {remedy}")
    return []


def _always_chat() -> str:
    return " and ".join(suite.name for suite in load_suites().values() if suite.always_chat)


def model_here(answerer: Answerer) -> ScoredLM | None:
    """Return the model itself, if it is in this process."""
    found = answerer.in_process
    if found is None:
        return None
    from evalkit.models.scored import ScoredLM

    assert isinstance(found, ScoredLM)  # `identified` has looked
    return found


def check_asked(name: str, answerer: Answerer, requests: Mapping[str, Sequence[Request]]) -> list[str]:
    """Look at the requests of all tasks, by task; see `check_requests`.

    Raises:
        ModelError, ConfigError: some of them cannot be answered.
    """
    for of_task in requests.values():
        check_can(name, answerer, of_task)
    model = model_here(answerer)
    return [] if model is None else check_requests(name, model, asked_of(model, requests))


def check_can(name: str, answerer: Answerer, requests: Iterable[Request]) -> None:
    """Raise `ModelError` where an answerer says that it cannot answer some of the requests."""
    can = answerer.capabilities
    for request in requests:
        lacking = "gives no log-probabilities" if isinstance(request, ScoreRequest) else "writes no texts"
        if not (can.scores if isinstance(request, ScoreRequest) else can.texts):
            raise ModelError(f"{name}: {lacking}, which {request.task} needs; leave that task out")


def look_at_model(config: RunConfig, model: ScoredLM, chat: bool, *, needs_numbers: bool = False) -> list[str]:
    """Look at the model, its tokenizer and its chat template, for `run`, `run --dry-run` and `gate --run-model`.

    Args:
        config: the run.
        model: the model in this process.
        chat: whether some request goes through the chat template.
        needs_numbers: as for `check_alone`.

    Returns:
        Warnings, one line each.

    Raises:
        ModelError: nothing right can come of this model; says why and what to do.
    """
    warnings = check_alone(config.model, model, needs_numbers=needs_numbers)
    if chat or config.apply_chat_template:
        from evalkit.scoring.stopping import end_ids

        remedy = "" if config.apply_chat_template else f", or leave the suite {_always_chat()} out"
        remedy = ", or leave --apply-chat-template out" if config.apply_chat_template else remedy
        system = config.system if config.apply_chat_template else None
        warnings += check_chat_template(
            config.model.name,
            model.tokenizer,
            system=system,
            system_in_user=config.model.system_in_user,
            arguments=dict(model.chat_template_args or {}),
            remedy=remedy,
            end_ids=end_ids(model.model, model.tokenizer),
        )
    return warnings
