"""Rendering conversations with a tokenizer's chat template, so that what is recorded is what reached the model.

lm-eval drops the system message where a template refuses it, and goes on; some templates drop it themselves. Here
either is an error with a remedy, unless the user asked for the text to go into the first user turn. One conversation,
rendered before anything is scored, tells whether a template does what a run needs of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from evalkit.errors import ModelError, first_line

Message = Mapping[str, Any]

QUESTION = "What is 12 + 30?"
ANSWER = "It is 42, I think."
SYSTEM = "Answer in one short sentence."
_PROGRAM = 'def f(x: list[int]) -> "int":\n    """Is 1 < x & x > 2?\n\n    >>> f([1])\n    \'a\\n\'\n    """\n'
_LONG = (
    _PROGRAM + "\n".join(f"Line {number} of what was said before." for number in range(1, 201)) + "\nWhat is 40 + 2?"
)
"""A longer message than a template may cut by mistake: the prompts of HumanEval have up to 1,400 characters."""
_PROBE = "evalkit system probe 8241"
"""A system message that no template contains by itself."""
_MARKER = re.compile(r"<[|/]?[\w .-]+\|?>|\[/?[A-Z_]+\]")
"""What looks like a special token."""
_TOOL = {
    "type": "function",
    "function": {"name": "clock", "description": "Tells the time.", "parameters": {"type": "object", "properties": {}}},
}
_NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


def render_chat(
    tokenizer: Any,
    messages: Sequence[Message],
    *,
    name: str,
    add_generation_prompt: bool = True,
    arguments: Mapping[str, Any] = _NO_ARGUMENTS,
    system_in_user: bool = False,
    remedy: str = "",
) -> str:
    """Return a conversation as text.

    Args:
        tokenizer: a transformers tokenizer.
        messages: with ``role`` and ``content``.
        name: of the model, for messages.
        add_generation_prompt: end where the model's answer begins; else where the last message can be continued.
        arguments: further arguments of the template.
        system_in_user: put the system message at the head of the first user turn.
        remedy: what else the user can do than to mend the template.

    Raises:
        ModelError: there is no template; it is broken; it refuses or drops the system message.
    """
    require(tokenizer, name, remedy)
    system = [message for message in messages if message["role"] == "system" and message["content"].strip()]
    if system_in_user:
        messages = folded(messages)
    options = {
        "add_generation_prompt": add_generation_prompt,
        "continue_final_message": not add_generation_prompt,
        **arguments,
    }
    try:
        text = _rendered(tokenizer, messages, **options)
    except Exception as error:  # a template is a program: anything can come out of it
        if system and not system_in_user and _renders(tokenizer, folded(messages), options):
            raise ModelError(_refused(name, f"takes no system message ({_reason(error)})")) from error
        raise ModelError(f"{name}: {_cause(tokenizer, error)}; mend the template{remedy}") from error
    if system and not system_in_user and not _holds(text, system[0]["content"]):
        probe = [{**message, "content": _PROBE} if message in system else message for message in messages]
        is_there = _PROBE.lower() in _rendered(tokenizer, probe, **options).lower()
        raise ModelError(
            _refused(name, "cuts or changes the system message" if is_there else "leaves the system message out")
        )
    return text


def _holds(text: str, content: str) -> bool:
    """Whether a text holds a content, be it with other white space (trimmed) or as JSON."""
    words = " ".join(content.split())
    return words in " ".join(text.split()) or json.dumps(content)[1:-1] in text


