"""The options that a run was asked for, as its record keeps them: those of `evalkit.config.RunConfig`, by their names.

Its fields are made of the options. Declared here are those that evalkit reads from records, so that types are checked,
and those that are otherwise in a record: it outlives the options, so words are any text, and what an imported file does
not say is null.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

from evalkit.config.options import declared_settings
from evalkit.config.run_config import RunConfig
from evalkit.config.yaml_files import Entry as Part
from evalkit.records.growth import grown


class _Asked(Part, frozen=True, kw_only=True):
    """What was asked for: flags and file merged."""

    model: str
    """Local folder, hub id, or ``tiny``."""
    data: tuple[str, ...] = ()
    """Sources of the documents, each ``SOURCE`` or ``SUITE=SOURCE``."""
    samples: int = 1
    """Completions for each HumanEval problem."""
    limit: int | float | None = None
    """First N documents of each task; null for all. Of an imported file, below 1 a share of each task."""
    output: str | None = None
    """Folder that received the run."""
    add_bos: bool = False
    """Put the BOS token before every request."""
    apply_chat_template: bool = False
    """Wrap contexts in the tokenizer's chat template."""
    system: str | None = None
    """System prompt."""
    system_in_user: bool = False
    """Put it at the head of the first user turn."""
    max_new_tokens: int | None = None
    """Greatest number of tokens of a generated text; null: each task's own."""
    seed: int = 1234
    """Of torch, numpy and random."""
    source_file: str | None = None
    """The configuration file."""


def _in_record(kind: Any) -> Any:
    return str if typing.get_origin(kind) is typing.Literal else kind


if TYPE_CHECKING:

    class Asked(_Asked, frozen=True, kw_only=True):
        """What was asked for; besides the declared ones it has all other options."""

else:
    Asked = grown(
        _Asked,
        {
            key: (_in_record(setting.kind), setting.default, setting.option.since)
            for key, setting in declared_settings(RunConfig).items()
        },
    )
