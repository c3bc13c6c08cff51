"""Can a model in this process answer the requests of a run, and which of them only in part?

Only what an answer depends on is encoded, so that it takes seconds where the encoding of everything takes a minute:

* a request can only be cut if it has more bytes than the context has tokens (a token stands for a byte at least), so
  only those are counted in tokens;
* a token that reaches over the join of context and continuation shows in the words on its two sides, so each distinct
  pair of words is encoded once. (A token of more than one word would be missed: the run itself counts exactly.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.answering import Request, ScoreRequest
from evalkit.config.generation_settings import max_tokens
from evalkit.errors import ConfigError, ModelError
from evalkit.evaluation.preflight_model import check_texts, embedding_rows
from evalkit.scoring.encode import encode_strings
from evalkit.scoring.memory import text_config
from evalkit.scoring.rotary import rotary_length

if TYPE_CHECKING:
    from evalkit.models.scored import ScoredLM

# Longest text, in characters, of which the words on each side of a join are taken.
_NEAR = 48
# Characters of the texts that are counted in tokens to see what will be cut. More are estimated from these.
_COUNTED_CHARACTERS = 4_000_000
_LAST_WORD = re.compile(r"\S*\Z")
_FIRST_WORD = re.compile(r"\s*\S*")


@dataclass(frozen=True)
class Requested:
    """The requests of one run, apart by kind.

    Attributes:
        pairs: (task, context, continuation) of each log-likelihood request.
        prompts: (task, prompt, greatest number of new tokens) of each text to be generated.
    """

    pairs: tuple[tuple[str, str, str], ...]
    prompts: tuple[tuple[str, str, int], ...]


def check_requests(name: str, model: ScoredLM, asked: Requested) -> list[str]:
    """Look at the requests.

    Args:
        name: what the user calls the model.
        model: the model in this process.
        asked: all requests of the run.

    Returns:
        Warnings, one line each.

    Raises:
        ModelError: a text holds a token that the model has no embedding for; an empty context has no token.
        ConfigError: the new tokens leave no room for a prompt.
    """
    _room(model, asked)
    _reachable_tokens(name, model, asked)
    _empty_contexts(name, model, asked)
    _long_continuations(model, asked)
    return [
        *_cut_prompts(model, asked),
        *_cut_requests(model, asked),
        *_long_rows(model, asked),
        *_joins(model, asked),
    ]


def asked_of(model: ScoredLM, requests: Mapping[str, Sequence[Request]]) -> Requested:
    """Return requests as the model will see them; a text that is wanted several times is there once."""
    pairs, prompts = [], []
    for name, of_task in requests.items():
        for request in of_task:
            if isinstance(request, ScoreRequest):
                pairs.append((name, request.context, request.continuation))
            elif request.sample == 0:
                shown = model.in_chat_template(request)
                prompts.append((name, shown.prompt, max_tokens(shown.settings, int(model.max_gen_toks))))
    return Requested(tuple(pairs), tuple(prompts))


def _room(model: ScoredLM, asked: Requested) -> None:
    """Raise ConfigError where the new tokens of a task leave no room for a prompt."""
    context = int(model.max_length)
    wanted = {task: new for task, _, new in asked.prompts}
    full = [task for task, new in wanted.items() if new >= context]
    if not full:
        return
    prompts = [prompt for task, prompt, _ in asked.prompts if task in full]
    room = context - max(map(len, _encoded(model, prompts).values()))
    advice = room if room > 0 else max(1, context // 2)
    what = "leaves every prompt whole" if room > 0 else "cuts the longest prompts"
    raise ConfigError(
        f"{full[0]}: {wanted[full[0]]:,} new tokens leave no room for a prompt in the model's context of {context:,}; "
        f"lower them with --max-new-tokens ({advice:,} {what})"
    )


def _reachable_tokens(name: str, model: ScoredLM, asked: Requested) -> None:
    texts = dict.fromkeys(text for _, *pair in asked.pairs for text in pair)
    check_texts(name, model, texts | dict.fromkeys(prompt for _, prompt, _ in asked.prompts))


def _empty_contexts(name: str, model: ScoredLM, asked: Requested) -> None:
    """Raise ModelError where an empty context needs a BOS or EOS token that is not there or has no embedding."""
    prefix = model.prefix_token_id
    empty = sorted({task for task, context, _ in asked.pairs if not context.strip()})
    if not empty or (prefix is not None and int(prefix) < embedding_rows(model)):
        return
    what = "neither a BOS nor an EOS token" if prefix is None else f"a BOS or EOS id ({prefix}) beyond the embedding"
    raise ModelError(
        f"{name}: the tokenizer has {what}, and {empty[0]} has contexts that are empty, which it stands for; "
        "name one in tokenizer_config.json (bos_token, eos_token)"
    )


def _long_continuations(model: ScoredLM, asked: Requested) -> None:
    """Raise ConfigError where a continuation alone is longer than the context: it cannot be scored at all."""
    context = int(model.max_length)
    near = {(c, k): task for task, c, k in asked.pairs if _bytes(k) > context}
    if not near:
        return
    lengths = [len(request.continuation_ids) for request in model.encode(list(near)).requests]
    longest = max(lengths)
    if longest > context:
        tasks = dict.fromkeys(task for task, length in zip(near.values(), lengths, strict=True) if length > context)
        raise ConfigError(
            f"{', '.join(list(tasks)[:3])}{' ...' if len(tasks) > 3 else ''}: continuations of {longest:,} tokens "
            f"do not fit into the context of {context:,}; --max-length {longest} at least, or leave these tasks out"
        )


def _cut_prompts(model: ScoredLM, asked: Requested) -> Iterable[str]:
    """Prompts of generation that are longer than context minus new tokens."""
    context = int(model.max_length)
    by_task: dict[tuple[str, int], list[str]] = {}
    for task, prompt, new in asked.prompts:
        by_task.setdefault((task, new), []).append(prompt)
    for (task, new), prompts in by_task.items():
        near = [prompt for prompt in prompts if _bytes(prompt) + 2 > context - new]
        lengths = {prompt: len(ids) for prompt, ids in _encoded(model, near).items()}
        cut = sum(lengths[prompt] > context - new for prompt in near)
        if cut:
            room = context - max(lengths.values())
            advice = f"--max-new-tokens {room} cuts none" if room > 0 else "only a longer context would hold them"
            yield (
                f"{task}: {cut:,} of {len(prompts):,} prompts lose their beginning, so that {new:,} new tokens fit "
                f"into the context of {context:,}; {advice}"
            )


def _cut_requests(model: ScoredLM, asked: Requested) -> Iterable[str]:
    """Log-likelihood requests with more tokens than the context: their beginning is cut."""
    context = int(model.max_length)
    near = [(task, c + k) for task, c, k in asked.pairs if _bytes(c) + _bytes(k) > context]
    near.sort(key=lambda pair: -len(pair[1]))
    counted: dict[str, None] = {}
    characters = 0
    for _, text in near:
        if text not in counted:
            if characters > _COUNTED_CHARACTERS:
                break
            counted[text] = None
            characters += len(text)
    lengths = {text: len(ids) for text, ids in _encoded(model, counted, bool(model.add_bos_token)).items()}
    # The last token of a request is only predicted, never read.
    cut = [task for task, text in near if lengths.get(text, 0) > context + 1]
    uncounted = sum(text not in lengths for _, text in near)
    if not cut:
        return
    tasks = ", ".join(dict.fromkeys(cut))
    least = f"at least {len(cut):,}" if uncounted else f"{len(cut):,}"
    whole = f"; {uncounted:,} shorter ones were not counted here" if uncounted else ""
    yield (
        f"{least} of {len(asked.pairs):,} requests lose their beginning in the context of {context:,} tokens "
        f"({tasks}){whole}; the protocol cuts so too, and scores are those of the cut texts"
    )


def _long_rows(model: ScoredLM, asked: Requested) -> Iterable[str]:
    """Rows beyond the length at which the model's rotary embeddings change: each is run alone."""
    length = rotary_length(text_config(model.model))
    if length is None or length >= int(model.max_length):
        return
    pairs = [c + k for _, c, k in asked.pairs if _bytes(c) + _bytes(k) > length]
    prompts = [(prompt, new) for _, prompt, new in asked.prompts if _bytes(prompt) + 2 + new > length]
    found = _encoded(model, [*pairs, *(prompt for prompt, _ in prompts)], bool(model.add_bos_token))
    long = sum(len(found[text]) - 1 > length for text in pairs)
    long += sum(len(found[prompt]) + new > length for prompt, new in prompts)
    if long:
        yield (
            f"{long:,} of {len(asked.pairs) + len(asked.prompts):,} requests may become longer than {length:,} tokens, "
            "where this model's rotary embeddings change with the longest row of a batch: each of them is run alone"
        )


