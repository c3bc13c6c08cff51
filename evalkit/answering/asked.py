"""What one call of an answerer asked: answers are kept for it by place, so it must come to the session as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.config.generation_settings import max_tokens
from evalkit.errors import ModelError
from evalkit.scoring.completion import first_stop

# No token of a known vocabulary is longer; a text of more characters for each token asked for is not what was asked.
LONGEST_TOKEN = 512


@dataclass(frozen=True)
class Call:
    """One call of `Answers.scores` or `Answers.texts`, which brings all its requests to the session once.

    Attributes:
        requests: all of them, in the order in which their answers are wanted.
        sections: number of calls of the ledger before this one.
    """

    requests: Sequence[object]
    sections: int

    def check(self, who: str, given: Sequence[object], sections: int | None) -> None:
        """Check that an answerer brings what it was asked, in that order, and brings it once.

        Args:
            who: for the message: ``session.scored``.
            given: the requests that it brings.
            sections: number of calls of the ledger so far; None without one.

        Raises:
            ModelError: others, a part of them, in another order, changed, or a second time.
        """
        if sections is not None and sections != self.sections:
            raise ModelError(f"{who}: called a second time; all requests go to it in one call")
        if len(given) != len(self.requests):
            raise ModelError(
                f"{who}: {len(given)} of the {len(self.requests)} requests asked for; all go to it in one call"
            )
        pairs = enumerate(zip(given, self.requests, strict=True))
        wrong = next((place for place, (one, asked) in pairs if one is not asked and one != asked), None)
        if wrong is not None:
            raise ModelError(
                f"{who}: request {wrong + 1} of {len(given)} is not the one asked for at that place; give the "
                "requests as they came, in their order (the scorer, or the plan of texts, sorts them)"
            )


def text_as_asked(who: str, text: str | None, settings: Mapping[str, Any]) -> str | None:
    """Return a text cut where its request ends it: before the first stop string, applied in their order.

    Raises:
        ModelError: it has more characters than the tokens asked for can have.
    """
    if text is None:
        return None
    most = max_tokens(settings, 0)
    if most and len(text) > most * LONGEST_TOKEN:
        raise ModelError(
            f"{who}: a text of {len(text):,} characters, where {most} tokens (max_gen_toks) are asked for; keep to that"
        )
    until = settings.get("until") or ()
    return first_stop(text, [until] if isinstance(until, str) else until)
