"""Chinese and English for what a report says itself; names of models, tasks and metrics stay as they are.

English is the language of the code: ``tr("Average: {average}", average=...)`` looks the English template up in
``languages/<code>.yaml`` and fills the translation in. A template that a catalogue lacks is shown in English.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import yaml

from evalkit.errors import ConfigError

LANGUAGES = ("en", "zh")
CATALOGUES = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Language:
    """A language of reports.

    Attributes:
        code: as on the command line and in HTML's ``lang``.
        messages: English template -> template in this language; placeholders in braces are the same in both.
    """

    code: str = "en"
    messages: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, template: str, **values: object) -> str:
        """Return the text in this language; values are inserted as they are, never read as templates."""
        text = self.messages.get(template, template)
        return text.format(**values) if values else text


ENGLISH = Language()


@lru_cache(maxsize=4)
def load_language(code: str) -> Language:
    """Return a language by its code.

    Raises:
        ConfigError: no such language.
    """
    if code not in LANGUAGES:
        raise ConfigError(f"unknown language '{code}' (known: {', '.join(LANGUAGES)})")
    if code == ENGLISH.code:
        return ENGLISH
    return Language(code, yaml.safe_load((CATALOGUES / f"{code}.yaml").read_text(encoding="utf-8")))