def _joins(model: ScoredLM, asked: Requested) -> Iterable[str]:
    """Requests in which one token reaches over the join of context and continuation."""
    joins: dict[tuple[str, str], list[str]] = {}
    for task, context, continuation in asked.pairs:
        stripped = context.rstrip()
        if not stripped:
            continue
        rest = context[len(stripped) :] + continuation
        last, first = _LAST_WORD.search(stripped[-_NEAR:]), _FIRST_WORD.match(rest[:_NEAR])
        joins.setdefault((last.group() if last else "", first.group() if first else ""), []).append(task)
    texts = dict.fromkeys(text for last, first in joins for text in (last, last + first))
    ids = _encoded(model, texts)
    over = {join: tasks for join, tasks in joins.items() if ids["".join(join)][: len(ids[join[0]])] != ids[join[0]]}
    if not over:
        return
    requests = sum(map(len, over.values()))
    (left, right), _ = max(over.items(), key=lambda item: len(item[1]))
    tasks = list(dict.fromkeys(task for of_join in over.values() for task in of_join))
    yield (
        f"in {requests:,} of {len(asked.pairs):,} requests a token reaches over the join of context and continuation "
        f"({', '.join(tasks[:3])}{' ...' if len(tasks) > 3 else ''}; for example {left!r} + {right!r}): there the two "
        "are encoded apart; a tokenizer without such tokens gives the published requests"
    )


def _encoded(model: ScoredLM, texts: Iterable[str], special: bool = False) -> dict[str, tuple[int, ...]]:
    return encode_strings(model.tokenizer, texts, add_special_tokens=special)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
