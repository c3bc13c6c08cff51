"""Scoring again finds what rounding did, and leaves the model as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from evalkit.errors import ConfigError
from evalkit.scoring.requests import TokenRequest

pytestmark = pytest.mark.model

MAX_LENGTH = 96


def test_float32_has_nothing_to_find(mistral: Any, make_requests: Callable[..., list[TokenRequest]]) -> None:
    from evalkit.scoring.packed import ForestScorer
    from evalkit.scoring.packs import score
    from evalkit.scoring.recheck import recheck

    requests = make_requests(1)
    scores = score(ForestScorer(mistral, max_length=MAX_LENGTH), requests)
    documents = [("task", k // 4) for k in range(len(requests))]
    found = recheck(mistral, requests, scores, documents, 1.0, max_length=MAX_LENGTH)
    assert (found.requests, found.documents, found.flipped, found.flipped_greedy) == (40, 10, 0, 0)
    assert found.max_difference < 1e-4
    assert found.dtype == "float32"


def test_half_precision_is_measured_and_the_weights_come_back(
    build_model: Callable[[str], Any], make_requests: Callable[..., list[TokenRequest]]
) -> None:
    import torch

    from evalkit.scoring.packed import ForestScorer
    from evalkit.scoring.packs import score
    from evalkit.scoring.plain import PlainScorer
    from evalkit.scoring.recheck import recheck

    model = copy.deepcopy(build_model("llama-tied")).to(torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    requests = make_requests(2)
    scores = score(ForestScorer(model, max_length=MAX_LENGTH), requests)
    documents = [("task", k // 4) for k in range(len(requests))]
    found = recheck(model, requests, scores, documents, 0.5, max_length=MAX_LENGTH)
    assert (found.requests, found.documents) == (20, 5)
    assert 0 < found.mean_difference < found.max_difference < 1
    assert found.dtype == "bfloat16"
    after = model.state_dict()
    assert all(
        after[name].dtype == tensor.dtype and torch.equal(after[name], tensor) for name, tensor in before.items()
    )
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    # The float32 side is the widened model, not another one.
    exact = score(PlainScorer(copy.deepcopy(model).float(), max_length=MAX_LENGTH), requests)
    whole = recheck(model, requests, scores, documents, 1.0, max_length=MAX_LENGTH)
    differences = [abs(a[0] - b[0]) for a, b in zip(scores, exact, strict=True)]
    assert whole.max_difference == pytest.approx(max(differences), abs=1e-5)


def test_a_changed_answer_is_counted(mistral: Any) -> None:
    from evalkit.scoring.packs import score
    from evalkit.scoring.plain import PlainScorer
    from evalkit.scoring.recheck import recheck

    requests = [TokenRequest((5,), (k,)) for k in range(6)]
    scores = score(PlainScorer(mistral, max_length=MAX_LENGTH), requests)
    wrong = list(scores)
    wrong[min(range(3), key=lambda k: scores[k][0])] = (1.0, False)  # another choice of document 0 wins
    found = recheck(mistral, requests, wrong, [0, 0, 0, 1, 1, 1], 1.0, max_length=MAX_LENGTH)
    assert found.flipped == 1
    assert found.points == 50.0
    assert found.summary.startswith("numerics: ±50.00 points (1 of 2 documents change")


def test_the_same_documents_are_drawn_whatever_the_order(mistral: Any) -> None:
    from evalkit.scoring.recheck import _draw

    documents = [("task", k) for k in range(100)]
    assert set(_draw(documents, 0.1)) == set(_draw(documents[::-1], 0.1))
    assert len(_draw(documents, 0.001)) == 1


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.5])
def test_an_impossible_share_is_refused(fraction: float, mistral: Any) -> None:
    from evalkit.scoring.recheck import recheck

    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        recheck(mistral, [], [], [], fraction, max_length=MAX_LENGTH)


def test_no_requests(mistral: Any) -> None:
    from evalkit.scoring.recheck import recheck

    assert recheck(mistral, [], [], [], 0.5, max_length=MAX_LENGTH).points == 0.0


def test_quantised_weights_are_refused(mistral: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.scoring.recheck import recheck

    monkeypatch.setattr(mistral, "is_quantized", True, raising=False)
    with pytest.raises(ConfigError, match="quantised model cannot be widened"):
        recheck(mistral, [TokenRequest((1,), (2,))], [(0.0, False)], [0], 1.0, max_length=MAX_LENGTH)
