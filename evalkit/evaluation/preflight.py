"""One look before the work: is what will be asked what this model and its tokenizer can answer?

Asked in two steps. `check_answerer` needs the model alone, and stops where nothing right can come. `check_asked` looks
at all requests that the run will make; it encodes only what an answer depends on, so that it takes seconds where the
encoding of everything takes a minute:

* a request can only be cut if it has more bytes than the context has tokens (a token stands for a byte at least), so
  only those are counted in tokens;
* a token that reaches over the join of context and continuation shows in the words on its two sides, so each distinct
  pair of words is encoded once. (A token of more than one word would be missed: the run itself counts exactly.)

Every finding is one line with its remedy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.answering import Answerer, Request, ScoreRequest
from evalkit.config import ModelConfig, RunConfig
from evalkit.errors import ConfigError, ModelError
from evalkit.generation_settings import max_tokens
from evalkit.models.chat import check_chat_template
from evalkit.models.checkpoints import SMALL_PATTERNS, first_line
from evalkit.options import settings_of
from evalkit.scoring.encode import encode_strings
from evalkit.scoring.memory import text_config, vocabulary_size
from evalkit.scoring.parts import is_out_of_memory
from evalkit.scoring.rotary import rotary_length
from evalkit.suites import load_suites

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


def check_answerer(config: RunConfig, answerer: Answerer, *, chat: bool, needs_numbers: bool = False) -> list[str]:
    """Look at who will answer; see `check_model` for the arguments and what a model in this process is asked.

    Raises:
        ModelError: nothing right can come of it.
    """
    taken = answerer.capabilities.options
    for key, setting in settings_of(ModelConfig).items():
        if key != "model" and key not in taken and getattr(config.model, setting.name) != setting.default:
            raise ModelError(f"{config.model.name}: takes no {setting.flag}; leave it out")
    model = model_here(answerer)
    if model is not None:
        return check_model(config, model, chat, needs_numbers=needs_numbers)
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


def check_model(config: RunConfig, model: ScoredLM, chat: bool, *, needs_numbers: bool = False) -> list[str]:
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


def check_alone(
    config: ModelConfig, model: ScoredLM, *, needs_numbers: bool = False, has_specials: bool = False
) -> list[str]:
    """Look at the model and its tokenizer, whatever is asked; `infer` too does.

    Args:
        config: which model.
        model: the model in this process.
        needs_numbers: a model without numbers (NaN) is an error; a run goes on and marks its samples as failed.
        has_specials: the texts bring their special tokens, as those of a chat template do.

    Returns:
        Warnings, one line each.

    Raises:
        ModelError: nothing right can come of this model; says why and what to do.
    """
    return [
        *_vocabulary(config.name, model),
        *_positions(config.name, model),
        *_soundness(config.name, model, needs_numbers),
        *([] if has_specials else _special_tokens(config, model)),
    ]


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


# --- the model alone -------------------------------------------------------------------------------------------------


def embedding_rows(model: ScoredLM) -> int:
    """Return how many token ids the model knows: rows of its embedding, or of its head where those are fewer."""
    layer = model.model.get_input_embeddings() if hasattr(model.model, "get_input_embeddings") else None
    weight = getattr(layer, "weight", None)
    rows = [int(weight.shape[0])] if weight is not None and weight.dim() == 2 else []
    return min([*rows, vocabulary_size(model.model)])


def _beyond(model: ScoredLM) -> dict[str, int]:
    """Return the tokenizer's own tokens that the model has no row for."""
    rows = embedding_rows(model)
    own = model.tokenizer.get_vocab().items()
    return {token: index for token, index in own if index >= rows and token not in model.tokens_of_lm_eval}


def _vocabulary(name: str, model: ScoredLM) -> Iterable[str]:
    beyond = _beyond(model)
    if not beyond:
        return
    rows, highest = embedding_rows(model), max(beyond.values())
    added = set(model.tokenizer.get_added_vocab())
    ordinary = [token for token in beyond if token not in added]
    if ordinary:
        raise ModelError(
            f"{name}: the tokenizer has ids up to {highest:,}, the model's embedding only {rows:,} rows; "
            f"{len(ordinary):,} ordinary tokens are beyond it: this tokenizer belongs to another model; "
            "name the right one with --tokenizer"
        )
    # Filling up rows with a token that has no embedding would end the first batch of unequal lengths.
    if model.tokenizer.pad_token_id is not None and model.tokenizer.pad_token_id >= rows:
        model.tokenizer.pad_token_id = next(
            (i for i in (model.tokenizer.eos_token_id, model.tokenizer.bos_token_id) if i is not None and i < rows), 0
        )
    added_here = _not_in_files(model, beyond)
    if added_here:
        yield (
            f"transformers adds {', '.join(sorted(added_here))} to this tokenizer, whose files do not have "
            f"{'it' if len(added_here) == 1 else 'them'}, beyond the {rows:,} rows of the model's embedding; no "
            "request contains such a token, or the run stops here"
        )
        beyond = {token: index for token, index in beyond.items() if token not in added_here}
        if not beyond:
            return
        highest = max(beyond.values())
    shown = ", ".join(sorted(beyond, key=beyond.__getitem__)[:3])
    yield (
        f"the tokenizer has ids up to {highest:,}, the model's embedding {rows:,} rows (ids to {rows - 1:,}); without "
        f"a row: {shown}{' ...' if len(beyond) > 3 else ''}; no request contains them, or the run stops here"
    )


