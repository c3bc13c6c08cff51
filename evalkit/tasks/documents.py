"""Documents for lm-eval: the ``custom_dataset`` of every task config."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Any, NoReturn, overload

from evalkit.answering import Request, ScoreRequest
from evalkit.data import DataSource, LoadedData, load_documents, parse_source, resolve_sources
from evalkit.data.layouts import Document, cluster_key, possible_clusters
from evalkit.data.manifest import find_dataset
from evalkit.errors import ConfigError
from evalkit.opened import uncollected
from evalkit.suites import find_task, is_published, load_suites

ENVIRONMENT_VARIABLE = "EVALKIT_DATA"


class Documents(Sequence[Document]):
    """Documents with what lm-eval and a task's ``process_docs`` read of ``datasets.Dataset`` besides.

    Whoever takes a document gets it fresh, as of a ``datasets.Dataset``: a function that changes its document changes
    no one else's. Arrow tables would add null columns to documents with different keys (BigBench's ``target_scores``).

    Args:
        documents: which are kept, and never given away themselves.
    """

    def __init__(self, documents: Iterable[Document] = ()) -> None:
        self._kept = list(documents)
        self._made: dict[str, Documents] = {}

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
        """Tell whether these are the very documents of a list, in its order."""
        return len(self) == len(documents) and all(
            own is other for own, other in zip(self._kept, documents, strict=True)
        )

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        return list(self.features)

    def map(
        self, function: Callable[..., Document], *, with_indices: bool = False, remove_columns: Iterable[str] = ()
    ) -> Documents:
        """Return each document with the columns that a function makes of it; made once, as by `datasets`.

        Of a function that draws lots (GPQA's order of choices) another call would make other documents.
        """
        without = [remove_columns] if isinstance(remove_columns, str) else list(remove_columns or ())

        def made() -> Iterable[Document]:
            for place, doc in enumerate(self):
                kept = {key: value for key, value in doc.items() if key not in without}
                yield {**kept, **(function(fresh(doc), place) if with_indices else function(fresh(doc)))}

        return self._once("map", function, [with_indices, *without], made)

    def add_column(self, name: str, column: Sequence[Any]) -> Documents:
        """Return the documents with one more column."""
        return Documents({**doc, name: value} for doc, value in zip(self, column, strict=True))

    def __getattr__(self, name: str) -> NoReturn:
        known = "map, filter, select, add_column, column_names and features"
        raise AttributeError(f"documents have no '{name}' here: of datasets.Dataset, process_docs has {known}")

    def filter(self, function: Callable[[Document], bool]) -> Documents:
        """Return those of which a function says so; chosen once, as by `datasets`."""
        return self._once("filter", function, [], lambda: (doc for doc in self if function(fresh(doc))))

    def select(self, positions: Iterable[int]) -> Documents:
        """Return those at some positions."""
        return Documents(self[position] for position in positions)

    def _once(self, kind: str, function: Any, without: list[Any], make: Callable[[], Iterable[Document]]) -> Documents:
        from datasets.fingerprint import Hasher

        try:
            key = str(Hasher.hash((kind, function, without)))
        except Exception:  # of what cannot be pickled, `datasets` keeps nothing either
            return Documents(make())
        if key not in self._made:
            self._made[key] = Documents(make())
        return self._made[key]

    def unlike(self) -> list[int]:
        """Return the positions of the first document of each set of columns that there is."""
        first: dict[frozenset[str], int] = {}
        for place, doc in enumerate(self._kept):
            first.setdefault(frozenset(doc), place)
        return list(first.values())

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


class _Splits(dict[str, Documents]):
    """One split under any name: there is no other, and no examples are drawn from one."""

    def __missing__(self, _name: str) -> Documents:
        return self["eval"]


@lru_cache(maxsize=128)
def load(dataset: str, source: DataSource) -> LoadedData:
    """Load a data set once a process; ``evalkit run`` records what this returned."""
    with uncollected():
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


def custom_dataset(dataset: str, data: str | Iterable[str] | None = None, **_metadata: Any) -> dict[str, Documents]:
    """Return the documents for lm-eval, as the split ``eval`` and whatever else a task's file calls its splits.

    Args:
        dataset: name in ``configs/datasets.yaml``.
        data: source(s) as for ``--data``: from lm-eval's ``--metadata '{"data": "..."}'``, else the environment
            variable EVALKIT_DATA, else ``hub``.
        _metadata: the rest of the task's metadata, which lm-eval passes along.

    Raises:
        ConfigError, DataError: see ``evalkit.data``.
    """
    return _Splits({"eval": Documents(load(dataset, _source(data, find_dataset(dataset).suite)).documents)})


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
