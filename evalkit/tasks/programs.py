"""A run's model-written programs: begun while the model writes the next ones, judged in one call, told by request.

`Programs` is what `evalkit run` uses. Under lm-eval's own command ``configs/tasks`` names the filters
`judged` and `chat_judged`, which judge with a checker of their own. Either way a text comes to the task's metrics with
its verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from evalkit.sandbox.extract import remarked
from evalkit.tasks.humaneval import CHAT, COMPLETION, JudgedText, program_of

if TYPE_CHECKING:
    from evalkit.sandbox import Checker, Verdict

Doc = Mapping[str, Any]
Key = tuple[str, int, int]
"""Task, document, sample."""


class Programs:
    """Programs of one run. Mutable: those that were begun.

    Args:
        checker: runs them.
    """

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._begun: dict[Key, tuple[str, Future[Verdict], str]] = {}

    def begin(self, key: Key, doc: Doc, text: str) -> None:
        """Start checking a text that was just written; returns at once."""
        problem, completion, remark = program_of(key[0], doc, text)
        self._begun[key] = (text, self._checker.submit(problem, completion), remark)

    def judge(
        self, documents: Sequence[tuple[str, int]], docs: Sequence[Doc], texts: Sequence[Sequence[str]]
    ) -> list[list[Verdict]]:
        """Return the verdicts on all texts of a task; waits for those that were begun, and begins the others.

        Args:
            documents: (task, doc_id) of each document.
            docs: the documents.
            texts: by document its samples, in their order.
        """
        begun = [
            [self._begun_one((*document, sample), doc, text) for sample, text in enumerate(of_document)]
            for document, doc, of_document in zip(documents, docs, texts, strict=True)
        ]
        return [[remarked(future.result(), remark) for future, remark in of_document] for of_document in begun]

    def _begun_one(self, key: Key, doc: Doc, text: str) -> tuple[Future[Verdict], str]:
        if self._begun.get(key, (None,))[0] != text:
            self.begin(key, doc, text)
        return self._begun.pop(key)[1:]


def with_verdicts(texts: Sequence[Sequence[str]], verdicts: Sequence[Sequence[Verdict]]) -> list[list[str]]:
    """Return texts that bring their verdicts along."""
    return [
        [JudgedText(text, verdict) for text, verdict in zip(of_document, judged, strict=True)]
        for of_document, judged in zip(texts, verdicts, strict=True)
    ]


class VerdictFilter:
    """Stands where lm-eval keeps a task's filters: gives its texts, all in one call, the verdicts on their programs.

    Args:
        programs: judges; None: texts stay without verdicts, and their task without a score.
    """

    name = "none"  # what lm-eval calls the filter of a task that names none; part of its results' keys

    def __init__(self, programs: Programs | None) -> None:
        self._programs = programs

    def apply(self, instances: Sequence[Any]) -> None:
        """Set each instance's filtered texts; lm-eval calls it with all instances of the task."""
        texts = [instance.resps for instance in instances]
        if self._programs is not None:
            documents = [(str(instance.task_name), int(instance.doc_id)) for instance in instances]
            verdicts = self._programs.judge(documents, [instance.doc for instance in instances], texts)
            texts = with_verdicts(texts, verdicts)
        for instance, of_document in zip(instances, texts, strict=True):
            instance.filtered_resps[self.name] = of_document if len(of_document) > 1 else of_document[0]


def judged(texts: Sequence[Sequence[str]], docs: Sequence[Doc]) -> list[Any]:
    """Judge completions, all in one call: the task's filter under lm-eval's own command, with full isolation.

    Args:
        texts: by document its samples.
        docs: the documents.

    Returns:
        By document its text, or a list of them where there are several; each is a `JudgedText`.
    """
    return _judged(COMPLETION, texts, docs)


def chat_judged(texts: Sequence[Sequence[str]], docs: Sequence[Doc]) -> list[Any]:
    """Judge the code in a chat model's answers; see `judged`."""
    return _judged(CHAT, texts, docs)


def _judged(task: str, texts: Sequence[Sequence[str]], docs: Sequence[Doc]) -> list[Any]:
    from evalkit.sandbox import Checker

    with Checker(isolation="require") as checker:
        verdicts = Programs(checker).judge([(task, number) for number in range(len(docs))], docs, texts)
    return [found if len(found) > 1 else found[0] for found in with_verdicts(texts, verdicts)]
