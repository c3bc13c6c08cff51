"""Does a chat template do what a run needs of it? One conversation tells, before anything is scored."""

from __future__ import annotations

from typing import Any

from evalkit.errors import ModelError
from evalkit.models.checkpoints import first_line

QUESTION = "What is 12 + 30?"
SYSTEM = "Answer in one short sentence."
_TOOL = {
    "type": "function",
    "function": {"name": "clock", "description": "Tells the time.", "parameters": {"type": "object", "properties": {}}},
}


def check_chat_template(name: str, tokenizer: Any, *, system: str | None = None, remedy: str = "") -> None:
    """Render one question, with a system message where one is wanted, and look at what comes out.

    Args:
        name: what the user calls the model.
        tokenizer: a transformers tokenizer.
        system: the system prompt that will be used; None for none.
        remedy: what else the user can do than to mend the template.

    Raises:
        ModelError: there is no template, it is broken, wants tools or contents in parts, leaves the question or the
            system message out, or refuses a system message.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(f"{name}: the tokenizer has no chat template; add one to its tokenizer_config.json{remedy}")
    question = [{"role": "user", "content": QUESTION}]
    try:
        text = _rendered(tokenizer, question)
    except Exception as error:  # a template is a program: anything can come out of it
        raise ModelError(f"{name}: {_cause(tokenizer, error)}; mend the template{remedy}") from error
    if QUESTION not in text:
        cause = _wants(tokenizer) or "leaves the user's message out"
        raise ModelError(f"{name}: its chat template {cause}; mend the template{remedy}")
    if system is None:
        return
    try:
        text = _rendered(tokenizer, [{"role": "system", "content": SYSTEM}, *question])
    except Exception as error:
        raise ModelError(
            f"{name}: its chat template takes no system message ({_reason(error)}); leave --system out, "
            "or put its text into the question"
        ) from error
    if SYSTEM not in text:
        raise ModelError(f"{name}: its chat template leaves the system message out; leave --system out")


def _rendered(tokenizer: Any, messages: list[dict[str, Any]], **options: Any) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options))


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
