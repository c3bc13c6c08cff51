"""The seam between a run and whoever answers: what an answerer says and hands over is looked at once, here.

An adapter may be anybody's. Whatever it does wrong ends the run in one line that names the adapter's method, before
anything wrong is kept; what was kept before stays good.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import operator
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from evalkit.answering import (
    Answerer,
    AnswererIdentity,
    Answers,
    Capabilities,
    Described,
    FullyDescribed,
    Mark,
    ScoreRequest,
    Scores,
    Session,
    TextRequest,
    Texts,
    Work,
)
from evalkit.answering.asked import Call
from evalkit.config.yaml_files import shown
from evalkit.errors import EvalkitError, ModelError, message_of
from evalkit.records.facts import Numerics
from evalkit.scoring.checked import checked_scores, checked_texts
from evalkit.store.ledger import Ledger

_MARKS = typing.get_args(Mark)
_METHODS = ("scores", "texts", "describe", "work", "check_in_use", "apply_chat_template")
# Characters that are shown of what an adapter says in an exception.
_SHOWN = 300


def ask_scores(answerer: Answers, requests: Sequence[ScoreRequest], session: Session) -> Scores:
    """Have requests scored.

    Raises:
        ModelError: the answerer failed, or what it gave is no answer to these requests, or not what it had kept.
    """
    who = f"{type(answerer).__name__}.scores"
    with explaining_adapter(answerer, who):
        before = _called(session.ledger)
        found = answerer.scores(list(requests), dataclasses.replace(session, call=Call(tuple(requests), before)))
        if not isinstance(found, Scores):
            raise ModelError(f"{who}: expected Scores, found {type(found).__name__}")
        if not isinstance(found.numerics, Numerics | None):
            raise ModelError(f"{who}: numerics: expected Numerics or None, found {type(found.numerics).__name__}")
        answers = checked_scores(who, found.answers, len(requests))
        marks = _marks(who, found.marks, [math.isnan(logprob) for logprob, _ in answers], session.ledger)
        if session.ledger is not None:
            kept = _kept(who, session.ledger, before, "session.scored")
            _check_kept(who, answers, [kept.get(place, (math.nan, False)) for place in range(len(requests))])
    return dataclasses.replace(found, answers=answers, marks=marks)


def ask_texts(answerer: Answers, requests: Sequence[TextRequest], session: Session) -> Texts:
    """Have prompts continued; errors as of `ask_scores`."""
    who = f"{type(answerer).__name__}.texts"
    with explaining_adapter(answerer, who):
        before = _called(session.ledger)
        # The answerer has copies: settings that it changes are not the request's.
        own = [dataclasses.replace(r, settings=copy.deepcopy(dict(r.settings))) for r in requests]
        found = answerer.texts(own, dataclasses.replace(session, call=Call(tuple(requests), before)))
        if not isinstance(found, Texts):
            raise ModelError(f"{who}: expected Texts, found {type(found).__name__}")
        answers = checked_texts(who, found.answers, len(requests))
        marks = _marks(who, found.marks, [text is None for text in answers], session.ledger)
        if session.ledger is not None:
            kept = _kept(who, session.ledger, before, "session.written")
            _check_kept(who, answers, [kept.get(place) for place in range(len(requests))])
    return dataclasses.replace(found, answers=answers, marks=marks)


def description_of(answerer: Answerer) -> FullyDescribed:
    """Return what an answerer says that it is.

    Raises:
        ModelError: it fails, says too little, or nothing that JSON can hold.
    """
    who = f"{type(answerer).__name__}.describe"
    with explaining_adapter(answerer, who):
        found = answerer.describe()
        _check_keys(who, found, Described, "")
        _check_keys(who, found["identity"], AnswererIdentity, "identity.")
        for name in ("loader", "device", "dtype"):
            _check_word(who, name, found[name])
        try:
            # As the journal gives it back, where a tuple is a list: a resumed run compares the two.
            identity = json.loads(json.dumps(found["identity"], allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise ModelError(f"{who}: identity: {error}; give JSON values") from None
        for group in ("model", "tokenizer", "generation", "other"):
            if not isinstance(identity.get(group, {}), dict):
                raise ModelError(f"{who}: identity.{group}: no mapping of keys, but {type(identity[group]).__name__}")
        for name in ("model_fingerprint", "loader"):
            _check_word(who, f"identity.model.{name}", identity["model"].get(name))
    return {**found, "identity": identity}


def work_of(answerer: Answerer) -> Work:
    """Return how an answerer works.

    Raises:
        ModelError: it fails, or a field is of another type.
    """
    who = f"{type(answerer).__name__}.work"
    with explaining_adapter(answerer, who):
        found = answerer.work()
        if not isinstance(found, Work):
            raise ModelError(f"{who}: expected Work, found {type(found).__name__}")
        try:
            msgspec.convert(dataclasses.asdict(found), Work)
        except msgspec.ValidationError as error:
            raise ModelError(f"{who}: {error}") from None
        _check_word(who, "scorer", found.scorer)
        if found.rows < 1 or (found.threads is not None and found.threads < 1):
            raise ModelError(f"{who}: rows and threads are numbers from 1, found {found.rows} and {found.threads}")
        if found.max_difference is not None and not 0 <= found.max_difference < math.inf:
            raise ModelError(f"{who}: max_difference: {found.max_difference}; give nats from 0, or None")
    return found


def capabilities_of(answerer: Answerer) -> Capabilities:
    """Return what an answerer can do.

    Raises:
        ModelError: it does not say so as `Capabilities`, or has not all methods of an `Answerer`.
    """
    who = type(answerer).__name__
    with explaining_adapter(answerer, f"{who}.capabilities"):
        lacking = [name for name in _METHODS if not callable(getattr(answerer, name, None))]
        if lacking:
            raise ModelError(f"{who}: has no method {lacking[0]}, which an Answerer has (evalkit/answering)")
        if not hasattr(answerer, "in_process"):
            raise ModelError(
                f"{who}: has no in_process, which an Answerer has (None, where no model is in this process)"
            )
        found = answerer.capabilities
        if not isinstance(found, Capabilities):
            raise ModelError(f"{who}.capabilities: expected Capabilities, found {shown(found)}")
        for name in ("scores", "texts", "chat_template"):
            if not isinstance(getattr(found, name), bool):
                raise ModelError(
                    f"{who}.capabilities: {name}: expected True or False, found {shown(getattr(found, name))}"
                )
        if isinstance(found.options, str) or not all(isinstance(option, str) for option in found.options):
            raise ModelError(f"{who}.capabilities: options: expected keys, found {shown(found.options)}")
    return found


def in_use_check(answerer: Answerer) -> Callable[[], None]:
    """Return what asks an answerer whether it is still what it said; `ModelError` where it is not."""

    def check() -> None:
        with explaining_adapter(answerer, f"{type(answerer).__name__}.check_in_use"):
            answerer.check_in_use()

    return check


def chat_template_of(answerer: Answerer) -> Callable[..., str]:
    """Return what makes a conversation a text, as `Answerer.apply_chat_template`; `ModelError` where it fails."""
    who = f"{type(answerer).__name__}.apply_chat_template"

    def apply(chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        with explaining_adapter(answerer, who):
            text = answerer.apply_chat_template(chat_history, add_generation_prompt=add_generation_prompt)
            if not isinstance(text, str):
                raise ModelError(f"{who}: expected a text, found {shown(text)}")
        return text

    return apply


@contextmanager
def explaining_adapter(answerer: Answers | None, who: str) -> Iterator[None]:
    """Make one line of whatever an adapter raises; the model in this process is evalkit's own, and its faults stay.

    What would end the process without a word (SystemExit, which a library may raise, GeneratorExit) is a fault as well;
    KeyboardInterrupt is the user's wish.

    Args:
        answerer: the adapter; None where it is only being made.
        who: its method, for the message.
    """
    try:
        yield
    except (EvalkitError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if isinstance(error, Exception) and _is_here(answerer):
            raise
        said = " ".join(message_of(error).split())
        said = f": {said[:_SHOWN]}{'...' if len(said) > _SHOWN else ''}" if said else ""
        raise ModelError(f"{who}: failed with {type(error).__name__}{said} (the traceback: evalkit --debug)") from error


def _is_here(answerer: Answers | None) -> bool:
    try:
        return getattr(answerer, "in_process", answerer) is not None
    except Exception:  # a property of an adapter
        return False


def _check_keys(who: str, found: Any, kind: Any, trail: str) -> None:
    if not isinstance(found, Mapping):
        raise ModelError(f"{who}: {trail or 'it is '}no mapping of keys, but {type(found).__name__}")
    missing = sorted(key for key in kind.__required_keys__ if key not in found)
    if missing:
        raise ModelError(f"{who}: key '{trail}{missing[0]}' is missing")


def _check_word(who: str, name: str, value: object) -> None:
    """Refuse what names nothing, or what a line of a report cannot show."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ModelError(f"{who}: {name}: expected a text of one line, found {shown(value)}")


