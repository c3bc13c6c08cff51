"""Rendering conversations with a tokenizer's chat template, so that what is recorded is what reached the model.

lm-eval drops the system message where a template refuses it, and goes on; some templates drop it themselves. Here either
is an error with a remedy, unless the user asked for the text to go into the first user turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jinja2

from evalkit.errors import ModelError

Message = Mapping[str, str]

_PROBE = "evalkit system probe 8241"
"""A system message that no template contains by itself."""


def require(tokenizer: Any, name: str) -> None:
    """Raise `ModelError` unless the tokenizer has a chat template."""
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"{name}: the tokenizer has no chat template; "
            "add one to its tokenizer_config.json, or send the prompt as it is (evalkit infer --raw)"
        )


def render(
    tokenizer: Any,
    messages: Sequence[Message],
    *,
    name: str,
    add_generation_prompt: bool = True,
    arguments: Mapping[str, Any] = MappingProxyType({}),
    system_in_user: bool = False,
) -> str:
    """Return a conversation as text.

    Args:
        tokenizer: a transformers tokenizer.
        messages: with ``role`` and ``content``.
        name: of the model, for messages.
        add_generation_prompt: end where the model's answer begins; else where the last message can be continued.
        arguments: further arguments of the template.
        system_in_user: put the system message at the head of the first user turn.

    Raises:
        ModelError: there is no template; it is broken; it refuses or drops the system message.
    """
    require(tokenizer, name)
    system = [message for message in messages if message["role"] == "system" and message["content"].strip()]
    if system_in_user:
        messages = folded(messages)
    try:
        text = _render(tokenizer, messages, add_generation_prompt, arguments)
    except Exception as error:  # templates call what they like: any exception can come out
        line = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
        if system and not system_in_user and _renders(tokenizer, folded(messages), add_generation_prompt, arguments):
            raise ModelError(_refused(name, f"refuses a system message ({line})")) from error
        raise ModelError(
            f"{name}: its chat template cannot render a conversation ({line}); correct the template, "
            "or run without --apply-chat-template"
        ) from error
    if system and not system_in_user and system[0]["content"].strip() not in text:
        # Not there as it stands: changed by the template (which is its right), or dropped?
        probe = [{**message, "content": _PROBE} if message in system else message for message in messages]
        if _PROBE not in _render(tokenizer, probe, add_generation_prompt, arguments):
            raise ModelError(_refused(name, "drops the system message"))
    return text


def folded(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Return the conversation with its system messages at the head of the first user turn, a blank line after them."""
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    rest = [dict(message) for message in messages if message["role"] != "system"]
    first = next((message for message in rest if message["role"] == "user"), None)
    if system and first is not None:
        first["content"] = f"{system}\n\n{first['content']}"
    return rest


def _refused(name: str, what: str) -> str:
    return (
        f"{name}: its chat template {what}; leave --system out, "
        "or put the text at the head of the user's turn with --system-in-user"
    )


def _renders(tokenizer: Any, messages: Sequence[Message], add_generation_prompt: bool, arguments: Any) -> bool:
    try:
        _render(tokenizer, messages, add_generation_prompt, arguments)
    except Exception:  # as in `render`
        return False
    return True


def _render(
    tokenizer: Any, messages: Sequence[Message], add_generation_prompt: bool, arguments: Mapping[str, Any]
) -> str:
    text = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        continue_final_message=not add_generation_prompt,
        **arguments,
    )
    if not isinstance(text, str):
        raise jinja2.TemplateError("the template gave no text")
    return text