def folded(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the conversation with its system messages at the head of the first user turn, a blank line after them."""
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    rest = [dict(message) for message in messages if message["role"] != "system"]
    first = next((message for message in rest if message["role"] == "user"), None)
    if system and first is not None:
        first["content"] = f"{system}\n\n{first['content']}"
    return rest


def require(tokenizer: Any, name: str, remedy: str = "") -> None:
    """Raise `ModelError` unless the tokenizer has a chat template."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict) and "default" not in template:
        raise ModelError(
            f"{name}: the tokenizer has chat templates for special uses only ({', '.join(template)}), none named "
            f"'default'; name the one for plain conversations so{remedy}"
        )
    if not template:
        raise ModelError(f"{name}: the tokenizer has no chat template; add one to its tokenizer_config.json{remedy}")


def check_chat_template(
    name: str,
    tokenizer: Any,
    *,
    system: str | None = None,
    system_in_user: bool = False,
    arguments: Mapping[str, Any] = _NO_ARGUMENTS,
    remedy: str = "",
    end_ids: Collection[int] | None = None,
) -> list[str]:
    """Render one question, with a system message where one is wanted, and look at what comes out.

    Args:
        name: what the user calls the model.
        tokenizer: a transformers tokenizer.
        system: the system prompt that will be used; None for none.
        system_in_user: it goes to the head of the first user turn.
        arguments: further arguments of the template.
        remedy: what else the user can do than to mend the template.
        end_ids: tokens that end a text; None where no text is made.

    Returns:
        Warnings, one line each.

    Raises:
        ModelError: there is no template, it is broken, wants tools or contents in parts, leaves out, cuts or changes
            the question or the system message, or refuses a system message.
    """
    question = [{"role": "user", "content": QUESTION}]
    text = render_chat(tokenizer, question, name=name, arguments=arguments, remedy=remedy)
    if QUESTION not in text:
        changed = "changes the user's message" if QUESTION.lower() in text.lower() else None
        cause = changed or _wants(tokenizer) or "leaves the user's message out"
        raise ModelError(f"{name}: its chat template {cause}; mend the template{remedy}")
    long = [{"role": "user", "content": f"{QUESTION}\n{_LONG}"}]
    shown = render_chat(tokenizer, long, name=name, arguments=arguments, remedy=remedy)
    if long[0]["content"] not in shown:  # to the letter: it is a program, whose line ends and quotes count
        raise ModelError(
            f"{name}: its chat template cuts or changes the user's message (a long one, with a program in it); "
            f"mend the template{remedy}"
        )
    if render_chat(tokenizer, long, name=name, arguments=arguments, remedy=remedy) != shown:
        raise ModelError(f"{name}: its chat template gives another text each time; mend the template{remedy}")
    for content in (SYSTEM, system) if system is not None and system.strip() else ():
        messages = [{"role": "system", "content": content}, *question]
        render_chat(tokenizer, messages, name=name, arguments=arguments, system_in_user=system_in_user, remedy=remedy)
    warnings = []
    rest = text.rpartition(QUESTION)[2].strip()
    ended = bool(tokenizer.eos_token) and rest.endswith(str(tokenizer.eos_token))
    if ended and text == _rendered(tokenizer, question, **{**arguments, "add_generation_prompt": False}):
        warnings.append(
            f"the chat template ends the question with {tokenizer.eos_token} and begins no answer (it ignores "
            "add_generation_prompt): the model may end at once"
        )
    if not rest:
        warnings.append(
            "the chat template writes nothing between the question and the answer (it ignores add_generation_prompt): "
            "the model may go on with the question"
        )
    if end_ids is not None:
        warnings += _turn_without_end(tokenizer, end_ids, arguments)
    if "strftime_now" in _plain_template(tokenizer):
        warnings.append(
            "the chat template writes the date or time into prompts: on another day they are other requests, with "
            "other scores"
        )
    return warnings


def _turn_without_end(tokenizer: Any, end_ids: Collection[int], arguments: Mapping[str, Any]) -> list[str]:
    """Warn where what the template writes after an answer does not end a text: the model then makes up more turns.

    It was trained to write that; a base model with a template added to it often has another token as its only end.
    """
    turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    try:
        text = _rendered(tokenizer, turns, **{**arguments, "add_generation_prompt": False})
    except Exception:  # it renders questions, which is all that is asked of it
        return []
    rest = text.rpartition(ANSWER)[2].strip() if ANSWER in text else ""
    added = tokenizer.get_added_vocab()
    token = next((token for token in sorted(added, key=len, reverse=True) if token and rest.startswith(token)), None)
    ends = ", ".join(str(tokenizer.convert_ids_to_tokens(end)) for end in sorted(end_ids)) or "it has none"
    goes_on = "texts go on behind it, with turns that the model makes up"
    if token is not None and added[token] not in end_ids:
        wanted = json.dumps([*sorted(end_ids), added[token]])
        return [
            f"the chat template ends an answer with {token}, which is no end token of this model ({ends}): {goes_on}; "
            f'"eos_token_id": {wanted} in its generation_config.json ends them there'
        ]
    marker = _MARKER.match(rest) if token is None else None
    if marker and not any(rest.startswith(str(tokenizer.convert_ids_to_tokens(end))) for end in end_ids):
        return [
            f"the chat template ends an answer with {marker[0]}, which is no token of this tokenizer and no end token "
            f"({ends}): {goes_on}; name the tokenizer that the template belongs to with --tokenizer"
        ]
    return []


def _plain_template(tokenizer: Any) -> str:
    template = tokenizer.chat_template
    return str(template["default"] if isinstance(template, dict) else template)


def _refused(name: str, what: str) -> str:
    return (
        f"{name}: its chat template {what}; leave --system out, "
        "or put its text at the head of the user's turn with --system-in-user"
    )


def _renders(tokenizer: Any, messages: Sequence[Message], options: Mapping[str, Any]) -> bool:
    try:
        _rendered(tokenizer, messages, **options)
    except Exception:  # as in `render_chat`
        return False
    return True


def _rendered(tokenizer: Any, messages: Sequence[Message], **options: Any) -> str:
    options.setdefault("add_generation_prompt", True)
    return str(tokenizer.apply_chat_template([dict(message) for message in messages], tokenize=False, **options))


def _cause(tokenizer: Any, error: Exception) -> str:
    """Say why a plain question cannot be rendered."""
    from jinja2 import TemplateSyntaxError

    if isinstance(error, TemplateSyntaxError):
        return f"its chat template is broken (line {error.lineno}: {error.message})"
    if wants := _wants(tokenizer):
        return f"its chat template {wants} ({_reason(error)})"
    return f"its chat template cannot render one plain question ({_reason(error)})"


def _wants(tokenizer: Any) -> str | None:
    """Say in which other way than plainly a question can be rendered; None where in none."""
    question = [{"role": "user", "content": QUESTION}]
    parts = [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
    for messages, options, phrase in (
        (question, {"tools": [_TOOL]}, "wants tools, which no benchmark gives"),
        (parts, {}, "wants contents in parts, as for images"),
        (parts, {"tools": [_TOOL]}, "wants tools, and contents in parts"),
    ):
        try:
            if QUESTION in _rendered(tokenizer, messages, **options):
                return phrase
        except Exception:
            continue
    return None


def _reason(error: Exception) -> str:
    return first_line(error).removeprefix("TemplateError: ")
