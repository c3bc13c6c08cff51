"""Documents for lm-eval: the ``custom_dataset`` of every task config."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Any, overload

from evalkit.answering import Request, ScoreRequest
from evalkit.config.suites import find_task, is_published, load_suites
from evalkit.config.task_files import named_file, read_task_file, task_file
from evalkit.data import DataSource, LoadedData, load_documents, parse_source, resolve_sources
from evalkit.data.layouts import Document, cluster_key, possible_clusters
from evalkit.data.manifest import find_dataset
from evalkit.errors import ConfigError
from evalkit.tasks.lacking import lacking_key

ENVIRONMENT_VARIABLE = "EVALKIT_DATA"


class Documents(Sequence[Document]):
    """Documents with what lm-eval reads of a ``datasets.Dataset``; ``process_docs`` gets a real one (`_dataset`).

    Whoever takes a document gets it fresh, as of a ``datasets.Dataset``: a function that changes its document changes
    no one else's. Arrow tables would add null columns to documents with different keys (BigBench's ``target_scores``).

    Args:
        documents: which are kept, and never given away themselves.
    """

    def __init__(self, documents: Iterable[Document] = ()) -> None:
        self._kept = list(documents)

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, place: int) -> Document: ...

    @overload
    def __getitem__(self, place: slice) -> list[Document]: ...

    def __getitem__(self, place: int | slice) -> Document | list[Document]:
        found: Document | list[Document] = fresh(self._kept[place])
        return found

    def __iter__(self) -> Iterator[Document]:
        return map(fresh, self._kept)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Documents) and self._kept == other._kept

    __hash__ = None  # type: ignore[assignment]  # as that of a list

    def are(self, documents: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether these are the documents of a list, in its order."""
        return len(self) == len(documents) and all(
            own is other or own == other or repr(own) == repr(other)  # NaN is not equal to itself
            for own, other in zip(self._kept, documents, strict=True)
        )

    @property
    def features(self) -> dict[str, None]:
        """Names of the columns (lm-eval asks for the keys only); a document may lack some."""
        return {key: None for doc in self._kept for key in doc}


_NEVER_CHANGED = frozenset({str, int, float, bool, type(None)})


def fresh(value: Any) -> Any:
    """Return a deep copy of a document; `copy.deepcopy` takes twenty times as long for what JSON can hold."""
    kind = type(value)
    if kind is dict or kind is list:
        copied = value.copy()
        for key, item in value.items() if kind is dict else enumerate(value):
            if type(item) not in _NEVER_CHANGED:
                copied[key] = fresh(item)
        return copied
    return value if kind in _NEVER_CHANGED else deepcopy(value)


class _Splits(dict[str, Any]):
    """One split under any name: there is no other, and no examples are drawn from one."""

    def __missing__(self, _name: str) -> Any:
        return self["eval"]


def _dataset(suite: str, task: str, documents: Sequence[Document]) -> Any:
    """Return what lm-eval gives a task: a ``datasets.Dataset``.

    A column has one type there, so that what a template or a function makes of a value does not hang on how one
    document writes it; and ``process_docs`` may do with it whatever it can. It lies in a temporary folder: of one in
    memory `datasets` keeps no results, and lm-eval calls ``process_docs`` at each access, so that what it draws (GPQA's
    order of choices) would be another in requests and in golds.

    Raises:
        ConfigError: a document lacks a key that others have, for which there would be None; says which. Or values of
            a column have no common type.
    """
    import pyarrow
    from datasets import Dataset  # lm-eval has brought both

    where = f"{named_file(suite, task)}: {task}"
    # A dictionary within a column may have other keys in each document (BigBench's ``target_scores``): then they are
    # given as they are, and what asks for a key that one lacks is refused when requests are made.
    has_process = (file := task_file(suite, task)) is not None and read_task_file(file).get("process_docs") is not None
    columns = documents if has_process else [dict.fromkeys(doc) for doc in documents]
    if (lacking := lacking_key(columns)) is not None:
        raise ConfigError(f"{where}: {lacking}; give it to every document")
    if not has_process and lacking_key(documents) is not None:
        return Documents(documents)
    try:
        table = Dataset.from_list(list(documents)).data.table
    except pyarrow.ArrowException as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"{where}: a column of its documents has values of several types ({why}); mend it") from error
    folder = tempfile.mkdtemp(prefix="evalkit-")
    with pyarrow.ipc.new_stream(f"{folder}/documents.arrow", table.schema) as file:
        file.write_table(table)
    found = Dataset.from_file(f"{folder}/documents.arrow")
    weakref.finalize(found, shutil.rmtree, folder, ignore_errors=True)
    return found


