"""Tokens that a text will probably go on with, guessed from texts: its own, its prompt, and those beside it. No torch.

Programs and small models repeat themselves, and samples of one problem repeat each other. What followed the last
tokens where they occurred before is a draft; the model then looks at all of its tokens in one step, and takes those
that it would have chosen itself (`generate`). A draft changes how many steps a text takes, never the text.

A token more in a step costs time too, the more so the more rows there are. So how often drafts were right is counted by
how many tokens before them agreed, and a draft goes on as long as it is likely enough to be worth its cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CONTEXTS = (8, 4, 3, 2, 1)
"""Lengths of the contexts that are looked up, the longest first."""

LONGEST_MATCH = 24
"""No more tokens before a draft are compared."""

LONGEST_DRAFT = 16

STEP_TOKENS = 11.0
"""What a step costs however few tokens it has, in tokens of a draft; measured on a CPU with ordered weights.

SmolLM2-135M, one thread: 45 ms, 4.3 a row and 4.5 a drafted token; a random Mistral of 4 layers: 5.5, 0.33 and 0.4.
"""

ROW_TOKENS = 0.9
"""What a row costs in a step, in tokens of a draft: a drafted token has a kernel call of its own, rows share one."""

KNOWN_TOKENS = 1 << 17
"""Texts are forgotten after so many tokens, or twice as many."""


class Text:
    """A row's tokens, prompt and all.

    Attributes:
        tokens: so far.
    """

    def __init__(self, prompt: Sequence[int]) -> None:
        self.tokens = list(prompt)


class Drafts:
    """Guesses how texts go on."""

    def __init__(self) -> None:
        self._young: dict[Any, tuple[list[int], int]] = {}
        self._old: dict[Any, tuple[list[int], int]] = {}
        # By length of match: how many tokens were drafted and judged, how many were right. Doubtful at first.
        self._judged = [4.0] * (LONGEST_MATCH + 1)
        self._right = [4.0 * (0.3 + 0.5 * min(k, 8) / 8) for k in range(LONGEST_MATCH + 1)]
        self._taken = 1.0  # tokens a row and step, lately
        self.drafted = self.accepted = self.steps = 0

    def begin(self, prompt: Sequence[int]) -> Text:
        """Take up a text; returns what the other methods are to be given."""
        text = Text(prompt)
        for stop in range(1, len(text.tokens)):
            self._remember(text.tokens, stop)
        return text

    def push(self, text: Text, token: int) -> None:
        """Say how a text went on."""
        self._remember(text.tokens, len(text.tokens))
        text.tokens.append(token)

    def propose(self, text: Text, rows: int, most: int) -> tuple[list[int], int]:
        """Return a draft, perhaps empty, and how many tokens before it agreed.

        Args:
            text: whose last token the model has not seen yet.
            rows: of the step.
            most: no longer draft.
        """
        most = min(most, LONGEST_DRAFT)
        if most <= 0:
            return [], 0
        source, start, match = self._find(text.tokens)
        if not match:
            return [], 0
        expected = rows * self._taken
        needed = expected / (STEP_TOKENS + ROW_TOKENS * rows + (expected - rows))
        likely = 1.0
        draft: list[int] = []
        for token in source[start : start + most]:
            at = min(match + len(draft), LONGEST_MATCH)
            likely *= self._right[at] / self._judged[at]
            if likely < needed:
                break
            draft.append(token)
        return draft, match

    def judge(self, match: int, drafted: int, accepted: int) -> None:
        """Say how many tokens of a draft were right."""
        self.drafted += drafted
        self.accepted += accepted
        self.steps += 1
        self._taken += 0.002 * (1 + accepted - self._taken)
        for k in range(min(accepted + 1, drafted)):
            at = min(match + k, LONGEST_MATCH)
            self._judged[at] = 0.995 * self._judged[at] + 1
            self._right[at] = 0.995 * self._right[at] + (k < accepted)

    def _remember(self, tokens: list[int], stop: int) -> None:
        """Note what follows the tokens before ``stop``."""
        for length in CONTEXTS:
            if stop >= length:
                self._young[tuple(tokens[stop - length : stop])] = (tokens, stop)
        if len(self._young) > len(CONTEXTS) * KNOWN_TOKENS:
            self._old, self._young = self._young, {}

    def _find(self, tokens: list[int]) -> tuple[list[int], int, int]:
        """Return a text, where in it a draft begins, and how many tokens before that agree; 0 where there is none."""
        for length in CONTEXTS:
            key = tuple(tokens[-length:])
            found = self._young.get(key) or self._old.get(key)
            if found is not None:
                source, start = found
                match = length
                while (
                    match < LONGEST_MATCH
                    and match < min(start, len(tokens))
                    and source[start - match - 1] == tokens[-match - 1]
                ):
                    match += 1
                return source, start, match
        return [], 0, 0
