"""The prefix forest of all requests: sorted rows, and the arrays of the trees cut from it. numpy only.

The rows (a request's input tokens) are sorted by token ids. Walking them in that order visits the nodes of their
common prefix tree depth first, so a tree is three arrays: ``token``, ``depth`` (the position id) and ``end`` (one past
the node's last descendant). Node j is an ancestor of node i, or i itself, exactly if ``j <= i < end[j]``: that line
is the attention mask.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.errors import DataError
from evalkit.scoring.requests import TokenRequest

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenRows:
    """The distinct inputs of all requests, in the order of their tokens unless the longest come first.

    Attributes:
        inputs: one int64 array of token ids a row; row k is a prefix of row k + 1, or precedes it.
        shared: [rows] number of leading tokens that row k has in common with row k - 1; 0 for row 0, and for all rows
            where the longest come first.
        lengths: [rows] number of tokens of each row.
        requests: for each row the indices of the requests that have this input, ascending.
        targets: for each request the token ids to be predicted; they are predicted by the row's last positions.
        scored: [rows] how many positions of each row predict something.
    """

    inputs: list[Ints]
    shared: Ints
    lengths: Ints
    requests: list[list[int]]
    targets: list[Ints]
    scored: Ints

    @property
    def forest_tokens(self) -> int:
        """Nodes of the whole forest: the least number of positions that any exact scorer computes."""
        return int((self.lengths - self.shared).sum())


@dataclass(frozen=True)
class Tree:
    """Rows [start, stop) as one prefix tree of ``nodes`` tokens."""

    start: int
    stop: int
    nodes: int


@dataclass(frozen=True)
class Pack:
    """Trees that go through the model together, as the rows of a batch.

    Attributes:
        trees: batch rows.
        width: tokens a batch row has after padding.
    """

    trees: tuple[Tree, ...]
    width: int

    @property
    def tokens(self) -> int:
        """Positions computed, padding included."""
        return self.width * len(self.trees)

    @property
    def is_causal(self) -> bool:
        """Whether every tree is a single row, so that ordinary causal attention is the right mask."""
        return all(tree.stop - tree.start == 1 for tree in self.trees)


@dataclass(frozen=True)
class Layout:
    """A pack as arrays.

    Attributes:
        token: [trees, width] token ids, 0 in the padding.
        depth: [trees, width] position ids, 0 in the padding.
        end: [trees, width] one past the last descendant; a padding node is visible to itself only.
        select: [scored] ascending flat indices (tree * width + node) of nodes that predict something.
        pair_select: [pairs] for each (request, target) pair the index into ``select``.
        pair_target: [pairs] the token to be predicted.
        pair_request: [pairs] index into ``requests``.
        requests: indices of the requests of this pack.
    """

    token: Ints
    depth: Ints
    end: Ints
    select: Ints
    pair_select: Ints
    pair_target: Ints
    pair_request: Ints
    requests: tuple[int, ...]


def truncate(request: TokenRequest, max_length: int, index: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (input ids, target ids) of a request: the last max_length + 1 tokens, the final one not as input.

    This is what lm-eval's ``HFLM._loglikelihood_tokens`` does.

    Raises:
        DataError: an empty part, or a continuation longer than the model can take.
    """
    if not request.context_ids or not request.continuation_ids:
        part = "context" if not request.context_ids else "continuation"
        raise DataError(f"request {index}: the {part} has no tokens; give a prefix token or remove the request")
    if len(request.continuation_ids) > max_length:
        raise DataError(
            f"request {index}: a continuation of {len(request.continuation_ids)} tokens does not fit into the model's "
            f"{max_length}; raise max_length or remove the document"
        )
    whole = request.context_ids + request.continuation_ids
    return whole[-(max_length + 1) :][:-1], request.continuation_ids


def build_rows(requests: Sequence[TokenRequest], max_length: int, *, longest_first: bool = False) -> TokenRows:
    """Sort the requests' inputs and merge equal ones.

    Args:
        requests: any number, in any order.
        max_length: the model's context length in tokens.
        longest_first: sort by length, for scorers that share nothing between rows.

    Raises:
        DataError: see ``truncate``.
    """
    groups: dict[bytes, list[int]] = {}
    targets: list[Ints] = []
    for index, request in enumerate(requests):
        input_ids, target_ids = truncate(request, max_length, index)
        # Big-endian bytes compare like the numbers themselves, so that sorting is a memcmp.
        key = array("I", input_ids)
        if sys.byteorder == "little":
            key.byteswap()
        groups.setdefault(key.tobytes(), []).append(index)
        targets.append(np.array(target_ids, dtype=np.int64))
    keys = sorted(groups, key=lambda key: (-len(key), key)) if longest_first else sorted(groups)
    inputs = [np.frombuffer(key, dtype=">u4").astype(np.int64) for key in keys]
    shared = np.zeros(len(keys), dtype=np.int64)
    for k in range(1, 0 if longest_first else len(keys)):
        n = min(len(inputs[k - 1]), len(inputs[k]))
        differs = inputs[k - 1][:n] != inputs[k][:n]
        first = int(differs.argmax()) if n else 0
        shared[k] = first if differs[first] else n
    members = [groups[key] for key in keys]
    return TokenRows(
        inputs=inputs,
        shared=shared,
        lengths=np.array([len(row) for row in inputs], dtype=np.int64),
        requests=members,
        targets=targets,
        scored=np.array([max(len(targets[request]) for request in group) for group in members], dtype=np.int64),
    )


def lay_out(rows: TokenRows, pack: Pack) -> Layout:
    """Return the arrays of a pack: its trees depth first, and who predicts what."""
    batch, width = len(pack.trees), pack.width
    token = np.zeros((batch, width), dtype=np.int64)
    depth = np.zeros((batch, width), dtype=np.int64)
    end = np.tile(np.arange(1, width + 1, dtype=np.int64), (batch, 1))
    nodes_of_pairs: list[Ints] = []
    targets: list[Ints] = []
    members: list[int] = []
    for b, tree in enumerate(pack.trees):
        size = 0  # nodes so far
        path: Ints = np.zeros(0, dtype=np.int64)  # node at each depth of the current row
        for row in range(tree.start, tree.stop):
            keep = int(rows.shared[row]) if row > tree.start else 0
            end[b, path[keep:]] = size  # these nodes have no further descendants
            fresh = len(rows.inputs[row]) - keep
            token[b, size : size + fresh] = rows.inputs[row][keep:]
            depth[b, size : size + fresh] = np.arange(keep, keep + fresh)
            path = np.concatenate([path[:keep], np.arange(size, size + fresh)])
            size += fresh
            for request in rows.requests[row]:
                members.append(request)
                targets.append(rows.targets[request])
                nodes_of_pairs.append(path[len(path) - len(rows.targets[request]) :] + b * width)
        end[b, path] = size
    select, pair_select = np.unique(np.concatenate(nodes_of_pairs), return_inverse=True)
    lengths = [len(target) for target in targets]
    return Layout(
        token=token,
        depth=depth,
        end=end,
        select=select,
        pair_select=pair_select.astype(np.int64).reshape(-1),
        pair_target=np.concatenate(targets),
        pair_request=np.repeat(np.arange(len(members), dtype=np.int64), lengths),
        requests=tuple(members),
    )