@lru_cache(maxsize=128)
def load(dataset: str, source: DataSource) -> LoadedData:
    """Load a data set once a process; ``evalkit run`` records what this returned."""
    return load_documents(find_dataset(dataset), source)


def load_all(
    names: Sequence[str], sources: Mapping[str, DataSource], limit: int | None, say: Callable[[str], None]
) -> dict[str, LoadedData]:
    """Load the documents of a run's tasks, by task, and say how many those are.

    Args:
        names: the tasks.
        sources: by suite.
        limit: the first documents of each task are asked; None for all.
        say: receives one line at a time.

    Raises:
        DataError: documents are missing, incomplete or malformed.
    """
    data = {name: load(name, sources[find_task(name).suite]) for name in names}
    there = sum(len(loaded.documents) for loaded in data.values())
    asked = sum(len(loaded.documents[:limit]) for loaded in data.values())
    documents = (
        "1 document"
        if there == 1
        else f"{asked:,} documents"
        if asked == there
        else f"{asked:,} of {there:,} documents"
    )
    say(f"{len(data)} task{'s' if len(data) != 1 else ''}, {documents}")
    others = [name for name, loaded in data.items() if loaded.verdict == "other" and is_published(name)]
    if others:
        these = others[0] if len(others) == 1 else f"{len(others)} tasks ({others[0]}, ...)"
        places = sorted({data[name].location for name in others})
        where = places[0] if len(places) == 1 else f"{places[0]}, ..."
        say(f"{these}: complete, but not with the content behind the published scores ({where})")
    return data


def _source(data: str | Iterable[str] | None, suite: str) -> DataSource:
    given = data if data is not None else os.environ.get(ENVIRONMENT_VARIABLE) or "hub"
    values = given.split(",") if isinstance(given, str) else list(given)
    return resolve_sources(values, load_suites(), [suite])[suite]


def custom_dataset(dataset: str, data: str | Iterable[str] | None = None, **_metadata: Any) -> dict[str, Any]:
    """Return the documents for lm-eval, as the split ``eval`` and whatever else a task's file calls its splits.

    They are a ``datasets.Dataset``; for tasks that were published `Documents`, whose forms are known.

    Args:
        dataset: name in ``configs/datasets.yaml``, and of the task.
        data: source(s) as for ``--data``: from lm-eval's ``--metadata '{"data": "..."}'``, else the environment
            variable EVALKIT_DATA, else ``hub``.
        _metadata: the rest of the task's metadata, which lm-eval passes along.

    Raises:
        ConfigError, DataError: see ``evalkit.data``.
    """
    suite = find_dataset(dataset).suite
    documents = load(dataset, _source(data, suite)).documents
    if not is_published(dataset):
        return _Splits({"eval": _dataset(suite, dataset, documents)})
    return _Splits({"eval": Documents(documents)})


__all__ = ["ENVIRONMENT_VARIABLE", "Documents", "custom_dataset", "load", "load_all", "parse_source"]


def check_passages(data: Mapping[str, LoadedData], requests: Mapping[str, Iterable[Request]]) -> None:
    """Check that contexts have their passages where a record's readers look for them, before work is spent.

    Args:
        data: by task its documents.
        requests: by task, without a system prompt and a chat template.

    Raises:
        ConfigError: the context of a document whose layout has passages does not begin with its own.
    """
    for name, of_task in requests.items():
        loaded = data[name]
        contexts: dict[int, set[str]] = {}
        for request in of_task:
            text = request.context if isinstance(request, ScoreRequest) else request.prompt
            contexts.setdefault(request.doc_id, set()).add(text)
        for doc_id, texts in contexts.items():
            layout = loaded.dataset.layout
            possible = possible_clusters(layout, texts.pop() if len(texts) == 1 else None)
            if possible is not None and cluster_key(layout, loaded.documents[doc_id]) not in possible:
                raise ConfigError(
                    f"{name}: document {doc_id}: its context does not begin with the passage that documents of the "
                    f"layout '{layout}' share (PASSAGES in evalkit/data/layouts.py), so no record of it could be read; "
                    "have the task's function of the context begin with it, or have PASSAGES say it as it stands there"
                )
