"""What a record keeps of what a task makes: the same in any process, and which document differs."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from evalkit.records.identity import Identity, ProtocolIdentity, changed_of, same_protocol
from evalkit.records.made import made_of, other_documents
from evalkit.store.identity import differences
from evalkit.tasks.trial import _canonical


def of(count: int, *others: int) -> str:
    """What is made of so many documents, of some of them something else."""
    return made_of([hashlib.sha256(f"{place} {place in others}".encode()).digest() for place in range(count)])


@pytest.mark.parametrize(
    ("count", "others", "said"),
    [
        (1, [0], "document 0"),
        (12, [7, 9], "document 7"),
        (1000, [999], "document 999"),
        (1300, [7], "one of documents 6 to 7"),
        (2999, [2998], "one of documents 2997 to 2998"),
        (5000, [4999, 12], "one of documents 10 to 14"),
        (0, [], None),
        (12, [], None),
    ],
)
def test_the_first_document_that_differs_is_named(count: int, others: list[int], said: str | None) -> None:
    assert other_documents(of(count), of(count, *others)) == said
    assert (of(count) == of(count, *others)) == (said is None)
    assert len(of(count)) <= 64 + 6 + 4 * 1000


@pytest.mark.parametrize("other", [None, "", "a:b:c", "1" * 64, of(11)])
def test_where_the_documents_cannot_be_told_none_is_named(other: Any) -> None:
    assert other_documents(of(12), other) is None
    assert other_documents(other, of(12)) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [None, True]}, "{'a':[None,True],'b':1}"),
        ((1.5, float("nan"), "é\n"), r"[1.5,nan,'é\n']"),
        ({"x", "a"}, "('a','x')"),
        (np.float64(0.1), "0.1"),
        (np.array([[1, 2]]), "[[1,2]]"),
        (np.bool_(True), "True"),
        (b"a", "b'a'"),
        (object(), "object"),
        ([lambda: 0], "[function]"),
    ],
)
def test_a_value_has_one_text_in_any_process(value: Any, text: str) -> None:
    assert _canonical(value) == text


def test_what_differs_of_a_task_is_named_by_its_part() -> None:
    def identity(**parts: str) -> Identity:
        return Identity(protocol=ProtocolIdentity(name="p", **{part: {"mine": said} for part, said in parts.items()}))

    now = identity(tasks="1", code="2", documents=of(3))
    assert changed_of(now, now, "mine") == []
    assert changed_of(now, identity(tasks="1", code="3", documents=of(3)), "mine") == ["protocol.code.mine"]
    other = identity(tasks="1", code="2", documents=of(3, 1))
    assert changed_of(now, other, "mine") == ["protocol.documents.mine (document 1)"]
    # A record of before, which had one digest of all that a task's functions read.
    former = identity(tasks="9")
    assert changed_of(former, now, "mine") == ["protocol.tasks.mine", "protocol.code.mine", "protocol.documents.mine"]
    assert same_protocol(former, now) is False
    assert same_protocol(now, now) is True


def test_a_resumed_run_is_told_the_document() -> None:
    then, now = ({"protocol": {"documents": {"mine": said}}} for said in (of(12), of(12, 5)))
    assert differences(then, now) == ["protocol.documents.mine: it makes something else of document 5"]
    assert differences(then, {}) == [f"protocol.documents.mine: {of(12)[:12]}, now null"]
