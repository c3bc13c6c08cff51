"""Why a number differs: each cause is found where it was put, with its figure, and ruled out where it is not."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from msgspec.structs import replace

from evalkit.baselines import load_baseline
from evalkit.comparison.explain import Cause, Explanation, explain, explain_text
from evalkit.comparison.explain_figures import Facts, choice_margin
from evalkit.comparison.run_scores import run_scores
from evalkit.config.suites import find_suite
from evalkit.errors import ConfigError
from tests.support.pairs import data_entry, document, draw, write_samples, write_values

pytestmark = pytest.mark.torch_free

CARD = "openhermes-2.5-mistral-7b"
GPT4ALL = find_suite("gpt4all")


def exact(share: float, documents: int) -> list[float]:
    right = round(share * documents)
    return [1.0] * right + [0.0] * (documents - right)


def as_published(**other: float) -> dict[str, list[float]]:
    """Answers with the card's scores, except for tasks named."""
    card = load_baseline(CARD)
    return {
        task.name: exact(other.get(task.name, float(card.headline(task).value)), task.documents)  # type: ignore[union-attr]
        for task in GPT4ALL.tasks
    }


def causes(found: Explanation) -> dict[str, Cause]:
    return {cause.name: cause for cause in found.causes}


def test_a_reproduced_score_leaves_nothing_to_explain(tmp_path: Path) -> None:
    write_values(tmp_path / "run", as_published())
    (found,) = explain(tmp_path / "run", CARD).suites
    assert abs(found.difference.value) < 0.01
    assert found.causes[0].name == "sampling error"
    assert "accounts for the whole gap" in found.causes[0].finding
    standings = {name: cause.standing for name, cause in causes(found).items()}
    for name in ("protocol", "BOS token", "chat template", "system prompt", "average", "number of documents", "data"):
        assert standings[name] == "ruled out"
    assert standings["tokenizer, checkpoint"] == "unknown"
    assert [cause.standing for cause in found.causes] == sorted(
        (cause.standing for cause in found.causes), key=["sampling", "found", "unknown", "ruled out"].index
    )


def test_one_task_that_is_off_is_named_with_its_share(tmp_path: Path) -> None:
    write_values(tmp_path / "run", as_published(boolq=0.5), data={"boolq": data_entry("other")})
    explained = explain(tmp_path / "run", CARD, ["gpt4all"])
    (found,) = explained.suites
    gap = 100 * (0.5 - 0.8657) / 7
    assert found.difference.value == pytest.approx(gap, abs=0.01)
    assert found.tasks[0].name == "boolq"
    assert found.tasks[0].points == pytest.approx(gap, abs=0.01)
    assert found.tasks[0].z < -30
    assert "leaves at least" in found.causes[0].finding
    data = causes(found)["data"]
    assert data.standing == "found"
    assert "boolq" in explain_text(explained, "markdown")


def test_what_changes_every_request_is_ranked_before_what_is_bounded(tmp_path: Path) -> None:
    config = {"add_bos": True, "apply_chat_template": True, "system": "s", "limit": None}
    write_values(tmp_path / "run", as_published(), config=config)
    (found,) = explain(tmp_path / "run", CARD).suites
    assert {cause.name for cause in found.causes[1:4]} == {"BOS token", "chat template", "system prompt"}
    assert all(cause.standing == "found" and cause.points is None for cause in found.causes[1:4])


def test_another_metric_is_tried(tmp_path: Path) -> None:
    # TruthfulQA: the run's mc1 is what was "published" as mc2.
    samples = [document("truthfulqa_mc", i, float(i % 10 < 3)) for i in range(817)]
    samples = [replace(s, metrics={"mc1": float(i % 100 < 53), "mc2": s.metrics["mc2"]}) for i, s in enumerate(samples)]
    write_samples(tmp_path / "run", samples)
    (found,) = explain(tmp_path / "run", CARD).suites
    metric = causes(found)["metric"]
    assert metric.standing == "found"
    assert "with mc1 the run's average is 53" in metric.finding
    assert metric.points == pytest.approx(abs(found.difference.value), abs=1.0)
    write_values(tmp_path / "plain", as_published())
    assert causes(explain(tmp_path / "plain", CARD).suites[0])["metric"].standing == "ruled out"


@pytest.mark.parametrize(("nearer", "standing"), [(0.003, "ruled out"), (0.02, "found")])
def test_a_metric_that_is_no_closer_than_rounding_is_no_cause(nearer: float, standing: str, tmp_path: Path) -> None:
    card = load_baseline(CARD).score(find_suite("truthfulqa"))
    assert card is not None
    off = card.estimate.value / 100 + 0.03
    values = [off, off - nearer / 100]
    samples = [document("truthfulqa_mc", i, off) for i in range(817)]
    write_samples(tmp_path / "run", [replace(s, metrics={"mc1": values[1], "mc2": values[0]}) for s in samples])
    metric = causes(explain(tmp_path / "run", CARD).suites[0])["metric"]
    assert metric.standing == standing
    assert metric.points == pytest.approx(nearer if standing == "found" else 0.0, abs=1e-6)


