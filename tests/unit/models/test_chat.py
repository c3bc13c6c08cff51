"""Chat templates: the system prompt reaches the model as it is recorded, or there is an error with the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from evalkit.errors import ModelError
from evalkit.models import tiny
from evalkit.models.chat import check_chat_template, render_chat

pytestmark = pytest.mark.model

TURNS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[model]"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TURNS
DROPS = "{% for m in messages %}{% if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endif %}{% endfor %}"
CHANGES = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content | upper if m.role == 'system' else m.content }}{% endfor %}"
)
MESSAGES = [{"role": "system", "content": "Say B."}, {"role": "user", "content": "Why?"}]


def tokenizer(template: str) -> Any:
    found = tiny.tokenizer(False)
    found.chat_template = template
    return found


def test_a_system_message_that_the_template_takes() -> None:
    assert render_chat(tokenizer(TURNS), MESSAGES, name="m") == "[system]Say B.[user]Why?[model]"


@pytest.mark.parametrize(("template", "what"), [(REFUSES, r"takes no system message \(no system\)"), (DROPS, "leaves")])
def test_one_that_it_refuses_or_drops(template: str, what: str) -> None:
    with pytest.raises(ModelError, match=f"^m: its chat template {what}.*--system-in-user"):
        render_chat(tokenizer(template), MESSAGES, name="m")
    with pytest.raises(ModelError, match="--system-in-user"):
        check_chat_template("m", tokenizer(template), system="x")
    text = render_chat(tokenizer(template), MESSAGES, name="m", system_in_user=True)
    assert "[user]Say B.\n\nWhy?" in text
    assert "[system]" not in text
    check_chat_template("m", tokenizer(template), system="x", system_in_user=True)
    check_chat_template("m", tokenizer(template))


def test_one_that_it_changes_is_its_right() -> None:
    with pytest.raises(ModelError):  # but upper case is not what was asked for: the probe is not there either
        render_chat(tokenizer(CHANGES), MESSAGES, name="m")
    trims = TURNS.replace("m.content", "m.content | trim")
    assert "[system]Say B.[user]" in render_chat(
        tokenizer(trims), [{**MESSAGES[0], "content": " Say B. "}, MESSAGES[1]], name="m"
    )


USER = "{% for m in messages %}{% if m.role == 'user' %}U: {{ m.content FILTER }}{% endif %}{% endfor %}A:"


@pytest.mark.parametrize(
    ("template", "system", "says"),
    [
        (USER.replace("FILTER", "| upper"), None, "changes the user's message"),
        (USER.replace("FILTER", "| truncate(60)"), None, "cuts or changes the user's message"),
        (USER.replace("FILTER", "[:300]"), None, "cuts or changes the user's message"),
        (
            TURNS.replace("m.content", "m.content[:80] if m.role == 'system' else m.content"),
            "x " * 60,
            "cuts or changes",
        ),
        (CHANGES, "Say B.", "cuts or changes the system message"),
        (DROPS, "Say B.", "leaves the system message out"),
    ],
)
def test_what_a_template_does_to_a_message_is_said(template: str, system: str | None, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        check_chat_template("m", tokenizer(template), system=system)


def test_templates_without_a_default_are_named() -> None:
    found = tokenizer(TURNS)
    found.chat_template = {"tool_use": TURNS, "rag": TURNS}
    with pytest.raises(ModelError, match=r"special uses only \(tool_use, rag\), none named 'default'"):
        check_chat_template("m", found)
    found.chat_template = {"default": TURNS, "rag": "X"}
    assert check_chat_template("m", found) == []


def test_what_may_be_meant_is_a_warning() -> None:
    (warning,) = check_chat_template("m", tokenizer(TURNS.removesuffix("[model]") + "\n"))
    assert "ignores add_generation_prompt" in warning
    (warning,) = check_chat_template("m", tokenizer("{{ strftime_now('%H:%M:%S') }}" + TURNS))
    assert "date or time" in warning
    assert check_chat_template("m", tokenizer("[INST] {{ messages[0].content }} [/INST]")) == []


@pytest.mark.parametrize(
    ("filtered", "message"),
    [
        ("replace('\n', ' ')", "cuts or changes the user's message"),
        ("e", "cuts or changes the user's message"),
        ("tojson", "cuts or changes the user's message"),
        ("upper", "the user's message"),
        ("trim", None),
    ],
)
def test_a_program_must_arrive_to_the_letter(filtered: str, message: str | None) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{% for m in messages %}U: {{ m.content | " + filtered + " }}\n{% endfor %}A:"
    if message is None:
        assert check_chat_template("m", tokenizer) == []
    else:
        with pytest.raises(ModelError, match=message):
            check_chat_template("m", tokenizer)


def test_a_template_that_ends_the_question_and_begins_no_answer_is_named() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}" + tokenizer.eos_token + "\n{% endfor %}"
    (warning,) = check_chat_template("m", tokenizer)
    assert "begins no answer" in warning


def test_an_answer_that_ends_with_no_end_token_is_named_with_the_ids_that_end_it() -> None:
    found = tokenizer(tiny.CHATML)
    end, other = found.convert_tokens_to_ids("<|im_end|>"), found.convert_tokens_to_ids(tiny.PAD)
    assert check_chat_template("m", found, end_ids={end, other}) == []
    assert check_chat_template("m", found, end_ids=None) == []
    (warning,) = check_chat_template("m", found, end_ids={other})
    assert "ends an answer with <|im_end|>, which is no end token of this model" in warning
    assert f'"eos_token_id": [{other}, {end}] in its generation_config.json' in warning
    (warning,) = check_chat_template("m", found, end_ids=())
    assert f'"eos_token_id": [{end}]' in warning


def test_so_is_an_end_that_is_no_token_at_all() -> None:
    marked = "{% for m in messages %}{{ m.content }}<|stop|>{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
    (warning,) = check_chat_template("m", tokenizer(marked), end_ids={1})
    assert "<|stop|>, which is no token of this tokenizer" in warning
    assert check_chat_template("m", tokenizer(TURNS.replace("[model]", " A:")), end_ids={1}) == []
