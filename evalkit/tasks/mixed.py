"""A task that both scores choices and generates an answer, which lm-eval's YAML alone cannot say."""

from __future__ import annotations

from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

# Greedy, no stop strings, at most 128 new tokens: PROTOCOL "nous-2023", exact_str_match.
GENERATION = {"until": [], "max_gen_toks": 128, "do_sample": False}


class MultipleChoiceAndGeneration(ConfigurableTask):  # type: ignore[misc]  # lm-eval has no type information
    """Multiple choice, with one generation request after the choices' log-likelihood requests."""

    def __init__(self, config: dict[str, Any]) -> None:
        # lm-eval passes the YAML's own `class` key on, which its TaskConfig does not know.
        super().__init__(config={key: value for key, value in config.items() if key != "class"})

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> list[Instance]:
        """Return the requests of one document: one ``loglikelihood`` a choice, then one ``generate_until``."""
        requests = super().construct_requests(doc, ctx, **kwargs)
        for name in ("apply_chat_template", "chat_template"):
            kwargs.pop(name, None)
        generation = Instance(
            request_type="generate_until",
            doc=doc,
            arguments=(ctx, dict(GENERATION)),
            idx=len(requests),
            **kwargs,
        )
        return [*requests, generation]