def test_a_printed_average_that_does_not_follow_from_its_rows_is_found(tmp_path: Path) -> None:
    bigbench = find_suite("bigbench")
    card = load_baseline(CARD)
    values = {task.name: exact(float(card.headline(task).value), task.documents) for task in bigbench.tasks}  # type: ignore[union-attr]
    write_values(tmp_path / "run", values)
    (found,) = explain(tmp_path / "run", CARD).suites
    average = causes(found)["average"]
    assert (average.standing, average.finding) == ("found", "published 40.96, recomputed from its rows 40.95")
    assert "three_objects holds the documents of" in causes(found)["known defects of the data"].finding


def test_dtype_is_compared_where_the_publication_names_it(tmp_path: Path) -> None:
    write_values(tmp_path / "run", {task.name: draw(task.documents, 0.8, 1) for task in GPT4ALL.tasks})
    named = causes(explain(tmp_path / "run", "mixtral-7x8-instruct-v0.1", ["gpt4all"]).suites[0])["dtype"]
    assert named.standing == "found"
    assert "run in bfloat16, published in float16" in named.finding
    # The two choices of these documents are one nat apart.
    assert "decided by less than 0.1 nats make 0.00 points" in named.finding
    write_values(
        tmp_path / "audited",
        {task.name: draw(task.documents, 0.8, 1) for task in GPT4ALL.tasks},
        numerics={
            "requests": 8,
            "documents": 4,
            "max_difference": 0.1,
            "mean_difference": 0.01,
            "flipped": 1,
            "flipped_greedy": 1,
            "dtype": "float16",
            "points": 0.7,
            "summary": "numerics: 0.70 points",
        },
        model={"dtype": "float16", "quantization": "awq"},
    )
    found = causes(explain(tmp_path / "audited", CARD).suites[0])
    assert found["dtype"].points == 0.7
    assert "as the run's audit measured" in found["dtype"].finding
    assert found["quantisation"].standing == "found"
    same = causes(explain(tmp_path / "audited", "mixtral-7x8-instruct-v0.1").suites[0])["dtype"]
    assert same.standing == "ruled out"


def test_margins_of_choices() -> None:
    sample = document("boolq", 0, 1.0, logprobs=[-3.0, -3.05], continuations=[" abc", " abcdef"], characters=[3, 6])
    assert choice_margin(sample, "acc") == pytest.approx(0.05)
    # Per character -1 and -0.508; times the shorter length.
    assert choice_margin(sample, "acc_norm") == pytest.approx((1 - 3.05 / 6) * 3)
    assert choice_margin(sample, "mc2") is None
    assert choice_margin(replace(sample, logprobs=[-1.0, None]), "acc") is None


def test_few_documents_and_samples_are_named(tmp_path: Path) -> None:
    values = {task.name: draw(40, 0.7, i) for i, task in enumerate(GPT4ALL.tasks)}
    write_values(tmp_path / "run", values, data={name: data_entry("samples") for name in values}, config={"limit": 40})
    explained = explain(tmp_path / "run", CARD)
    found = causes(explained.suites[0])
    assert "280 of 20,465 scored" in found["number of documents"].finding
    assert "7 of 7 tasks have other content (samples)" in found["data"].finding
    assert "samples: the built-in samples are no benchmark" in explain_text(explained, "markdown")


def test_what_cannot_be_explained_is_said(tmp_path: Path) -> None:
    write_values(tmp_path / "run", {**as_published(), "agieval_sat_math": draw(50, 0.3, 1)})
    explained = explain(tmp_path / "run", CARD)
    assert explained.notes == ("AGIEval: the run has no score, because tasks are missing or failed",)
    (found,) = explain(tmp_path / "run", "openhermes-1-llama2-13b").suites
    assert causes(found)["average"].standing == "unknown"
    assert found.tasks == ()
    with pytest.raises(ConfigError, match="nothing to compare"):
        explain(tmp_path / "run", CARD, ["agieval"])
    with pytest.raises(ConfigError, match=r"`evalkit compare .*run"):
        explain(tmp_path / "run", str(tmp_path / "run"))
    (tmp_path / "run" / "samples.jsonl").unlink()
    assert "no audit and no documents" in causes(explain(tmp_path / "run", CARD).suites[0])["dtype"].finding


def test_humaneval_says_how_it_was_measured(tmp_path: Path) -> None:
    write_values(tmp_path / "run", {"humaneval": exact(0.4, 164)})
    (found,) = explain(tmp_path / "run", CARD).suites
    assert "third party" in causes(found)["how HumanEval was measured"].finding


@pytest.mark.parametrize("form", ["csv", "json", "latex", "html"])
def test_other_formats(tmp_path: Path, form: str) -> None:
    write_values(tmp_path / "run", as_published())
    text = explain_text(explain(tmp_path / "run", CARD), form)
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert (rows[0]["suite"], rows[0]["rank"], rows[0]["cause"]) == ("GPT4All", "1", "sampling error")
    assert "sampling error" in text


def test_facts_of_a_suite_without_scores(tmp_path: Path) -> None:
    record = write_values(tmp_path / "run", {"boolq": draw(10, 0.5, 1)})
    facts = Facts(run_scores(record), load_baseline(CARD), GPT4ALL)
    assert facts.scored(GPT4ALL.tasks[0]) == 0
    assert facts.value(GPT4ALL.tasks[0], "acc") is None
    assert facts.published_dtype() is None
