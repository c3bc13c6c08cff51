"""Chat templates: the system prompt reaches the model as it is recorded, or there is an error with the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from evalkit.errors import ModelError
from evalkit.models import tiny
from evalkit.models.chat import check_chat_template, render

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
    assert render(tokenizer(TURNS), MESSAGES, name="m") == "[system]Say B.[user]Why?[model]"


@pytest.mark.parametrize(("template", "what"), [(REFUSES, r"takes no system message \(no system\)"), (DROPS, "leaves")])
def test_one_that_it_refuses_or_drops(template: str, what: str) -> None:
    with pytest.raises(ModelError, match=f"^m: its chat template {what}.*--system-in-user"):
        render(tokenizer(template), MESSAGES, name="m")
    with pytest.raises(ModelError, match="--system-in-user"):
        check_chat_template("m", tokenizer(template), system="x")
    text = render(tokenizer(template), MESSAGES, name="m", system_in_user=True)
    assert "[user]Say B.\n\nWhy?" in text
    assert "[system]" not in text
    check_chat_template("m", tokenizer(template), system="x", system_in_user=True)
    check_chat_template("m", tokenizer(template))


def test_one_that_it_changes_is_its_right() -> None:
    with pytest.raises(ModelError):  # but upper case is not what was asked for: the probe is not there either
        render(tokenizer(CHANGES), MESSAGES, name="m")
    trims = TURNS.replace("m.content", "m.content | trim")
    assert "[system]Say B.[user]" in render(
        tokenizer(trims), [{**MESSAGES[0], "content": " Say B. "}, MESSAGES[1]], name="m"
    )