def _not_in_files(model: ScoredLM, tokens: Iterable[str]) -> set[str]:
    """Return the tokens that no file of the tokenizer's folder holds: its class in transformers brings them."""
    checkpoint = getattr(model, "tokenizer_checkpoint", None)
    if checkpoint is None:
        return set()
    files = [file for pattern in SMALL_PATTERNS for file in checkpoint.folder.glob(pattern) if file.is_file()]
    texts = [file.read_bytes() for file in files]
    return {
        token
        for token in tokens
        if not any(form.encode() in text for text in texts for form in (token, json.dumps(token)[1:-1]))
    }


def _positions(name: str, model: ScoredLM) -> Iterable[str]:
    """A context beyond the positions that the model was made for."""
    from evalkit.scoring.soundness import positions

    found = positions(model.model)
    if found is None or int(model.max_length) <= found[0]:
        return
    count, is_table = found
    what = f"a context of {int(model.max_length):,} tokens, but the model"
    if is_table:
        raise ModelError(f"{name}: {what} has only {count:,} positions; give --max-length {count} or less")
    yield (
        f"{what} was made for {count:,} positions: what lies beyond them is not what it was trained on; "
        f"--max-length {count} stays within"
    )


def _soundness(name: str, model: ScoredLM, needs_numbers: bool) -> Iterable[str]:
    """A model that gives no numbers, sees what it shall predict, or cannot compute at all."""
    from evalkit.scoring.soundness import soundness

    try:
        with model.running():
            found = soundness(model.model, embedding_rows(model), int(model.max_length))
    except ModelError:
        raise
    except Exception as error:  # a model's own code raises what it likes
        if is_out_of_memory(error):
            raise
        device = str(getattr(model, "device", "cpu")).partition(":")[0]
        lacks = "" if device == "cpu" else ", or this device lacks an operation (--device cpu tells)"
        raise ModelError(
            f"{name}: the model cannot compute twelve tokens ({first_line(error)}); its configuration does not belong "
            f"to its code or to its weights{lacks}"
        ) from error
    if not found.is_causal:
        raise ModelError(
            f"{name}: not a causal model: later tokens change the logits of earlier ones, so that it would see the "
            "answers it is scored on; if it is a decoder, its config.json must say so (is_decoder: true)"
        )
    if not found.has_numbers:
        half = "float16" in str(getattr(model.model, "dtype", "")) and "bfloat16" not in str(model.model.dtype)
        remedy = "try --dtype float32 (float16 overflows)" if half else "its weights are damaged: export them again"
        if needs_numbers:
            raise ModelError(f"{name}: the model computes NaN instead of numbers; {remedy}")
        yield f"the model computes NaN instead of numbers; samples without a score will be marked as failed; {remedy}"


def _special_tokens(config: ModelConfig, model: ScoredLM) -> Iterable[str]:
    """What the tokenizer adds to a text by itself, and what the run makes of it."""
    tokenizer = model.tokenizer
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    by_itself, bare = list(tokenizer.encode("a")), list(tokenizer.encode("a", add_special_tokens=False))
    if config.add_bos and eos is not None and len(by_itself) > 1 and by_itself[-1] == eos != bare[-1]:
        raise ModelError(
            f"{config.name}: with --add-bos its tokenizer also ends every text with {tokenizer.eos_token}, so that "
            "continuations would be scored after an end; leave --add-bos out, or set add_eos_token to false in its "
            "tokenizer_config.json"
        )
    if bos is None or config.add_bos:
        return
    if bare[:1] == [bos]:
        yield (
            f"the tokenizer puts {tokenizer.bos_token} before a text even where none is asked for; the protocol "
            "leaves it out, so that scores are not those of the published protocol"
        )
    elif by_itself[:1] == [bos] or _is_gemma(model):
        why = (
            "Gemma models score near chance without it: --add-bos puts it there"
            if _is_gemma(model)
            else "the published scores were made without it; --add-bos puts it there"
        )
        yield f"texts are scored without {tokenizer.bos_token}, which this tokenizer is made to begin with; {why}"


def _is_gemma(model: ScoredLM) -> bool:
    kinds = (getattr(config, "model_type", "") for config in (model.model.config, text_config(model.model)))
    return any(str(kind).startswith(("gemma", "recurrent_gemma")) for kind in kinds)


# --- the requests ----------------------------------------------------------------------------------------------------


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


def check_texts(name: str, model: ScoredLM, texts: Iterable[str]) -> None:
    """Raise ModelError where a text holds an added token that the model has no row for."""
    beyond, texts = _beyond(model), list(texts)
    for token, index in beyond.items():
        if any(token in text for text in texts):
            raise ModelError(
                f"{name}: the requests contain {token}, id {index:,}, and the model's embedding has "
                f"{embedding_rows(model):,} rows; name the model's own tokenizer with --tokenizer, or enlarge the "
                "embedding (resize_token_embeddings) before you train"
            )


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
