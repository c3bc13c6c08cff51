"""What a sample says that its metrics chose is what the metrics judged, by a second implementation of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.config.suites import load_tasks, with_programs
from evalkit.data import DataSource, load_documents
from evalkit.data.manifest import find_dataset
from evalkit.records.samples import Sample
from evalkit.results.former import with_choices
from evalkit.tasks.choosing import chooser_of, chosen
from evalkit.tasks.lm_eval_loading import load_lm_eval_tasks
from tests.support import protocol

TASKS = [name for name in load_tasks() if not with_programs([name])]
# Few values, so that ties are common.
LOGPROB = st.integers(-6, -1).map(float)


def documents(task: str) -> list[Any]:
    return list(load_documents(find_dataset(task), DataSource("samples")).documents)


@pytest.fixture(scope="module")
def loaded() -> dict[str, Any]:
    """lm-eval's objects of all tasks."""
    sources = {task.suite: DataSource("samples") for task in load_tasks().values()}
    tasks: dict[str, Any] = load_lm_eval_tasks(TASKS, sources)["tasks"]
    return tasks


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=30, deadline=None)
@given(draw=st.data())
def test_a_metric_is_right_exactly_where_it_chose_a_right_continuation(
    task: str, loaded: dict[str, Any], draw: st.DataObject
) -> None:
    doc = draw.draw(st.sampled_from(documents(task)))
    requests = protocol.requests(task, doc)
    scores = draw.draw(st.lists(LOGPROB, min_size=len(requests), max_size=len(requests)))
    expected = protocol.metrics(task, doc, scores)
    metrics = load_tasks()[task].metrics
    target = loaded[task].doc_to_target(doc)
    choices = loaded[task].doc_to_choice(doc)
    found = chosen(task, doc, target, scores, metrics, choices)
    assert found.gold
    assert set(found.picked) == set(metrics) & {"acc", "acc_norm", "multiple_choice_grade", "mc1"}
    for metric, place in found.picked.items():
        if metric == "multiple_choice_grade":
            assert expected[metric] == list(doc["target_scores"].values())[place]
        else:
            assert (place in found.gold) == bool(expected[metric])
    # What a former record had of this document gives the same, from requests and answers alone.
    details = {}
    if found.second_group is not None:
        details = {"mc1_choices": found.second_group, "mc2_true": len(found.gold) - 1}
    former = with_choices(
        Sample(
            task=task,
            doc_id=0,
            cluster=None,
            metrics={metric: expected[metric] for metric in metrics if metric != "exact_str_match"},
            target=target,
            context="",
            continuations=[continuation for _, continuation in requests],
            logprobs=list(scores),
            greedy=[False] * len(requests),
            generated=[],
            details=details,
        )
    )
    assert (former.picked, former.gold, former.second_group) == (found.picked, found.gold, found.second_group)
    assert former.characters == found.characters
    assert former.details == {}


def test_what_chooses_nothing_says_so() -> None:
    assert chooser_of("humaneval") is None
    assert chooser_of("a task of lm-eval") is None
    assert chosen("humaneval", {}, "", [], ["pass@1"], []).picked == {}
    doc = documents("arc_easy")[0]
    failed = chosen("arc_easy", doc, 1, [None, *[-1.0] * 3], ["acc", "acc_norm"], list("abcd"))
    assert (failed.picked, failed.gold) == ({}, [1])
