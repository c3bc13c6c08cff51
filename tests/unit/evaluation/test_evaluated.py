"""From lm-eval's logged samples to ours: what failed is never scored, what is missing is counted."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from evalkit.answering import ScoreRequest
from evalkit.answering.marks import Marks
from evalkit.evaluation.evaluated import sample_of, samples_of
from evalkit.records.values import summarise_samples
from evalkit.store.sections import FailedText

pytestmark = pytest.mark.torch_free

DOC = {"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"}


def entry(doc_id: int, *answers: Any, **metrics: float) -> dict[str, Any]:
    return {
        "doc_id": doc_id,
        "doc": DOC,
        "target": 0,
        "choices": DOC["choices"]["text"],
        "arguments": [("context", f" choice {n}") for n in range(len(answers))],
        "resps": [[answer] for answer in answers],
        "filtered_resps": list(answers),
        "metrics": list(metrics),
        **metrics,
    }


def sample(*answers: Any, **metrics: float) -> Any:
    return sample_of("arc_easy", entry(0, *answers, **metrics), "arc")


def test_a_good_sample() -> None:
    found = sample((-1.5, True), (-2.5, False), acc=1.0)
    assert found.metrics == {"acc": 1.0}
    assert found.logprobs == [-1.5, -2.5]
    assert found.greedy == [True, False]
    assert found.continuations == [" choice 0", " choice 1"]
    assert found.context == "context"
    assert found.details == {}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_log_probability_that_is_no_number_refuses_every_metric(bad: float) -> None:
    found = sample((-1.5, True), (bad, False), acc=1.0, acc_norm=0.0)
    assert found.metrics == {"acc": None, "acc_norm": None}
    assert found.logprobs == [-1.5, None]
    assert found.details == {"failed": "log-probability"}


def test_a_metric_that_is_no_number_is_no_score() -> None:
    assert sample((-1.5, True), (-2.0, False), acc=math.nan, acc_norm=1.0).metrics == {"acc": None, "acc_norm": 1.0}


def test_a_failed_text_refuses_the_score() -> None:
    found = sample(FailedText(), exact_str_match=1.0)
    assert found.metrics == {"exact_str_match": None}
    assert found.details == {"failed": "generation"}
    assert sample("", exact_str_match=0.0).metrics == {"exact_str_match": 0.0}


def test_what_happened_to_requests_marks_their_document_and_no_other() -> None:
    logged = entry(0, (-1.5, True), (-2.5, False), acc=1.0)
    marks = Marks()
    asked = [ScoreRequest(task, doc_id, "", "x") for task, doc_id in (("arc_easy", 0), ("arc_easy", 1), ("piqa", 0))]
    marks.add(asked, {"reused": [0], "cut": [1, 2], "apart": [0, 0]})
    assert sample_of("arc_easy", logged, "arc", marks.of).details == {"reused": True, "apart": True}
    assert marks.counts == {"reused": 1, "cut": 2, "apart": 2}


def test_documents_without_result_are_failed_samples() -> None:
    loaded: Any = SimpleNamespace(documents=[DOC] * 5, dataset=SimpleNamespace(layout="arc"))
    logged = {"arc_easy": [entry(n, (-1.0, True), (-2.0, False), acc=1.0, acc_norm=1.0) for n in (2, 0)]}
    samples = samples_of(logged, {"arc_easy": loaded}, 3)
    assert [found.doc_id for found in samples] == [0, 1, 2]
    assert samples[1].metrics == {"acc": None, "acc_norm": None}
    assert samples[1].details == {"failed": "missing"}
    value = summarise_samples(samples)["arc_easy"]["acc"]
    assert (value.value, value.n, value.failed) == (None, 3, 1)