def _marks(
    who: str, given: Mapping[Mark, Sequence[int]], lacking: Sequence[bool], ledger: Ledger | None
) -> dict[Mark, Sequence[int]]:
    """Return marks with positions as they are counted; what was taken over is what the ledger took over.

    Args:
        who: whose they are, for the message.
        given: by mark positions of requests.
        lacking: of each request whether it has no answer.
        ledger: of the run.
    """
    if not isinstance(given, Mapping):
        raise ModelError(f"{who}: marks: expected positions by mark, found {type(given).__name__}")
    marks: dict[Mark, Sequence[int]] = {}
    for mark, positions in given.items():
        if mark not in _MARKS:
            raise ModelError(f"{who}: unknown mark {mark!r}; known are {', '.join(_MARKS)}")
        if not isinstance(positions, Iterable):
            raise ModelError(f"{who}: mark '{mark}': expected positions, found {shown(positions)}")
        marks[mark] = found = [_position(who, mark, place, len(lacking)) for place in positions]
        if len(set(found)) < len(found):
            twice = next(place for place in found if found.count(place) > 1)
            raise ModelError(f"{who}: mark '{mark}': position {twice} is there twice")
    answered = [place for place in marks.get("missing", ()) if not lacking[place]]
    if answered:
        raise ModelError(
            f"{who}: mark 'missing': answer {answered[0] + 1} of {len(lacking)} is there; what has none is nan or None"
        )
    taken = ledger.reused if ledger is not None else marks.get("reused", [])
    if "reused" in marks and set(marks["reused"]) != set(taken):
        raise ModelError(
            f"{who}: mark 'reused': {len(marks['reused'])} of {len(lacking)} requests, but the session took over "
            f"{len(taken)}; leave that mark out, the session says it"
        )
    return {**marks, "reused": list(taken)}


def _position(who: str, mark: Mark, place: Any, count: int) -> int:
    if hasattr(place, "__index__") and not isinstance(place, bool) and 0 <= place < count:
        return operator.index(place)
    raise ModelError(f"{who}: mark '{mark}': no request has the position {place!r}, of {count}")


def _called(ledger: Ledger | None) -> int:
    return 0 if ledger is None else ledger.called


def _kept(who: str, ledger: Ledger, before: int, by: str) -> dict[int, Any]:
    """Return by position what the one call of a session has kept."""
    if ledger.called != before + 1:
        raise ModelError(f"{who}: calls {by} {ledger.called - before} times; all requests go to it in one call")
    return ledger.sections[before].by_position()


def _check_kept(who: str, given: Sequence[Any], kept: Sequence[Any]) -> None:
    # repr: NaN is not equal to itself, and -0.0 is another number than 0.0.
    wrong = [place for place, pair in enumerate(zip(given, kept, strict=True)) if repr(pair[0]) != repr(pair[1])]
    if wrong:
        place = wrong[0]
        raise ModelError(
            f"{who}: answer {place + 1} of {len(given)} is {given[place]!r}, but {kept[place]!r} was kept of it; "
            "return what the session returns"
        )
